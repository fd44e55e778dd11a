"""Getting the guard's word on a finished paper: from its process, or here where none is set."""

from __future__ import annotations

from bcl.issuance import settings
from bcl.issuance.actions.send import Sent, send_paper
from bcl.issuance.adapters import guard_line
from bcl_contract.refusals import Refusal

GUARD_AWAY = guard_line.AWAY


def ask_guard(municipality_code: str, transaction_number: str, pdf: bytes) -> Sent | Refusal:
    """Have a paper looked at and sent. No answer from the guard's process is ISSUE_GUARD_AWAY.

    Without a socket in the settings the same look is taken in this process (tests, commands), but
    never in production.
    """
    socket_path = settings.guard_socket()
    if socket_path is None and settings.is_production():
        return Refusal(GUARD_AWAY)
    if socket_path is None:
        return send_paper(municipality_code, transaction_number, pdf)
    answer = guard_line.ask(socket_path, municipality_code, transaction_number, pdf)
    return answer if isinstance(answer, Refusal) else Sent(answer)
