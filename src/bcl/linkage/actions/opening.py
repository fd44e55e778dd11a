"""Opening a transmission: is it whole, genuine, ours, in a version we take, and whose turn is it?

Journey daily-sync, step 6. What is refused here has been read no further than its manifest.
"""

from __future__ import annotations

import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime

from bcl.foundation import malware, tenancy
from bcl.linkage import settings as intake_settings
from bcl.linkage.actions.malware_check import (
    check_for_malware,
    note_engine,
    wait_for_engine,
)
from bcl.linkage.actions.move import move_transmission
from bcl.linkage.actions.obstacle import SYSTEM, publish_obstacle
from bcl.linkage.actions.resend import fulfil_requests
from bcl.linkage.adapters.receive_area import Place
from bcl.linkage.models import Lane, MalwareCheck, Transmission
from bcl.linkage.queries import get_transmission, read_lane_facts
from bcl.linkage.rules import (
    Place as PlaceInLane,
)
from bcl.linkage.rules import (
    TransmissionState,
    judge_interface_version,
    judge_sequence,
    load_interface_windows,
)
from bcl.municipalities import api as municipalities
from bcl_contract.linkage.package import OpenPackage, PackageLimits, TransmissionManifest
from bcl_contract.linkage.package import open_package as open_zip
from bcl_contract.refusals import Refusal

WAITS_FOR_TURN = frozenset({"TRANSMISSION_GAP", "TRANSMISSION_PREDECESSOR_HELD"})


def place_of(transmission: Transmission) -> Place:
    """Where the sealed bytes of a transmission lie."""
    return Place(transmission.municipality_code, transmission.upload_id, transmission.key_version)


@contextmanager
def opened_package(transmission: Transmission) -> Iterator[OpenPackage | Refusal]:
    """The verified package of a transmission, or why it can't be one."""
    area = intake_settings.receive_area()
    verify_key = municipalities.find_signing_key(
        transmission.municipality_code, transmission.gateway_id
    )
    if verify_key is None:  # revoked between upload and opening
        yield Refusal("TRANSMISSION_SIGNER_REVOKED")
        return
    with area.open_reader(place_of(transmission), size=transmission.bytes) as source:
        package = open_zip(
            source,
            verify_key=verify_key,
            limits=PackageLimits(),
            expected_municipality=transmission.municipality_code,
        )
        if isinstance(package, Refusal):
            yield package
            return
        with package:
            yield package


def open_transmission(
    municipality_code: str, transmission_id: uuid.UUID | str, *, at: datetime
) -> TransmissionState:
    """Verify a received transmission and place it in its lane.

    Gives OPENED when it may be applied now, HELD when a predecessor is missing, REJECTED when it
    is not to be had, RECEIVED when it has to wait for the malware engine; any other state is left
    as it stands (the job ran already).
    """
    with tenancy.scope(municipality_code):
        transmission = get_transmission(transmission_id)
    if transmission.state != TransmissionState.RECEIVED:
        return TransmissionState(transmission.state)
    try:
        with opened_package(transmission) as package:
            found, checked = _look_into(transmission, package)
    except malware.EngineAway:
        return wait_for_engine(transmission, at=at)
    with tenancy.scope(municipality_code):
        transmission = lock_transmission(transmission_id)
        if transmission.state != TransmissionState.RECEIVED:
            return TransmissionState(transmission.state)
        transmission.malware_check = checked
        note_engine(transmission, at=at)
        if isinstance(found, Refusal):
            move_transmission(
                transmission, TransmissionState.REJECTED, by=SYSTEM, at=at, refusal=found
            )
        else:
            _place_in_lane(transmission, found, at=at)
            if transmission.state != TransmissionState.REJECTED:
                fulfil_requests(transmission, at=at)
        publish_obstacle(municipality_code, at=at)
    return TransmissionState(transmission.state)


def _look_into(
    transmission: Transmission, package: OpenPackage | Refusal
) -> tuple[TransmissionManifest | Refusal, MalwareCheck]:
    found = package if isinstance(package, Refusal) else _check(transmission, package)
    if isinstance(package, Refusal) or isinstance(found, Refusal):
        return found, MalwareCheck.NOT_YET
    checked = check_for_malware(package)
    return (checked, MalwareCheck.FOUND) if isinstance(checked, Refusal) else (found, checked)


def _check(transmission: Transmission, package: OpenPackage) -> TransmissionManifest | Refusal:
    manifest = package.manifest
    if manifest.bundle_id != transmission.bundle_id:
        return Refusal("TRANSMISSION_BUNDLE_ID")
    if manifest.meant_for != intake_settings.environment():
        return Refusal("TRANSMISSION_ENVIRONMENT", {"environment": manifest.meant_for})
    ahead = manifest.created_at - transmission.received_at
    if ahead.total_seconds() > intake_settings.limits().clock_skew_seconds:
        # Sealed after it arrived: the town hall's clock is ahead.
        return Refusal("TRANSMISSION_CLOCK_SKEW", {"seconds": round(ahead.total_seconds())})
    # Who arrived in time is in time, however long the transmission waited here to be opened.
    refusal = judge_interface_version(
        manifest.interface_version, transmission.received_at, load_interface_windows()
    )
    return manifest if refusal is None else refusal


def _place_in_lane(
    transmission: Transmission, manifest: TransmissionManifest, *, at: datetime
) -> None:
    lane = lock_lane(transmission.municipality_code, str(manifest.lane))
    transmission.lane = str(manifest.lane)
    transmission.sequence = manifest.sequence
    transmission.previous_sequence = manifest.previous_sequence
    transmission.mode = str(manifest.mode)
    transmission.as_of = manifest.as_of
    transmission.interface_version = manifest.interface_version
    transmission.sender_system = manifest.sender_system
    transmission.counts = _declared_counts(manifest)
    facts = read_lane_facts(lane, but=transmission.id)
    placed = judge_sequence(
        sequence=manifest.sequence,
        previous_sequence=manifest.previous_sequence,
        lane=facts,
    )
    if isinstance(placed, Refusal):
        move_transmission(
            transmission, TransmissionState.REJECTED, by=SYSTEM, at=at, refusal=placed
        )
    elif placed is PlaceInLane.NEXT:
        move_transmission(transmission, TransmissionState.OPENED, by=SYSTEM, at=at)
    else:
        between = set(range(lane.last_sequence + 1, manifest.sequence))
        missing = between - facts.taken
        refusal = (
            Refusal("TRANSMISSION_GAP", {"expected": min(missing), "got": manifest.sequence})
            if missing
            else Refusal("TRANSMISSION_PREDECESSOR_HELD", {"got": manifest.sequence})
        )
        move_transmission(transmission, TransmissionState.HELD, by=SYSTEM, at=at, refusal=refusal)


def _declared_counts(manifest: TransmissionManifest) -> list[dict[str, str | int]]:
    """Declared rows by file; the seal images of a transmission count as one line."""
    rows: dict[str, int] = {}
    for entry in manifest.files:
        rows[entry.file_id] = rows.get(entry.file_id, 0) + entry.rows
    return [{"file_id": file_id, "rows": count} for file_id, count in rows.items()]


def clear_bytes(transmission: Transmission) -> None:
    """Take the sealed bytes out of the receive area; call it after the deciding commit.

    If the process dies in between, `upkeep.clear_receive_area` finds them.
    """
    intake_settings.receive_area().remove(place_of(transmission))


def lock_lane(municipality_code: str, lane: str) -> Lane:
    """Take the lane's row lock until the end of the transaction; makes the row if new."""
    Lane.objects.get_or_create(municipality_code=municipality_code, lane=lane)
    return Lane.objects.select_for_update(of=("self",), no_key=True).get(lane=lane)


def lock_transmission(transmission_id: uuid.UUID | str) -> Transmission:
    """Take the transmission's row lock until the end of the transaction."""
    return Transmission.objects.select_for_update(of=("self",), no_key=True).get(id=transmission_id)
