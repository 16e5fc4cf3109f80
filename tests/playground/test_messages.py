"""Any body is accepted, or refused with a one-line message."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from playground_helpers import model_file
from pydantic import BaseModel

from char_rnn.playground import schema, v1_schema
from char_rnn.playground.api import new_text
from char_rnn.playground.messages import ApiError, checked, parsed
from char_rnn.playground.schema import Limits
from char_rnn.playground.served_model import ServedModel

REQUESTS = (
    schema.GenerateRequest, schema.ActivationsRequest, schema.CellsRequest, schema.ScoreRequest,
    v1_schema.CompletionRequest, v1_schema.ChatRequest,
)  # fmt: skip
VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=6,
)
MODEL = ServedModel("m", model_file(), "float32", Limits(streams=1))


def bodies(model: type[BaseModel]) -> st.SearchStrategy[Any]:
    fields = st.sampled_from([*model.model_fields, "other"])
    return st.dictionaries(fields, VALUES, max_size=6)


def told(error: ApiError) -> bool:
    return 400 <= error.status_code < 500 and "\n" not in error.detail and 0 < len(error.detail) < 400


@given(st.binary(max_size=60) | st.text(alphabet='{}[]":,0123456789.eE-+ntrufalsdI\\', max_size=60).map(str.encode))
def test_any_bytes(raw: bytes) -> None:
    try:
        parsed(raw)
    except ApiError as error:
        assert told(error)


@pytest.mark.parametrize("model", REQUESTS)
@given(st.data())
def test_any_body(model: type[BaseModel], data: st.DataObject) -> None:
    try:
        checked(model, data.draw(bodies(model) | VALUES))
    except ApiError as error:
        assert told(error)


@given(
    st.fixed_dictionaries(
        {
            "prime": st.text(max_size=10),
            "banned": st.text(max_size=10),
            "stop": st.lists(st.text(max_size=3), max_size=3),
        },
        optional={
            "allowed": st.text(max_size=5) | st.none(),
            "temperature": st.floats(),
            "final_temperature": st.floats() | st.none(),
            "top_k": st.integers() | st.none(),
            "top_p": st.floats() | st.none(),
            "min_p": st.floats() | st.none(),
            "typical_p": st.floats() | st.none(),
            "repetition_penalty": st.floats(),
            "repetition_window": st.integers(),
            "seed": st.integers() | st.none(),
            "length": st.integers(),
            "unknown": st.sampled_from(["nearest", "skip", "error"]),
        },
    )
)
def test_an_accepted_request_can_be_written(body: dict[str, Any]) -> None:
    """An accepted request can be written: the ranges of both agree."""
    try:
        request = checked(schema.GenerateRequest, {"model": "m", **body})
        new_text(MODEL, request)
    except ApiError as error:
        assert told(error)
        assert error.field is not None or error.detail.startswith("banned and allowed leave no character")
