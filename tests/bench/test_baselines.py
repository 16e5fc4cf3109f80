"""The sketch has the faults that it is kept for, and learns."""

from __future__ import annotations

import pytest
import torch

from char_rnn.bench.baselines import Shape, Sketch, SketchDataset, SketchModel, generate

TEXT = "abcdefgh" * 40
SHAPE = Shape("lstm", 16, 1, 8, 10)


def test_every_overlapping_window_is_a_sample() -> None:
    dataset = SketchDataset(TEXT, 10)
    assert len(dataset) == int(0.95 * len(TEXT)) - 10
    x, y = dataset[3]
    assert "".join(dataset.idx_to_char[i] for i in x.tolist()) == TEXT[3:13]
    assert "".join(dataset.idx_to_char[i] for i in y.tolist()) == TEXT[4:14]


def test_the_split_is_shared_and_the_last_of_them_is_empty() -> None:
    dataset = SketchDataset(TEXT, 10)
    dataset.current = "test"
    with pytest.raises(ValueError, match="should return >= 0"):
        len(dataset)


@pytest.mark.parametrize("cell", ["lstm", "gru", "rnn"])
def test_it_learns(cell: str) -> None:
    torch.manual_seed(0)
    sketch = Sketch(TEXT, Shape(cell, 16, 1, 8, 10), learning_rate=0.02, workers=0)
    x, y = sketch.dataset[0]

    def loss() -> float:
        with torch.no_grad():
            return float(sketch.criterion(sketch.model(x[None])[0][0], y))

    before = loss()
    sketch.train(40)
    sketch.close()
    assert sketch.steps == 40
    assert before > 1.5
    assert loss() < 0.5 * before


def test_of_a_prime_it_reads_the_last_character_alone() -> None:
    torch.manual_seed(0)
    dataset = SketchDataset(TEXT, 10)
    model = SketchModel(8, SHAPE)
    texts = []
    for prime in ("abch", "h"):
        torch.manual_seed(1)
        texts.append(generate(model, dataset, prime, 20)[len(prime) :])
    assert texts[0] == texts[1]
    assert len(texts[0]) == 20
    assert set(generate(model, dataset, "", 5)) <= set(TEXT)
