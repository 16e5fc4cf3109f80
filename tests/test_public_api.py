"""What ``import char_rnn`` offers."""

from __future__ import annotations

import pytest

import char_rnn


def test_every_public_name_is_there_and_nothing_else_is() -> None:
    assert sorted(char_rnn.__all__) == dir(char_rnn) == sorted({*char_rnn._HOMES, "__version__"})
    assert all(getattr(char_rnn, name) is not None for name in char_rnn.__all__)
    with pytest.raises(AttributeError, match="has no attribute 'CharTransformer'"):
        _ = char_rnn.CharTransformer


def test_the_ten_lines_of_the_reference_train_a_model() -> None:
    """As in docs/reference/python.md, on a smaller text."""
    corpus = char_rnn.Corpus.from_text("def rose(leaf):\n    return leaf.thorn\n\n" * 60)
    config = char_rnn.Config.model_validate(
        {"model": {"hidden_size": 8}, "training": {"batch_size": 4, "seq_length": 10, "max_steps": 3}}
    )
    dataset = char_rnn.CharDataset(corpus, config.training.seq_length, config.data.train_frac, config.data.val_frac)
    loaders = char_rnn.create_dataloaders(dataset, config.training.batch_size)
    model = char_rnn.build_model(config.model, corpus.vocabulary.size)
    result = char_rnn.CharRNNTrainer(model, loaders, config, vocabulary=corpus.vocabulary).train()
    text = char_rnn.TextGenerator(model, corpus.vocabulary).generate("def ", length=30, temperature=0.8)
    assert result.step == 3
    assert text.startswith("def ")
    assert len(text) == 34


def test_the_calls_of_the_specification_work() -> None:
    """``forward`` and ``init_hidden`` of the three models, and the generator's four arguments."""
    import torch

    corpus = char_rnn.Corpus.from_text("abc" * 20)
    characters = {"a": 0, "b": 1, "c": 2}
    for model_class in (char_rnn.CharLSTM, char_rnn.CharGRU, char_rnn.CharRNN):
        model = model_class(3, 5, 2, dropout=0.1)
        log_probs, hidden = model(torch.zeros(2, 7, dtype=torch.int64), model.init_hidden(2, "cpu"))
        assert log_probs.shape == (2, 7, 3)
        assert torch.allclose(log_probs.exp().sum(-1), torch.ones(2, 7), atol=1e-5)
        assert (hidden[0] if isinstance(hidden, tuple) else hidden).shape == (2, 2, 5)
        indices = {index: character for character, index in characters.items()}
        generator = char_rnn.TextGenerator(model, characters, indices, "cpu")
        assert set(generator.generate("ab", 9, 1.0, 2, 0.9, seed=1)) <= set("abc")
    assert corpus.vocabulary.char_to_idx == characters
