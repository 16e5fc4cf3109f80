"""What goes wrong with a request, as one line that says how to mend it."""

from __future__ import annotations

from collections.abc import Mapping

from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import JSONResponse, Response

WORDS = {404: "there is nothing at this address", 405: "this address does not take this method"}


class ApiError(Exception):
    """A request that is refused.

    Args:
        status: Of HTTP, 4xx or 5xx.
        message: One line: what, where, how to mend it.
        field: The field of the request's body that it is about; ``None`` for none.
        headers: More of the answer's.
    """

    def __init__(
        self, status: int, message: str, field: str | None = None, headers: Mapping[str, str] | None = None
    ) -> None:
        super().__init__(message)
        self.status, self.message, self.field, self.headers = status, message, field, headers

    def response(self) -> Response:
        """Return the answer that says so."""
        content = {"error": {"message": self.message, "field": self.field}}
        return JSONResponse(content, self.status, headers=dict(self.headers or {}))


async def refuse(_request: Request, error: Exception) -> Response:
    """Answer to an error that a route, or the search for one, raised."""
    if isinstance(error, HTTPException):
        message = WORDS.get(error.status_code, str(error.detail))
        error = ApiError(error.status_code, message, headers=error.headers)
    assert isinstance(error, ApiError)
    return error.response()
