"""Speaking with the resident store: one package in, counts and a verdict back."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, BinaryIO

from django.db import transaction

from bcl.foundation import audit
from bcl.linkage.models import Transmission
from bcl.linkage.rules import FileCounts, TransmissionSummary, Verdict, VerdictKind
from bcl_contract.linkage.findings import Finding, TableFault
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
    by: audit.Actor,
    at: datetime,
) -> LoadOutcome:
    """Run one pass of the store over an open package inside the caller's transaction.

    Anything but LAND leaves nothing of the pass in the database.
    """
    from bcl.resident_store import api as store

    seen: list[tuple[Any, Verdict]] = []

    def judge(summary: Any) -> Any:
        verdict = decide(_summarise(summary, package, transmission))
        seen.append((summary, verdict))
        return store.Verdict(verdict.kind.value)

    try:
        with transaction.atomic():
            result = store.apply_files(
                municipality_code=transmission.municipality_code,
                transmission_id=str(transmission.id),
                lane=transmission.lane,
                sequence=transmission.sequence,
                mode=transmission.mode,
                as_of=transmission.as_of,
                interface_version=transmission.interface_version,
                open_files=_tables(package),
                seal_images=_seal_images(package),
                decide=judge,
                by=by,
                at=at,
            )
    except PackageFault as fault:
        return _broken(fault.as_refusal(), [])
    except TableFault as fault:
        return _broken(
            Refusal("TRANSMISSION_CONTENT_INVALID", {"findings": len(fault.findings)}),
            fault.findings,
        )
    summary, verdict = seen[-1]
    return LoadOutcome(
        verdict=verdict,
        counts=[],
        findings=summary.findings,
        findings_total=summary.findings_total,
        load_number=result.load_number if verdict.kind is VerdictKind.LAND else None,
    )


def _broken(refusal: Refusal, findings: Sequence[Finding]) -> LoadOutcome:
    return LoadOutcome(Verdict(VerdictKind.REJECT, refusal), [], findings, len(findings))


def _tables(package: OpenPackage) -> Iterator[tuple[str, Layout, BinaryIO]]:
    layouts = load_interface(package.manifest.interface_version).files
    for entry in package.manifest.tables:
        with package.open_member(entry.name) as member:
            yield entry.file_id, layouts[entry.file_id], member


def _seal_images(package: OpenPackage) -> Iterator[tuple[str, bytes]]:
    for entry in package.manifest.seal_images:
        yield entry.name, package.read_member(entry.name)


def _summarise(
    summary: Any, package: OpenPackage, transmission: Transmission
) -> TransmissionSummary:
    declared = {entry.file_id: entry.rows for entry in package.manifest.tables}
    return TransmissionSummary(
        lane=transmission.lane,
        mode=transmission.mode,
        as_of=transmission.as_of,
        files=tuple(
            FileCounts(
                file_id=counts.file_id,
                declared=declared[counts.file_id],
                rows=counts.rows,
                inserted=counts.inserted,
                changed=counts.changed,
                ended=counts.ended,
                unchanged=counts.unchanged,
            )
            for counts in summary.files
        ),
    )
