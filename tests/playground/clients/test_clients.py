"""The server as the real clients see it: the package openai, and llm."""

from __future__ import annotations

from typing import Any

import pytest
from playground_helpers import Serving, alone, eventually, model_file

pytestmark = pytest.mark.slow

TEXT = 'a "bad" cafe,\n'


def test_models(clients: Any) -> None:
    result = clients.python("""
        result = [model.id for model in client.models.list()], client.models.retrieve("bytes").id
    """)
    assert result == [["one", "bytes"], "bytes"]


def test_a_completion(clients: Any) -> None:
    result = clients.python("""
        answer = client.completions.create(model="one", prompt="ab", max_tokens=40, seed=3, temperature=1)
        result = answer.choices[0].text, answer.choices[0].finish_reason, answer.usage.total_tokens
    """)
    assert result == [alone(model_file(), "ab", 40, seed=3), "length", 42]


def test_several_prompts_and_texts(clients: Any) -> None:
    result = clients.python("""
        one = [client.completions.create(model="one", prompt=prompt, n=2, seed=3) for prompt in ("ab", "c")]
        both = client.completions.create(model="one", prompt=["ab", "c"], n=2, seed=3)
        texts = lambda answer: [choice.text for choice in answer.choices]
        result = texts(both), [text for answer in one for text in texts(answer)]
    """)
    assert result[0] == result[1]
    assert len(result[0]) == 4
    assert result[0][0] != result[0][1]


def test_streams(clients: Any, served: Serving) -> None:
    result = clients.python("""
        options = dict(model="one", prompt="ab", max_tokens=300, seed=3, stream=True)
        *chunks, last = client.completions.create(**options, stream_options={"include_usage": True})
        text = "".join(chunk.choices[0].text for chunk in chunks)
        messages = [{"role": "user", "content": "ab"}]
        stream = client.chat.completions.create(model="one", messages=messages, max_tokens=300, seed=3, stream=True)
        deltas = [chunk.choices[0].delta for chunk in stream]
        said = "".join(delta.content or "" for delta in deltas)
        with client.completions.create(**options | {"max_tokens": 3000}) as stream:
            next(iter(stream))
        result = text, last.usage.completion_tokens, last.choices, said, deltas[0].role
    """)
    text = alone(model_file(), "ab", 300, seed=3)
    assert result == [text, 300, [], text, "assistant"]
    eventually(served.is_idle)


def test_echo_and_logprobs_score_a_text(clients: Any, served: Serving) -> None:
    result = clients.python(f"""
        answer = client.completions.create(model="one", prompt={TEXT!r}, max_tokens=0, echo=True, logprobs=2)
        scored = answer.choices[0].logprobs
        result = answer.choices[0].text, scored.tokens, scored.token_logprobs, scored.text_offset
    """)
    score = served.post("/api/score", model="one", text=TEXT).json()["log_probs"]
    assert result == [TEXT, list(TEXT), [None, *score[1:]], list(range(len(TEXT)))]


def test_a_conversation(clients: Any) -> None:
    result = clients.python("""
        messages = [{"role": "system", "content": "ab"}, {"role": "user", "content": "cd"}]
        answer = client.chat.completions.create(
            model="one", messages=messages, max_completion_tokens=20, seed=1, logprobs=True, top_logprobs=2, n=2
        )
        first = answer.choices[0]
        tokens = [token.token for token in first.logprobs.content]
        result = first.message.content, first.message.role, "".join(tokens), len(answer.choices)
    """)
    text = alone(model_file(), "ab\ncd", 20, seed=1)
    assert result == [text, "assistant", text, 2]


def test_errors(clients: Any) -> None:
    result = clients.python("""
        result = []
        for options in ({"model": "gpt-4o", "prompt": "a"}, {"model": "one", "prompt": [1, 2]},
                        {"model": "one", "prompt": "a", "max_tokens": 10**6}, {"model": "one", "prompt": "a", "n": 40}):
            try:
                client.completions.create(**options)
            except openai.APIStatusError as error:
                result.append([type(error).__name__, error.code, error.param])
    """)
    assert result == [
        ["NotFoundError", "model_not_found", "model"],
        ["BadRequestError", None, "prompt"],
        ["BadRequestError", None, "max_tokens"],
        ["BadRequestError", None, "n"],
    ]


MODELS = """
- model_id: one
  model_name: one
  api_base: "{base}"
  completion: true
- model_id: one-chat
  model_name: one
  api_base: "{base}"
"""


def test_llm(clients: Any) -> None:
    (clients.home / "extra-openai-models.yaml").write_text(MODELS.format(base=clients.base))
    options = ["-o", "max_tokens", "40", "-o", "seed", "3", "-o", "temperature", "1"]
    text = alone(model_file(), "ab", 40, seed=3)
    for model in ("one", "one-chat"):
        for more in ([], ["--no-stream"]):
            done = clients.run("llm", "-m", model, "ab", *options, *more)
            assert (done.returncode, done.stdout) == (0, text + "\n"), done.stderr
    listed = clients.run("llm", "models", "list").stdout
    assert "OpenAI Completion: one\n" in listed
    refused = clients.run("llm", "-m", "one", "ab", "-o", "max_tokens", "1000000")
    assert refused.returncode == 1
    assert "max_tokens: at most 3,000; given 1,000,000" in refused.stderr
