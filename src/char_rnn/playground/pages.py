"""The page and what belongs to it: files of the package, read once; no other file can be asked for."""

from __future__ import annotations

import hashlib
import mimetypes
from collections.abc import Iterator
from dataclasses import dataclass
from importlib.resources import files
from typing import TYPE_CHECKING

from starlette.requests import Request
from starlette.responses import Response

from char_rnn.playground.errors import WORDS, ApiError

if TYPE_CHECKING:
    from importlib.resources.abc import Traversable

FOLDER = "static"
INDEX = "index.html"
TYPES = {".js": "text/javascript", ".css": "text/css", ".html": "text/html", ".svg": "image/svg+xml"}


@dataclass(frozen=True)
class Page:
    """A file, as it is sent."""

    content: bytes
    media_type: str
    tag: str


class Pages:
    """The files by their paths in the folder."""

    def __init__(self) -> None:
        self._pages = dict(_read(files("char_rnn.playground") / FOLDER))

    async def index(self, request: Request) -> Response:
        """Send the page."""
        return self._send(request, INDEX)

    async def static(self, request: Request) -> Response:
        """Send what belongs to it."""
        return self._send(request, request.path_params["path"])

    def _send(self, request: Request, path: str) -> Response:
        page = self._pages.get(path)
        if page is None:
            raise ApiError(404, WORDS[404])
        headers = {"etag": page.tag, "cache-control": "no-cache"}
        if request.headers.get("if-none-match") == page.tag:
            return Response(status_code=304, headers=headers)
        return Response(page.content, headers=headers, media_type=page.media_type)


def _read(folder: Traversable, prefix: str = "") -> Iterator[tuple[str, Page]]:
    for item in folder.iterdir():
        if item.is_dir():
            yield from _read(item, f"{prefix}{item.name}/")
        else:
            content = item.read_bytes()
            kind = TYPES.get(f".{item.name.rpartition('.')[2]}") or mimetypes.guess_type(item.name)[0]
            tag = f'"{hashlib.sha256(content).hexdigest()[:32]}"'
            yield prefix + item.name, Page(content, kind or "application/octet-stream", tag)
