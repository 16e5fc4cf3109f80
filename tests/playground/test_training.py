"""The progress of runs, and their models, which are replaced while texts are written."""

from __future__ import annotations

import asyncio
import errno
import os
import shutil
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any
from unittest.mock import patch

import httpx
import pytest
from playground_helpers import LETTERS, Serving, alone, events, eventually, model_file, serving, text_of, write_run
from processes import locked

from char_rnn.data.vocabulary import Vocabulary
from char_rnn.generation.generation_state import choose_together
from char_rnn.playground.schema import Limits
from char_rnn.playground.served_models import REPLACED

PATIENT = {"model": "run", "length": 10**6}


@pytest.fixture(autouse=True)
def _quickly() -> Iterator[None]:
    with (
        patch("char_rnn.playground.served_models.SECONDS_TO_LOOK", 0.02),
        patch("char_rnn.playground.served_models.GRACE", 0.3),
    ):
        yield


def training(now: Serving, name: str = "run") -> Any:
    answer = now.http.get(f"/api/models/{name}/training")
    assert answer.status_code == 200, answer.text
    return answer.json()


def is_at(now: Serving, step: int) -> bool:
    return bool((training(now)["model"] or {"step": None})["step"] == step)


def test_progress(tmp_path: Path) -> None:
    run = write_run(tmp_path / "run", {100: 2.0, 200: 1.5})
    with serving({"run": run, "file": model_file()}) as now, locked(run):
        assert training(now) == {
            "state": "running",
            "step": 200,
            "total_steps": 200,
            "epoch": 4.0,
            "seconds": 20.0,
            "seconds_left": 0,
            "best": {"step": 200, "loss": 1.5},
            "train": [[100, 2.0], [200, 1.5]],
            "val": [[100, 2.0], [200, 1.5]],
            "samples": [{"step": 100, "text": "a face"}, {"step": 200, "text": "a face"}],
            "model": {"step": 200, "loss": 1.5},
            "problem": None,
        }
        answer = now.http.get("/api/models/run/training")
        assert now.http.get(answer.url, headers={"if-none-match": answer.headers["etag"]}).status_code == 304
        refused = now.http.get("/api/models/file/training")
        assert refused.status_code == 404
        message = "run 'file': not served here; the served run folders are run"
        assert refused.json()["error"]["message"] == message


def test_a_run_without_a_checkpoint_waits_for_one(tmp_path: Path) -> None:
    run = write_run(tmp_path / "run", {})
    with serving({"run": run}) as now:
        assert now.http.get("/api/models").json()["models"] == []
        assert training(now)["model"] is None
        for body in ({}, {"model": "run"}):
            refused = now.post("/api/generate", **body)
            assert refused.status_code == 503
            assert refused.json()["error"]["message"].startswith("model run: the run has no checkpoint yet")
        (run / "last.safetensors").unlink()
        write_run(run, {100: 2.0})
        eventually(lambda: is_at(now, 100))
        assert [model["step"] for model in now.http.get("/api/models").json()["models"]] == [100]
        assert now.text(model="run", seed=1, length=50) == alone(model_file(), length=50, seed=1)


def test_the_last_checkpoint_is_served_until_there_is_a_best(tmp_path: Path) -> None:
    run = write_run(tmp_path / "run", {100: 2.0})
    (run / "best.safetensors").unlink()
    with serving({"run": run}) as now:
        assert is_at(now, 100)
        write_run(run, {100: 2.0, 200: 1.5}, seed=2)
        eventually(lambda: is_at(now, 200))
        assert now.text(model="run", seed=1, length=50) == alone(model_file(seed=2), length=50, seed=1)


def test_a_file_that_could_not_be_read_is_read_again(tmp_path: Path) -> None:
    run = write_run(tmp_path / "run", {100: 2.0})
    with serving({"run": run}) as now:
        busy = OSError(errno.EMFILE, "Too many open files", str(run / "best.safetensors"))
        with patch("char_rnn.playground.served_models.ModelFile.read", side_effect=busy):
            write_run(run, {100: 2.0, 200: 1.5})
            eventually(lambda: training(now)["problem"] == "best.safetensors: Too many open files")
        eventually(lambda: is_at(now, 200))
        assert training(now)["problem"] is None


def test_texts_in_progress_end_with_the_old_model(tmp_path: Path) -> None:
    run = write_run(tmp_path / "run", {100: 2.0})
    with serving({"run": run}, Limits(length=10**6)) as now:
        started: list[str] = []
        with now.http.stream("POST", "/api/generate", json={"model": "run", "seed": 1, "length": 3000}) as response:
            pieces = response.iter_text()
            started.append(next(pieces))
            write_run(run, {100: 2.0, 200: 1.5}, seed=2)
            eventually(lambda: is_at(now, 200))
            new = now.text(model="run", seed=1, length=3000)
            old = text_of(list(events(iter([*started, *pieces]))))
        assert old == alone(model_file(), length=3000, seed=1)
        assert new == alone(model_file(seed=2), length=3000, seed=1)
        counted = now.app.state.metrics.registry.get_sample_value("char_rnn_characters_total", {"model": "run"})
        assert counted >= 3000
        eventually(lambda: len(now.app.state.models._replaced) == 0)


def test_a_search_for_cells_ends_with_the_old_model(tmp_path: Path) -> None:
    run = write_run(tmp_path / "run", {100: 2.0})
    with serving({"run": run}) as now, patch("char_rnn.playground.cell_finder.choose_together", slowly):
        with ThreadPoolExecutor(1) as pool:
            search = pool.submit(now.http.get, "/api/models/run/cells")
            eventually(lambda: now.app.state.models["run"].busy)
            write_run(run, {100: 2.0, 200: 1.5})
            eventually(lambda: is_at(now, 200))
            assert search.result().json()["cells"]
        eventually(lambda: not now.app.state.models._replaced)


def slowly(*arguments: Any) -> Any:
    time.sleep(0.02)  # in each of 50 steps
    return choose_together(*arguments)


@pytest.mark.slow
def test_a_text_that_does_not_end_is_ended(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("char_rnn.playground.served_models.PATIENCE", 0.5)
    run = write_run(tmp_path / "run", {100: 2.0})
    with serving({"run": run}, Limits(length=10**6)) as now:
        with now.http.stream("POST", "/api/generate", json=PATIENT) as response:
            pieces = response.iter_text()
            first = next(pieces)
            write_run(run, {100: 2.0, 200: 1.5})
            eventually(lambda: is_at(now, 200))
            happened = list(events(iter([first, *pieces])))
        assert happened[-1] == ("error", {"message": REPLACED})


@pytest.mark.slow
def test_many_replacements_under_load(tmp_path: Path) -> None:
    """Each text is by one of the models, and no thread or task is left over."""
    run = write_run(tmp_path / "run", {100: 2.0})
    with serving({"run": run}) as now:
        now.text(model="run")
        tasks = now.tasks()
        texts: list[str] = []

        async def write(client: httpx.AsyncClient) -> None:
            while len(texts) < 40:
                body = {"model": "run", "seed": 1, "length": 200}
                async with client.stream("POST", "/api/generate", json=body) as response:
                    assert response.status_code == 200, await response.aread()
                    texts.append(text_of(list(events(iter([piece async for piece in response.aiter_text()])))))

        async def replace() -> None:
            for seed in range(1, 5):
                write_run(run, {100: 2.0, 100 + seed: 1.5}, seed)
                while not is_at(now, 100 + seed):
                    await asyncio.sleep(0.02)

        async def both() -> None:
            async with httpx.AsyncClient(base_url=now.http.base_url, trust_env=False) as client:
                await asyncio.gather(replace(), *(write(client) for _ in range(4)))

        asyncio.run(both())
        possible = {alone(model_file(seed=seed), length=200, seed=1) for seed in range(5)}
        assert set(texts) <= possible
        assert len(set(texts)) > 1
        eventually(lambda: not now.app.state.models._replaced and now.tasks() <= tasks)


@pytest.mark.parametrize(
    ("damage", "problem"),
    [
        (lambda best: best.write_bytes(best.read_bytes()[:-9]), "best.safetensors: not a model file, or cut short"),
        (lambda best: best.write_text("garbage"), "best.safetensors: not a model file, or cut short"),
        (lambda best: (best.unlink(), best.mkdir()), "best.safetensors: no model in this folder"),
        (lambda best: (best.unlink(), os.mkfifo(best)), "best.safetensors: a pipe, not a regular file"),
        (lambda best: best.unlink(), None),
        (lambda best: shutil.rmtree(best.parent), None),
    ],
    ids=["cut", "garbage", "folder", "pipe", "file-gone", "folder-gone"],
)
def test_a_damaged_or_missing_file_keeps_the_old_model(tmp_path: Path, damage: Any, problem: str | None) -> None:
    run = write_run(tmp_path / "run", {100: 2.0})
    with serving({"run": run}) as now:
        damage(run / "best.safetensors")
        if problem:
            eventually(lambda: training(now)["problem"] is not None)
            assert training(now)["problem"].startswith(problem)
            assert str(tmp_path) not in training(now)["problem"]
        assert is_at(now, 100)
        assert now.text(model="run", seed=1, length=50) == alone(model_file(), length=50, seed=1)
        shutil.rmtree(run, ignore_errors=True)
        write_run(run, {100: 2.0, 300: 1.2}, seed=3)
        eventually(lambda: is_at(now, 300))
        assert training(now)["problem"] is None


def test_a_model_with_another_vocabulary(tmp_path: Path) -> None:
    """A run may be started again in a folder that held no trained model."""
    run = write_run(tmp_path / "run", {100: 2.0})
    with serving({"run": run}) as now:
        other = model_file(Vocabulary.from_text("xyz"))
        other.training = {"step": 400, "best_val_loss": 1.0}
        other.write(run / "best.safetensors")
        eventually(lambda: is_at(now, 400))
        assert now.http.get("/api/models").json()["models"][0]["symbols"] == ["x", "y", "z"]
        assert set(now.text(model="run", length=50)) <= set("xyz")
    assert LETTERS.size > 3
