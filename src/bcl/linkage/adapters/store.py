"""Speaking with the resident store: one package in, counts and a verdict back."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import BinaryIO

from django.db import transaction

from bcl.foundation import audit
from bcl.linkage.adapters.give_way import UrgentWatch
from bcl.linkage.models import Transmission
from bcl.linkage.rules import FileCounts, TransmissionSummary, Verdict, VerdictKind
from bcl.resident_store import api as store
from bcl_contract.linkage.findings import FATAL, HOUSEHOLD, ROW, WARNING, Finding, TableFault
from bcl_contract.linkage.layouts import Layout, load_interface
from bcl_contract.linkage.package import OpenPackage, PackageFault
from bcl_contract.refusals import Refusal

Decide = Callable[[TransmissionSummary], Verdict]


@dataclass(frozen=True)
class LoadOutcome:
    """What became of one pass over a package. `load_number` only when it landed."""

    verdict: Verdict
    counts: list[dict[str, str | int]]
    findings: Sequence[Finding]
    findings_total: int
    load_number: int | None = None


def apply_package(
    package: OpenPackage,
    *,
    transmission: Transmission,
    decide: Decide,
    watch: UrgentWatch,
    by: audit.Actor,
    at: datetime,
) -> LoadOutcome:
    """Run one pass of the store over an open package inside the caller's transaction (step 8).

    Anything but LAND leaves nothing of the pass in the database. Raises `GaveWay` when `watch`
    sees an urgent transmission.
    """
    verdicts: list[Verdict] = []

    def judge(summary: store.LoadSummary) -> store.Verdict:
        watch.check()
        verdicts.append(decide(_summarise(summary, package)))
        return store.Verdict(verdicts[-1].kind.value)

    try:
        with transaction.atomic():
            result = store.apply_files(
                municipality_code=transmission.municipality_code,
                transmission_id=transmission.id.hex,
                lane=transmission.lane,
                sequence=package.manifest.sequence,
                mode=transmission.mode,
                as_of=package.manifest.as_of,
                interface_version=transmission.interface_version,
                open_files=_tables(package, watch),
                seal_images=_seal_images(package),
                declared_sha256={each.file_id: each.sha256 for each in package.manifest.tables},
                decide=judge,
                by=by,
                at=at,
            )
    except PackageFault as fault:
        return _broken(fault.as_refusal(), [])
    except TableFault as fault:
        refusal = Refusal("TRANSMISSION_CONTENT_INVALID", {"findings": len(fault.findings)})
        return _broken(refusal, fault.findings)
    return LoadOutcome(
        verdict=verdicts[-1],
        counts=_counts(result.summary, package),
        findings=result.summary.findings,
        findings_total=sum(result.summary.finding_counts.values()),
        load_number=result.load_number,
    )


def _broken(refusal: Refusal, findings: Sequence[Finding]) -> LoadOutcome:
    return LoadOutcome(Verdict(VerdictKind.REJECT, refusal), [], findings, len(findings))


def _tables(package: OpenPackage, watch: UrgentWatch) -> Iterator[tuple[str, Layout, BinaryIO]]:
    layouts = load_interface(package.manifest.interface_version).files
    for entry in package.manifest.tables:
        with package.open_member(entry.name) as member:
            yield entry.file_id, layouts[entry.file_id], watch.over(member)


def _seal_images(package: OpenPackage) -> Iterator[tuple[str, bytes]]:
    for entry in package.manifest.seal_images:
        yield entry.name, package.read_member(entry.name)


def _declared_rows(package: OpenPackage) -> dict[str, int]:
    return {entry.file_id: entry.rows for entry in package.manifest.tables}


def _summarise(summary: store.LoadSummary, package: OpenPackage) -> TransmissionSummary:
    declared = _declared_rows(package)
    return TransmissionSummary(
        lane=summary.lane,
        mode=summary.mode,
        as_of=summary.as_of,
        files=tuple(
            FileCounts(
                file_id=counts.file_id,
                declared=declared[counts.file_id],
                rows=counts.rows,
                inserted=counts.inserted,
                changed=counts.changed,
                ended=counts.ended,
                unchanged=counts.unchanged,
                before=counts.before,
            )
            for counts in summary.files
        ),
        fatal=summary.count(FATAL),
        row_errors=summary.count(ROW),
        household=summary.count(HOUSEHOLD),
        warnings=summary.count(WARNING),
    )


def _counts(summary: store.LoadSummary, package: OpenPackage) -> list[dict[str, str | int]]:
    """Counts by file for the sender's eyes and for the record."""
    declared = _declared_rows(package)
    return [
        {
            "file_id": counts.file_id,
            "declared": declared[counts.file_id],
            "rows": counts.rows,
            "inserted": counts.inserted,
            "changed": counts.changed,
            "ended": counts.ended,
            "unchanged": counts.unchanged,
            "quarantined": counts.quarantined,
        }
        for counts in summary.files
    ]
