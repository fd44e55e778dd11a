"""Handing pages out: values read at that moment, columns of the profile only, everybody on record.

A page is the same until the subscriber names it as stored; only protection is looked at anew each
time, so that a measure of this minute holds for pages made before it.
"""

from __future__ import annotations

import hashlib
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime

import numpy as np

from bcl.foundation import audit, keys, tenancy
from bcl.foundation.keys import KeyPurpose
from bcl.municipalities.api import SubscriberIdentity
from bcl.resident_store import api as store
from bcl.subscriptions import pages
from bcl.subscriptions.actions.agree import begin_epoch
from bcl.subscriptions.models import DeliveryPage, Subscription
from bcl.subscriptions.queries import current_fencing_epoch, profile_in
from bcl.subscriptions.rules import RUNNING, SubscriptionState, columns_asked, judge_position
from bcl_contract.linkage.layouts import load_interface
from bcl_contract.refusals import Refusal
from bcl_contract.subscription_messages import Item
from bcl_contract.subscription_profile import PROTECTED_PLACES

FOUND_AT_MOST = 100
_SUBJECT = "addressee_number"

Columns = Mapping[str, Sequence[str]]


@dataclass(frozen=True)
class Delivered:
    """One page as it goes out; `page` 0: there is nothing new behind what was named."""

    epoch: int
    page: int
    load_number: int
    load_complete: bool
    more: bool
    items: list[Item] = field(default_factory=list, repr=False)


@dataclass(frozen=True)
class Found:
    """Records of single persons who were asked for."""

    items: list[Item] = field(repr=False)


def next_page(
    municipality_code: str, name: str, *, caller: SubscriberIdentity, epoch: int | None,
    after: int, columns: Columns | None, at: datetime,
) -> Delivered | Refusal:
    """The page behind `after`; everything up to it is stored by the subscriber and forgotten."""
    with tenancy.scope(municipality_code):
        row = _mine(name, caller)
        if isinstance(row, Refusal):
            return row
        wanted = columns_asked(profile_in(row), columns)
        if isinstance(wanted, Refusal):
            return wanted
        refusal = judge_position(
            epoch=row.epoch, acknowledged=row.acknowledged_page, delivered=row.delivered_page,
            asked_epoch=epoch, after=after,
        )
        if refusal is not None:
            return refusal
        if after > row.acknowledged_page:
            _forget_stored(row, after, at)
        page = (
            DeliveryPage.objects.filter(subscription=row, epoch=row.epoch, number__gt=after)
            .order_by("number")
            .first()
        )
        if page is None:
            return Delivered(row.epoch, 0, row.planned_load, row.planned_load > 0, False)
        return _hand_out(row, page, wanted, caller, at)


def find_records(
    municipality_code: str, name: str, *, caller: SubscriberIdentity, kind: str, value: str,
    columns: Columns | None, at: datetime,
) -> Found | Refusal:
    """Records in force under one exact value, by a kind that the profile names."""
    with tenancy.scope(municipality_code):
        row = _mine(name, caller)
        if isinstance(row, Refusal):
            return row
        profile = profile_in(row)
        wanted = columns_asked(profile, columns)
        if isinstance(wanted, Refusal):
            return wanted
        if kind not in profile.search:
            return Refusal("SUBSCRIPTION_SEARCH_DENIED")
        found = store.find_by_search(municipality_code, kind, value, file_ids=list(wanted))
        versions = [each for each in found if each.latest or profile.history]
        if len(versions) > FOUND_AT_MOST:
            return Refusal("SUBSCRIPTION_SEARCH_TOO_WIDE", {"limit": FOUND_AT_MOST})
        reading = _Reading.of(row, wanted)
        items = reading.items(_as_items(versions))
        audit.record(
            act="answer_subscriber", by=audit.Actor("subscriber", caller.id), at=at,
            subjects=reading.subjects, detail={"subscription": row.name, "search": kind},
        )
        return Found(items)


def restart(
    municipality_code: str, name: str, *, caller: SubscriberIdentity, at: datetime
) -> int | Refusal:
    """Begin a new epoch for a subscriber that has lost its copy; gives its number."""
    with tenancy.scope(municipality_code):
        row = _mine(name, caller)
        if isinstance(row, Refusal):
            return row
        begin_epoch(row, first=row.epoch + 1)
        audit.record(
            act="restart_subscription", by=audit.Actor("subscriber", caller.id), at=at,
            detail={"subscription": row.name, "epoch": row.epoch},
        )
        return row.epoch


# -- inside --------------------------------------------------------------------------------------


def _mine(name: str, caller: SubscriberIdentity) -> Subscription | Refusal:
    """The caller's running subscription, locked; another's is answered like none at all."""
    row = (
        Subscription.objects.select_for_update(of=("self",), no_key=True)
        .filter(name=name, subscriber_id=caller.id)
        .order_by("-version")
        .exclude(state=SubscriptionState.REQUESTED)
        .first()
    )
    if row is None:
        return Refusal("SUBSCRIPTION_TOWN_NOT_AGREED")
    if row.state not in RUNNING:
        return Refusal("SUBSCRIPTION_ENDED")
    if row.state == SubscriptionState.PAUSED:
        return Refusal("SUBSCRIPTION_PAUSED")
    if row.fencing_epoch != current_fencing_epoch():
        begin_epoch(row, first=row.epoch + 1)
    return row


def _forget_stored(row: Subscription, after: int, at: datetime) -> None:
    DeliveryPage.objects.filter(subscription=row, epoch=row.epoch, number__lte=after).delete()
    row.acknowledged_page, row.acknowledged_at = after, at
    row.save(update_fields=["acknowledged_page", "acknowledged_at"])


def _hand_out(
    row: Subscription, page: DeliveryPage, wanted: Columns, caller: SubscriberIdentity, at: datetime
) -> Delivered:
    reading = _Reading.of(row, wanted)
    items = reading.items(pages.unpack(bytes(page.items)))
    row.delivered_page = max(row.delivered_page, page.number)
    row.delivered_at = at
    row.save(update_fields=["delivered_page", "delivered_at"])
    audit.record(
        act="deliver_page", by=audit.Actor("subscriber", caller.id), at=at,
        subjects=reading.subjects,
        detail={
            "subscription": row.name, "version": row.version, "epoch": page.epoch,
            "page": page.number, "load": page.load_number,
        },
    )
    return Delivered(
        page.epoch, page.number, page.load_number, page.completes_load,
        page.number < row.last_page, items,
    )


def _as_items(versions: Iterable[store.RecordVersion]) -> np.ndarray:
    rows = [
        (
            each.file_id.encode(), each.id, bytes.fromhex(each.record_key.replace("-", "")),
            each.person_key, each.household_key,
        )
        for each in versions
    ]
    return np.array(rows, pages.ITEM)


@dataclass
class _Reading:
    """Reads items of one subscription and notes whom they showed."""

    municipality_code: str
    name: str
    wanted: Columns
    hides_places: bool
    secret: bytes = field(repr=False)
    protected: store.Protected = field(default_factory=store.Protected)
    members: frozenset[int] = frozenset()
    subjects: list[bytes] = field(default_factory=list, repr=False)

    @classmethod
    def of(cls, row: Subscription, wanted: Columns) -> _Reading:
        code = row.municipality_code
        made = cls(
            code, row.name, wanted, PROTECTED_PLACES not in row.approved_classes.split("+"),
            keys.data_key(code, KeyPurpose.SEARCH).secret,
        )
        if made.hides_places:
            made.protected = store.protected_keys(code)
            newest = store.applied_position(code).load_number
            made.members = store.household_members(code, newest, made.protected)
        return made

    def items(self, packed: np.ndarray) -> list[Item]:
        """The items in their order, with the values of now."""
        by_file: defaultdict[str, list[int]] = defaultdict(list)
        for item in packed:
            if item["record"]:
                by_file[item["file"].decode()].append(int(item["record"]))
        values: dict[int, dict[str, str | None]] = {}
        for file_id, ids in by_file.items():
            if file_id in self.wanted:
                values |= store.read_records(
                    self.municipality_code, ids, columns=self._read_columns(file_id)
                )
        return [
            self._item(item, values.get(int(item["record"])))
            for item in packed
            if item["file"].decode() in self.wanted
        ]

    def _read_columns(self, file_id: str) -> list[str]:
        """The columns asked for, and those that say whom a record is about, for the audit."""
        names = load_interface().files[file_id].names
        about = [name for name in names if name.endswith(_SUBJECT)]
        return list(dict.fromkeys([*self.wanted[file_id], *about]))

    def _item(self, item: np.void, values: Mapping[str, str | None] | None) -> Item:
        file_id = item["file"].decode()
        person, household = int(item["person"]), int(item["household"])
        found = {
            "file": file_id,
            "record": self._name(b"bcl-sub-record", bytes(item["key"])),
            "household": self._name(b"bcl-sub-house", _group(person, household, item["key"])),
        }
        if values is None:
            return Item(**found, columns=None)
        self._note(values)
        withheld = self._withheld(file_id, person, household)
        return Item(
            **found,
            columns={
                name: None if name in withheld else values[name] for name in self.wanted[file_id]
            },
            withheld=withheld,
        )

    def _note(self, values: Mapping[str, str | None]) -> None:
        self.subjects += [
            number.encode() for name, number in values.items() if name.endswith(_SUBJECT) and number
        ]

    def _withheld(self, file_id: str, person: int, household: int) -> list[str]:
        covered = self.protected.covers(person, household) or person in self.members
        if not self.hides_places or not covered:
            return []
        layout = load_interface().files[file_id]
        return [n for n in self.wanted[file_id] if store.tells_a_place(layout.column(n))]

    def _name(self, domain: bytes, content: bytes) -> str:
        """A name for this subscriber only: two subscribers can't join what they got by it."""
        return hashlib.blake2b(
            content + self.name.encode(), digest_size=16, key=self.secret, person=domain
        ).hexdigest()


def _group(person: int, household: int, key: np.void) -> bytes:
    together = household or person
    return together.to_bytes(8, "big", signed=True) if together else bytes(key)
