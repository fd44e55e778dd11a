"""Rotating a data key under load: a new version at once, old data sealed again in the background.

    rotation.rotate("999997", KeyPurpose.PAGES, by=actor, at=now)   # new data: new version
    ...the job `foundation.reseal` works through the town in small transactions...
    rotation.destroy_old_versions("999997", KeyPurpose.PAGES, by=actor, at=now)

Loads and reads go on meanwhile: they open whatever version a value says. The clear content never
changes. The work is resumable (the row knows how far it is) and safe to repeat.
"""

from __future__ import annotations

import time
from datetime import datetime

from django.db import IntegrityError, connection, transaction
from django.db.models import F

from bcl.foundation import audit, clock, jobs, keys, log, sealed_data, tenancy
from bcl.foundation.key_cache import CONFIRM_SECONDS
from bcl.foundation.keys import FIXED_PURPOSES, KeyPurpose
from bcl.foundation.models import DataKey, KeyRotation
from bcl_contract.refusals import Refusal

TASK = "foundation.reseal"
RUNNING, SETTLING, DONE = "RUNNING", "SETTLING", "DONE"
_ROWS_AT_ONCE = 64
_SECONDS_A_JOB = 20.0
_PAUSE_SECONDS = 3
settle_seconds = CONFIRM_SECONDS + 2.0
"""After this time no process seals with the version before, unless in an open transaction."""

logger = log.get(__name__)


def rotate(
    municipality_code: str, purpose: KeyPurpose, *, by: audit.Actor, at: datetime
) -> KeyRotation | Refusal:
    """Make a new version of a data key and queue the work of sealing old data again.

    Refuses KEY_PURPOSE_FIXED (search and identity keys: only with a rebuild, D4) and
    KEY_ROTATION_RUNNING (one at a time for a town and purpose).
    """
    if purpose.value in FIXED_PURPOSES:
        return Refusal("KEY_PURPOSE_FIXED")
    with tenancy.scope(municipality_code):
        total = sum(each.count(municipality_code) for each in sealed_data.sealed_for(purpose))
        try:
            with transaction.atomic():
                version = keys.rotate_data_key(municipality_code, purpose, at=at)
                run = KeyRotation.objects.create(
                    municipality_code=municipality_code,
                    purpose=purpose.value,
                    version=version,
                    total=total,
                    started_at=at,
                    started_by=by.id,
                )
        except IntegrityError:
            return Refusal("KEY_ROTATION_RUNNING")
        audit.record(
            act="rotate_data_key",
            by=by,
            at=at,
            detail={"purpose": purpose.value, "version": version, "total": total},
        )
        _queue(run, in_seconds=None)
    return run


def work(municipality_code: str, rotation_id: int, *, seconds: float = _SECONDS_A_JOB) -> str:
    """Go on with a rotation for about `seconds`; gives its state. The job's body."""
    until = time.monotonic() + seconds
    while True:
        with tenancy.scope(municipality_code):
            run = KeyRotation.objects.select_for_update(of=("self",), no_key=True).get(
                pk=rotation_id
            )
            idle = _advance(run)
        if run.state == DONE:
            return run.state
        if idle or time.monotonic() >= until:
            break
    with tenancy.scope(municipality_code):
        _queue(run, in_seconds=_PAUSE_SECONDS if idle else None)
    return run.state


def _queue(run: KeyRotation, *, in_seconds: int | None) -> None:
    jobs.defer(
        TASK,
        municipality_code=run.municipality_code,
        in_seconds=in_seconds,
        rotation_id=run.pk,
    )


def _advance(run: KeyRotation) -> bool:
    """One small step in the open scope; True when there is nothing to do but wait."""
    places = sealed_data.sealed_for(KeyPurpose(run.purpose))
    if run.state == SETTLING:
        return _settle(run, places)
    names = [each.name for each in places]
    index = names.index(run.place) if run.place in names else 0
    if index < len(places):
        step = places[index].reseal(
            run.municipality_code, version=run.version, after=run.position, limit=_ROWS_AT_ONCE
        )
        run.resealed += step.done
        if step.position is not None:
            run.place, run.position = names[index], step.position
        elif index + 1 < len(places):
            run.place, run.position = names[index + 1], ""
        else:
            run.state, run.place, run.position = SETTLING, "", ""
            run.settles_from = _database_time()
    else:  # nothing is sealed with this purpose
        run.state, run.settles_from = SETTLING, _database_time()
    run.save()
    return False


def _settle(run: KeyRotation, places: list[sealed_data.SealedData]) -> bool:
    """Done when nothing is left and no transaction could still bring something."""
    with connection.cursor() as db:
        db.execute(
            "SELECT clock_timestamp() < %s + make_interval(secs => %s) OR EXISTS ("
            " SELECT FROM pg_stat_activity WHERE datname = current_database()"
            " AND pid <> pg_backend_pid() AND xact_start <= %s + make_interval(secs => %s))",
            [run.settles_from, settle_seconds, run.settles_from, settle_seconds],
        )
        if db.fetchone()[0]:
            return True
    if any(each.count(run.municipality_code, other_than=run.version) for each in places):
        run.state, run.place, run.position = RUNNING, "", ""
        run.save()
        return False
    run.state, run.finished_at = DONE, clock.now()
    run.save()
    audit.record(
        act="finish_key_rotation",
        by=audit.SYSTEM,
        at=run.finished_at,
        detail={"purpose": run.purpose, "version": run.version, "resealed": run.resealed},
    )
    logger.info("key_rotated", municipality_code=run.municipality_code, count=run.resealed)
    return False


def _database_time() -> datetime:
    with connection.cursor() as db:
        db.execute("SELECT clock_timestamp()")
        moment: datetime = db.fetchone()[0]
        return moment


def destroy_old_versions(
    municipality_code: str, purpose: KeyPurpose, *, by: audit.Actor, at: datetime
) -> list[int] | Refusal:
    """Destroy every older version of a key once nothing needs it; gives their numbers.

    Refuses KEY_ROTATION_RUNNING before the newest version's rotation is done, KEY_STILL_NEEDED
    when anything is sealed with an older one.
    """
    with tenancy.scope(municipality_code):
        newest = KeyRotation.objects.filter(purpose=purpose.value).order_by("-version").first()
        if newest is None:
            return []
        if newest.state != DONE:
            return Refusal("KEY_ROTATION_RUNNING")
        left = sum(
            each.count(municipality_code, other_than=newest.version)
            for each in sealed_data.sealed_for(purpose)
        )
        if left:
            return Refusal("KEY_STILL_NEEDED", {"count": left})
        old = DataKey.objects.filter(
            purpose=purpose.value, version__lt=newest.version, destroyed_at=None
        )
        versions = sorted(old.values_list("version", flat=True))
        for version in versions:
            keys.destroy_data_key_version(municipality_code, purpose, version, at=at)
            audit.record(
                act="destroy_key_version",
                by=by,
                at=at,
                detail={"purpose": purpose.value, "version": version},
            )
    return versions


def list_rotations(municipality_code: str) -> list[KeyRotation]:
    """The town's rotations, newest first."""
    with tenancy.scope(municipality_code):
        return list(KeyRotation.objects.order_by(F("pk").desc()))
