"""From findings to advice; devices that this machine does not have are made up."""

from __future__ import annotations

from char_rnn.doctor.report import BUSY, CheckResult, Report, Speed, Threads, judge, to_text

DEVICES = ["mps", "cpu"]
FAST = [Speed("mps", "lstm", 128, 90_000.0, 2), Speed("cpu", "lstm", 128, 50_000.0, 2),
        Speed("mps", "gru", 128, 9_000.0, 2), Speed("cpu", "gru", 128, 40_000.0, 2),
        Speed("mps", "lstm", 512, 80_000.0, 2), Speed("cpu", "lstm", 512, 4_000.0, 2),
        Speed("mps", "gru", 512, 7_000.0, 2), Speed("cpu", "gru", 512, 3_000.0, 2)]  # fmt: skip
THREADS = [Threads(128, 8, 60_000.0, 50_000.0), Threads(512, 8, 2_000.0, 4_000.0)]


def check(device: str, name: str, status: str = "passed", cell: str | None = "lstm", **rest: object) -> CheckResult:
    return CheckResult(device, name, cell, status, "it is off", **rest)  # type: ignore[arg-type]


PASSED = [check(device, "forward") for device in DEVICES]
WRONG_LSTM = check("mps", "batch change", "failed", issues=(177116,))
WRONG_DRAWING = check("mps", "drawing", "failed", None, issues=(192577,))


def test_of_those_that_train_right_the_fastest_is_taken_and_exceptions_are_named() -> None:
    verdict = judge(DEVICES, PASSED, FAST, THREADS, "mps")
    assert (verdict.device, verdict.settings, verdict.sound) == ("mps", (), True)
    assert verdict.words == (
        "Train on mps: every check passed, and it is the fastest of the devices that train correctly (mps, cpu).",
        "cpu is faster for gru of hidden size 128: use --device cpu there.",
    )


def test_a_wrong_device_is_not_taken_however_fast() -> None:
    verdict = judge(DEVICES, [*PASSED, WRONG_LSTM], FAST, THREADS, "mps")
    assert (verdict.device, verdict.sound) == ("cpu", False)  # plain `char-rnn train` would take the wrong device
    assert verdict.settings == ("--device cpu",)
    assert verdict.words == (
        "Train on cpu: every check passed. All other devices failed.",
        "Threads: at hidden size 128 1 thread is 1.2 times as fast as 8 threads; at hidden size 512 8 threads are 2 "
        "times as fast as 1 thread. char-rnn train selects the number of threads by timing a few steps at the start.",
        "Do not train on mps: wrong batch change of lstm. See pytorch issue 177116.",
    )


def test_drawing_is_told_of_and_keeps_nobody_from_training() -> None:
    verdict = judge(DEVICES, [*PASSED, WRONG_DRAWING], FAST, THREADS, "mps")
    assert (verdict.device, verdict.settings, verdict.sound) == ("mps", (), False)
    assert verdict.words[0].startswith("Train on mps: every check but drawing passed, and it is the fastest")
    assert verdict.words[-1].startswith(
        "Do not draw random numbers on mps in your own programs: it is off. See pytorch issue 192577."
    )


def test_without_speeds_the_first_that_is_right_is_taken() -> None:
    assert judge(DEVICES, PASSED, [], [], "mps").device == "mps"
    assert judge(DEVICES, [*PASSED, WRONG_LSTM], [], [], "mps").settings == ("--device cpu",)


def test_when_none_is_right_the_verdict_says_what_to_do() -> None:
    alone = judge(["mps"], [WRONG_LSTM], [], [], "mps")
    assert (alone.device, alone.settings, alone.sound) == (None, (), False)
    assert alone.words[-1] == (
        "None of the checked devices trains correctly. Use --device cpu, and check it with char-rnn doctor."
    )
    both = judge(DEVICES, [WRONG_LSTM, check("cpu", "forward", "failed")], [], [], "mps")
    assert both.words[-1].startswith("No device trains correctly. Install another version of PyTorch")


def test_threads_are_as_many_as_there_are_unless_one_is_clearly_faster() -> None:
    assert Threads(128, 8, 52_000.0, 50_000.0).best == 8
    assert Threads(128, 8, 53_000.0, 50_000.0).best == 1
    assert judge(["cpu"], PASSED[1:], FAST[1:2], THREADS[1:], "cpu").settings == ()


def test_a_busy_machine_is_told_of_with_its_speeds_alone() -> None:
    assert BUSY in judge(DEVICES, PASSED, FAST, THREADS, "mps", load=0.5).words
    assert BUSY not in judge(DEVICES, PASSED, [], [], "mps", load=0.5).words
    assert BUSY not in judge(DEVICES, PASSED, FAST, THREADS, "mps", load=0.1).words


MACHINE = {
    "char_rnn": "1.0", "python": "3.12.1", "torch": "2.9.0", "numpy": "2.3.0", "system": "macOS 15.1 on arm64",
    "processor": "Apple M2", "cores": 8, "usable_cores": 8, "load": 0.1, "threads": 8, "cpu_capability": "DEFAULT",
    "bfloat16_on_cpu": False, "kernels": None, "no_kernels": "CHAR_RNN_KERNELS=off",
    "cuda": None, "mps": {"macos": "15.1", "memory": 12 << 30},
}  # fmt: skip
CUDA = {"version": "12.8", "cudnn": 91002, "tf32_in_cudnn": True, "gpus": ["Big GPU"]}


def report(*extra: CheckResult) -> Report:
    checks = [*PASSED, check("mps", "training", off=3e-6, allowed=5e-5), check("cpu", "training"), *extra]
    verdict = judge(DEVICES, checks, FAST, THREADS, "mps")
    described = {"mps": "MPS: Apple Silicon", "cpu": "CPU, 8 threads"}
    return Report(MACHINE, described, checks, FAST, THREADS, verdict, 1.0)


def test_the_text_tells_what_failed_and_what_is_slower_than_the_cpu() -> None:
    text = to_text(report(WRONG_LSTM))
    assert "MPS on macOS 15.1 with 12 GiB of memory" in text
    assert "mps (MPS: Apple Silicon): 1 of 3 checks FAILED" in text
    assert "cpu (CPU, 8 threads): all 2 checks passed" in text
    assert "no kernels (CHAR_RNN_KERNELS=off)" in " ".join(text.split())
    assert "  training      ok          3.0e-06\n" in text
    assert "  batch change  FAILED\n  FAILED batch change, lstm: it is off (pytorch issue 177116)" in text
    assert "    gru              9,000*      7,000\n" in text
    assert "  * slower than the CPU (pytorch issue 123148)" in text
    assert "  Run: char-rnn train DATA --device cpu" in text


def test_the_text_fits_the_terminal() -> None:
    long = check("mps", "memory", "failed", issues=(1, 2))
    for width in (60, 80, 120):
        assert max(map(len, to_text(report(WRONG_LSTM, long, WRONG_DRAWING), width).splitlines())) <= width


def test_the_text_of_a_machine_with_cuda() -> None:
    found = report()
    text = to_text(Report({**MACHINE, "cuda": CUDA, "mps": None}, *list(vars(found).values())[1:]))
    assert "CUDA 12.8, cuDNN 91002, Big GPU, cuDNN rounds to TF32; no MPS" in " ".join(text.split())
