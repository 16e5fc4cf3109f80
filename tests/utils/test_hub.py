"""Models from the Hub: addresses, the cache, and what can go wrong, against a server on loopback."""

from __future__ import annotations

import importlib.util
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hub_server import TOKEN, Hub

from char_rnn.data.vocabulary import Vocabulary
from char_rnn.generation.text_generator import TextGenerator
from char_rnn.model_file import ModelFile
from char_rnn.models.parameters import parameter_shapes
from char_rnn.utils.config import Config
from char_rnn.utils.files import TextForPathError
from char_rnn.utils.hub import Address, HubError, fetch
from char_rnn.utils.model_files import ModelFileError, find_model

ROSE, VIOLET = "anna/rose", b"violet" * 1000


@pytest.fixture
def model(tmp_path: Path) -> bytes:
    config = Config.model_validate({"model": {"hidden_size": 8, "num_layers": 1}})
    vocabulary, generator = Vocabulary.from_text("a rose\n"), np.random.default_rng(1)
    shapes = parameter_shapes(config.model, vocabulary.size)
    tensors = {name: generator.normal(size=shape).astype(np.float32) for name, shape in shapes}
    return ModelFile(config, vocabulary, tensors).write(tmp_path / "rose.safetensors").read_bytes()


@pytest.fixture(autouse=True)
def _no_pauses(hub: Hub, monkeypatch: pytest.MonkeyPatch) -> None:
    """huggingface_hub waits before it tries again."""
    monkeypatch.setattr("huggingface_hub.file_download.time.sleep", lambda seconds: None)


def got(address: str, **options: Any) -> bytes:
    return fetch(Address.parse(address), options.pop("most", 1 << 20), **options).read_bytes()


@pytest.mark.parametrize(
    ("text", "address", "written"),
    [
        ("hf://anna/rose", (ROSE, None, "model.safetensors"), None),
        ("hf://anna/rose@v1.0", (ROSE, "v1.0", "model.safetensors"), None),
        ("hf://anna/rose@refs/pr/2/old/lm.t7", (ROSE, "refs/pr/2", "old/lm.t7"), None),
        ("hf://anna/rose@work%2Fnew", (ROSE, "work/new", "model.safetensors"), None),
        (Path("hf://anna/rose/a.t7"), (ROSE, None, "a.t7"), "hf://anna/rose/a.t7"),
    ],
)
def test_addresses(text: str | Path, address: tuple[str, str | None, str], written: str | None) -> None:
    assert Address.parse(text) == address
    assert str(Address.parse(text)) == (written or text)


@pytest.mark.parametrize("text", ["hf://rose", "hf://anna/rose@", "hf://a b/c"])
def test_other_texts_are_no_addresses(text: str) -> None:
    with pytest.raises(TextForPathError, match="write hf://USER/NAME"):
        find_model(text)


def test_a_model_is_read_by_its_address(hub: Hub, model: bytes) -> None:
    hub.commit(ROSE, {"model.safetensors": model})
    assert ModelFile.read(f"hf://{ROSE}").config.model.hidden_size == 8
    assert len(TextGenerator.load(f"hf://{ROSE}").generate("a ", 20)) == 22
    assert sum("GET /large" in each for each in hub.seen) == 1, "the second time it is in the cache"


def test_revisions_and_changes(hub: Hub) -> None:
    first = hub.commit(ROSE, {"model.safetensors": VIOLET})
    assert got(f"hf://{ROSE}") == VIOLET
    hub.commit(ROSE, {"model.safetensors": VIOLET + b"!", "notes.txt": b"small"})
    assert got(f"hf://{ROSE}") == VIOLET + b"!"
    assert got(f"hf://{ROSE}/notes.txt") == b"small"
    assert got(f"hf://{ROSE}@{first}") == VIOLET


def test_a_commit_between_check_and_download(hub: Hub, monkeypatch: pytest.MonkeyPatch) -> None:
    """The file is that of the commit that was checked."""
    import huggingface_hub

    download = huggingface_hub.hf_hub_download

    def late(*arguments: Any, **options: Any) -> str:
        hub.commit(ROSE, {"model.safetensors": VIOLET + b"!"})
        return download(*arguments, **options)

    hub.commit(ROSE, {"model.safetensors": VIOLET})
    with monkeypatch.context() as patch:
        patch.setattr("huggingface_hub.hf_hub_download", late)
        assert got(f"hf://{ROSE}") == VIOLET
    assert got(f"hf://{ROSE}", local_files_only=True) == VIOLET
    assert got(f"hf://{ROSE}") == VIOLET + b"!"


def test_progress(hub: Hub) -> None:
    hub.commit(ROSE, {"model.safetensors": VIOLET})
    seen: list[tuple[str, int, int | None]] = []
    got(f"hf://{ROSE}", progress=lambda *each: seen.append(each))
    assert seen[-1] == ("downloading", len(VIOLET), len(VIOLET))


def test_the_cache_serves_when_the_hub_does_not(hub: Hub, monkeypatch: pytest.MonkeyPatch) -> None:
    hub.commit(ROSE, {"model.safetensors": VIOLET})
    got(f"hf://{ROSE}")
    hub.status = 503
    assert got(f"hf://{ROSE}") == VIOLET
    with pytest.raises(HubError, match=r"hf://anna/tulip: not in the cache, and http.* cannot be reached"):
        got("hf://anna/tulip")
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    hub.seen.clear()
    assert got(f"hf://{ROSE}") == got(f"hf://{ROSE}", local_files_only=True) == VIOLET
    with pytest.raises(HubError, match="hf://anna/tulip: not in the cache, and HF_HUB_OFFLINE is set; unset it"):
        got("hf://anna/tulip")
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", False)
    assert got(f"hf://{ROSE}", local_files_only=True) == VIOLET
    assert hub.seen == []


def test_a_cut_off_download_goes_on(hub: Hub) -> None:
    hub.commit(ROSE, {"model.safetensors": VIOLET})
    hub.cut = [100, 2000]
    assert got(f"hf://{ROSE}") == VIOLET
    hub.commit(ROSE, {"model.safetensors": VIOLET + b"!"})
    hub.cut = [100, *[0] * 10]
    with pytest.raises(HubError, match=r"cannot be reached \(.*\); check the network, and try again"):
        got(f"hf://{ROSE}")


def test_a_damaged_download_is_removed(hub: Hub) -> None:
    hub.commit(ROSE, {"model.safetensors": VIOLET, "notes.txt": b"small"})
    hub.changes[VIOLET] = VIOLET[::-1]
    for _ in range(2):
        with pytest.raises(HubError, match="hf://anna/rose: the downloaded file is damaged"):
            got(f"hf://{ROSE}")
    hub.changes.clear()
    path = fetch(Address.parse(f"hf://{ROSE}"), 1 << 20)
    path.resolve().write_bytes(VIOLET[::-1])
    with pytest.raises(HubError, match="has been removed; try again"):
        got(f"hf://{ROSE}")
    assert got(f"hf://{ROSE}") == VIOLET
    path = fetch(Address.parse(f"hf://{ROSE}/notes.txt"), 1 << 20)
    path.resolve().write_bytes(b"smell")
    with pytest.raises(HubError, match=r"hf://anna/rose/notes.txt: the downloaded file is damaged"):
        got(f"hf://{ROSE}/notes.txt")


def test_too_large(hub: Hub) -> None:
    hub.commit(ROSE, {"model.safetensors": VIOLET})
    with pytest.raises(HubError, match="hf://anna/rose: has 6,000 bytes, more than 5,000"):
        got(f"hf://{ROSE}", most=5000)
    assert not any("GET" in each for each in hub.seen)


@pytest.mark.parametrize(
    ("address", "message"),
    [
        ("hf://anna/tulip", "hf://anna/tulip: no such model at http.*; check the name, or if it is private, log in"),
        ("hf://anna/rose@v9", "hf://anna/rose@v9: no branch, tag or commit v9 at http"),
        ("hf://anna/rose/lm.t7", "hf://anna/rose/lm.t7: no file lm.t7; see its files at http.*/tree/main"),
    ],
)
def test_missing(hub: Hub, address: str, message: str) -> None:
    hub.commit(ROSE, {"model.safetensors": VIOLET})
    with pytest.raises(FileNotFoundError, match=message):
        got(address)


def test_private_and_gated(hub: Hub, monkeypatch: pytest.MonkeyPatch) -> None:
    hub.commit(ROSE, {"model.safetensors": VIOLET})
    hub.private.add(ROSE)
    with pytest.raises(FileNotFoundError, match="if it is private, log in with `hf auth login`, or set HF_TOKEN"):
        got(f"hf://{ROSE}")
    monkeypatch.setenv("HF_TOKEN", TOKEN)
    assert got(f"hf://{ROSE}") == VIOLET
    hub.gated.add(ROSE)
    with pytest.raises(HubError, match=r"access is restricted; accept the terms at http.*/anna/rose, then log in"):
        got(f"hf://{ROSE}")


def test_nothing_of_a_file_runs(hub: Hub) -> None:
    pickle = b"PK\x03\x04" + bytes(26) + b"lm/data.pkl" + bytes(1000)
    hub.commit(ROSE, {"model.safetensors": pickle})
    with pytest.raises(ModelFileError, match=r"a checkpoint of torch.save, not a model; it is not opened"):
        ModelFile.read(f"hf://{ROSE}")


def test_without_huggingface_hub(monkeypatch: pytest.MonkeyPatch) -> None:
    find = importlib.util.find_spec
    monkeypatch.setattr("char_rnn.utils.hub.find_spec", lambda name: find(name + "_missing"))
    with pytest.raises(HubError, match=r'not installed; run: pip install "char-rnn-pytorch\[hub\]"'):
        got(f"hf://{ROSE}")
