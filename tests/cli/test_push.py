"""``char-rnn push``, and the commands on what it pushed, against a Hub on loopback."""

from __future__ import annotations

import importlib.util
import json
from pathlib import Path

import pytest
import yaml
from cli_helpers import SMALL, Command
from hub_server import TOKEN, Hub

from char_rnn import __version__
from char_rnn.model_file import ModelFile

pytestmark = pytest.mark.filterwarnings("ignore:Use 'content=:DeprecationWarning")  # by huggingface_hub
NAME, ADDRESS = "anna/poem", "hf://anna/poem"


@pytest.fixture
def pushed(char_rnn: Command, hub: Hub, run_folder: Path, monkeypatch: pytest.MonkeyPatch) -> dict[str, bytes]:
    """The files that were pushed."""
    monkeypatch.setenv("HF_TOKEN", TOKEN)
    done = char_rnn("push", run_folder, NAME, "--license", "mit", "--prime", "The rose")
    assert (done.status, done.out) == (0, ""), done.err
    last = done.err.splitlines()[-1]
    assert last == f"pushed to {hub.url}/{NAME}; write with it: char-rnn sample {ADDRESS}"
    return hub.files[NAME, "main"]


def metadata(card: bytes) -> dict[str, object]:
    return dict(yaml.safe_load(card.decode().split("---\n")[1]))


def test_what_is_pushed(pushed: dict[str, bytes], hub: Hub, run_folder: Path, poem: Path, tmp_path: Path) -> None:
    assert sorted(pushed) == ["README.md", "config.json", "demo.html", "model.safetensors"]
    assert metadata(pushed["README.md"]) == {
        "library_name": "char-rnn",
        "pipeline_tag": "text-generation",
        "license": "mit",
        "tags": ["char-rnn", "character-level", "lstm"],
    }
    (tmp_path / "model.safetensors").write_bytes(pushed["model.safetensors"])
    own, shared = ModelFile.read(run_folder), ModelFile.read(tmp_path / "model.safetensors")
    assert {name: array.tobytes() for name, array in shared.tensors.items()} == {
        name: array.tobytes() for name, array in own.tensors.items()
    }
    assert own.config.generation.suggested_primes
    assert shared.config.generation.suggested_primes == ["The rose"]
    assert json.loads(pushed["config.json"])["model"] == own.config.model.model_dump(mode="json")
    for content in pushed.values():
        assert str(poem.parents[1]).encode() not in content
    assert hub.messages == [f"Push a model with char-rnn {__version__}"]
    assert "visibility" not in hub.created[0]


def test_commands_on_a_model_of_the_hub(
    char_rnn: Command, pushed: dict[str, bytes], run_folder: Path, poem: Path, tmp_path: Path
) -> None:
    for command in (["sample", "--length", "50", "--seed", "1", "-q"], ["eval", poem, "--json"]):
        name, *others = command
        own, shared = (char_rnn(name, model, *others) for model in (run_folder, ADDRESS))
        assert own.out == shared.out.replace(ADDRESS, str(run_folder))
    assert char_rnn("sample", ADDRESS, "--length", "5").err.startswith(f"{ADDRESS}: 1-layer lstm")
    assert char_rnn("inspect", f"{ADDRESS}@main").out.startswith(f"{ADDRESS}@main\n  architecture")
    assert char_rnn("export", ADDRESS, tmp_path / "poem.html").status == 0
    assert char_rnn("convert", ADDRESS, tmp_path / "small.safetensors", "--precision", "int8").status == 0
    assert char_rnn("eval", run_folder, "hf://anna/tulip", poem).err.startswith("error: hf://anna/tulip: no such model")


def test_training_from_and_with_a_model_of_the_hub(
    char_rnn: Command, pushed: dict[str, bytes], hub: Hub, poem: Path, tmp_path: Path
) -> None:
    step = ["--set", "training.max_steps=1", "-q"]
    from_it = ["--init-from", ADDRESS, *SMALL[2 * sum(word.startswith("model.") for word in SMALL) :]]
    for name, options in {"on": from_it, "with": [*SMALL, "--set", f"training.teacher={ADDRESS}"]}.items():
        done = char_rnn("train", poem, "--out", tmp_path / name, *options, *step)
        assert done.status == 0, done.err
    assert char_rnn("push", tmp_path / "on", "anna/second", "-q").status == 0
    card = hub.files["anna/second", "main"]["README.md"]
    assert metadata(card)["base_model"] == NAME
    assert f"| started from | {ADDRESS} |" in card.decode()


def test_out_writes_the_files_only(
    char_rnn: Command, run_folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    find = importlib.util.find_spec
    monkeypatch.setattr("char_rnn.utils.hub.find_spec", lambda name: find(name + "_missing"))
    assert char_rnn("push", run_folder, NAME, "--out", tmp_path / "look", "--prime", "ж").status == 2
    assert not (tmp_path / "look").exists()
    done = char_rnn("push", run_folder, NAME, "--out", tmp_path / "look")
    assert done.status == 0, "the first attempt left no files"
    assert "the card names no license; give one with --license\n" in done.err
    assert done.err.endswith(f"wrote {tmp_path / 'look'}; nothing was sent\n")
    assert char_rnn("sample", tmp_path / "look", "--length", "5").status == 0
    assert "exists already; give a new folder" in char_rnn("push", run_folder, NAME, "--out", tmp_path / "look").err
    done = char_rnn("push", run_folder, NAME)
    assert done.err == (
        "error: models on the Hub need huggingface_hub, which is not installed;"
        ' run: pip install "char-rnn-pytorch[hub]"\n'
    )
    assert done.status == 1


def test_private(char_rnn: Command, pushed: dict[str, bytes], hub: Hub, run_folder: Path) -> None:
    done = char_rnn("push", run_folder, NAME, "--private", "-q")
    assert done.err == f"error: {ADDRESS}: exists already and is public; make it private in its settings first\n"
    assert len(hub.messages) == 1
    assert char_rnn("push", run_folder, "anna/diary", "--private", "--message", "For me").status == 0
    assert hub.messages[1:] == ["For me"]
    assert "anna/diary" in hub.private


def test_a_refused_file(char_rnn: Command, hub: Hub, run_folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HF_TOKEN", TOKEN)
    hub.is_full = True
    done = char_rnn("push", run_folder, NAME, "-q")
    assert done.status == 1
    assert "does not permit this (Storage limit reached); log in" in done.err
    assert hub.messages == []


@pytest.mark.parametrize(
    ("token", "arguments", "status", "message"),
    [
        ("", [NAME], 1, f"{ADDRESS}: pushing a model needs an account of the Hub; log in with `hf auth login`, or"),
        ("wrong", [NAME], 1, "does not permit this (Invalid username or password.); log in"),
        (TOKEN, ["bob/poem"], 1, "does not permit this (You don't have the rights to create bob's models); log in"),
        (TOKEN, ["poem"], 2, "poem: give USER/NAME, such as anna/my-book"),
        (TOKEN, ["anna/poem@v1"], 2, "anna/poem@v1: give USER/NAME without a revision or a file"),
        (TOKEN, ["anna/a--b"], 1, "hf://anna/a--b: not a name of the Hub"),
        (TOKEN, [NAME, "--prime", "ж"], 2, "unknown character 'ж'"),
        (TOKEN, [NAME, "--license", "MIT License"], 2, "'MIT License': give an identifier in lower-case letters"),
        (TOKEN, [NAME, "--prime", ""], 2, "give 1 to 100 characters"),
    ],
)
def test_refused(
    char_rnn: Command, hub: Hub, run_folder: Path, monkeypatch: pytest.MonkeyPatch,
    token: str, arguments: list[str], status: int, message: str,
) -> None:  # fmt: skip
    monkeypatch.setenv("HF_TOKEN", token)
    assert char_rnn("push", run_folder, *arguments, "-q").refused(status, message)
    assert hub.messages == []
