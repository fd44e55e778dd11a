"""The kiosk's line to the delivery center: JSON over mutual TLS."""

from pathlib import Path
from typing import TypeVar

import httpx

from bcl_contract.delivery_center import ANSWER_BYTES, Message, parse_message, write_message
from bcl_contract.refusals import Refusal
from bcl_sim.delivery_center import kiosk_messages
from bcl_sim.serving import client_context

M = TypeVar("M", bound=Message)
# The sealed certificate is base64 in JSON once more.
_ANSWER_BYTES = 2 * ANSWER_BYTES
SECONDS = 40.0


class CenterLine:
    """Requests to one center. Use as a context manager or `close` it."""

    def __init__(self, url: str, http: httpx.Client) -> None:
        self._url = url.rstrip("/")
        self._http = http

    def __enter__(self) -> "CenterLine":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Hang up."""
        self._http.close()

    def ask(self, path: str, request: Message, form: type[M], *, tries: int = 1) -> M | Refusal:
        """Send one step and read the answer.

        `tries` above 1 is for steps that may be repeated (begin nothing anew). Refuses with
        KIOSK_CENTER_UNREACHABLE, KIOSK_CENTER_ANSWER_WRONG, or what the center refused with.
        """
        for _ in range(tries):
            try:
                answer = self._http.post(
                    self._url + path,
                    content=write_message(request),
                    headers={"Content-Type": "application/json"},
                    timeout=SECONDS,
                )
            except httpx.RequestError:
                continue
            return _read(answer, request, form)
        return Refusal("KIOSK_CENTER_UNREACHABLE")


def _read(answer: httpx.Response, request: Message, form: type[M]) -> M | Refusal:
    if answer.status_code != httpx.codes.OK:
        refused = parse_message(kiosk_messages.Refused, answer.content)
        if isinstance(refused, Refusal):
            return Refusal("KIOSK_CENTER_ANSWER_WRONG")
        try:
            return Refusal(refused.refusal.code)
        except KeyError:
            return Refusal("KIOSK_CENTER_ANSWER_WRONG")
    content = parse_message(form, answer.content, limit=_ANSWER_BYTES)
    if isinstance(content, Refusal):
        return Refusal("KIOSK_CENTER_ANSWER_WRONG")
    asked = getattr(request, "transaction_number", None)
    if asked is not None and getattr(content, "transaction_number", None) != asked:
        return Refusal("KIOSK_CENTER_ANSWER_WRONG")
    return content


def connect(url: str, *, cert: Path, key: Path, center_authorities: Path) -> CenterLine:
    """Open a line with the kiosk's own certificate; the center must show one of its authority."""
    context = client_context(
        cert_path=cert, key_path=key, server_authorities_path=center_authorities
    )
    return CenterLine(url, httpx.Client(verify=context, trust_env=False))
