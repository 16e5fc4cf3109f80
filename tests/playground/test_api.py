"""All endpoints except `generate`."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import pytest
from playground_helpers import (
    BYTES,
    LETTERS,
    WAIT,
    Serving,
    events,
    eventually,
    model_file,
    serving,
    text_of,
    unpacked,
)

from char_rnn import __version__
from char_rnn.generation.cell_activations import read_activations
from char_rnn.generation.engine import Engine
from char_rnn.generation.tracking_cells import FEATURES, best_cells
from char_rnn.generation.unknown_characters import spelled
from char_rnn.model_file import ModelFile
from char_rnn.playground.jobs import packed
from char_rnn.playground.schema import Limits
from char_rnn.playground.served_model import model_names

TEXT = 'a "bad" cafe,\n  a "face".\n' * 4


def states(file: ModelFile, text: str) -> np.ndarray:
    """h (T, L, H) after each character, computed by the engine."""
    return read_activations(Engine(file.config.model, file.tensors), text, spelled(file.vocabulary, text)).output


def test_models(served: Serving) -> None:
    answer = served.http.get("/api/models").json()
    one, of_bytes = answer["models"]
    assert one == {
        "name": "one",
        "cell": "lstm",
        "hidden_size": 12,
        "num_layers": 2,
        "parameters": sum(tensor.size for tensor in model_file().tensors.values()),
        "symbols": [chr(symbol) for symbol in LETTERS.symbols],
        "data": "letters",
        "loss": 1.5,
        "suggested_primes": ["a ", "b"],
        "temperature": 1.0,
        "precision": "float32",
        "copied_from": "poem.txt",
        "step": 200,
        "learns": False,
    }
    assert answer["runs"] == ["one"]
    assert of_bytes["suggested_primes"] == []
    assert of_bytes["symbols"][65] == "A"
    assert of_bytes["symbols"][0xC3] == "\\xC3"
    assert answer["limits"] == {"length": 3000, "streams": 16, "prime": 2000, "body": 24 * 2000 + 65_536}


def test_one_model_needs_no_name_and_a_nan_loss_is_null() -> None:
    file = model_file()
    with serving({"m": ModelFile(file.config, file.vocabulary, file.tensors, {"best_val_loss": float("nan")})}) as now:
        model = now.http.get("/api/models").json()["models"][0]
        for path, body in {
            "generate": {"prime": "a", "length": 9, "seed": 1, "temperature": 0},
            "score": {"text": "a"},
            "activations": {"text": "a", "layer": 0},
        }.items():
            unnamed, named = now.post(f"/api/{path}", **body).text, now.post(f"/api/{path}", model="m", **body).text
            if path == "generate":  # the number of characters in an event depends on timing
                unnamed, named = (text_of(list(events(iter([each])))) for each in (unnamed, named))
            assert unnamed == named
    assert (model["loss"], model["data"]) == (None, None)


def test_activations_of_a_unit_and_of_a_layer(served: Serving) -> None:
    expected = states(model_file(), TEXT)
    unit = served.post("/api/activations", model="one", text=TEXT, layer=1, unit=3).json()["activations"]
    layer = served.post("/api/activations", model="one", text=TEXT, layer=0, unit=None).json()["activations"]
    np.testing.assert_allclose(unit, expected[:, 1, 3], atol=1e-5)
    np.testing.assert_allclose(layer, expected[:, 0], atol=1e-5)


def test_multibyte_characters_have_the_activation_of_their_last_byte(served: Serving) -> None:
    text = "aé東b"
    file = model_file(BYTES, type="gru", num_layers=1)
    unit = served.post("/api/activations", model="bytes", text=text, layer=0, unit=3).json()["activations"]
    np.testing.assert_allclose(unit, states(file, text)[:, 0, 3], atol=1e-5)


def test_the_states_of_all_cells(served: Serving) -> None:
    answer = served.post("/api/states", model="one", text=TEXT).json()
    assert answer["characters"] == len(TEXT)
    np.testing.assert_allclose(unpacked(answer, 2, 12), states(model_file(), TEXT), atol=0.5 / 127 + 1e-6)
    of_bytes = served.post("/api/states", model="bytes", text="aé東b").json()
    expected = states(model_file(BYTES, type="gru", num_layers=1), "aé東b")
    np.testing.assert_allclose(unpacked(of_bytes, 1, 12), expected, atol=0.5 / 127 + 1e-6)
    skipped = served.post("/api/states", model="one", text="東a").json()
    assert unpacked(skipped, 2, 12)[0].tolist() == np.zeros((2, 12)).tolist()
    assert skipped["substitutions"] == [["東", ""]]
    empty = served.post("/api/states", model="one", text="").json()
    assert empty == {"characters": 0, "scale": 1.0, "values": ""}


def test_the_states_of_the_last_characters_that_fit() -> None:
    with serving({"one": model_file()}, Limits(numbers=5 * 6)) as now:
        answer = now.post("/api/states", text=TEXT).json()
        assert answer["characters"] == 5
        expected = states(model_file(), TEXT)[-5:]
        np.testing.assert_allclose(unpacked(answer, 2, 12), expected, atol=0.5 / 127 + 1e-6)


def test_states_beyond_1_have_a_scale() -> None:
    found = packed(np.array([[[-3.0, 1.5, 0.0]]]))
    assert found["scale"] == 3
    np.testing.assert_allclose(unpacked(found, 1, 3), [[[-3, 1.5, 0]]], atol=3 * 0.5 / 127)


def test_the_score_is_the_log_probability_of_each_character(served: Serving) -> None:
    streams = Engine(model_file().config.model, model_file().tensors).begin()
    expected = [-np.log(LETTERS.size)]
    indices = LETTERS.encode(TEXT)
    expected += [float(streams.step([now])[0][after]) for now, after in pairwise(indices)]
    found = served.post("/api/score", model="one", text=TEXT).json()["log_probs"]
    np.testing.assert_allclose(found, expected, atol=1e-5)


def test_the_likeliest_next_characters(served: Serving) -> None:
    streams = Engine(model_file().config.model, model_file().tensors).begin()
    for index in LETTERS.encode(TEXT).tolist():
        log_probs = streams.step([index])[0]
    answer = served.post("/api/score", model="one", text=TEXT, alternatives=3).json()
    best = np.argsort(-log_probs)[:3]
    assert [text for text, _ in answer["next"]] == [LETTERS.labels[index] for index in best]
    np.testing.assert_allclose([share for _, share in answer["next"]], np.exp(log_probs[best]), atol=1e-6)
    assert served.post("/api/score", model="one", text="", alternatives=3).json() == {"log_probs": [], "next": []}


def test_the_score_of_a_multibyte_character_is_the_sum(served: Serving) -> None:
    file = model_file(BYTES, type="gru", num_layers=1)
    streams = Engine(file.config.model, file.tensors).begin()
    first, second = BYTES.encode("é")
    expected = [-np.log(256) + float(streams.step([first])[0][second])]
    expected += [float(streams.step([second])[0][ord("a")])]
    found = served.post("/api/score", model="bytes", text="éa").json()["log_probs"]
    np.testing.assert_allclose(found, expected, atol=1e-5)


def test_characters_without_a_near_one_are_skipped(served: Serving) -> None:
    without = served.post("/api/score", model="one", text="ab'c").json()["log_probs"]
    found = served.post("/api/score", model="one", text="東ab’東c").json()["log_probs"]
    assert found == [None, *without[:3], None, without[3]]
    known = served.post("/api/activations", model="one", text="ab'c", layer=0, unit=1).json()["activations"]
    shown = served.post("/api/activations", model="one", text="東ab’東c", layer=0, unit=1).json()["activations"]
    assert shown == [0.0, *known[:3], known[2], known[3]]


def test_all_endpoints_read_a_text_alike_and_report_substitutions(served: Serving) -> None:
    given, read = "ba.\r\nE\u0301漢", "ba.\né"
    assert served.generate(prime=given, length=0)[0][1]["prime"] == read
    without = served.post("/api/score", model="one", text=read).json()["log_probs"]
    score = served.post("/api/score", model="one", text=given).json()
    assert score.pop("log_probs") == [*without[:3], None, without[3], None, without[4], None]
    known = served.post("/api/activations", model="one", text=read, layer=0, unit=1).json()["activations"]
    states = served.post("/api/activations", model="one", text=given, layer=0, unit=1).json()
    assert states.pop("activations") == [*known[:3], known[2], known[3], known[3], known[4], known[4]]
    start = served.generate(prime=given, length=0)[0][1]
    cells = served.post("/api/models/one/cells", text=given * 8).json()
    said = {"normal_form": "NFC", "substitutions": [["\r\n", "\n"], ["E\u0301", "é"], ["漢", ""]]}
    assert score == states == said
    assert {name: start[name] for name in said} == {name: cells[name] for name in said} == said
    strict = served.generate(prime="ae\u0301", length=0, unknown="error")[0][1]
    assert strict == {"prime": "aé", "normal_form": "NFC"}
    half = b'{"model": "one", "text": "a\\ud800"}'
    answer = served.http.post("/api/score", content=half, headers={"content-type": "application/json"}).json()
    assert answer["substitutions"] == [["\\ud800", ""]]


def test_an_empty_text(served: Serving) -> None:
    assert served.post("/api/score", model="one", text="").json() == {"log_probs": []}
    assert served.post("/api/activations", model="one", text="", layer=0).json() == {"activations": []}
    assert served.post("/api/activations", model="one", text="東", layer=0, unit=0).json() == {
        "activations": [0.0],
        "substitutions": [["東", ""]],
    }


def test_cells_that_track_features_of_a_text(served: Serving) -> None:
    found = served.post("/api/models/one/cells", text=TEXT).json()["cells"]
    expected = best_cells(TEXT, states(model_file(), TEXT))
    assert [(cell["tracks"], cell["layer"], cell["index"]) for cell in found] == [
        (cell.tracks, cell.layer, cell.index) for cell in expected
    ]
    np.testing.assert_allclose([cell["correlation"] for cell in found], [c.correlation for c in expected], atol=1e-3)


@pytest.mark.parametrize("name", ["one", "bytes"])
def test_cells_in_a_text_that_the_model_writes(served: Serving, name: str) -> None:
    found = served.http.get(f"/api/models/{name}/cells").json()["cells"]
    assert {cell["tracks"] for cell in found} <= set(FEATURES)
    assert {cell["tracks"] for cell in found} >= {"line length", "word starts"}
    assert all(0 < abs(cell["correlation"]) <= 1 for cell in found)
    assert served.http.get(f"/api/models/{name}/cells").json()["cells"] == found


def test_a_name_with_reserved_characters() -> None:
    with serving({"a b?é#%2F": model_file()}) as now:
        assert now.http.get("/api/models/a%20b%3F%C3%A9%23%252F/cells").json()["cells"]


def test_health_and_metrics(served: Serving) -> None:
    assert served.http.get("/api/health").json() == {"status": "ok", "version": __version__, "models": 2}
    eventually(served.is_idle)
    before = metrics(served)
    served.text(length=25, prime="ab", seed=1)
    served.post("/api/score", model="three")
    eventually(served.is_idle)
    after = metrics(served)
    grown = {name: value - before.get(name, 0) for name, value in after.items()}
    assert grown['char_rnn_requests_total{endpoint="generate",status="200"}'] == 1
    assert grown['char_rnn_requests_total{endpoint="score",status="422"}'] == 1
    assert grown['char_rnn_characters_total{model="one"}'] == 26
    assert grown['char_rnn_step_seconds_total{model="one"}'] > 0
    assert after["char_rnn_streams_active"] == 0
    assert after['char_rnn_queue{model="one"}'] == 0


def test_only_the_files_of_the_page_are_served(served: Serving) -> None:
    page = served.http.get("/")
    assert page.status_code == 200
    assert page.headers["content-type"] == "text/html; charset=utf-8"
    assert served.http.get("/static/index.html").content == page.content
    assert served.http.get("/", headers={"if-none-match": page.headers["etag"]}).status_code == 304
    for path in (
        "/static/",
        "/static/..%2F__init__.py",
        "/static/%2Fetc%2Fpasswd",
        "/app.js.map",
        "/api",
        "/api/models/",
    ):
        assert served.http.get(path).status_code == 404, path


def test_a_diverged_model_ends_its_text_with_an_error() -> None:
    file = model_file()
    broken = {name: tensor * np.float32("nan") for name, tensor in file.tensors.items()}
    with serving({"one": ModelFile(file.config, file.vocabulary, broken)}) as now:
        for unit in (None, {"layer": 0, "index": 0}):
            happened = now.generate(prime="ab", unit=unit)
            assert happened[-1][0] == "error"
            assert "has the model's training diverged?" in happened[-1][1]["message"]
        answers = [
            now.post("/api/score", model="one", text="ab"),
            now.post("/api/activations", model="one", text="ab", layer=0),
            now.post("/api/models/one/cells", text=TEXT),
        ]
        assert [answer.status_code for answer in answers] == [503] * 3
        assert all("training diverged?" in answer.json()["error"]["message"] for answer in answers)
        refused = now.http.get("/api/models/one/cells", timeout=WAIT)
        assert refused.status_code == 503
        eventually(now.is_idle)


def test_model_names_come_from_paths_and_are_unique(tmp_path: object) -> None:
    assert model_names(["runs/a/best.safetensors", "b.t7", "best.safetensors", "x/best.t7"]) == [
        "best", "b", "best-2", "best-3",
    ]  # fmt: skip
    assert model_names(["hf://anna/my.book", "hf://bob/my.book@v2"]) == ["my.book", "my.book@v2"]
    assert model_names([str(tmp_path), f"{tmp_path}/"])[1] == f"{model_names([str(tmp_path)])[0]}-2"


def metrics(served: Serving) -> dict[str, float]:
    text = served.http.get("/api/metrics").text
    lines = [line.rpartition(" ") for line in text.splitlines() if not line.startswith("#")]
    return {name: float(value) for name, _, value in lines}
