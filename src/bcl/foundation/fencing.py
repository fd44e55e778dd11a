"""Fencing: a restored database serves nobody until somebody says so (reliability D3).

Every restore to a moment, and every standby that takes over, starts a new timeline of PostgreSQL's
log. The cluster's row names the timeline that was let in; on another one web processes and workers
refuse to serve, so that old queues, sessions and messages stay still. The mark needs nobody's care:
a copy restored by hand is on a new timeline as well. `accept` is the explicit act that lets it in.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from django.db import connection, transaction
from django.db.backends.signals import connection_created

from bcl.foundation import audit, clock
from bcl.foundation.models import ClusterInfo


class DatabaseFenced(Exception):
    """The database came out of a restore and was not let in: refuse to serve."""


@dataclass(frozen=True)
class Accepted:
    """What letting a restored database in has done."""

    fencing_epoch: int
    timeline: int
    jobs_set_aside: int


def current_timeline() -> int | None:
    """The timeline the server writes now; None on a server that is still in recovery."""
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT CASE WHEN pg_is_in_recovery() THEN NULL ELSE "
            "('x' || left(pg_walfile_name(pg_current_wal_insert_lsn()), 8))::bit(32)::int END"
        )
        row = cursor.fetchone()
    return None if row is None or row[0] is None else int(row[0])


def is_fenced() -> bool:
    """Whether this database was restored (or took over) and nobody has let it in yet."""
    info = ClusterInfo.objects.filter(pk=1).first()
    return info is not None and info.timeline != current_timeline()


def assert_not_fenced() -> None:
    """Raise `DatabaseFenced` instead of serving from a restored database."""
    if is_fenced():
        raise DatabaseFenced(
            "データベースは復元されたもので、まだ使用が認められていません。内容を確かめてから "
            "bcl backup promote を実行してください（古い仕事の扱いもそこで決めます）。"
        )


def watch_new_connections() -> None:
    """Look at every new connection of this process: a database restored under a running web
    process must not be served by it either."""
    connection_created.connect(_refuse_fenced, dispatch_uid="bcl-fencing")


def _refuse_fenced(connection: Any, **_: Any) -> None:
    try:
        assert_not_fenced()
    except DatabaseFenced:
        connection.close()  # or the next request would find it open
        raise


def waiting_jobs() -> dict[str, int]:
    """Jobs that a restored queue would run, by task name."""
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT task_name, count(*) FROM procrastinate_jobs"
            " WHERE status IN ('todo', 'doing') GROUP BY 1 ORDER BY 1"
        )
        return {str(name): int(count) for name, count in cursor.fetchall()}


def accept(*, by: audit.Actor, keep_jobs: bool) -> Accepted:
    """Let a restored database in: a new fencing epoch on its timeline, recorded in the audit.

    Needs the owner's connection. Without `keep_jobs` everything queued before the restore is set
    aside (state `cancelled`); what runs on a schedule comes again by itself.
    """
    with transaction.atomic():
        info = ClusterInfo.objects.select_for_update().get(pk=1)
        set_aside = 0
        if not keep_jobs:
            with connection.cursor() as cursor:
                cursor.execute(
                    "UPDATE procrastinate_jobs SET status = 'cancelled'"
                    " WHERE status IN ('todo', 'doing')"
                )
                set_aside = cursor.rowcount
        info.timeline = current_timeline()
        info.fencing_epoch += 1
        info.save(update_fields=["timeline", "fencing_epoch"])
        detail: dict[str, Any] = {
            "epoch": info.fencing_epoch,
            "timeline": info.timeline or 0,
            "jobs_set_aside": set_aside,
        }
        audit.record_agency(act="accept_restored_database", by=by, at=clock.now(), detail=detail)
    return Accepted(info.fencing_epoch, int(info.timeline or 0), set_aside)
