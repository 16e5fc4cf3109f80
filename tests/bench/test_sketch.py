"""The specification's sketch, with its faults."""

from __future__ import annotations

import torch

from char_rnn.bench.sketch import Sketch, SketchDataset, SketchModel, generate
from char_rnn.bench.training_sides import BareLoop, Shape, batches_of, config_of, text_of
from char_rnn.models import build_model

TEXT = "the sun and the moon " * 30
SHAPE = Shape("lstm", 8, 2, 4, 6)


def test_every_window_is_a_sample_and_the_split_is_shared() -> None:
    dataset = SketchDataset(TEXT, 6)
    assert len(dataset) == int(0.95 * len(TEXT)) - 6
    x, y = dataset[3]
    assert "".join(dataset.idx_to_char[int(index)] for index in x) == TEXT[3:9]
    assert "".join(dataset.idx_to_char[int(index)] for index in y) == TEXT[4:10]
    dataset.set_split("val")
    assert dataset[0][0].tolist() == [dataset.char_to_idx[c] for c in TEXT[int(0.95 * len(TEXT)) :][:6]]


def test_it_learns() -> None:
    torch.manual_seed(0)
    sketch = Sketch(TEXT, SHAPE, learning_rate=0.02, workers=0)
    x, y = (part[None] for part in sketch.dataset[0])

    def loss() -> float:
        log_probs, _ = sketch.model(x)
        return float(sketch.criterion(log_probs[0], y[0]).detach())

    before = loss()
    sketch.train(60)
    assert sketch.steps == 60
    assert loss() < before / 2


def test_its_parameters_are_those_of_this_package() -> None:
    for cell in ("lstm", "gru", "rnn"):
        shape = Shape(cell, 8, 2, 4, 6)
        model = build_model(config_of(shape).model, 65).eval()
        x = torch.randint(0, 65, (3, 7))
        sketch = SketchModel(65, shape)
        model.load_state_dict(sketch.state_dict())
        torch.testing.assert_close(model(x)[0], sketch(x)[0], rtol=0, atol=1e-5)
        bare = BareLoop(shape)
        model.load_state_dict(bare.state_dict())
        out, _ = bare.cell(bare.embedding(x))
        torch.testing.assert_close(model(x)[0], torch.log_softmax(bare.output(out), -1), rtol=0, atol=1e-5)


def test_the_bare_loop_carries_its_state() -> None:
    text = text_of(SHAPE, 3)
    batches = batches_of(text, SHAPE)
    loop = BareLoop(SHAPE)
    loop.epoch(batches)
    state = loop.state[0]
    assert state.shape == (2, 4, 8)
    assert not state.requires_grad
    loop.step(*batches[0])
    assert not torch.equal(loop.state[0], state)


def test_a_prime_is_read_by_its_last_character() -> None:
    dataset = SketchDataset(TEXT, 6)
    model = SketchModel(len(dataset.char_to_idx), SHAPE)
    texts = []
    for prime in ("the sun", "moon"):
        torch.manual_seed(0)
        texts.append(generate(model, dataset, prime, 20).removeprefix(prime))
    assert texts[0] == texts[1]
    assert len(texts[0]) == 20
    assert len(generate(model, dataset, "", 5)) == 5
