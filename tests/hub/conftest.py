"""The part of the Hub's interface that its client uses, on 127.0.0.1: repositories, uploads of both kinds, commits, downloads."""

import base64
import hashlib
import json
import re
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import pytest

TOKEN = "hf_" + "t" * 34


class Hub:
    """What the server has: {repository: {file: content}}, the objects that were uploaded, and what it did not understand."""

    def __init__(self) -> None:
        self.repositories: dict[str, dict[str, bytes]] = {}
        self.private: set[str] = set()
        self.objects: dict[str, bytes] = {}
        self.unknown: list[str] = []
        self.tokens: list[str | None] = []  # of what changed something
        self.endpoint = ""

    @staticmethod
    def commit(files: dict[str, bytes]) -> str:
        return hashlib.sha1(b"".join(name.encode() + content for name, content in sorted(files.items())), usedforsecurity=False).hexdigest()


class Handler(BaseHTTPRequestHandler):
    hub: Hub

    def log_message(self, *words: Any) -> None:
        pass

    def answer(self, status: int, body: Any = None, headers: dict[str, str] | None = None) -> None:
        data = body if isinstance(body, bytes) else json.dumps(body or {}).encode()
        self.send_response(status)
        for name, value in {"Content-Length": str(len(data)), "Content-Type": "application/json", **(headers or {})}.items():
            self.send_header(name, value)
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(data)

    def body(self) -> bytes:
        return self.rfile.read(int(self.headers.get("Content-Length", 0)))

    def allowed(self) -> bool:
        said = self.headers.get("Authorization")
        self.hub.tokens.append(said)
        if said == f"Bearer {TOKEN}":
            return True
        self.answer(401, {"error": "Invalid username or password."})
        return False

    def do_POST(self) -> None:
        body, path = self.body(), self.path.split("?")[0]
        if path == "/api/validate-yaml":
            text = json.loads(body)["content"]
            return self.answer(200, {"errors": [] if re.match(r"---\n(.*\n)+---\n", text) else [{"message": "no front matter"}], "warnings": []})
        if not self.allowed():
            return None
        if path == "/api/repos/create":
            asked = json.loads(body)
            name = f"{asked['organization']}/{asked['name']}"
            self.hub.repositories.setdefault(name, {})
            self.hub.private |= {name} if asked.get("visibility") == "private" else set()
            return self.answer(200, {"url": f"{self.hub.endpoint}/{name}", "name": name})
        if match := re.fullmatch(r"/api/models/(.+)/preupload/main", path):
            return self.answer(
                200, {"files": [{"path": file["path"], "uploadMode": mode(file["path"]), "shouldIgnore": False} for file in json.loads(body)["files"]]}
            )
        if match := re.fullmatch(r"/(.+)\.git/info/lfs/objects/batch", path):
            objects = [{**one, "actions": {"upload": {"href": f"{self.hub.endpoint}/upload/{one['oid']}"}}} for one in json.loads(body)["objects"]]
            return self.answer(200, {"transfer": "basic", "objects": objects})
        if match := re.fullmatch(r"/api/models/(.+)/commit/main", path):
            files = self.hub.repositories[match[1]]
            for entry in map(json.loads, body.splitlines()):
                value = entry["value"]
                if entry["key"] == "file":
                    files[value["path"]] = base64.b64decode(value["content"])
                elif entry["key"] == "lfsFile":
                    files[value["path"]] = self.hub.objects[value["oid"]]
            oid = self.hub.commit(files)
            return self.answer(200, {"success": True, "commitUrl": f"{self.hub.endpoint}/{match[1]}/commit/{oid}", "commitOid": oid})
        return self.lost()

    def do_PUT(self) -> None:
        content, oid = self.body(), self.path.rpartition("/")[2]
        assert hashlib.sha256(content).hexdigest() == oid
        self.hub.objects[oid] = content
        self.answer(200)

    def do_GET(self) -> None:
        if match := re.fullmatch(r"/(.+)/resolve/\w+/(.+)", self.path.split("?")[0]):
            files = self.hub.repositories.get(match[1])
            if files is None:
                return self.answer(404, {"error": "Repository not found"}, {"X-Error-Code": "RepoNotFound"})
            if match[2] not in files:
                return self.answer(404, {"error": "Entry not found"}, {"X-Error-Code": "EntryNotFound"})
            content = files[match[2]]
            etag = hashlib.sha256(content).hexdigest()
            return self.answer(200, content, {"ETag": f'"{etag}"', "X-Repo-Commit": self.hub.commit(files)})
        return self.lost()

    do_HEAD = do_GET  # noqa: N815

    def lost(self) -> None:
        self.hub.unknown.append(f"{self.command} {self.path}")
        self.answer(404, {"error": "not served here"})


def mode(path: str) -> str:
    """As the Hub's .gitattributes have it."""
    return "lfs" if path.endswith(".safetensors") else "regular"


@pytest.fixture
def hub(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> Iterator[Hub]:
    """A server of its own for each test, which the client takes for the Hub."""
    served = Hub()
    server = ThreadingHTTPServer(("127.0.0.1", 0), type("Served", (Handler,), {"hub": served}))
    served.endpoint = f"http://127.0.0.1:{server.server_port}"
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    from huggingface_hub import constants

    monkeypatch.setattr(constants, "ENDPOINT", served.endpoint)
    monkeypatch.setattr(constants, "HUGGINGFACE_CO_URL_TEMPLATE", served.endpoint + "/{repo_id}/resolve/{revision}/{filename}")
    monkeypatch.setattr(constants, "HF_HUB_DISABLE_XET", True)
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path_factory.mktemp("cache")))
    monkeypatch.setattr(constants, "HF_TOKEN_PATH", str(tmp_path_factory.mktemp("home") / "token"))
    monkeypatch.setenv("HF_TOKEN", TOKEN)
    yield served
    server.shutdown()
    server.server_close()
    thread.join()
