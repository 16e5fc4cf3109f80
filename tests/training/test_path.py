"""Which code a training is said to run."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest
import torch
from training_helpers import small_config

from char_rnn import kernels
from char_rnn.ops import kernel_loop
from char_rnn.training.tuning import training_path
from char_rnn.utils.config import compose_config


@pytest.mark.parametrize(
    ("sections", "device", "expected"),
    [
        ({"model": {"layer_norm": "cell"}}, "cpu", "kernels (avx512)"),
        ({"model": {"layer_norm": "cell"}, "training": {"precision": "float64"}}, "cpu", "PyTorch (float64)"),
        ({"model": {"layer_norm": "cell"}}, "cuda", "PyTorch"),
        ({"model": {"type": "gru"}, "training": {"precision": "bfloat16"}}, "cpu", "kernels (avx512)"),
    ],
)
def test_the_path(sections: dict[str, Any], device: str, expected: str, monkeypatch: pytest.MonkeyPatch) -> None:
    config = small_config(**sections)
    monkeypatch.setattr(kernels, "level", lambda: "avx512")
    assert training_path(config, torch.device(device)) == expected
    monkeypatch.setattr(kernels, "level", lambda: None)
    monkeypatch.setenv("CHAR_RNN_KERNELS", "off")
    reason = {"kernels (avx512)": "PyTorch (CHAR_RNN_KERNELS=off)", "PyTorch (float64)": expected}
    if device == "cpu":
        assert training_path(config, torch.device(device)) == reason.get(expected, "PyTorch (CHAR_RNN_KERNELS=off)")


@pytest.mark.parametrize(
    ("fast", "expected"), [(True, "kernels (avx2)"), (False, "PyTorch (kernels for avx2 have no bfloat16)")]
)
def test_bfloat16_by_kernels_that_have_it(fast: bool, expected: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(kernels, "level", lambda: "avx2")
    monkeypatch.setattr(kernel_loop, "kernels", lambda: SimpleNamespace(train_has_bfloat16=lambda: fast))
    assert training_path(small_config(training={"precision": "bfloat16"}), torch.device("cpu")) == expected
    assert training_path(small_config(), torch.device("cpu")) == "kernels (avx2)"


def test_the_path_of_2015() -> None:
    assert training_path(compose_config("torch7"), torch.device("cpu")) == "PyTorch (as in 2015)"
