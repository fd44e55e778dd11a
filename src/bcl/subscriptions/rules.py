"""Decisions about subscriptions, as pure functions: states, what may be asked, what is withheld."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from enum import StrEnum

from bcl_contract.refusals import Refusal
from bcl_contract.subscription_profile import SubscriptionProfile


class SubscriptionState(StrEnum):
    """Where a version of a subscription stands."""

    REQUESTED = "REQUESTED"
    ACTIVE = "ACTIVE"
    PAUSED = "PAUSED"
    ENDED = "ENDED"


_S = SubscriptionState
RUNNING = (_S.ACTIVE, _S.PAUSED)
TRANSITIONS: dict[SubscriptionState, frozenset[SubscriptionState]] = {
    _S.REQUESTED: frozenset({_S.ACTIVE, _S.ENDED}),
    _S.ACTIVE: frozenset({_S.PAUSED, _S.ENDED}),
    _S.PAUSED: frozenset({_S.ACTIVE, _S.ENDED}),
    _S.ENDED: frozenset(),
}

Columns = Mapping[str, Sequence[str]]


def may_become(old: str, new: str) -> bool:
    """Whether a subscription may change from one state to another."""
    return SubscriptionState(new) in TRANSITIONS[SubscriptionState(old)]


def columns_asked(profile: SubscriptionProfile, asked: Columns | None) -> Columns | Refusal:
    """The columns of a request: those of the profile, or fewer; one beyond them is denied."""
    if asked is None:
        return profile.columns
    for file_id, names in asked.items():
        if set(names) - set(profile.columns.get(file_id, ())):
            return Refusal("SUBSCRIPTION_COLUMN_DENIED", {"file": file_id})
    return {
        file_id: [name for name in names if name in asked.get(file_id, ())]
        for file_id, names in profile.columns.items()
        if file_id in asked
    }


def judge_position(
    *, epoch: int, acknowledged: int, delivered: int, asked_epoch: int | None, after: int
) -> Refusal | None:
    """Whether a subscriber may go on behind page `after` of the epoch it names.

    Pages it has named as stored are gone; a page that was never handed out can't be stored. Without
    an epoch it has nothing, so nothing may have been stored yet.
    """
    if asked_epoch is not None and asked_epoch != epoch:
        return Refusal("SUBSCRIPTION_EPOCH_CHANGED", {"epoch": epoch})
    if after < acknowledged:
        return Refusal("SUBSCRIPTION_POSITION_PASSED", {"page": acknowledged})
    if after > delivered or (asked_epoch is None and after > 0):
        return Refusal("SUBSCRIPTION_POSITION_INVALID", {"page": delivered})
    return None
