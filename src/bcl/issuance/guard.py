"""The guard's process: answers on a Unix socket whether a finished paper may leave.

    bcl serve guard

Another operating system process than the door, with a database role of its own (`bcl_guard`) and
another PDF library (poppler) than renderer and read-back. A process boundary, not a claim of a
boundary between users (decision D21). It keeps nothing between two papers.
"""

from __future__ import annotations

import os
import socketserver
from concurrent.futures import ThreadPoolExecutor
from datetime import datetime
from pathlib import Path
from typing import Any

from bcl.foundation import log, tenancy
from bcl.issuance import api
from bcl.issuance.adapters import guard_line
from bcl_contract.refusals import Refusal

logger = log.get("bcl.issuance.guard")
_AT_ONCE = 4
_SECONDS = 15.0


def serve(socket_path: Path) -> None:
    """Listen at a socket that only this user may open, until stopped.

    Raises `UnsafeDatabaseRole` when the role could see across municipalities.
    """
    tenancy.assert_safe_role()
    # What a dead guard left behind; two guards at one place would be a mistake of the operator.
    socket_path.unlink(missing_ok=True)
    before = os.umask(0o177)
    try:
        server = _Server(str(socket_path), _Handler)
    finally:
        os.umask(before)
    with server:
        server.serve_forever()


def look(municipality_code: str, transaction_number: str, pdf: bytes) -> datetime | Refusal:
    """Look at one paper; a fault of ours is a refusal like any other."""
    try:
        answer = api.send_paper(municipality_code, transaction_number, pdf)
    except Exception:
        logger.exception("guard_failed", transaction_id=transaction_number)
        return Refusal("ISSUE_GUARD_AWAY")
    return answer if isinstance(answer, Refusal) else answer.sent_at


class _Handler(socketserver.StreamRequestHandler):
    timeout = _SECONDS

    def handle(self) -> None:
        try:
            self.wfile.write(guard_line.answer(self.rfile, look))
        except (ValueError, KeyError, TypeError, OSError):
            # Noise gets no answer: the asker takes silence for a refusal.
            logger.warning("guard_question_unreadable")


class _Server(socketserver.UnixStreamServer):
    """A few threads that stay, so that each keeps its database connection."""

    request_queue_size = 64

    def __init__(self, *args: Any) -> None:
        self._threads = ThreadPoolExecutor(_AT_ONCE, thread_name_prefix="guard")
        super().__init__(*args)

    def process_request(self, request: Any, client_address: Any) -> None:
        self._threads.submit(self._work, request, client_address)

    def _work(self, request: Any, client_address: Any) -> None:
        try:
            self.finish_request(request, client_address)
        finally:
            self.shutdown_request(request)

    def server_close(self) -> None:
        super().server_close()
        self._threads.shutdown(wait=True)
