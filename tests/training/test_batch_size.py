"""The batch size of auto: computed from the free memory on the CPU, found by trial elsewhere."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest
import torch
from storages import Storages
from training_helpers import EVERY_PART, small_config

from char_rnn.cells import BUILT_IN
from char_rnn.models import CharModel, build_model
from char_rnn.training import tuning
from char_rnn.training.process_group import ProcessGroup
from char_rnn.training.train_step import TrainStep
from char_rnn.training.tuning import bytes_kept, bytes_of_a_sequence, fit_batch, largest_micro_batch
from char_rnn.utils.config import Config

CPU = torch.device("cpu")


def model_and_config(**training: Any) -> tuple[CharModel, Config]:
    config = small_config(training={"seq_length": 10, **training})
    torch.manual_seed(0)
    return build_model(config.model, 11), config


def free_memory(monkeypatch: pytest.MonkeyPatch, size: int) -> None:
    monkeypatch.setattr(tuning.psutil, "virtual_memory", lambda: SimpleNamespace(available=size))


def test_what_a_sequence_keeps_grows_with_its_length() -> None:
    model = build_model(small_config(model={"type": "gru", "num_layers": 1}).model, 11)
    one = bytes_of_a_sequence(model, 10)
    assert bytes_kept(model, 10, 50) - bytes_kept(model, 10, 20) == 30 * one
    assert one > 4 * 10 * (11 + 4 * 12)  # a symbol's vector, and of each unit the gates and the state
    assert bytes_of_a_sequence(model, 20) == pytest.approx(2 * one, rel=0.1)
    assert all(parameter.grad is None for parameter in model.parameters())


OPTIONS = {
    "plain": {},
    "norm": {"layer_norm": "cell"},
    "zoneout": {"zoneout": 0.1},
    "norm and zoneout": {"layer_norm": "cell", "zoneout": 0.1},
    "every part": {**EVERY_PART, "layer_norm": "cell"},
}
KINDS_AND_OPTIONS = [
    *[pytest.param(kind, OPTIONS[name], id=f"{kind} {name}") for kind in BUILT_IN for name in OPTIONS],
    pytest.param("lstm", {"mogrifier_rounds": 3}, id="lstm mogrifier"),
]


@pytest.mark.parametrize(("kind", "options"), KINDS_AND_OPTIONS)
def test_what_is_counted_is_what_a_forward_pass_leaves_in_use(kind: str, options: dict[str, Any]) -> None:
    model = build_model(small_config(model={"type": kind, **options}).model, 11)

    def in_use(rows: int) -> int:
        with Storages() as storages:
            log_probs = model(torch.zeros(rows, 10, dtype=torch.int64))[0]
        assert log_probs.requires_grad  # it holds what is kept
        return sum(storages.in_use().values())

    assert bytes_of_a_sequence(model, 10) == (in_use(10) - in_use(2)) / 8


@pytest.mark.parametrize(("sequences", "expected"), [(0.5, 1), (5.5, 5), (40, 40), (1e6, 64)])
def test_the_cpus_free_memory_sets_the_limit(monkeypatch: pytest.MonkeyPatch, sequences: float, expected: int) -> None:
    model, config = model_and_config()
    one = bytes_of_a_sequence(model, 10)
    free_memory(monkeypatch, int(sequences * one * tuning.PEAK / tuning.MEMORY_SHARE) + 1)
    assert largest_micro_batch(model, config.training, CPU, 64) == expected
    assert largest_micro_batch(model, config.training, CPU, 64, processes=2) == max(1, min(64, int(sequences / 2)))


class Limited(TrainStep):
    """A device on which ``most`` sequences fit."""

    most = 0

    def _accumulate(self, x: torch.Tensor, y: torch.Tensor, hidden: Any, soft: Any, size: int) -> Any:
        if len(x) > self.most:
            raise torch.OutOfMemoryError("CUDA out of memory")
        return super()._accumulate(x, y, hidden, soft, size)


@pytest.mark.parametrize("most", [0, 1, 2, 13, 31, 63, 64, 500])
def test_a_gpu_is_tried(monkeypatch: pytest.MonkeyPatch, most: int) -> None:
    """The largest number that fits is found exactly, and the model does not change."""
    model, config = model_and_config()
    before = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    state = torch.get_rng_state()
    monkeypatch.setattr(Limited, "most", most)
    monkeypatch.setattr(tuning, "TrainStep", lambda model, training, _, rows: Limited(model, training, CPU, rows))
    monkeypatch.setattr(CharModel, "to", lambda model, *arguments: model)
    found = largest_micro_batch(model, config.training, torch.device("cuda"), 64)
    assert found == max(1, min(most, 64))
    assert all(torch.equal(tensor, before[name]) for name, tensor in model.state_dict().items())
    assert torch.equal(torch.get_rng_state(), state)


def test_auto_becomes_numbers_that_repeat_the_run(monkeypatch: pytest.MonkeyPatch) -> None:
    model, config = model_and_config(batch_size="auto")
    one = bytes_of_a_sequence(model, 10)
    free_memory(monkeypatch, int(20.5 * one * tuning.PEAK / tuning.MEMORY_SHARE))
    training = fit_batch(config, model, CPU, ProcessGroup(), 100_000).training
    assert (training.sequences, training.micro_batch_size) == (32, 20)  # 32: the specification's for the CPU
    free_memory(monkeypatch, 1 << 40)
    training = fit_batch(config, model, CPU, ProcessGroup(), 100_000).training
    assert (training.sequences, training.micro_batch_size) == (32, None)
    assert fit_batch(config, model, CPU, ProcessGroup(), 75).training.sequences == 7  # no more than the text has


def test_a_given_batch_stays_and_its_parts_are_fitted(monkeypatch: pytest.MonkeyPatch) -> None:
    model, config = model_and_config(batch_size=200, micro_batch_size="auto")
    one = bytes_of_a_sequence(model, 10)
    free_memory(monkeypatch, int(20.5 * one * tuning.PEAK / tuning.MEMORY_SHARE))
    training = fit_batch(config, model, CPU, ProcessGroup(), 100_000).training
    assert (training.sequences, training.micro_batch_size) == (200, 20)


def test_numbers_stay_as_they_are() -> None:
    model, config = model_and_config(batch_size=6, micro_batch_size=2)
    assert fit_batch(config, model, CPU, ProcessGroup(), 100) == config
    with pytest.raises(ValueError, match=r"^training\.batch_size is auto; fit it to a model"):
        _ = model_and_config(batch_size="auto")[1].training.sequences
