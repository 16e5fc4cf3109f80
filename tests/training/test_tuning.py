"""Threads and precision by timing: what is chosen, when nothing is timed, and that the run itself is untouched."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from copy import deepcopy
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from training_helpers import rose_config, small_config, timeless

from char_rnn import kernels
from char_rnn.cells import CELLS, Cell, Value, concatenate, split, tanh
from char_rnn.data.corpus import Corpus
from char_rnn.data.dataloader import CharDataset, create_dataloaders
from char_rnn.models import CharModel, build_model
from char_rnn.runs import STATE
from char_rnn.torch7.trainer import Torch7Backend
from char_rnn.training import run as run_module
from char_rnn.training import tuning
from char_rnn.training.backend import TrainerBackend
from char_rnn.training.checkpoints import read_counters
from char_rnn.training.loss import TrainingDiverged
from char_rnn.training.process_group import ProcessGroup
from char_rnn.training.run import resume_run, start_run
from char_rnn.training.tuning import fastest, recorded_threads, training_path, tuned, tuned_before
from char_rnn.utils import device as device_module
from char_rnn.utils.config import Config, compose_config, load_config
from char_rnn.utils.locking import release

CPU = torch.device("cpu")
TEXT = "a rose is a rose is a rose.\n" * 30
ALONE = ProcessGroup()


class Machine:
    """A machine whose steps take as long as a table says, on a clock of its own; it counts them."""

    def __init__(self, seconds: dict[tuple[int, str], float]) -> None:
        self.now, self.seconds, self.steps = 0.0, seconds, list[tuple[int, str, int]]()

    def __deepcopy__(self, memo: object) -> Machine:
        return self  # there is one

    def clock(self) -> float:
        return self.now

    def trainer(self, model: Any, loaders: Any, config: Config, device: torch.device) -> Any:
        def train_step(x: torch.Tensor, y: torch.Tensor) -> float:
            way = torch.get_num_threads(), config.training.precision
            self.steps.append((*way, x.shape[1]))
            self.now += self.seconds[way] * x.shape[1] / config.training.seq_length
            if config.training.learning_rate > 1:
                raise TrainingDiverged("the loss is nan")
            return 0.0

        return SimpleNamespace(model=model, train_step=train_step)

    def tune(self, config: Config, group: ProcessGroup = ALONE) -> tuple[int | None, str]:
        loaders = create_dataloaders(CharDataset(Corpus.from_text(TEXT), 16), 4)
        model = build_model(config.model, 16)
        chosen = tuned(config, self.trainer, model, loaders, CPU, group, self.clock)
        assert torch.get_num_threads() == chosen.device.threads
        return chosen.device.threads, chosen.training.precision


@pytest.fixture(autouse=True)
def free(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """The user has asked for no number of threads, and has two cores with fast bfloat16."""
    monkeypatch.delenv("OMP_NUM_THREADS")
    of_machine(monkeypatch, cores=2)
    monkeypatch.setattr(tuning, "multiplies_bfloat16", lambda: True)
    before = torch.get_num_threads()
    yield
    torch.set_num_threads(before)


def of_machine(monkeypatch: pytest.MonkeyPatch, cores: int) -> None:
    for module in (tuning, device_module):
        monkeypatch.setattr(module, "available_cores", lambda: cores)


def config_of(**sections: dict[str, Any]) -> Config:
    return small_config(**{**sections, "training": {"seq_length": 16, **sections.get("training", {})}})


AUTO = config_of(training={"precision": "auto"})


@pytest.mark.parametrize(
    ("seconds", "expected"),
    [
        ({(1, "float32"): 1.0, (2, "float32"): 0.96}, (1, "float32")),
        ({(1, "float32"): 1.0, (2, "float32"): 0.95}, (2, "float32")),
        ({(1, "float32"): 1.0, (4, "float32"): 0.5, (8, "float32"): 0.49}, (4, "float32")),
        ({(1, "float32"): 1.0, (4, "float32"): 1.5, (8, "float32"): 0.9}, (8, "float32")),
        ({(2, "float32"): 1.0, (2, "bfloat16"): 0.88}, (2, "float32")),
        ({(2, "float32"): 1.0, (2, "bfloat16"): 0.86}, (2, "bfloat16")),
    ],
)
def test_more_threads_and_fewer_digits_have_to_pay(
    seconds: dict[tuple[int, str], float], expected: tuple[int, str]
) -> None:
    assert fastest(seconds) == expected


@pytest.mark.parametrize(
    ("seconds", "expected"),
    [
        ({(1, "float32"): 0.05, (2, "float32"): 0.03, (2, "bfloat16"): 0.02}, (2, "bfloat16")),
        ({(1, "float32"): 0.05, (2, "float32"): 0.03, (2, "bfloat16"): 0.028}, (2, "float32")),
        ({(1, "float32"): 0.05, (2, "float32"): 0.06, (1, "bfloat16"): 0.02}, (1, "bfloat16")),
    ],
)
def test_the_fastest_way_is_written_into_the_configuration(
    seconds: dict[tuple[int, str], float], expected: tuple[int, str]
) -> None:
    machine = Machine(seconds)
    machine.seconds.setdefault((1, "bfloat16"), 0.05)  # its warm-up
    assert machine.tune(AUTO) == expected
    assert machine.now < 2 * tuning.SECONDS + 0.5


def test_a_busy_machine_is_not_waited_for(monkeypatch: pytest.MonkeyPatch) -> None:
    """Ten times slower on more threads: part of one step each shows it."""
    of_machine(monkeypatch, cores=8)
    machine = Machine({(1, "float32"): 1.0, (4, "float32"): 10.0, (8, "float32"): 20.0})
    assert machine.tune(config_of()) == (1, "float32")
    assert machine.steps == [(1, "float32", 16), (1, "float32", 2), (4, "float32", 2), (8, "float32", 2)]


def test_a_short_run_is_timed_shortly() -> None:
    machine = Machine({(1, "float32"): 0.01, (2, "float32"): 0.008})
    assert machine.tune(config_of(training={"minutes": 0.05})) == (2, "float32")
    assert machine.now < 0.06 + 0.05


@pytest.mark.parametrize(("steps", "timed"), [(3, 1), (50, 1), (51, 2)])
def test_a_run_of_few_steps_is_timed_in_few(steps: int, timed: int) -> None:
    machine = Machine({(1, "float32"): 0.01, (2, "float32"): 0.008})
    assert machine.tune(config_of(training={"max_steps": steps})) == (2, "float32")
    assert machine.steps.count((2, "float32", 16)) == timed


def test_a_diverging_step_is_left_to_the_run() -> None:
    machine = Machine({(1, "float32"): 0.01, (2, "float32"): 0.008})
    assert machine.tune(config_of(training={"learning_rate": 2.0})) == (2, "float32")


@pytest.mark.parametrize("known", ["given", "one core", "OMP_NUM_THREADS", "OMP_NUM_THREADS beyond the cores", "ranks"])
def test_nothing_is_timed_where_the_threads_are_known(known: str, monkeypatch: pytest.MonkeyPatch) -> None:
    config, group, expected = config_of(), ProcessGroup(), 2
    of_machine(monkeypatch, cores=6)
    if known == "given":
        config, expected = config_of(device={"threads": 3}), 3
    elif known == "one core":
        of_machine(monkeypatch, cores=1)
        expected = 1
    elif known == "ranks":
        group = ProcessGroup(1, 3)
        monkeypatch.setattr(group, "broadcast", lambda value: value)
    else:
        monkeypatch.setenv("OMP_NUM_THREADS", "2,1" if known == "OMP_NUM_THREADS" else "9")
        expected = 2 if known == "OMP_NUM_THREADS" else 6
    machine = Machine({})
    assert machine.tune(config, group) == (expected, "float32")
    assert not machine.steps


def test_the_first_process_chooses_for_all(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LOCAL_WORLD_SIZE", "2")
    sent: list[float] = []
    first, second = ProcessGroup(0, 2), ProcessGroup(1, 2)
    monkeypatch.setattr(first, "broadcast", lambda value: sent.append(value) or value)
    monkeypatch.setattr(second, "broadcast", lambda value: sent.pop(0))
    machine = Machine({(1, "float32"): 0.05, (1, "bfloat16"): 0.02})
    assert machine.tune(AUTO, first) == (1, "bfloat16")
    done = len(machine.steps)
    of_machine(monkeypatch, cores=12)
    monkeypatch.setattr(tuning, "multiplies_bfloat16", lambda: False)
    assert machine.tune(AUTO, second) == (1, "bfloat16")
    assert len(machine.steps) == done


@pytest.mark.parametrize(
    ("device", "supported", "expected"),
    [("cuda", True, "bfloat16"), ("cuda", False, "float32"), ("mps", True, "float32"), ("cpu", False, "float32")],
)
def test_the_precision_that_a_device_settles(
    device: str, supported: bool, expected: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(torch.cuda, "is_bf16_supported", lambda including_emulation: supported)
    monkeypatch.setattr(tuning, "multiplies_bfloat16", lambda: False)
    machine = Machine({(1, "float32"): 0.05, (2, "float32"): 0.1})
    loaders = create_dataloaders(CharDataset(Corpus.from_text(TEXT), 16), 4)
    model = build_model(AUTO.model, 16)
    chosen = tuned(AUTO, machine.trainer, model, loaders, torch.device(device), ALONE, machine.clock)
    assert chosen.training.precision == expected
    assert chosen.device.threads == (1 if device == "cpu" else None)


@pytest.mark.parametrize("trainer", ["modern", "torch7"])
def test_a_run_goes_as_if_nothing_had_been_timed(trainer: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The model, the generators (of 2015 too) and the place in the text are those of a run with the threads given."""
    monkeypatch.setattr(torch, "set_num_threads", lambda count: None)  # two are slow on a busy machine
    monkeypatch.setattr(tuning, "SECONDS", 0.01)
    config = rose_config(tmp_path)
    if trainer == "torch7":
        small = ["hidden_size=7", "dropout=0.3"]
        steps = ["batch_size=2", "seq_length=5", "max_steps=6"]
        keys = [*(f"model.{each}" for each in small), *(f"training.{each}" for each in steps)]
        config = compose_config("torch7", overrides=[f"data.data_dir={config.data.data_dir}", *keys])

    def train(name: str) -> Config:
        run = start_run(config, tmp_path / name, backend=Torch7Backend() if trainer == "torch7" else TrainerBackend())
        run.train()
        return load_config(tmp_path / name / "config.yaml")

    chosen = train("timed").device.threads
    assert chosen in {1, 2}
    config.device.threads = chosen
    train("given")
    assert timeless(tmp_path / "timed") == timeless(tmp_path / "given")
    assert timeless(tmp_path / "timed")


def test_the_timing_counts_as_time_of_the_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    before_and_after = iter([10.0, 12.5])
    monkeypatch.setattr(run_module, "time", SimpleNamespace(perf_counter=lambda: next(before_and_after)))
    config = rose_config(tmp_path)
    config.device.threads = 1
    start_run(config, tmp_path / "run")
    assert read_counters(tmp_path / "run" / STATE)["seconds"] >= 2.5


def test_a_resumed_run_keeps_its_threads_and_precision(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A run of version 1.0 has its number of threads in its models alone."""
    config = rose_config(tmp_path)
    config.device.threads = 2
    start_run(config, tmp_path / "run")
    release(tmp_path / "run")
    later = load_config(tmp_path / "run" / "config.yaml")
    later.device.threads, later.training.precision = None, "auto"
    before = deepcopy(later)
    torch.set_num_threads(1)
    settled = resume_run(later, tmp_path / "run").trainer.config
    assert (settled.device.threads, settled.training.precision, torch.get_num_threads()) == (2, "float32", 2)
    assert later == before
    assert load_config(tmp_path / "run" / "config.yaml").device.threads == 2
    of_machine(monkeypatch, cores=1)
    assert resume_run(later, tmp_path / "run").trainer.config.device.threads == 1


@pytest.mark.parametrize("recorded", [None, 0, "2"])
def test_a_run_without_a_usable_number_keeps_pytorchs(recorded: Any) -> None:
    torch.set_num_threads(1)
    last: Any = SimpleNamespace(training={} if recorded is None else {"threads": recorded}, config=config_of())
    assert tuned_before(config_of(), last).device.threads is None
    assert torch.get_num_threads() == 1


def test_an_evaluation_has_the_threads_of_the_training(monkeypatch: pytest.MonkeyPatch) -> None:
    model: Any = SimpleNamespace(training={"threads": 2}, config=config_of())
    assert recorded_threads(model) == 2
    model.config.device.threads = 5
    of_machine(monkeypatch, cores=4)
    assert recorded_threads(model) == 4


@pytest.mark.parametrize(
    ("sections", "device", "expected"),
    [
        ({"model": {"layer_norm": "cell"}}, "cpu", "kernels (avx512)"),
        ({"model": {"layer_norm": "cell"}, "training": {"precision": "float64"}}, "cpu", "PyTorch (float64)"),
        ({"model": {"layer_norm": "cell"}}, "cuda", "PyTorch"),
        ({"model": {"type": "gru"}, "training": {"precision": "bfloat16"}}, "cpu", "kernels (avx512)"),
    ],
)
def test_the_code_that_trains_is_named(
    sections: dict[str, Any], device: str, expected: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    config = small_config(**sections)
    model = build_model(config.model, 11)
    monkeypatch.setattr(kernels, "level", lambda: "avx512")
    if kernels.load() is not None:
        assert training_path(config, model, torch.device(device)) == expected
    monkeypatch.setattr(kernels, "level", lambda: None)
    monkeypatch.setenv("CHAR_RNN_KERNELS", "off")
    if device == "cpu":
        without = expected if "PyTorch" in expected else "PyTorch (CHAR_RNN_KERNELS=off)"
        assert training_path(config, model, torch.device(device)) == without
    assert training_path(compose_config("torch7"), model, torch.device("cpu")) == "PyTorch (as in 2015)"


def test_a_cell_that_the_kernels_do_not_support_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    """A cell that cuts its state in two, where the kernels have no boundary."""

    class InHalves(Cell):
        name, gates = "in_halves", 1

        def step(self, x: Value, state: Sequence[Value], p: Any) -> Sequence[Value]:
            left, right = split(state[0], 1, 1)
            return (tanh(p.weight_ih @ x + p.weight_hh @ concatenate(right, left)),)

    monkeypatch.setattr(kernels, "level", lambda: "avx2")
    try:
        model = CharModel(11, 4, 1, cell=InHalves())
        expected = "PyTorch (the kernels do not support the cell in_halves)"
        assert training_path(small_config(), model, torch.device("cpu")) == expected
    finally:
        CELLS.pop("in_halves")
