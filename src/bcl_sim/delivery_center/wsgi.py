"""The center's door for kiosks: a plain WSGI application behind mutual TLS.

A kiosk is known by its client certificate (URI ``urn:bcl:party:kiosk:…``) and sees only the
transactions it began. ``/status`` gives counts without anything personal.
"""

import hashlib
import json
import sys
import threading
from collections.abc import Callable, Iterable, Mapping
from http import HTTPStatus
from typing import Any

from cryptography import x509

from bcl_contract.delivery_center import (
    REQUEST_BYTES,
    Message,
    OutsideRefusal,
    parse_message,
    write_message,
)
from bcl_contract.refusals import Refusal
from bcl_sim.delivery_center import kiosk_messages as kiosk
from bcl_sim.delivery_center.transactions import Center
from bcl_sim.pki import PARTY_URN
from bcl_sim.serving import Environ, StartResponse, peer_cert

KIOSK_URN = PARTY_URN + "kiosk:"
TIDY_SECONDS = 2.0
Step = Callable[..., Message | Refusal]


def kiosk_of(environ: Environ) -> bytes | None:
    """Give the digest of the kiosk's certificate; None when the caller is no kiosk."""
    cert_der = peer_cert(environ)
    if cert_der is None:
        return None
    cert = x509.load_der_x509_certificate(cert_der)
    try:
        names = cert.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    except x509.ExtensionNotFound:
        return None
    uris = names.get_values_for_type(x509.UniformResourceIdentifier)
    if not any(uri.startswith(KIOSK_URN) for uri in uris):
        return None
    return hashlib.sha256(cert_der).digest()


class CenterApplication:
    """The WSGI application over one center."""

    def __init__(
        self, center: Center, *, identify: Callable[[Environ], bytes | None] = kiosk_of
    ) -> None:
        self._center = center
        self._identify = identify
        self._steps: Mapping[str, tuple[type[Message], Step]] = {
            kiosk.BEGIN_PATH: (kiosk.Begin, center.begin),
            kiosk.INQUIRE_PATH: (kiosk.Inquire, center.inquire),
            kiosk.ISSUE_PATH: (kiosk.Issue, center.issue),
            kiosk.PAY_PATH: (kiosk.Pay, center.pay),
            kiosk.FINISH_PATH: (kiosk.Finish, center.finish),
        }

    def __call__(self, environ: Environ, start_response: StartResponse) -> Iterable[bytes]:
        """Answer one HTTP request."""
        status, content = self._route(environ)
        headers = [
            ("Content-Type", "application/json"),
            ("Content-Length", str(len(content))),
            ("Cache-Control", "no-store"),
        ]
        start_response(f"{status.value} {status.phrase}", headers)
        return [content]

    def _route(self, environ: Environ) -> tuple[HTTPStatus, bytes]:
        method, path = environ["REQUEST_METHOD"], environ.get("PATH_INFO", "/")
        if method == "GET" and path == kiosk.STATUS_PATH:
            return HTTPStatus.OK, json.dumps(status_of(self._center)).encode("ascii")
        if path not in self._steps:
            return HTTPStatus.NOT_FOUND, b"{}"
        if method != "POST":
            return HTTPStatus.METHOD_NOT_ALLOWED, b"{}"
        return self._take(environ, *self._steps[path])

    def _take(self, environ: Environ, form: type[Message], step: Step) -> tuple[HTTPStatus, bytes]:
        """Take one step of a transaction for the kiosk that calls."""
        kiosk_digest = self._identify(environ)
        if kiosk_digest is None:
            return _refused(Refusal("CENTER_NOT_REGISTERED"), None)
        request = parse_message(form, _read_body(environ))
        if isinstance(request, Refusal):
            return _refused(request, None)
        answer = step(request, kiosk_digest=kiosk_digest)
        if isinstance(answer, Refusal):
            return _refused(answer, getattr(request, "transaction_number", None))
        return HTTPStatus.OK, write_message(answer)


def status_of(center: Center) -> dict[str, Any]:
    """Give what the world page shows: counts by state, sums of money, results not yet told."""
    return {
        "transactions": center.journal.counts(),
        "money": center.journal.money(),
        "unconfirmed": len(center.journal.list_unconfirmed()),
    }


def tidy_forever(center: Center, stop: threading.Event) -> None:
    """End what is overdue and repeat unacknowledged confirmations, every two seconds."""
    while not stop.wait(TIDY_SECONDS):
        try:
            center.tidy()
        except Exception as fault:
            # One bad round must not end all later ones; the journal still holds what is open.
            sys.stderr.write(f"tidy failed: {type(fault).__name__}\n")


def _read_body(environ: Environ) -> bytes:
    try:
        length = int(environ.get("CONTENT_LENGTH") or 0)
    except ValueError:
        return b""
    # One byte beyond the limit is enough to be told that it is too large.
    body: bytes = environ["wsgi.input"].read(min(max(length, 0), REQUEST_BYTES + 1))
    return body


def _refused(refusal: Refusal, transaction_number: str | None) -> tuple[HTTPStatus, bytes]:
    message = kiosk.Refused(
        transaction_number=transaction_number, refusal=OutsideRefusal.of(refusal.code)
    )
    return HTTPStatus(refusal.text.http_status), write_message(message)
