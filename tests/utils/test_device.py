"""Devices: which is taken, what happens when one is missing or fails. Other devices than the CPU are simulated."""

from __future__ import annotations

import logging
import mmap
import warnings

import pytest
import torch

from char_rnn.utils import device as device_module
from char_rnn.utils.device import DeviceManager, is_out_of_memory

CPU, CUDA, MPS = torch.device("cpu"), torch.device("cuda"), torch.device("mps")


@pytest.fixture
def machine(monkeypatch: pytest.MonkeyPatch) -> Machine:
    return Machine(monkeypatch)


class Machine:
    """A pretended machine: the devices it has, and those whose probe fails."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self._monkeypatch = monkeypatch
        self.has()

    def has(self, *kinds: str, failing: tuple[str, ...] = ()) -> None:
        self._monkeypatch.setattr(torch.backends.mps, "is_available", lambda: "mps" in kinds)
        self._monkeypatch.setattr(torch.cuda, "is_available", lambda: "cuda" in kinds)
        self._monkeypatch.setattr(torch.cuda, "get_device_name", lambda device: "Test GPU")
        self._monkeypatch.setattr(
            device_module, "_probe", lambda device: "driver too old" if device.type in failing else None
        )


@pytest.mark.parametrize(
    ("kinds", "preferred", "chosen"),
    [
        ((), None, CPU),
        ((), "mps", CPU),
        (("cuda",), None, CUDA),
        (("cuda",), "mps", CUDA),
        (("cuda",), "cpu", CPU),
        (("mps", "cuda"), None, MPS),
        (("mps", "cuda"), "cuda", CUDA),
        (("cuda",), "cuda:1", torch.device("cuda", 1)),
    ],
)
def test_detection(
    machine: Machine,
    caplog: pytest.LogCaptureFixture,
    kinds: tuple[str, ...],
    preferred: str | None,
    chosen: torch.device,
) -> None:
    machine.has(*kinds)
    assert DeviceManager(preferred).device == chosen
    assert not [record for record in caplog.records if record.levelno >= logging.WARNING]


def test_available_is_best_first(machine: Machine) -> None:
    assert DeviceManager.available() == ["cpu"]
    machine.has("cuda", "mps")
    assert DeviceManager.available() == ["mps", "cuda", "cpu"]


def test_without_detection_the_preferred_alone_is_taken(machine: Machine) -> None:
    machine.has("mps", "cuda")
    assert DeviceManager("cuda", auto_detect=False).device == CUDA
    assert DeviceManager("cpu", auto_detect=False).device == CPU


def test_a_missing_device_falls_back_with_a_warning(machine: Machine, caplog: pytest.LogCaptureFixture) -> None:
    machine.has("cuda")
    assert DeviceManager("mps", auto_detect=False).device == CPU
    assert caplog.messages == ["device mps is not available (this machine has cuda, cpu); falling back to cpu"]


def test_a_missing_device_is_an_error_without_fallback(machine: Machine) -> None:
    message = r"^device mps: is not available \(this machine has cpu\); choose another, or allow the fallback"
    with pytest.raises(ValueError, match=message):
        DeviceManager("mps", auto_detect=False, fallback=False)


def test_a_failing_probe_falls_back_to_the_next(machine: Machine, caplog: pytest.LogCaptureFixture) -> None:
    machine.has("mps", "cuda", failing=("mps",))
    assert DeviceManager("mps").device == CUDA
    assert DeviceManager("mps", auto_detect=False).device == CPU
    fallen = "device mps does not work here (driver too old); falling back to "
    assert caplog.messages == [fallen + "cuda", fallen + "cpu"]


def test_the_cpu_is_not_probed(machine: Machine, caplog: pytest.LogCaptureFixture) -> None:
    machine.has("cuda", failing=("cuda", "cpu"))
    assert DeviceManager("cpu").device == CPU
    assert not caplog.messages
    assert DeviceManager().device == CPU
    assert caplog.messages == ["device cuda does not work here (driver too old); falling back to cpu"]


def test_a_failing_probe_is_an_error_without_fallback(machine: Machine) -> None:
    machine.has("cuda", failing=("cuda",))
    with pytest.raises(ValueError, match=r"^device cuda: does not work here \(driver too old\); choose"):
        DeviceManager(fallback=False)


@pytest.mark.parametrize("name", ["tpu", "", "CUDA", "cuda:", "cuda:x", "cuda:-1", "cpu:0", "mps:1", "auto"])
def test_names_that_are_no_devices(name: str) -> None:
    with pytest.raises(ValueError, match=r"^device: must be one of mps, cuda, cpu; given '"):
        DeviceManager(name)


def test_no_detection_and_no_preference_is_an_error() -> None:
    with pytest.raises(ValueError, match=r"^device: auto_detect is off, so preferred must be one of mps, cuda, cpu$"):
        DeviceManager(auto_detect=False)


def test_the_probe_of_a_device_that_is_not_there_says_why() -> None:
    missing = next(kind for kind in ("mps", "cuda") if kind not in DeviceManager.available())
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        reason = device_module._probe(torch.device(missing))
    assert reason
    assert "\n" not in reason


def test_the_probe_compares_with_the_cpu_and_leaves_the_seed_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    torch.manual_seed(5)
    expected = torch.rand(3)
    torch.manual_seed(5)
    # The meta device stands in: it computes without numbers, so that only the copy back decides.
    monkeypatch.setattr(torch.Tensor, "cpu", lambda tensor: torch.zeros(tensor.shape))
    assert device_module._probe(torch.device("meta")) == "a small LSTM gave wrong numbers"
    assert torch.equal(torch.rand(3), expected)


@pytest.mark.parametrize(
    ("kind", "model_size", "seq_length", "batch_size"),
    [
        ("mps", 999_999, 50, 40),
        ("mps", 999_999, 8, 64),
        ("mps", 1_000_000, 50, 20),
        ("mps", 4_999_999, 8, 32),
        ("mps", 5_000_000, 50, 10),
        ("mps", 5_000_000, 1, 16),
        ("cuda", 10**9, 50, 81),
        ("cuda", 10, 1, 128),
        ("cpu", 10, 50, 10),
        ("cpu", 10, 16, 32),
        ("cpu", 10, 513, 1),
        ("cuda", 10, 10**6, 1),
        ("mps", 10, 10**6, 1),
    ],
)
def test_batch_size_advice(machine: Machine, kind: str, model_size: int, seq_length: int, batch_size: int) -> None:
    machine.has(kind)
    assert DeviceManager(kind).get_optimal_batch_size(model_size, seq_length) == batch_size


def test_batch_size_advice_needs_a_sequence() -> None:
    with pytest.raises(ValueError, match=r"^seq_length: must be 1 or more; given 0$"):
        DeviceManager("cpu").get_optimal_batch_size(10, 0)


def test_descriptions(machine: Machine, monkeypatch: pytest.MonkeyPatch) -> None:
    machine.has("mps", "cuda")
    assert DeviceManager("cuda").describe() == "CUDA: Test GPU"
    assert DeviceManager("mps").describe() == "MPS: Apple Silicon"
    monkeypatch.setattr(torch, "get_num_threads", lambda: 1)
    assert DeviceManager("cpu").describe() == "CPU, 1 thread"
    monkeypatch.setattr(torch, "get_num_threads", lambda: 2)
    assert DeviceManager("cpu").describe() == "CPU, 2 threads"


def test_threads(monkeypatch: pytest.MonkeyPatch) -> None:
    manager, before = DeviceManager("cpu"), torch.get_num_threads()
    try:
        manager.set_threads(3)
        assert torch.get_num_threads() == 3
        for cores, expected in ((4, 3), (2, 2)):
            monkeypatch.setattr(device_module, "available_cores", lambda cores=cores: cores)
            manager.set_threads(None)
            assert torch.get_num_threads() == expected
    finally:
        torch.set_num_threads(before)
    with pytest.raises(ValueError, match=r"^threads: must be 1 or more; given 0$"):
        manager.set_threads(0)


def test_memory_report(machine: Machine, monkeypatch: pytest.MonkeyPatch) -> None:
    machine.has("mps", "cuda")
    monkeypatch.setattr(torch.cuda, "memory_allocated", lambda device: 3)
    monkeypatch.setattr(torch.cuda, "memory_reserved", lambda device: 4)
    monkeypatch.setattr(torch.mps, "current_allocated_memory", lambda: 5)
    monkeypatch.setattr(torch.mps, "driver_allocated_memory", lambda: 6)
    cuda, mps, cpu = (DeviceManager(kind).memory() for kind in ("cuda", "mps", "cpu"))
    assert (cuda["allocated"], cuda["reserved"]) == (3, 4)
    assert (mps["allocated"], mps["reserved"]) == (5, 6)
    assert set(cpu) <= {"rss"}


def test_resident_memory_grows_with_what_is_held() -> None:
    size = 256 << 20
    before = DeviceManager("cpu").memory()["rss"]
    with mmap.mmap(-1, size) as held:  # new memory, where an array may be given what was freed before
        held.write(b"x" * size)
        during = DeviceManager("cpu").memory()["rss"]
    assert 10 << 20 <= before < during - size // 2


@pytest.mark.parametrize(
    ("error", "expected"),
    [
        (MemoryError(), True),
        (torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2 GiB"), True),
        (RuntimeError("MPS backend out of memory (MPS allocated: 9 GB)"), True),
        (RuntimeError("[enforce fail at alloc_cpu.cpp] DefaultCPUAllocator: can't allocate memory: you tried"), True),
        (RuntimeError("CUDA error: CUBLAS_STATUS_ALLOC_FAILED when calling `cublasCreate(handle)`"), True),
        (RuntimeError("CUDA error: device-side assert triggered"), False),
        (ValueError("out of memory"), False),
    ],
)
def test_out_of_memory_by_its_many_names(error: Exception, expected: bool) -> None:
    assert is_out_of_memory(error) is expected


def on(device: torch.device, error: Exception) -> torch.device:
    """Fails anywhere but on the CPU."""
    if device.type != "cpu":
        raise error
    return device


@pytest.mark.parametrize(
    "error",
    [
        NotImplementedError("The operator 'aten::x' is not currently implemented for the MPS device.\nUse ..."),
        RuntimeError("CUDA error: device-side assert triggered"),
        RuntimeError("cuDNN error: CUDNN_STATUS_EXECUTION_FAILED"),
    ],
)
def test_run_goes_on_with_the_cpu(machine: Machine, caplog: pytest.LogCaptureFixture, error: Exception) -> None:
    machine.has("cuda")
    manager = DeviceManager()
    assert manager.run(lambda device: on(device, error)) == CPU
    assert manager.device == CPU
    assert caplog.messages == [f"cuda failed ({str(error).splitlines()[0]}); continuing on the CPU"]


@pytest.mark.parametrize(
    "error",
    [
        RuntimeError("mat1 and mat2 shapes cannot be multiplied (2x3 and 4x5)"),
        NotImplementedError(),
        torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2 GiB"),
        RuntimeError("MPS backend out of memory"),
        ValueError("cuda"),
    ],
)
def test_run_raises_what_is_not_the_devices_fault(machine: Machine, error: Exception) -> None:
    machine.has("cuda")
    manager = DeviceManager()
    with pytest.raises(type(error)) as caught:
        manager.run(lambda device: on(device, error))
    assert caught.value is error
    assert manager.device == CUDA


def test_run_raises_when_falling_back_is_not_allowed(machine: Machine) -> None:
    machine.has("cuda")
    with pytest.raises(RuntimeError, match="CUDA error"):
        DeviceManager(fallback=False).run(lambda device: on(device, RuntimeError("CUDA error")))


def test_run_on_the_cpu_passes_errors_on() -> None:
    def fail(device: torch.device) -> None:
        raise RuntimeError("CUDA")

    with pytest.raises(RuntimeError, match="CUDA"):
        DeviceManager("cpu").run(fail)
    assert DeviceManager("cpu").run(lambda device: torch.ones(2, device=device).sum().item()) == 2.0
