"""The world page: one local page that shows the parties of the world and what flows between them.

A small WSGI program for loopback only. It serves counts, states, the kiosk's paper and the listing
of the opened recovery package: the demonstration's own results, all synthetic.
"""

from __future__ import annotations

import json
import re
import threading
import time
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

STATIC = Path(__file__).parent / "static"
ASSETS = {
    "/": ("world.html", "text/html; charset=utf-8"),
    "/static/world.css": ("world.css", "text/css; charset=utf-8"),
    "/static/world.js": ("world.js", "text/javascript; charset=utf-8"),
    "/static/vendor/design-tokens.css": ("vendor/design-tokens.css", "text/css; charset=utf-8"),
}
SECURITY_HEADERS = [
    (
        "Content-Security-Policy",
        "default-src 'none'; style-src 'self'; script-src 'self'; img-src 'self' data:; "
        "connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
    ),
    ("X-Content-Type-Options", "nosniff"),
    ("Referrer-Policy", "no-referrer"),
    ("Cache-Control", "no-store"),
]
RESULT_NAME = re.compile(r"/results/([A-Za-z0-9][A-Za-z0-9._-]{0,120}\.(?:pdf|txt|json))")
RESULT_TYPES = {
    ".pdf": "application/pdf",
    ".txt": "text/plain; charset=utf-8",
    ".json": "application/json; charset=utf-8",
}
# A page rebound to another name by a stranger's DNS must not read it.
LOCAL_HOST = re.compile(r"(127\.0\.0\.1|localhost|\[::1\])(:\d+)?")

StartResponse = Callable[[str, list[tuple[str, str]]], Any]


class WorldPage:
    """The WSGI application. `collect` gives the status as a dict, at most once a second."""

    def __init__(self, collect: Callable[[], dict[str, Any]], results: Path) -> None:
        self._collect = collect
        self._results = results
        self._lock = threading.Lock()
        self._status = b"{}"
        self._collected_at = float("-inf")

    def __call__(self, environ: dict[str, Any], start: StartResponse) -> Iterable[bytes]:
        """Answer GET and HEAD of the few addresses there are; everything else is 404."""
        status, kind, body = self._answer(environ)
        start(
            status, [*SECURITY_HEADERS, ("Content-Type", kind), ("Content-Length", str(len(body)))]
        )
        return [] if environ["REQUEST_METHOD"] == "HEAD" else [body]

    def _answer(self, environ: dict[str, Any]) -> tuple[str, str, bytes]:
        plain = "text/plain; charset=utf-8"
        if not LOCAL_HOST.fullmatch(environ.get("HTTP_HOST", "")):
            return "421 Misdirected Request", plain, "この機械の中から開いてください。".encode()
        if environ["REQUEST_METHOD"] not in {"GET", "HEAD"}:
            return "405 Method Not Allowed", plain, "見るだけのページです。".encode()
        path = environ.get("PATH_INFO", "")
        if path in ASSETS:
            name, kind = ASSETS[path]
            return "200 OK", kind, (STATIC / name).read_bytes()
        if path == "/status.json":
            return "200 OK", RESULT_TYPES[".json"], self._current_status()
        found = RESULT_NAME.fullmatch(path)
        if found and (self._results / found[1]).is_file():
            file = self._results / found[1]
            return "200 OK", RESULT_TYPES[file.suffix], file.read_bytes()
        return "404 Not Found", plain, "このページはありません。".encode()

    def _current_status(self) -> bytes:
        with self._lock:
            if time.monotonic() - self._collected_at > 1.0:
                self._status = json.dumps(self._collect(), ensure_ascii=False).encode()
                self._collected_at = time.monotonic()
            return self._status
