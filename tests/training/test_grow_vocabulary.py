"""Runs that start from a model and add symbols to its vocabulary."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from training_helpers import StopAt, small_config

import char_rnn
from char_rnn.data.vocabulary import UnknownCharacterError, Vocabulary, VocabularyKind
from char_rnn.generation.text_generator import TextGenerator
from char_rnn.model_file import ModelFile
from char_rnn.models import build_model
from char_rnn.models.build import grown_tensors
from char_rnn.training.run import RunContext, resume_run, start_run
from char_rnn.utils.config import Config, load_config

OLD, TEXT = "a rose is a rose.\n", "une rose naïve, à l'été.\n" * 40


@pytest.fixture
def text(tmp_path: Path) -> Path:
    path = tmp_path / "rose.txt"
    path.write_text(TEXT, encoding="utf-8")
    return path


def config_for(text: Path, seed: int = 1) -> Config:
    training = {"max_steps": 8, "eval_interval": 4, "seed": seed}
    return small_config(data={"data_dir": str(text), "cache_dir": str(text.parent / "cache")}, training=training)


def origin(kind: VocabularyKind = "characters", in_8_bits: bool = False, **model: Any) -> ModelFile:
    config = small_config(model={"hidden_size": 7, "num_layers": 1, **model})
    vocabulary = Vocabulary.from_text(OLD, kind)
    tensors = build_model(config.model, vocabulary.size).state_dict()
    return ModelFile(config, vocabulary, {name: tensor.numpy() for name, tensor in tensors.items()}, {}, in_8_bits)


MODELS: list[dict[str, Any]] = [
    {},
    {"kind": "bytes", "embedding": "one-hot"},
    {"tie_weights": True, "layer_norm": "between", "match_lengths": [2, 1]},
    {"embedding_size": 5, "in_8_bits": True},
]


@pytest.mark.parametrize("options", MODELS, ids=str)
def test_the_rows_of_the_old_symbols_stay(text: Path, tmp_path: Path, options: dict[str, Any]) -> None:
    start = origin(**options)
    run = start_run(config_for(text), init_from=start.write(tmp_path / "m.safetensors"), grow_vocabulary=True)
    old, new = start.vocabulary, run.corpus.vocabulary
    assert new == old.extended(Vocabulary.from_text(TEXT, old.kind).symbols)
    assert run.trainer.checkpoints.metadata["new_symbols"] == new.size - old.size > 5
    written = ModelFile.read(tmp_path / "m.safetensors").tensors
    for name, tensor in run.trainer.model.state_dict().items():
        np.testing.assert_array_equal(tensor.numpy()[tuple(map(slice, written[name].shape))], written[name])
    assert run.trainer.config.model.input_size(new.size) == run.trainer.model.embedding.embedding_dim


@pytest.mark.parametrize("lengths", [[], [2, 1]])
def test_the_state_after_old_symbols_stays_with_one_hot_vectors(lengths: list[int]) -> None:
    start = origin("bytes", embedding="one-hot", match_lengths=lengths)
    old = start.vocabulary.size
    grown = grown_tensors(start.config.model, old, old + 3, start.tensors)
    ids = torch.from_numpy(start.vocabulary.encode(OLD * 3).astype(np.int64))[None]
    sizes = {old: start.tensors, old + 3: grown}
    before, after = (build_model(start.config.model, *each).eval()(ids)[1][0] for each in sizes.items())
    torch.testing.assert_close(after, before)


@pytest.mark.parametrize("options", MODELS, ids=str)
def test_a_grown_run_resumes_to_the_bit_and_samples(text: Path, tmp_path: Path, options: dict[str, Any]) -> None:
    model = origin(**options)
    whole, part = (tmp_path / "whole", tmp_path / "part")
    start_run(config_for(text), whole, init_from=model, grow_vocabulary=True).train()
    context = RunContext(callbacks=[StopAt(5)])
    assert start_run(config_for(text), part, init_from=model, grow_vocabulary=True, context=context).train().stopped
    resume_run(load_config(part / "config.yaml"), part).train()
    ends = [ModelFile.read(folder / "last.safetensors") for folder in (whole, part)]
    for name, tensor in ends[0].tensors.items():
        np.testing.assert_array_equal(ends[1].tensors[name], tensor)
    assert ends[0].vocabulary == ends[1].vocabulary
    assert [end.training["new_symbols"] for end in ends] == [ends[0].vocabulary.size - model.vocabulary.size] * 2
    assert len(TextGenerator.load(part).generate("à l'été", 20, seed=1)) == 27


def test_the_seed_draws_the_new_symbols(text: Path, tmp_path: Path) -> None:
    start = origin()
    runs = [
        start_run(config_for(text, seed), tmp_path / str(n), init_from=start, grow_vocabulary=True)
        for n, seed in enumerate((1, 1, 2))
    ]
    first, same, other = (run.trainer.model.output_proj.weight.detach().numpy() for run in runs)
    np.testing.assert_array_equal(first, same)
    old = start.vocabulary.size
    assert (first[:old] == other[:old]).all()
    assert (first[old:] != other[old:]).any()


def test_a_text_without_new_symbols_starts_as_without_the_option(text: Path, tmp_path: Path) -> None:
    text.write_text(OLD * 40)
    start = origin()
    grown, plain = (
        start_run(config_for(text), tmp_path / str(grow), init_from=start, grow_vocabulary=grow)
        for grow in (True, False)
    )
    assert "new_symbols" not in grown.trainer.checkpoints.metadata
    assert grown.trainer.config == plain.trainer.config
    assert grown.corpus.vocabulary == start.vocabulary


def test_without_the_option_the_error_names_it(text: Path, tmp_path: Path) -> None:
    with pytest.raises(UnknownCharacterError, match=r"unknown character 'u'.*add it with --grow-vocabulary"):
        start_run(config_for(text), tmp_path / "run", init_from=origin())


def test_a_resumed_run_is_not_told_to_add_symbols(text: Path, tmp_path: Path) -> None:
    start_run(config_for(text), tmp_path / "run", init_from=origin(), grow_vocabulary=True)
    text.write_text(TEXT + "漢", encoding="utf-8")
    with pytest.raises(UnknownCharacterError, match=r"unknown character '漢'.*remove or replace it, or train on"):
        resume_run(load_config(tmp_path / "run" / "config.yaml"), tmp_path / "run")


def test_a_vocabulary_grows_only_from_a_model(text: Path, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="give the model with init_from"):
        start_run(config_for(text), tmp_path / "run", grow_vocabulary=True)


def test_train_grows_a_vocabulary_in_one_call(text: Path, tmp_path: Path) -> None:
    model = origin().write(tmp_path / "m.safetensors")
    settings = {"training.max_steps": 1, "training.batch_size": 4, "training.seq_length": 10}
    trained = char_rnn.train(
        text, tmp_path / "run", settings=settings, init_from=model, grow_vocabulary=True, callbacks=[]
    )
    file = ModelFile.read(trained.folder)
    assert file.training["init_from"] == model.name
    assert file.vocabulary.labels[-file.training["new_symbols"] :] == tuple(sorted(set(TEXT) - set(OLD)))
