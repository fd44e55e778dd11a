"""The worker process: runs queued jobs, takes over those of dead workers, stops in good order."""

from __future__ import annotations

import asyncio
import contextlib
import signal

import procrastinate
import psycopg
from asgiref.sync import sync_to_async
from django.conf import settings
from django.db import Error as DatabaseError
from django.db import connections
from procrastinate.contrib.django import app as queue_app
from psycopg_pool import PoolTimeout

from bcl.foundation import environment_guard, fencing, jobs, log, metrics, tenancy

logger = log.get(__name__)

_PAUSE_SECONDS = 1.0
_PROMPT_PLACES = 2
_DATABASE_AWAY = (
    procrastinate.exceptions.ConnectorException,
    psycopg.Error,
    DatabaseError,
    PoolTimeout,
)


def run(*, queues: list[str] | None = None) -> None:
    """Run jobs until SIGTERM or SIGINT, then finish the running ones (BCL_WORKER_SHUTDOWN_SECONDS).

    New jobs arrive by LISTEN/NOTIFY within milliseconds; polling is the safety net. A worker that
    died (kill -9) stops sending its heartbeat; after BCL_WORKER_STALLED_SECONDS its jobs are
    queued again by whichever worker notices first. When the database goes away (a crash, an
    upgrade) the worker waits and goes on. Refuses to start on an unsafe role, a cluster of another
    environment or a restored database that nobody has let in; ends when one takes the place.
    """
    tenancy.assert_safe_role()
    environment_guard.assert_environment_matches()
    fencing.assert_not_fenced()
    metrics.serve_if_configured()
    chosen = queues or jobs.registered_queues()
    logger.info("worker_started", worker_id=settings.BCL.world, count=len(chosen))
    asyncio.run(_run_until_told(chosen))
    logger.info("worker_stopped")


async def _run_until_told(queues: list[str]) -> None:
    """Run the worker again and again: it ends by itself when its database connection breaks."""
    told = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, told.set)
    while not told.is_set():
        try:
            await _run_once(queues, told)
        except _DATABASE_AWAY:
            logger.warning("worker_lost_database")
        if not told.is_set():
            logger.warning("worker_starts_again")
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(told.wait(), _PAUSE_SECONDS)


async def _run_once(queues: list[str], told: asyncio.Event) -> None:
    # Schedules are queued through Django's connection, which may be the broken one.
    await sync_to_async(connections.close_all)()
    # The database that comes back may be a restored one: its queue is old (reliability D3).
    await sync_to_async(fencing.assert_not_fenced)()
    # A second app for the worker's own traffic: tasks go on queueing through Django's connection,
    # in the transaction of their fact.
    connector = queue_app.connector.get_worker_connector()  # type: ignore[attr-defined]
    app = queue_app.with_connector(connector)
    async with app.open_async():
        working = asyncio.create_task(_work(app, queues))
        rescuing = asyncio.create_task(_rescue_stalled_jobs(app))
        waiting = asyncio.create_task(told.wait())
        try:
            await asyncio.wait({working, waiting}, return_when=asyncio.FIRST_COMPLETED)
            if not working.done():
                working.cancel()  # the worker finishes its running jobs, then ends
            with contextlib.suppress(asyncio.CancelledError):
                await working
        finally:
            for side_task in (rescuing, waiting):
                side_task.cancel()
            await asyncio.gather(rescuing, waiting, return_exceptions=True)


async def _work(app: procrastinate.App, queues: list[str]) -> None:
    """Long loads never take the places of what must be prompt: those queues have their own."""
    prompt = [name for name in jobs.prompt_queues() if name in queues]
    others = [name for name in queues if name not in prompt]
    working = [_work_on(app, [name], _PROMPT_PLACES) for name in prompt]
    if others:
        working.append(_work_on(app, others, settings.BCL.worker.concurrency))
    await asyncio.gather(*working)


async def _work_on(app: procrastinate.App, queues: list[str], places: int) -> None:
    sizes = settings.BCL.worker
    await app.run_worker_async(
        queues=queues,
        name="bcl",
        # What succeeded is told by the facts it made; what failed stays to be looked at.
        delete_jobs="successful",
        concurrency=places,
        shutdown_graceful_timeout=sizes.shutdown_seconds,
        install_signal_handlers=False,
        fetch_job_polling_interval=2.0,
        update_heartbeat_interval=sizes.stalled_seconds / 4,
        stalled_worker_timeout=sizes.stalled_seconds,
    )


async def _rescue_stalled_jobs(app: procrastinate.App) -> None:
    """Queue again what dead workers were doing; their jobs are safe to repeat by contract."""
    stalled_seconds = settings.BCL.worker.stalled_seconds
    manager = app.job_manager
    while True:
        # An error here: the database is away, or another worker rescued the job a moment ago.
        # Either way the next round looks again.
        with contextlib.suppress(*_DATABASE_AWAY):
            for job in await manager.get_stalled_jobs(seconds_since_heartbeat=stalled_seconds):
                logger.warning("job_rescued", task=job.task_name, job_id=job.id)
                await manager.retry_job(job)
        await asyncio.sleep(stalled_seconds / 4)
