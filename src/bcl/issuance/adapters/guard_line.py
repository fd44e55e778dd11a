"""The line to the guard's process: a Unix socket, one paper a connection.

A question is one line of JSON (town, transaction number, length) and the bytes of the PDF. The
answer is one line of JSON. Anything else, and silence, is a refusal: never a pass.
"""

from __future__ import annotations

import json
import socket
from collections.abc import Callable
from datetime import datetime
from pathlib import Path
from typing import Any, BinaryIO

from bcl_contract.refusals import REFUSALS, Refusal

AWAY = "ISSUE_GUARD_AWAY"
LARGEST_PDF_BYTES = 16 << 20
_LINE_BYTES = 4096
_SECONDS = 15.0
Look = Callable[[str, str, bytes], datetime | Refusal]


def ask(
    socket_path: Path, municipality_code: str, transaction_number: str, pdf: bytes
) -> datetime | Refusal:
    """Ask the guard about one paper: when it was sent, or why not."""
    question = {
        "municipality_code": municipality_code,
        "transaction_number": transaction_number,
        "bytes": len(pdf),
    }
    try:
        with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as line:
            line.settimeout(_SECONDS)
            line.connect(str(socket_path))
            line.sendall(json.dumps(question).encode() + b"\n" + pdf)
            with line.makefile("rb") as reader:
                answer: dict[str, Any] = json.loads(reader.readline(_LINE_BYTES))
        if answer["transaction_number"] != transaction_number:
            return Refusal(AWAY)
        if answer["code"] is None:
            return datetime.fromisoformat(answer["sent_at"])
        return Refusal(answer["code"] if answer["code"] in REFUSALS else AWAY)
    except (OSError, ValueError, KeyError, TypeError):
        return Refusal(AWAY)


def answer(reader: BinaryIO, look: Look) -> bytes:
    """Read one question, have it looked at, give the answer's line. Raises ValueError for noise."""
    question = json.loads(reader.readline(_LINE_BYTES))
    code, number, size = (
        question["municipality_code"],
        question["transaction_number"],
        int(question["bytes"]),
    )
    if not 0 < size <= LARGEST_PDF_BYTES:
        raise ValueError("a paper of this size is none of ours")
    pdf = reader.read(size)
    if len(pdf) != size:
        raise ValueError("the paper is not whole")
    outcome = look(code, number, pdf)
    said = {
        "transaction_number": number,
        "code": outcome.code if isinstance(outcome, Refusal) else None,
        "sent_at": None if isinstance(outcome, Refusal) else outcome.isoformat(),
    }
    return json.dumps(said).encode() + b"\n"
