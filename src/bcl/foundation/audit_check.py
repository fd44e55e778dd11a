"""Checking a town's audit log against itself and against the heads outside (R-171).

    report = audit_check.check("999997", outside=audit_log.outside_place().read("999997"))
    report.findings[0].kind            # the first altered, deleted or inserted row

Three things must agree: the rows, the tree of their hashes with its signed heads, and the heads
kept outside. The rows' tags (`audit_rows`) name a forged row exactly even where somebody has
rewritten the tree as well. Works on a snapshot; writing and sealing go on.
"""

from __future__ import annotations

import base64
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from enum import StrEnum

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
from django.db import connection

from bcl.foundation import audit_log, audit_rows, keys, tenancy
from bcl.foundation.audit_outside import Head
from bcl.foundation.audit_rows import Row
from bcl.foundation.audit_tree import Frontier
from bcl.foundation.keys import KeyFault, KeyPurpose
from bcl.foundation.models import AgencySigningKey, AuditHead
from bcl_contract.receipts import canonical_json

LATE = timedelta(minutes=10)
"""A row that waits longer for its place in the log is reported: sealing stands still."""


_TELL_EVERY = 1_000


class FindingKind(StrEnum):
    """What is wrong, in the words of the person who has to look."""

    ROW_ALTERED = "ROW_ALTERED"
    ROW_DELETED = "ROW_DELETED"
    ROW_INSERTED = "ROW_INSERTED"
    ROW_FORGED = "ROW_FORGED"
    ROW_COPIED = "ROW_COPIED"
    ROW_WITHOUT_TAG = "ROW_WITHOUT_TAG"
    ROW_WAITING = "ROW_WAITING"
    LEAVES_MISSING = "LEAVES_MISSING"
    LEAVES_UNSIGNED = "LEAVES_UNSIGNED"
    TREE_ALTERED = "TREE_ALTERED"
    HEAD_ALTERED = "HEAD_ALTERED"
    OUTSIDE_DIFFERS = "OUTSIDE_DIFFERS"
    OUTSIDE_FALSE = "OUTSIDE_FALSE"
    END_DELETED = "END_DELETED"
    ROLLED_BACK = "ROLLED_BACK"


@dataclass(frozen=True)
class Finding:
    """One thing that doesn't fit. Leaf numbers from `low` up to, without, `high`."""

    kind: FindingKind
    low: int | None = None
    high: int | None = None
    entry_id: int | None = None
    act: str = ""
    at: str = ""
    head: int | None = None

    @property
    def order(self) -> tuple[bool, int, int]:
        return self.low is None, self.low or 0, self.entry_id or 0


@dataclass
class Report:
    """What was looked at and what was found, in the order of the log."""

    log: str
    rows: int = 0
    heads: int = 0
    outside_heads: int = 0
    waiting: int = 0
    tags_checked: bool = False
    findings: list[Finding] = field(default_factory=list)

    @property
    def is_sound(self) -> bool:
        return not self.findings


def check(
    log: str,
    *,
    outside: Iterable[Head],
    at: datetime,
    progress: Callable[[int], None] | None = None,
) -> Report:
    """Check one log whole; findings come in the order of the log.

    `progress` is told now and then how many rows have been looked at.
    """
    with tenancy.scope(log, snapshot=True):
        report = Report(log)
        heads = sorted(outside, key=lambda head: head["content"]["tree_size"])
        walk = _Walk(report, heads, progress or _tell_nobody)
        walk.run()
        _check_unnumbered(report, walk.secrets, at=at)
        _check_copies(report)
    report.findings.sort(key=lambda finding: finding.order)
    return report


def _tell_nobody(looked_at: int) -> None:
    """For a check that nobody waits for."""


class _Walk:
    """Goes through the leaves in order, past every head."""

    def __init__(
        self, report: Report, outside: list[Head], progress: Callable[[int], None]
    ) -> None:
        self.report = report
        self.progress = progress
        self.outside = outside
        self.genuine = {
            row.key_id: row.public_key for row in AgencySigningKey.objects.all()
        } | {head["key_id"]: head["public_key"] for head in outside}
        self.secrets = _tag_secrets(report.log)
        report.tags_checked = bool(self.secrets)
        self.frontier = Frontier()
        self.is_whole = True
        self.good = 0
        self.former: AuditHead | None = None
        self.first_size = 0
        self.roots: dict[int, str] = {}
        self.epochs: list[tuple[int, int]] = []
        self.digests: set[str] = set()

    def run(self) -> None:
        heads = AuditHead.objects.order_by("number").iterator(chunk_size=1_000)
        head = next(heads, None)
        self.first_size = 0 if head is None else head.tree_size
        wanted = {each["content"]["tree_size"] for each in self.outside}
        expected = 0
        for number, stored, row in audit_rows.iter_leaves(self.report.log):
            if number != expected:
                self._miss(expected, number)
            expected = number + 1
            self._take_leaf(number, stored, row)
            if self.is_whole and expected in wanted:
                self.roots[expected] = self.frontier.root.hex()
            while head is not None and head.tree_size <= expected:
                self._take_head(head)
                head = next(heads, None)
        while head is not None:
            self._miss(expected, head.tree_size)
            expected = max(expected, head.tree_size)
            self._take_head(head)
            head = next(heads, None)
        signed = 0 if self.former is None else self.former.tree_size
        if expected > signed:
            self._find(FindingKind.LEAVES_UNSIGNED, signed, expected)
        self._check_outside(expected)

    def _find(self, kind: FindingKind, low: int, high: int, *, head: int | None = None) -> None:
        self.report.findings.append(Finding(kind, low, high, head=head))

    def _miss(self, low: int, high: int) -> None:
        if low < high:
            self._find(FindingKind.LEAVES_MISSING, low, high)
            self.is_whole = False

    def _take_leaf(self, number: int, stored: bytes, row: Row | int) -> None:
        self.report.rows += 1
        if self.report.rows % _TELL_EVERY == 0:
            self.progress(self.report.rows)
        self.frontier.add(stored)
        if isinstance(row, int):
            kind: FindingKind | None = FindingKind.ROW_DELETED
        else:
            kind = self._judge(number, stored, row)
        if kind is not None:
            self.report.findings.append(_finding(kind, row, number))

    def _judge(self, number: int, stored: bytes, row: Row) -> FindingKind | None:
        if audit_rows.leaf_hash(row) != stored:
            return FindingKind.ROW_ALTERED
        # Rows from before there were tags stand under the first head, and nobody gets in there.
        if row["tag"] is None and number < self.first_size:
            return None
        return _judge_tag(row, self.secrets)

    def _take_head(self, head: AuditHead) -> None:
        self.report.heads += 1
        content, former = head.content, self.former
        low = 0 if former is None else former.tree_size
        fits = (
            content["log"] == self.report.log
            and content["number"] == head.number == (1 if former is None else former.number + 1)
            and content["tree_size"] == head.tree_size
            and content["former_size"] == low
            and content["former_sha256"] == ("" if former is None else former.sha256)
            and audit_log.digest_of(content) == head.sha256
            and self.genuine.get(head.key_id) == head.public_key
            and _is_signed(audit_log.signed_head(head))
        )
        if not fits:
            self._find(FindingKind.HEAD_ALTERED, low, head.tree_size, head=head.number)
        if self.is_whole and self.frontier.root.hex() == content["root_sha256"]:
            self.good = head.tree_size
        else:
            self._resume_from(head, low)
        self.former = head
        self.digests.add(head.sha256)
        if not self.epochs or self.epochs[-1][0] != content["epoch"]:
            self.epochs.append((content["epoch"], low))

    def _resume_from(self, head: AuditHead, low: int) -> None:
        """After a difference: say where it lies, and go on from the head's own frontier."""
        if self.is_whole:
            self._find(FindingKind.TREE_ALTERED, low, head.tree_size, head=head.number)
        try:
            stored = Frontier.of(head.tree_size, bytes(head.frontier))
        except ValueError:
            stored = Frontier()
        self.is_whole = stored.root.hex() == head.content["root_sha256"]
        if self.is_whole:
            self.frontier = stored

    def _check_outside(self, size: int) -> None:
        good = 0
        for head in self.outside:
            content = head["content"]
            self.report.outside_heads += 1
            if not _is_signed(head):
                self._find(FindingKind.OUTSIDE_FALSE, 0, 0, head=content["number"])
                continue
            number, reached = content["number"], content["tree_size"]
            if audit_log.digest_of(content) in self.digests:
                if self.roots.get(reached, content["root_sha256"]) == content["root_sha256"]:
                    good = reached
                    continue
            lost = [low for epoch, low in self.epochs if epoch > content["epoch"]]
            if lost and lost[0] < reached:
                self._find(FindingKind.ROLLED_BACK, lost[0], reached, head=number)
            elif reached > size:
                self._find(FindingKind.END_DELETED, size, reached, head=number)
            else:
                self._find(FindingKind.OUTSIDE_DIFFERS, good, reached, head=number)
            return


def _check_unnumbered(report: Report, secrets: list[bytes], *, at: datetime) -> None:
    for row, waits in audit_rows.iter_unnumbered(report.log):
        if not waits:
            report.findings.append(_finding(FindingKind.ROW_INSERTED, row, None))
            continue
        report.waiting += 1
        tag = _judge_tag(row, secrets)
        if tag is FindingKind.ROW_FORGED:
            report.findings.append(_finding(tag, row, None))
        elif datetime.fromisoformat(row["at"]) < at - LATE:
            report.findings.append(_finding(FindingKind.ROW_WAITING, row, None))
    with connection.cursor() as db:
        db.execute(
            "SELECT p.entry_id FROM foundation_auditpending p WHERE p.municipality_code = %s"
            " AND CASE WHEN p.is_agency"
            "  THEN NOT EXISTS (SELECT FROM foundation_agencyauditentry a WHERE a.id = p.entry_id)"
            "  ELSE NOT EXISTS (SELECT FROM foundation_auditentry e WHERE e.id = p.entry_id) END"
            " ORDER BY 1",
            [report.log],
        )
        report.findings += [
            Finding(FindingKind.ROW_DELETED, entry_id=entry_id) for (entry_id,) in db.fetchall()
        ]


def _check_copies(report: Report) -> None:
    """A true row put in a second time: the same tag twice."""
    with connection.cursor() as db:
        db.execute(
            "SELECT e.id, l.leaf_number, e.act, row_number() OVER ("
            "  PARTITION BY e.row_tag ORDER BY l.leaf_number NULLS LAST, e.id)"
            " FROM foundation_auditentry e LEFT JOIN foundation_auditleaf l"
            "  ON l.municipality_code = e.municipality_code AND NOT l.is_agency"
            "  AND l.entry_id = e.id"
            " WHERE e.municipality_code = %s AND e.row_tag IN (SELECT row_tag"
            "  FROM foundation_auditentry WHERE municipality_code = %s AND row_tag IS NOT NULL"
            "  GROUP BY row_tag HAVING count(*) > 1)",
            [report.log, report.log],
        )
        for entry_id, leaf, act, place in db.fetchall():
            if place > 1:
                high = None if leaf is None else leaf + 1
                report.findings.append(
                    Finding(FindingKind.ROW_COPIED, leaf, high, entry_id=entry_id, act=act)
                )


def _judge_tag(row: Row, secrets: list[bytes]) -> FindingKind | None:
    if row["agency"] or not secrets:
        return None
    if row["tag"] is None:
        return FindingKind.ROW_WITHOUT_TAG
    if any(audit_rows.is_genuine(row, secret) for secret in secrets):
        return None
    return FindingKind.ROW_FORGED


def _finding(kind: FindingKind, row: Row | int, number: int | None) -> Finding:
    high = None if number is None else number + 1
    if isinstance(row, int):
        return Finding(kind, number, high, entry_id=row)
    return Finding(kind, number, high, entry_id=row["id"], act=row["act"], at=row["at"])


def _tag_secrets(log: str) -> list[bytes]:
    """Every version of the key that tags are made with; none when the town's keys are gone."""
    try:
        current = keys.data_key(log, KeyPurpose.IDENTITY)
        return [
            keys.data_key_version(log, KeyPurpose.IDENTITY, version).secret
            for version in range(1, current.version + 1)
        ]
    except KeyFault:
        return []


def _is_signed(head: Head) -> bool:
    """Whether the key that the head names signed its content."""
    try:
        Ed25519PublicKey.from_public_bytes(bytes.fromhex(head["public_key"])).verify(
            base64.b64decode(head["signature"], validate=True), canonical_json(head["content"])
        )
    except (InvalidSignature, ValueError):
        return False
    return True
