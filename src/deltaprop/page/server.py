"""An HTTP server on 127.0.0.1 for a folder of files and a few functions, protected by a token."""

from __future__ import annotations

import json
import os
import secrets
import sys
import threading
import webbrowser
from collections.abc import Callable, Mapping
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler
from importlib.resources import files
from socketserver import ThreadingTCPServer
from types import TracebackType
from typing import Any, Self
from urllib.parse import SplitResult, urlsplit

from deltaprop.errors import InputError

Route = Callable[[dict[str, Any]], Any]

HOST = "127.0.0.1"
MOST_BYTES = 4_000_000  # the longest request
TYPES = {
    "html": "text/html; charset=utf-8",
    "css": "text/css; charset=utf-8",
    "js": "text/javascript; charset=utf-8",
    "svg": "image/svg+xml",
}
HEADERS = {
    "Content-Security-Policy": (
        "default-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
    ),
    "Referrer-Policy": "no-referrer",
    "X-Content-Type-Options": "nosniff",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Cache-Control": "no-store",
}


class Page:
    """A page that is served until it is closed.

    Attributes
    ----------
    url : str
        The address: on 127.0.0.1 only, with a random token that every request must carry.

    Notes
    -----
    Only someone who knows the address and can open connections on this machine can see the rows
    and the weights. Other web sites cannot reach the page through your browser: they do not know
    the token, and a request whose Host is not this machine is refused.
    """

    url: str

    def __init__(self, routes: Mapping[str, Route], port: int = 0) -> None:
        token = secrets.token_urlsafe(24)
        handler = type("Handler", (_Handler,), {"token": token, "routes": dict(routes)})
        try:
            self._server = _Server((HOST, port), handler)
        except (OSError, OverflowError) as error:
            raise InputError(
                f"The page cannot be served on port {port} of {HOST} ({error}); port=0 uses a free "
                "port."
            ) from error
        self.url = f"http://{HOST}:{self._server.server_address[1]}/{token}/"
        self._thread = threading.Thread(
            target=self._server.serve_forever, args=(0.05,), daemon=True, name="deltaprop page"
        )
        self._thread.start()

    def open(self) -> None:
        """Open the page in a browser, if this machine has a screen."""
        screen = sys.platform in ("win32", "darwin") or any(
            os.environ.get(name) for name in ("DISPLAY", "WAYLAND_DISPLAY")
        )
        if screen:  # without one, a text browser could take over the terminal
            webbrowser.open(self.url)

    def wait(self) -> None:
        """Serve until Ctrl-C (or until another thread closes the page), then close."""
        try:
            while self._thread.is_alive():
                self._thread.join(0.5)
        except KeyboardInterrupt:
            pass
        finally:
            self.close()

    def close(self) -> None:
        """Stop serving. Closing a closed page has no effect."""
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close()

    def __repr__(self) -> str:
        return f"<deltaprop page at {self.url}>"

    def _repr_html_(self) -> str:
        return f'<a href="{self.url}" target="_blank" rel="noopener">Open the page</a>'


class _Server(ThreadingTCPServer):
    allow_reuse_address = sys.platform != "win32"
    daemon_threads = True

    def handle_error(self, request: Any, client_address: Any) -> None:
        if not isinstance(
            sys.exception(), (ConnectionError, TimeoutError)
        ):  # the browser closed the connection
            super().handle_error(request, client_address)


class _Handler(BaseHTTPRequestHandler):
    token: str
    routes: dict[str, Route]
    timeout = 30
    server_version = "deltaprop"
    sys_version = ""

    def do_GET(self) -> None:
        name = self._checked()
        if name is None:
            return
        if name in self.routes:
            query = self._target().query
            self._call(name, dict(part.split("=", 1) for part in query.split("&") if "=" in part))
        elif (content := _static().get(name)) is not None:
            self._send(HTTPStatus.OK, content, TYPES[name.rpartition(".")[2]])
        else:
            self._fail(HTTPStatus.NOT_FOUND, f"This page has no file or function named {name!r}.")

    def do_POST(self) -> None:
        name = self._checked()
        if name is None:
            return
        length = self.headers.get("Content-Length", "")
        if not length.isdecimal() or int(length) > MOST_BYTES:
            self._fail(HTTPStatus.REQUEST_ENTITY_TOO_LARGE, "The request is too long.")
        elif name not in self.routes:
            self._fail(HTTPStatus.NOT_FOUND, f"This page has no file or function named {name!r}.")
        else:
            try:
                body = json.loads(self.rfile.read(int(length)))
            except (ValueError, RecursionError):
                body = None
            if isinstance(body, dict):
                self._call(name, body)
            else:
                self._fail(HTTPStatus.BAD_REQUEST, "The request must be a JSON object.")

    def _checked(self) -> str | None:
        """Return the name after the token, or None after sending 403 if the token is wrong."""
        host = self.headers.get("Host", "").rpartition(":")[0]
        given, _, name = self._target().path.lstrip("/").partition("/")
        known = secrets.compare_digest(given.encode(), self.token.encode())
        if host in (HOST, "localhost") and known:
            return name or "index.html"
        self._fail(HTTPStatus.FORBIDDEN, "Open the address that Python printed, with its token.")
        return None

    def _target(self) -> SplitResult:
        try:
            return urlsplit(self.path)
        except ValueError:  # such as "http://["
            return urlsplit("")

    def _call(self, name: str, argument: dict[str, Any]) -> None:
        try:
            answer = self.routes[name](argument)
        except (ValueError, TypeError, LookupError, ArithmeticError) as error:
            self._fail(HTTPStatus.BAD_REQUEST, str(error))
        else:
            self._send(HTTPStatus.OK, json.dumps(answer).encode(), "application/json")

    def _fail(self, status: HTTPStatus, message: str) -> None:
        self._send(status, json.dumps({"error": message}).encode(), "application/json")

    def _send(self, status: HTTPStatus, content: bytes, kind: str) -> None:
        self.send_response(status)
        for header, value in HEADERS.items():
            self.send_header(header, value)
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)

    def log_message(self, format: str, *args: Any) -> None:
        """Requests are not logged."""


def _static() -> dict[str, bytes]:
    """Return the page's files by name; no other files can be requested."""
    folder = files("deltaprop.page") / "static"
    return {
        file.name: file.read_bytes()
        for file in folder.iterdir()
        if file.name.rpartition(".")[2] in TYPES
    }
