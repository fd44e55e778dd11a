"""Asking JPKI about a card: chain, purpose, period, revocation and the card's own signature.

Never called inside a database transaction (it waits for a network answer). No answer is a
refusal, never a pass (R-046, J4).
"""

from __future__ import annotations

from datetime import datetime

from bcl.issuance import settings
from bcl_contract.delivery_center import UserAuthentication, challenge_for
from bcl_contract.jpki import (
    Verified,
    check_challenge_signature,
    parse_user_auth_cert,
    verify_user_auth,
)
from bcl_contract.ocsp import HttpOcsp
from bcl_contract.refusals import Refusal


def check(
    authentication: UserAuthentication, *, transaction_number: str, at: datetime
) -> Verified | Refusal:
    """Check that this card is good now and signed this very transaction.

    Refuses with the USER_AUTH_CERT_ codes of `bcl_contract.jpki` and `.ocsp`.
    """
    parsed = parse_user_auth_cert(authentication.cert)
    if isinstance(parsed, Refusal):
        return parsed
    refusal = check_challenge_signature(
        parsed,
        challenge=challenge_for(transaction_number, authentication.challenge_nonce),
        signature=authentication.signature,
    )
    if refusal is not None:
        return refusal
    return verify_user_auth(
        authentication.cert,
        trust_roots=settings.trust_roots(),
        at=at,
        ocsp=HttpOcsp(settings.ocsp_url()),
    )
