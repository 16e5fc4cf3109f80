"""Answers of the API under /v1."""

from __future__ import annotations

import json
from typing import Any

import numpy as np
import pytest
from playground_helpers import BYTES, LETTERS, Serving, alone, eventually, model_file, serving

from char_rnn import TextGenerator, __version__
from char_rnn.generation.engine import Engine
from char_rnn.model_file import ModelFile
from char_rnn.playground.schema import Limits

TEXT = 'a "bad" cafe,\n  a "face".\n'


def complete(served: Serving, **body: Any) -> dict[str, Any]:
    answer = served.post("/v1/completions", **{"model": "one", **body})
    assert answer.status_code == 200, answer.read()
    return dict(answer.json())


def texts(answer: dict[str, Any]) -> list[str]:
    assert [choice["index"] for choice in answer["choices"]] == list(range(len(answer["choices"])))
    return [choice["text"] for choice in answer["choices"]]


def chunks(served: Serving, path: str = "completions", **body: Any) -> list[dict[str, Any]]:
    """Return the chunks of a stream, which ends with [DONE]."""
    answer = served.post(f"/v1/{path}", **{"model": "one", "stream": True, **body})
    assert answer.headers["content-type"] == "text/event-stream; charset=utf-8"
    *data, done, end = answer.text.split("\n\n")
    assert (done, end) == ("data: [DONE]", "")
    return [json.loads(each.removeprefix("data: ")) for each in data]


def test_models(served: Serving) -> None:
    listed = served.http.get("/v1/models").json()
    one = served.http.get("/v1/models/one").json()
    assert listed["object"] == "list"
    assert [model["id"] for model in listed["data"]] == ["one", "bytes"]
    assert (
        listed["data"][0] == one == {"id": "one", "object": "model", "created": one["created"], "owned_by": "char-rnn"}
    )


def test_a_completion(served: Serving) -> None:
    answer = complete(served, prompt="ab", seed=3)
    assert answer["object"] == "text_completion"
    assert answer["id"].startswith("cmpl-")
    assert (answer["model"], answer["system_fingerprint"]) == ("one", f"char-rnn-{__version__}-float32")
    assert answer["usage"] == {"prompt_tokens": 2, "completion_tokens": 16, "total_tokens": 18}
    text = alone(model_file(), "ab", 16, seed=3)
    assert answer["choices"] == [{"index": 0, "text": text, "logprobs": None, "finish_reason": "length"}]


def test_texts_of_a_request_are_those_of_sample(served: Serving) -> None:
    """Text k of a prompt does not depend on the other prompts, nor on the number of texts."""
    generator = TextGenerator.load(model_file())
    options = {"length": 40, "temperature": 0.7, "top_k": 9, "seed": 5}
    expected = [
        text.removeprefix(prompt)
        for prompt in ("a bad ", "", "é")
        for text in generator.generate_many(prompt, num_samples=3, **options)  # type: ignore[arg-type]
    ]
    body = {"max_tokens": 40, "temperature": 0.7, "top_k": 9, "seed": 5, "n": 3}
    answer = complete(served, prompt=["a bad ", "", "é"], **body)
    assert texts(answer) == expected
    assert answer["usage"] == {"prompt_tokens": 7, "completion_tokens": 360, "total_tokens": 367}
    assert texts(complete(served, prompt="é", **body)) == expected[6:]
    assert texts(complete(served, prompt="a bad ", **{**body, "n": 1})) == expected[:1]


def test_texts_without_a_seed_differ(served: Serving) -> None:
    for seed in (None, -1):
        assert len(set(texts(complete(served, prompt="a", n=4, max_tokens=60, seed=seed)))) == 4


def test_the_model_is_optional_and_any_authorization_is_ignored() -> None:
    with serving({"m": model_file()}) as now:
        headers = {"authorization": "Bearer sk-none"}
        body = {"prompt": "a", "seed": 1, "unknown_field": {"x": 1}}
        assert now.http.post("/v1/completions", json=body, headers=headers).json()["model"] == "m"
        assert now.http.post("/v1/completions", json={}).json()["usage"]["completion_tokens"] == 16


@pytest.mark.parametrize("kind", [str, list])
def test_stop_texts_are_not_part_of_the_text(served: Serving, kind: type) -> None:
    whole = alone(model_file(), "ab", 200, seed=4)
    stop = whole[50:52]
    answer = complete(served, prompt="ab", seed=4, max_tokens=200, stop=stop if kind is str else ["~~", "", stop])
    assert texts(answer) == [whole[: whole.index(stop)]]
    assert answer["choices"][0]["finish_reason"] == "stop"
    assert answer["usage"]["completion_tokens"] == whole.index(stop)
    for empty in ("", [], None, [""]):
        assert texts(complete(served, prompt="ab", seed=4, max_tokens=200, stop=empty)) == [whole]


def test_nulls_and_values_that_turn_options_off(served: Serving) -> None:
    body = {"prompt": "ab", "seed": 1, "max_tokens": 80}
    plain = texts(complete(served, **body))
    names = """n best_of stop suffix logprobs echo stream stream_options temperature top_p top_k min_p typical_p
               repetition_penalty frequency_penalty presence_penalty logit_bias user"""
    off = {"top_k": -1, "top_p": 1, "min_p": 0, "typical_p": 1.0, "repetition_penalty": 1, "suffix": ""}
    for more in (dict.fromkeys(names.split()), off, {"top_k": 0, "logprobs": False, "logit_bias": {"1": -100}}):
        assert texts(complete(served, **body, **more)) == plain
    greedy = texts(complete(served, prompt="ab", temperature=0))
    assert texts(complete(served, prompt="ab", top_p=0, seed=8)) == greedy


def test_penalties(served: Serving) -> None:
    """As OpenAI defines them: frequency for each time that a symbol was written, presence once."""
    file = model_file()
    streams = Engine(file.config.model, file.tensors).begin()
    counts, written = np.zeros(LETTERS.size), ""
    for symbol in LETTERS.encode("ab"):
        log_probs = streams.step([symbol])[0]
    for _ in range(40):
        symbol = int((log_probs - 0.3 * counts - 0.9 * (counts > 0)).argmax())
        counts[symbol] += 1
        written += LETTERS.decode([symbol])
        log_probs = streams.step([symbol])[0]
    body = {"prompt": "ab", "temperature": 0, "max_tokens": 40, "frequency_penalty": 0.3, "presence_penalty": 0.9}
    assert texts(complete(served, **body)) == [written]
    assert texts(complete(served, **body | {"presence_penalty": 0, "frequency_penalty": 0})) != [written]


def test_echo_and_logprobs_score_a_text(served: Serving) -> None:
    score = served.post("/api/score", model="one", text=TEXT).json()["log_probs"]
    answer = complete(served, prompt=TEXT, echo=True, logprobs=3, max_tokens=0)
    choice = answer["choices"][0]
    assert choice["text"] == TEXT
    assert choice["logprobs"]["tokens"] == list(TEXT)
    assert choice["logprobs"]["token_logprobs"] == [None, *score[1:]]
    assert choice["logprobs"]["text_offset"] == list(range(len(TEXT)))
    assert answer["usage"] == {"prompt_tokens": len(TEXT), "completion_tokens": 0, "total_tokens": len(TEXT)}
    tops = choice["logprobs"]["top_logprobs"]
    assert tops[0] is None
    assert all(top[token] == log_prob for top, token, log_prob in zip(tops[1:], TEXT[1:], score[1:], strict=True))
    assert {len(top) for top in tops[1:]} == {3, 4}


@pytest.mark.parametrize(("model", "text"), [("one", "東ab’c\r\nE\u0301"), ("bytes", "aé東\r\n")])
def test_each_character_of_the_prompt_is_a_token(served: Serving, model: str, text: str) -> None:
    """Evaluation programs count tokens on their side."""
    score = served.post("/api/score", model=model, text=text).json()["log_probs"]
    choice = complete(served, model=model, prompt=text, echo=True, logprobs=2, max_tokens=0)["choices"][0]
    assert choice["logprobs"]["tokens"] == list(text)
    first = next(place for place, log_prob in enumerate(score) if log_prob is not None)
    score[first] = None
    assert choice["logprobs"]["token_logprobs"] == [
        None if each is None else pytest.approx(each, abs=2e-5) for each in score
    ]


def test_the_log_probabilities_are_those_of_scoring_the_text(served: Serving) -> None:
    written = complete(served, prompt="ab", seed=2, max_tokens=30, logprobs=2, temperature=1.5)["choices"][0]
    logprobs = written["logprobs"]
    assert "".join(logprobs["tokens"]) == written["text"]
    assert logprobs["text_offset"] == list(range(30))
    score = served.post("/api/score", model="one", text="ab" + written["text"]).json()["log_probs"]
    np.testing.assert_allclose(logprobs["token_logprobs"], score[2:], atol=2e-5)


def test_bytes_that_complete_a_character_are_one_token(served: Serving) -> None:
    choice = complete(served, model="bytes", prompt="é", seed=1, max_tokens=200, logprobs=1)["choices"][0]
    tokens, offsets = choice["logprobs"]["tokens"], choice["logprobs"]["text_offset"]
    assert "".join(tokens) == choice["text"]
    assert [
        choice["text"][offset : offset + len(token)] for offset, token in zip(offsets, tokens, strict=True)
    ] == tokens
    file = model_file(BYTES, type="gru", num_layers=1)
    assert choice["text"] == alone(file, "é", 200, seed=1)


def test_best_of_chooses_the_likeliest(served: Serving) -> None:
    body = {"prompt": ["a", "b"], "seed": 1, "max_tokens": 20}
    every = complete(served, **body, n=5, logprobs=0)["choices"]
    best = complete(served, **body, n=2, best_of=5)
    for place in (0, 5):
        means = {choice["text"]: np.mean(choice["logprobs"]["token_logprobs"]) for choice in every[place : place + 5]}
        expected = sorted(means, key=lambda text: -means[text])[:2]
        assert texts(best)[2 * (place > 0) :][:2] == expected
    assert best["usage"]["completion_tokens"] == 200
    assert best["choices"][0]["logprobs"] is None


def test_a_stream_is_the_same_text(served: Serving) -> None:
    body = {"prompt": ["ab", "c"], "n": 2, "seed": 1, "max_tokens": 60, "echo": True, "logprobs": 1}
    whole, parts = complete(served, **body)["choices"], chunks(served, **body)
    assert {(part["object"], part["model"], part["id"]) for part in parts} == {
        ("text_completion", "one", parts[0]["id"])
    }
    for choice in whole:
        own = [each for part in parts for each in part["choices"] if each["index"] == choice["index"]]
        assert "".join(part["text"] for part in own) == choice["text"]
        assert [part["finish_reason"] for part in own if part["finish_reason"]] == ["length"]
        joined = {name: [each for part in own for each in part["logprobs"][name]] for name in choice["logprobs"]}
        assert joined == choice["logprobs"]
    assert all("usage" not in part for part in parts)


def test_the_usage_of_a_stream(served: Serving) -> None:
    *parts, last = chunks(served, prompt="abc", n=2, max_tokens=30, stream_options={"include_usage": True})
    assert all(part["usage"] is None and part["choices"] for part in parts)
    assert last["choices"] == []
    assert last["usage"] == {"prompt_tokens": 3, "completion_tokens": 60, "total_tokens": 63}


def test_a_stream_of_nothing(served: Serving) -> None:
    (part,) = chunks(served, prompt="abc", max_tokens=0)
    assert part["choices"] == [{"index": 0, "text": "", "logprobs": None, "finish_reason": "length"}]


MESSAGES = [
    {"role": "system", "content": "a bad"},
    {"role": "user", "content": [{"type": "text", "text": "face"}, {"type": "text", "text": "d"}]},
    {"role": "assistant", "content": " egg", "name": "x"},
    {"role": "user", "content": "cafe"},
    {"role": "assistant", "content": None},
]


def chat(served: Serving, **body: Any) -> dict[str, Any]:
    answer = served.post("/v1/chat/completions", **{"model": "one", "messages": MESSAGES, "seed": 1, **body})
    assert answer.status_code == 200, answer.read()
    return dict(answer.json())


def test_a_conversation_is_a_text_to_continue(served: Serving) -> None:
    prime = "a bad\nfaced egg\ncafe"
    answer = chat(served, max_tokens=40)
    assert answer["object"] == "chat.completion"
    text = alone(model_file(), prime, 40, seed=1)
    message = {"role": "assistant", "content": text, "refusal": None}
    assert answer["choices"] == [{"index": 0, "message": message, "logprobs": None, "finish_reason": "length"}]
    assert answer["usage"] == {"prompt_tokens": len(prime), "completion_tokens": 40, "total_tokens": len(prime) + 40}
    assert chat(served)["usage"]["completion_tokens"] == 500
    assert chat(served, max_tokens=40, max_completion_tokens=3)["usage"]["completion_tokens"] == 3
    long = [{"role": "user", "content": "b" * 1990 + prime}]
    read = alone(model_file(), ("b" * 1990 + prime)[-2000:], 5, seed=1)
    assert chat(served, messages=long, max_tokens=5)["choices"][0]["message"]["content"] == read


def test_a_conversation_as_a_stream(served: Serving) -> None:
    body = {"messages": MESSAGES, "seed": 1, "max_tokens": 40, "n": 2}
    parts = chunks(served, "chat/completions", **body)
    assert {part["object"] for part in parts} == {"chat.completion.chunk"}
    for choice in chat(served, **body)["choices"]:
        own = [each for part in parts for each in part["choices"] if each["index"] == choice["index"]]
        assert own[0]["delta"] == {"role": "assistant", "content": ""}
        assert "".join(part["delta"].get("content", "") for part in own) == choice["message"]["content"]
        assert (own[-1]["delta"], own[-1]["finish_reason"]) == ({}, "length")
        assert all("role" not in part["delta"] and part["finish_reason"] is None for part in own[1:-1])


def test_log_probabilities_of_a_conversation(served: Serving) -> None:
    choice = chat(served, max_tokens=5, logprobs=True, top_logprobs=2)["choices"][0]
    content = choice["logprobs"]["content"]
    assert "".join(each["token"] for each in content) == choice["message"]["content"]
    for each in content:
        assert bytes(each["bytes"]).decode() == each["token"]
        likeliest = [top["logprob"] for top in each["top_logprobs"]]
        assert likeliest == sorted(likeliest, reverse=True)
        assert each["logprob"] in likeliest
        assert len(likeliest) in (2, 3)
    plain = complete(served, prompt="a bad\nfaced egg\ncafe", seed=1, max_tokens=5, logprobs=2)["choices"][0][
        "logprobs"
    ]
    assert [each["logprob"] for each in content] == plain["token_logprobs"]


def test_characters_are_the_tokens_of_evaluation_programs(served: Serving) -> None:
    assert served.http.get("/tokenizer_info").json()["eos_token"] is None
    tokens = served.post("/tokenize", prompt="aé東\U0001f600", add_special_tokens=False).json()["tokens"]
    assert tokens == [97, 233, 0x6771, 0x1F600]
    assert served.post("/detokenize", tokens=tokens).json() == {"prompt": "aé東\U0001f600"}
    assert served.post("/detokenize", tokens=[0xD800]).json() == {"prompt": "\ufffd"}


def test_half_a_surrogate_pair(served: Serving) -> None:
    body = b'{"model": "one", "prompt": "a\\ud800b", "echo": true, "logprobs": 1, "max_tokens": 0, "stream": %b}'
    for stream in (b"false", b"true"):
        headers = {"content-type": "application/json"}
        answer = served.http.post("/v1/completions", content=body % stream, headers=headers)
        assert "a\ufffdb" in answer.text


def test_leaving_ends_texts_that_are_no_stream() -> None:
    with serving({"one": model_file()}, Limits(length=10**9, streams=4)) as now:
        for path, body in (("completions", {"n": 4}), ("chat/completions", {"messages": MESSAGES, "n": 4})):
            with pytest.raises(Exception, match="timed out"):
                now.http.post(f"/v1/{path}", json={"max_tokens": 10**9, **body}, timeout=0.2)
            eventually(now.is_idle)
        assert now.post("/v1/completions", n=4).status_code == 200


def test_a_model_that_predicts_nan() -> None:
    file = model_file()
    broken = {name: np.full_like(tensor, np.nan) for name, tensor in file.tensors.items()}
    with serving({"one": ModelFile(file.config, file.vocabulary, broken, {})}) as now:
        answer = now.post("/v1/completions", prompt="a", n=2)
        assert answer.status_code == 503
        assert answer.json()["error"]["type"] == "server_error"
        stream = now.post("/v1/completions", prompt="a", stream=True).text
        assert '"error":{"message":"the model predicts NaN' in stream
        assert "[DONE]" not in stream
        eventually(now.is_idle)
