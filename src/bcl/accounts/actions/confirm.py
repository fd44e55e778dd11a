"""Acts that need the second factor once more: the person at the terminal, now, for exactly this.

    confirmed = confirm_act(principal, "123456", act="approve_export", content={...},
                            unix_time=time.time(), at=now)

What comes out stands where a signature of the command line stands (D31): the agency signs that
this person confirmed this content. Nothing outside this process can make one.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import datetime

from bcl.accounts.actions.sign_in import lock_account_of, spend_code
from bcl.accounts.queries import Principal
from bcl.foundation import agency_signing, audit, tenancy
from bcl_contract.refusals import Refusal
from bcl_contract.signed_acts import MAXIMUM_AGE, SignedAct


@dataclass(frozen=True)
class ConfirmedAct(SignedAct):
    """A signed act whose signature is the agency's, made after a fresh code."""

    key_id: str = ""
    ticket: str = ""

    def facts(self) -> dict[str, object]:
        """What the agency signs."""
        return {
            "confirmed_act": self.act,
            "municipality_code": self.municipality_code,
            "staff_id": self.staff_id,
            "at": self.at.isoformat(),
            "content": dict(self.content),
            **({"privileged_by": self.ticket} if self.ticket else {}),
        }


def confirm_act(
    principal: Principal,
    code: str,
    *,
    act: str,
    content: Mapping[str, str | int],
    unix_time: float,
    at: datetime,
) -> ConfirmedAct | Refusal:
    """Bind an act to the person by a fresh code of the authenticator app."""
    with tenancy.scope(principal.municipality_code):
        account = lock_account_of(principal)
        wrong = spend_code(account, principal.terminal, code, unix_time=unix_time, at=at)
        if wrong is not None:
            return wrong
    bare = ConfirmedAct(
        act,
        principal.municipality_code,
        principal.actor.id,
        at,
        dict(content),
        ticket=principal.actor.ticket,
    )
    signed = agency_signing.sign(bare.facts())
    return replace(bare, signature=signed.signature, key_id=signed.key_id)


def verify_confirmed(
    confirmed: ConfirmedAct, *, act: str, municipality_code: str, now: datetime
) -> audit.Actor | Refusal:
    """Who confirmed this act, or why it doesn't count."""
    fits = confirmed.act == act and confirmed.municipality_code == municipality_code
    signature = agency_signing.Signature(confirmed.key_id, "", confirmed.signature)
    is_fresh = abs(now - confirmed.at) <= MAXIMUM_AGE
    if not fits or not is_fresh or not agency_signing.is_genuine(confirmed.facts(), signature):
        return Refusal("STAFF_SIGNATURE_INVALID")
    return audit.Actor("staff", confirmed.staff_id, confirmed.ticket)
