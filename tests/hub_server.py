"""A Hugging Face hub in this process: as much of its HTTP interface as up- and downloads use."""

from __future__ import annotations

import base64
import json
from collections.abc import Iterator
from contextlib import contextmanager
from hashlib import sha1
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread
from urllib.parse import unquote, urlparse

COMMIT = "0123456789" * 4


class Hub(ThreadingHTTPServer):
    """Keeps what was uploaded.

    Attributes:
        repositories: Name to what it was created with.
        files: Name of a file to its content, of the only repository and branch.
        commits: The header of every commit.
        asked: Path of every request.
    """

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.repositories: dict[str, dict] = {}
        self.files: dict[str, bytes] = {}
        self.commits: list[dict] = []
        self.asked: list[str] = []

    @property
    def address(self) -> str:
        return f"http://127.0.0.1:{self.server_port}"


class Handler(BaseHTTPRequestHandler):
    server: Hub

    def log_message(self, *args: object) -> None:
        pass

    def answer(self, content: object, status: int = 200, **headers: str) -> None:
        content = content if isinstance(content, bytes) else json.dumps(content).encode()
        self.send_response(status)
        for name, value in {"Content-Length": str(len(content)), **headers}.items():
            self.send_header(name.replace("_", "-"), value)
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(content)

    def do_POST(self) -> None:
        path = urlparse(self.path).path
        self.server.asked.append(path)
        body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
        if path == "/api/repos/create":
            about = json.loads(body)
            name = f"{about['organization']}/{about['name']}"
            self.server.repositories[name] = about
            self.answer({"url": f"{self.server.address}/{name}", "id": name})
        elif "/preupload/" in path:
            names = [file["path"] for file in json.loads(body)["files"]]
            plain = {"uploadMode": "regular", "shouldIgnore": False}
            self.answer({"files": [{"path": name, **plain} for name in names]})
        elif "/commit/" in path:
            for line in map(json.loads, body.splitlines()):
                if line["key"] == "header":
                    self.server.commits.append(line["value"])
                if line["key"] == "file":
                    content = base64.b64decode(line["value"]["content"])
                    self.server.files[line["value"]["path"]] = content
            name = path.removeprefix("/api/models/").partition("/commit/")[0]
            url = f"{self.server.address}/{name}/commit/{COMMIT}"
            self.answer({"commitUrl": url, "commitOid": COMMIT})
        else:
            self.answer({})

    def do_GET(self) -> None:
        path = unquote(urlparse(self.path).path)
        self.server.asked.append(path)
        name = path.rpartition("/resolve/")[2].partition("/")[2]
        siblings = [{"rfilename": name} for name in self.server.files]
        if not self.server.repositories:
            self.answer({"error": "Repository not found"}, 404, X_Error_Code="RepoNotFound")
        elif "/tree/" in path:
            self.answer([self._listed(name) for name in self.server.files])
        elif path.startswith("/api/models/"):
            self.answer({"id": "me/space", "sha": COMMIT, "siblings": siblings})
        else:
            content = self.server.files[name]
            self.answer(content, X_Repo_Commit=COMMIT, ETag=f'"{sha1(content).hexdigest()}"')

    def _listed(self, name: str) -> dict:
        content = self.server.files[name]
        oid = sha1(content).hexdigest()
        return {"type": "file", "path": name, "size": len(content), "oid": oid}

    do_HEAD = do_GET


@contextmanager
def serving() -> Iterator[Hub]:
    """Serve a hub until the context ends."""
    with Hub() as hub:
        thread = Thread(target=hub.serve_forever)
        thread.start()
        try:
            yield hub
        finally:
            hub.shutdown()
            thread.join()
