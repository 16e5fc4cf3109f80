"""A server on loopback that speaks the part of the Hub's API that huggingface_hub uses for one model."""

from __future__ import annotations

import base64
import hashlib
import json
import re
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import unquote

TOKEN = "hf_loopback"
COMMIT = "c0ffee%034x"


@dataclass
class Hub:
    """Repositories and their faults; a file of 1,000 bytes or more is a large one, with a SHA-256 for its tag.

    Attributes:
        url: Address of the Hub.
        elsewhere: Address of the large files: those of the Hub's own host would be taken for another Hub.
        files: Contents by repository and revision, a commit's or a branch's name, then by path.
        private: Repositories that answer as missing without the token.
        gated: Repositories whose files are refused.
        cut: Bytes after which the next downloads are cut off, one number for each.
        changes: Bytes to send in place of a large file's.
        status: Status of all answers, for a Hub that does not work.
        is_full: Whether uploads of large files are refused.
        large: Contents of uploaded large files by SHA-256.
        seen: Methods and paths of the requests.
        created: Bodies of the requests to create a repository.
    """

    url: str = ""
    elsewhere: str = ""
    files: dict[tuple[str, str], dict[str, bytes]] = field(default_factory=dict)
    private: set[str] = field(default_factory=set)
    gated: set[str] = field(default_factory=set)
    cut: list[int] = field(default_factory=list)
    changes: dict[bytes, bytes] = field(default_factory=dict)
    status: int = 0
    is_full: bool = False
    large: dict[str, bytes] = field(default_factory=dict)
    seen: list[str] = field(default_factory=list)
    created: list[dict[str, Any]] = field(default_factory=list)
    messages: list[str] = field(default_factory=list)

    def commit(self, repository: str, files: dict[str, bytes], branch: str = "main") -> str:
        """Add files to a branch, and return the name of the commit."""
        before = self.files.get((repository, branch), {})
        name = COMMIT % len(self.files)
        self.files[repository, branch] = self.files[repository, name] = {**before, **files}
        return name

    def commit_of(self, repository: str, revision: str) -> str:
        files = self.files[repository, revision]
        return next(name for (owner, name), each in self.files.items() if each is files and "c0ffee" in name)


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: Server

    @property
    def hub(self) -> Hub:
        return self.server.hub

    def log_message(self, *_: object) -> None:
        pass

    def do_HEAD(self) -> None:
        self.hub.seen.append(f"{self.command} {self.path}")
        path = unquote(self.path)
        if self.hub.status:
            self.answer(self.hub.status, {})
        elif found := re.fullmatch(r"/(\w+/[\w.-]+)/resolve/(refs/pr/\d+|[^/]+)/(.+)", path):
            self.resolve(*found.groups())
        elif found := re.fullmatch(r"/large/(\w+)", path):
            self.send(self.content(found[1]))
        elif found := re.fullmatch(r"/api/models/(\w+/[\w.-]+)/revision/(.+)", path):
            self.answer(200, {"id": found[1], "sha": self.hub.commit_of(*found.groups()), "siblings": []})
        elif (found := re.fullmatch(r"/api/models/(\w+/[\w.-]+)", path)) and (found[1], "main") in self.hub.files:
            self.answer(200, {"id": found[1], "private": found[1] in self.hub.private, "siblings": []})
        else:
            self.fail(404, "RepoNotFound")

    do_GET = do_HEAD

    def resolve(self, repository: str, revision: str, name: str) -> None:
        files = self.hub.files.get((repository, revision))
        known = any(owner == repository for owner, _ in self.hub.files)
        if not known or (repository in self.hub.private and not self.has_token):
            return self.fail(401, "RepoNotFound")
        if repository in self.hub.gated:
            return self.fail(403, "GatedRepo")
        if files is None:
            return self.fail(404, "RevisionNotFound")
        commit = {"X-Repo-Commit": self.hub.commit_of(repository, revision)}
        if name not in files:
            return self.fail(404, "EntryNotFound", commit)
        content = files[name]
        if len(content) < 1000:
            tag = hashlib.sha1(b"blob %d\0" % len(content) + content).hexdigest()
            return self.send(content, {**commit, "ETag": f'"{tag}"'})
        tag = hashlib.sha256(content).hexdigest()
        self.hub.large[tag] = content
        linked = {"X-Linked-Size": str(len(content)), "X-Linked-Etag": f'"{tag}"'}
        return self.answer(302, {}, {**commit, **linked, "Location": f"{self.hub.elsewhere}/large/{tag}"})

    def content(self, tag: str) -> bytes:
        content = self.hub.large[tag]
        return self.hub.changes.get(content, content)

    def send(self, content: bytes, headers: dict[str, str] | None = None) -> None:
        begin = int(re.sub(r"\D", "", self.headers.get("Range", "0")))
        self.send_response(206 if begin else 200)
        for name, value in {**(headers or {}), "Content-Length": str(len(content) - begin)}.items():
            self.send_header(name, value)
        if begin:
            self.send_header("Content-Range", f"bytes {begin}-{len(content) - 1}/{len(content)}")
        self.end_headers()
        if self.command == "GET":
            cut = self.hub.cut.pop(0) if self.hub.cut else len(content)
            self.wfile.write(content[begin : begin + cut])
            self.close_connection = cut < len(content) - begin

    def do_POST(self) -> None:
        self.hub.seen.append(f"{self.command} {self.path}")
        body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
        path = unquote(self.path)
        if path == "/api/validate-yaml":
            return self.answer(200, {"errors": [], "warnings": []})
        if not self.has_token:
            return self.fail(401, "", message="Invalid username or password.")
        if path == "/api/repos/create":
            return self.create(json.loads(body))
        if found := re.fullmatch(r"/api/models/(.+)/preupload/(.+)", path):
            return self.answer(200, {"files": [self.mode(each) for each in json.loads(body)["files"]]})
        if found := re.fullmatch(r"/(.+)\.git/info/lfs/objects/batch", path):
            return self.answer(200, {"objects": [self.upload(each) for each in json.loads(body)["objects"]]})
        if found := re.fullmatch(r"/api/models/(.+)/commit/(.+)", path):
            return self.take(found[1], found[2], [json.loads(line) for line in body.splitlines()])
        return self.fail(404, "RepoNotFound")

    def do_PUT(self) -> None:
        self.hub.seen.append(f"{self.command} {self.path}")
        content = self.rfile.read(int(self.headers["Content-Length"]))
        if self.hub.is_full:
            return self.fail(403, "", message="Storage limit reached")
        assert hashlib.sha256(content).hexdigest() == self.path.rpartition("/")[2]
        self.hub.large[self.path.rpartition("/")[2]] = content
        return self.answer(200, {})

    def create(self, wanted: dict[str, Any]) -> None:
        if wanted["organization"] not in ("anna", None):  # None is the account of the token
            return self.fail(403, "", message=f"You don't have the rights to create {wanted['organization']}'s models")
        self.hub.created.append(wanted)
        name = f"anna/{wanted['name']}"
        exists = (name, "main") in self.hub.files
        if not exists:
            self.hub.commit(name, {})
            self.hub.private |= {name} if wanted.get("private", wanted.get("visibility") == "private") else set()
        return self.answer(409 if exists else 200, {"url": f"{self.hub.url}/{name}", "name": name})

    def mode(self, wanted: dict[str, Any]) -> dict[str, Any]:
        large = wanted["path"].endswith(".safetensors") or wanted["size"] > 10_000_000
        return {"path": wanted["path"], "uploadMode": "lfs" if large else "regular", "shouldIgnore": False}

    def upload(self, wanted: dict[str, Any]) -> dict[str, Any]:
        actions = {} if wanted["oid"] in self.hub.large else {"upload": {"href": f"{self.hub.url}/put/{wanted['oid']}"}}
        return {**wanted, "actions": actions}

    def take(self, repository: str, branch: str, lines: list[dict[str, Any]]) -> None:
        files = {}
        for line in lines:
            value = line["value"]
            if line["key"] == "header":
                self.hub.messages.append(value["summary"])
            elif line["key"] == "file":
                files[value["path"]] = base64.b64decode(value["content"])
            else:
                files[value["path"]] = self.hub.large[value["oid"]]
        name = self.hub.commit(repository, files, branch)
        self.answer(200, {"commitUrl": f"{self.hub.url}/{repository}/commit/{name}", "commitOid": name})

    @property
    def has_token(self) -> bool:
        return self.headers.get("Authorization") == f"Bearer {TOKEN}"

    def answer(self, status: int, body: dict[str, Any], headers: dict[str, str] | None = None) -> None:
        content = json.dumps(body).encode()
        self.send_response(status)
        for name, value in {**(headers or {}), "Content-Length": str(len(content))}.items():
            self.send_header(name, value)
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(content)

    def fail(self, status: int, code: str, headers: dict[str, str] | None = None, message: str = "refused") -> None:
        self.answer(status, {"error": message}, {**(headers or {}), "X-Error-Code": code, "X-Error-Message": message})


class Server(ThreadingHTTPServer):
    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.hub = Hub(f"http://127.0.0.1:{self.server_port}", f"http://localhost:{self.server_port}")
