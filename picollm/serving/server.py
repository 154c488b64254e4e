"""The server behind the page: a handful of paths on this machine's own address, and nothing for anybody else.

It is bound to 127.0.0.1. A page of another site could still make a browser here send requests: so the Host must be this address, which
a name that was made to point here is not (DNS rebinding), an Origin must be this page, and a question must be JSON, which a form cannot send.
"""

import json
import sys
import traceback
from collections.abc import Callable, Iterator
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from importlib import resources
from typing import Any

from picollm.core.errors import UserError
from picollm.serving.answers import Answer, Answers

HOST = "127.0.0.1"
FILES = {"/": ("page.html", "text/html"), "/page.js": ("page.js", "text/javascript"), "/page.css": ("page.css", "text/css")}
LARGEST = 1 << 16  # bytes of a question
SECONDS = 60  # that a connection may say nothing
HEADERS = {
    "Content-Security-Policy": "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; img-src data:; "
    "base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Cache-Control": "no-store",
}


class Server(ThreadingHTTPServer):
    daemon_threads = True  # a text that is being written does not keep a stopped server

    def __init__(self, port: int) -> None:
        self.answers = Answers()
        try:
            super().__init__((HOST, port), Handler)
        except OSError as error:
            raise UserError(f"port: {port} cannot be used ({error.strerror}); choose another with --port, or 0 for any") from error

    @property
    def address(self) -> str:
        return f"http://{HOST}:{self.server_address[1]}"


class Handler(BaseHTTPRequestHandler):
    server: Server
    protocol_version = "HTTP/1.1"
    timeout = SECONDS
    server_version, sys_version = "picollm", ""

    def do_GET(self) -> None:
        if not self._ours():
            return
        if self.path in FILES:
            name, kind = FILES[self.path]
            self._send(HTTPStatus.OK, (resources.files("picollm.serving") / name).read_bytes(), f"{kind}; charset=utf-8")
        elif self.path == "/runs":
            self._answered(self.server.answers.runs)
        else:
            self._unknown({"/write", "/attention"})

    def do_POST(self) -> None:
        if not self._ours():
            return
        if self.path not in ("/write", "/attention"):
            self._unknown({*FILES, "/runs"})
            return
        question = self._question()
        if question is None:
            return
        asked: Any
        try:
            asked = json.loads(question)
        except ValueError as error:
            self.send_error(HTTPStatus.BAD_REQUEST, f"request: is not JSON ({error})")
            return
        if self.path == "/attention":
            self._answered(lambda: self.server.answers.attention(asked))
        else:
            self._streamed(lambda: self.server.answers.write(asked))

    def _ours(self) -> bool:
        """Is it this page that asks?"""
        port = self.server.server_address[1]
        ours = {f"{name}:{port}" for name in (HOST, "localhost")}
        origin = self.headers.get("Origin")
        if self.headers.get("Host") in ours and (origin is None or origin.removeprefix("http://") in ours):
            return True
        self.send_error(HTTPStatus.FORBIDDEN, f"only the page at {self.server.address} is answered")
        return False

    def _unknown(self, others: set[str]) -> None:
        if self.path in others:
            self.send_error(HTTPStatus.METHOD_NOT_ALLOWED, f"{self.path}: is not for {self.command}")
        else:
            self.send_error(HTTPStatus.NOT_FOUND, f"{self.path[:80]}: there is nothing here; open {self.server.address}")

    def _question(self) -> bytes | None:
        """The body of a request; None when it has been refused."""
        length = self.headers.get("Content-Length", "")
        if self.headers.get_content_type() != "application/json":
            self.send_error(HTTPStatus.UNSUPPORTED_MEDIA_TYPE, "Content-Type: must be application/json")
        elif not length.isdecimal():
            self.send_error(HTTPStatus.LENGTH_REQUIRED, "Content-Length: is missing")
        elif int(length) > LARGEST:
            self.send_error(HTTPStatus.REQUEST_ENTITY_TOO_LARGE, f"request: of {length} bytes, {LARGEST} are the most; shorten the prompt")
        else:
            return self.rfile.read(int(length))
        return None

    def _answered(self, ask: Callable[[], Answer]) -> None:
        try:
            answer = ask()
        except Exception as error:
            self._refuse(error)
        else:
            self._send(HTTPStatus.OK, _line(answer), "application/json")

    def _streamed(self, ask: Callable[[], Iterator[Answer]]) -> None:
        """A line of JSON as soon as there is one; what goes wrong in the middle is the last line."""
        try:
            answers = ask()
        except Exception as error:
            self._refuse(error)
            return
        self.send_response(HTTPStatus.OK)
        self._end_headers("application/x-ndjson", {"Transfer-Encoding": "chunked"})
        try:
            for answer in self._with_its_error(answers):
                line = _line(answer)
                self.wfile.write(b"%x\r\n%s\r\n" % (len(line), line))
            self.wfile.write(b"0\r\n\r\n")
        except OSError:  # the page has been closed, or wants no more of this
            self.close_connection = True

    def _with_its_error(self, answers: Iterator[Answer]) -> Iterator[Answer]:
        try:
            yield from answers
        except Exception as error:
            yield {"error": _said(error)}

    def _refuse(self, error: Exception) -> None:
        mended = isinstance(error, UserError)
        self.send_error(HTTPStatus.BAD_REQUEST if mended else HTTPStatus.INTERNAL_SERVER_ERROR, _said(error))

    def send_error(self, code: int, message: str | None = None, explain: str | None = None) -> None:
        """A line of JSON; also for what http.server refuses by itself. What follows on the connection might be the rest of a bad request."""
        self.close_connection = True
        self._send(code, _line({"error": message or HTTPStatus(code).phrase}), "application/json")

    def _send(self, code: int, body: bytes, kind: str) -> None:
        self.send_response(code)
        self._end_headers(kind, {"Content-Length": str(len(body)), **({"Connection": "close"} if self.close_connection else {})})
        if self.command != "HEAD":
            self.wfile.write(body)

    def _end_headers(self, kind: str, more: dict[str, str]) -> None:
        for name, value in {"Content-Type": kind, **more, **HEADERS}.items():
            self.send_header(name, value)
        self.end_headers()

    def log_message(self, format: str, *args: Any) -> None:
        """Nothing: the terminal is for what goes wrong."""


def _line(answer: Answer) -> bytes:
    return json.dumps(answer, sort_keys=True, allow_nan=False).encode() + b"\n"


def _said(error: Exception) -> str:
    """In one line; what no user can mend stands in the terminal in full."""
    if isinstance(error, UserError):
        return " ".join(str(error).split())
    traceback.print_exception(error, file=sys.stderr)
    return f"{type(error).__name__}: see the terminal that serves this page"
