"""Background work: a queue in the database, filled in the transaction of the fact.

    @jobs.task("linkage.open_transmission", queue="linkage")
    def open_transmission(*, municipality_code: str, transmission_id: str) -> None: ...

    with tenancy.scope(code):
        ...the fact...
        jobs.defer("linkage.open_transmission", municipality_code=code,
                   idempotency_key=str(id), transmission_id=str(id))

The job is a row inserted by the same transaction: both stay or neither, so the queue is the outbox
(docs/decisions/0002). A job runs at least once; what it does must be safe to repeat. Arguments are
ids. A failed job is tried again with growing pauses; a job whose worker died is taken over.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import procrastinate
from django.db import connection, transaction
from procrastinate.contrib.django import app as queue_app
from procrastinate.jobs import Job
from procrastinate.retry import BaseRetryStrategy, RetryDecision

from bcl.foundation import clock, log, metrics, tenancy
from bcl.foundation.models import JobKey

logger = log.get(__name__)

_NAME = re.compile(r"[a-z][a-z0-9_]*(\.[a-z][a-z0-9_]*)+\Z")
_ID = re.compile(r"[A-Za-z0-9._:/+=-]{0,200}\Z")
_LONGEST_PAUSE_SECONDS = 300


class BackOff(BaseRetryStrategy):
    """Try again after 2, 4, 8 … seconds, at most 5 minutes apart, `attempts` times in all."""

    def __init__(self, attempts: int) -> None:
        self.attempts = attempts

    def get_retry_decision(self, *, exception: BaseException, job: Job) -> RetryDecision | None:
        if job.attempts + 1 >= self.attempts:
            return None
        pause = min(_LONGEST_PAUSE_SECONDS, 2 ** (job.attempts + 1))
        return RetryDecision(retry_in={"seconds": pause})


@dataclass(frozen=True)
class Task:
    """A registered task: the function, its queue and whether a town's jobs run one by one."""

    name: str
    queue: str
    function: Callable[..., None]
    one_at_a_time: bool
    attempts: int
    cron: str | None
    prompt: bool = False


_tasks: dict[str, Task] = {}
_bound_app: procrastinate.App | None = None


def task(
    name: str,
    queue: str = "default",
    *,
    one_at_a_time: bool = False,
    attempts: int = 10,
    cron: str | None = None,
    prompt: bool = False,
) -> Callable[[Callable[..., None]], Callable[..., None]]:
    """Register a function as the task `name` (`app.verb_object`).

    It is called with keyword arguments only: `municipality_code` and ids. It opens its own
    `tenancy.scope`, because many first do slow work outside of a transaction.
    `one_at_a_time`: jobs of this queue run in order, one at a time per municipality.
    `cron` ("15 3 * * *", "*/10 * * * *") starts it without arguments, in Japan time: a time of
    every day or an interval within the hour. `prompt`: the queue gets a worker's place of its
    own, so that its jobs, which must be short, never stand behind long ones of any town.
    """
    if not _NAME.match(name):
        raise ValueError("a task is named app.verb_object")

    def register(function: Callable[..., None]) -> Callable[..., None]:
        known = _tasks.get(name)
        if known is not None and known.function.__qualname__ != function.__qualname__:
            raise ValueError(f"task {name} is registered twice")
        _tasks[name] = Task(name, queue, function, one_at_a_time, attempts, cron, prompt)
        if _bound_app is not None:
            _add(_bound_app, _tasks[name])
        return function

    return register


def bind(app: procrastinate.App) -> None:
    """Give the registered tasks to the queue's app (called by Django once apps are loaded)."""
    global _bound_app  # noqa: PLW0603 - one queue per process
    _bound_app = app
    for known in _tasks.values():
        _add(app, known)


def _add(app: procrastinate.App, known: Task) -> None:
    def run(**arguments: Any) -> None:
        _call(known, arguments)

    if known.name in app.tasks:
        return
    registered = app.task(name=known.name, queue=known.queue, retry=BackOff(known.attempts))(run)
    if known.cron:
        app.periodic(cron=_cron_in_utc(known.cron))(registered)  # type: ignore[arg-type]


def _cron_in_utc(cron: str) -> str:
    """The queue reads schedules in UTC; Japan has no summer time, so hours shift by nine."""
    minute, hour, *days = cron.split()
    if days != ["*", "*", "*"]:
        raise ValueError("a schedule is a time of every day or an interval within the hour")
    if hour != "*":
        hour = ",".join(str((int(part) - 9) % 24) for part in hour.split(","))
    return " ".join([minute, hour, *days])


def _call(known: Task, arguments: Mapping[str, Any]) -> None:
    code = arguments.get("municipality_code")
    try:
        known.function(**{k: v for k, v in arguments.items() if k != "timestamp"})
    except Exception:
        metrics.JOBS.labels(known.name, "failed").inc()
        logger.exception("job_failed", task=known.name, municipality_code=code)
        raise
    metrics.JOBS.labels(known.name, "done").inc()
    logger.info("job_done", task=known.name, municipality_code=code)


def registered_queues() -> list[str]:
    """Names of all queues that registered tasks use, sorted."""
    return sorted({known.queue for known in _tasks.values()})


def prompt_queues() -> list[str]:
    """Names of the queues whose jobs must not wait for others, sorted."""
    return sorted({known.queue for known in _tasks.values() if known.prompt})


def defer(
    name: str,
    *,
    municipality_code: str | None,
    idempotency_key: str | None = None,
    in_seconds: int | None = None,
    **ids: str | int,
) -> int | None:
    """Queue a task in the caller's transaction; gives the job's number.

    With `idempotency_key` the same effect is queued once for good: a second call gives the first
    job's number and queues nothing, even after the job is done. Arguments must be ids or numbers
    (ValueError otherwise). Raises KeyError for a name that nothing registered.
    """
    known = _tasks[name]
    for argument, value in ids.items():
        if not (isinstance(value, int) or (isinstance(value, str) and _ID.match(value))):
            raise ValueError(f"job argument {argument!r} must be an id or a number")
    with transaction.atomic():
        if idempotency_key is None or municipality_code is None:
            return _queue(known, municipality_code, idempotency_key, in_seconds, ids)
        with tenancy.scope(municipality_code):
            return _queue_once(known, municipality_code, idempotency_key, in_seconds, ids)


def _queue_once(
    known: Task,
    municipality_code: str,
    key: str,
    in_seconds: int | None,
    ids: Mapping[str, str | int],
) -> int | None:
    mark = JobKey(
        municipality_code=municipality_code,
        task_name=known.name,
        idempotency_key=key,
        created_at=clock.now(),
    )
    # A plain insert that yields: a rival transaction makes us wait for its outcome.
    JobKey.objects.bulk_create([mark], ignore_conflicts=True)
    row = JobKey.objects.select_for_update(of=("self",), no_key=True).get(
        municipality_code=municipality_code, task_name=known.name, idempotency_key=key
    )
    if row.job_id is None:
        row.job_id = _queue(known, municipality_code, None, in_seconds, ids)
        row.save(update_fields=["job_id"])
    return row.job_id


def _queue(
    known: Task,
    municipality_code: str | None,
    queueing_lock: str | None,
    in_seconds: int | None,
    ids: Mapping[str, str | int],
) -> int | None:
    arguments: dict[str, Any] = dict(ids)
    if municipality_code is not None:
        arguments["municipality_code"] = municipality_code
    lock = f"{known.queue}:{municipality_code}" if known.one_at_a_time else None
    deferrer = queue_app.configure_task(
        known.name,
        queue=known.queue,
        lock=lock,
        queueing_lock=f"{known.name}:{queueing_lock}" if queueing_lock else None,
        schedule_in={"seconds": in_seconds} if in_seconds else None,
    )
    try:
        with transaction.atomic():
            return deferrer.defer(**arguments)
    except procrastinate.exceptions.AlreadyEnqueued:
        return None


def run_pending_now(*, queues: list[str] | None = None, limit: int = 10_000) -> int:
    """Run every due job in this process and thread, until none is left; gives their number.

    For tests and drills. Jobs queued by jobs run too. An exception ends the run and reaches the
    caller; that job stays queued, since its own transaction rolled back.
    """
    for done in range(limit):
        with connection.cursor() as cursor:
            cursor.execute(
                "SELECT id, task_name, args FROM procrastinate_jobs WHERE status = 'todo' "
                "AND (scheduled_at IS NULL OR scheduled_at <= clock_timestamp()) "
                "AND (%s::text[] IS NULL OR queue_name = ANY (%s::text[])) "
                "ORDER BY priority DESC, id LIMIT 1",
                [queues, queues],
            )
            row = cursor.fetchone()
        if row is None:
            return done
        job_id, name, arguments = row
        _call(_tasks[name], arguments if isinstance(arguments, dict) else _parsed(arguments))
        with connection.cursor() as cursor:
            cursor.execute("SELECT procrastinate_finish_job_v1(%s, 'succeeded', false)", [job_id])
    raise RuntimeError("jobs keep queueing jobs without end")


def _parsed(arguments: str) -> dict[str, Any]:
    import json

    return json.loads(arguments)


def pending_count(*, queue: str | None = None) -> int:
    """Number of jobs waiting or running."""
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT count(*) FROM procrastinate_jobs WHERE status IN ('todo', 'doing') "
            "AND (%s::text IS NULL OR queue_name = %s)",
            [queue, queue],
        )
        return int(cursor.fetchone()[0])


def failed_count() -> int:
    """Number of jobs that failed for good: an operator has to look at them."""
    with connection.cursor() as cursor:
        cursor.execute("SELECT count(*) FROM procrastinate_jobs WHERE status = 'failed'")
        return int(cursor.fetchone()[0])
