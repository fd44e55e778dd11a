"""Asking BCL: signed requests over mutual TLS, answers believed only when everything fits.

An answer counts when its signature is BCL's, it replies to this very sending and transaction, it
was sent just now, and it arrived before the deadline. Anything else is thrown away.
"""

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import TypeVar

import httpx
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey

from bcl_contract import clock
from bcl_contract.delivery_center import (
    ANSWER_BYTES,
    CONFIRM_PATH,
    INQUIRE_PATH,
    ISSUE_PATH,
    RECONCILE_PATH,
    SIGNATURE_HEADER,
    Answer,
    ConfirmAnswer,
    ConfirmRequest,
    InquireAnswer,
    InquireRequest,
    IssueAnswer,
    IssueRequest,
    ReconcileAnswer,
    ReconcileRequest,
    Request,
    check_time_window,
    new_number,
    parse_message,
    sign_message,
    verify_message,
    write_message,
)
from bcl_contract.refusals import Refusal

A = TypeVar("A", bound=Answer)
CONFIRM_SECONDS = 5.0
RECONCILE_SECONDS = 60.0
TRIES = 2


@dataclass(frozen=True)
class BclClient:
    """The line to BCL. `routes` gives each participating town's address."""

    routes: Mapping[str, str]
    http: httpx.Client
    signing_key: Ed25519PrivateKey
    verify_key: Ed25519PublicKey
    now: Callable[[], datetime] = clock.now

    def serves(self, municipality_code: str) -> bool:
        """Tell whether the town takes part."""
        return municipality_code in self.routes

    def inquire(self, request: InquireRequest) -> InquireAnswer | Refusal:
        """Ask what the holder can have, within the request's deadline."""
        return self._ask_before(request, request.deadline_at, INQUIRE_PATH, InquireAnswer)

    def issue(self, request: IssueRequest) -> IssueAnswer | Refusal:
        """Ask for the certificate, within the request's deadline."""
        return self._ask_before(request, request.deadline_at, ISSUE_PATH, IssueAnswer)

    def confirm(self, request: ConfirmRequest) -> ConfirmAnswer | Refusal:
        """Tell what became of the paper."""
        until = self.now() + timedelta(seconds=CONFIRM_SECONDS)
        return self._ask_before(request, until, CONFIRM_PATH, ConfirmAnswer)

    def reconcile(self, request: ReconcileRequest) -> ReconcileAnswer | Refusal:
        """Compare a day."""
        until = self.now() + timedelta(seconds=RECONCILE_SECONDS)
        return self._ask_before(request, until, RECONCILE_PATH, ReconcileAnswer)

    def _ask_before(
        self, request: Request, deadline_at: datetime, path: str, form: type[A]
    ) -> A | Refusal:
        """Send, and send again when the line drops: the same request, under a new message number.

        Refuses with CENTER_MUNICIPALITY_NOT_SERVED, CENTER_MUNICIPALITY_UNREACHABLE,
        CENTER_DEADLINE_PASSED, CENTER_ANSWER_WRONG, or what BCL refused with.
        """
        url = self.routes.get(request.municipality_code)
        if url is None:
            return Refusal("CENTER_MUNICIPALITY_NOT_SERVED")
        ends = time.monotonic() + (deadline_at - self.now()).total_seconds()
        for _ in range(TRIES):
            now = self.now()
            sending = request.model_copy(update={"message_id": new_number(now), "sent_at": now})
            try:
                body, signature = self._send(url + path, write_message(sending), ends)
            except TimeoutError:
                return Refusal("CENTER_DEADLINE_PASSED")
            except httpx.RequestError:
                continue
            except _AnswerTooLarge:
                return Refusal("CENTER_ANSWER_WRONG")
            return self._judge(body, signature, sending, form, deadline_at)
        return Refusal("CENTER_MUNICIPALITY_UNREACHABLE")

    def _send(self, url: str, body: bytes, ends: float) -> tuple[bytes, str | None]:
        headers = {
            "Content-Type": "application/json",
            SIGNATURE_HEADER: sign_message(body, key=self.signing_key),
        }
        left = ends - time.monotonic()
        if left <= 0:
            raise TimeoutError
        try:
            with self.http.stream(
                "POST", url, content=body, headers=headers, timeout=left
            ) as answer:
                return _read_before(answer, ends), answer.headers.get(SIGNATURE_HEADER)
        except httpx.TimeoutException as error:
            raise TimeoutError from error

    def _judge(
        self,
        body: bytes,
        signature: str | None,
        sending: Request,
        form: type[A],
        deadline_at: datetime,
    ) -> A | Refusal:
        if verify_message(body, signature, key=self.verify_key) is not None:
            return Refusal("CENTER_ANSWER_WRONG")
        answer = parse_message(form, body, limit=ANSWER_BYTES)
        if isinstance(answer, Refusal) or not _belongs(answer, sending):
            return Refusal("CENTER_ANSWER_WRONG")
        if check_time_window(answer.sent_at, at=self.now()) is not None:
            return Refusal("CENTER_ANSWER_WRONG")
        # Late is never: the paper of a person who has gone must not meet the next one.
        if self.now() > deadline_at:
            return Refusal("CENTER_DEADLINE_PASSED")
        return answer


class _AnswerTooLarge(Exception):
    pass


def _read_before(answer: httpx.Response, ends: float) -> bytes:
    content = bytearray()
    for piece in answer.iter_bytes():
        content += piece
        if len(content) > ANSWER_BYTES:
            raise _AnswerTooLarge
        if time.monotonic() > ends:
            raise TimeoutError
    return bytes(content)


def _belongs(answer: Answer, sending: Request) -> bool:
    return (
        answer.in_reply_to == sending.message_id
        and answer.municipality_code == sending.municipality_code
        and getattr(answer, "transaction_number", None)
        == getattr(sending, "transaction_number", None)
    )
