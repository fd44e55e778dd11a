"""The worker process: runs queued jobs, takes over those of dead workers, stops in good order."""

from __future__ import annotations

import asyncio
import contextlib

import procrastinate
from django.conf import settings
from procrastinate.contrib.django import app as queue_app

from bcl.foundation import environment_guard, jobs, log, metrics, tenancy

logger = log.get(__name__)


def run(*, queues: list[str] | None = None) -> None:
    """Run jobs until SIGTERM or SIGINT, then finish the running ones (BCL_WORKER_SHUTDOWN_SECONDS).

    New jobs arrive by LISTEN/NOTIFY within milliseconds; polling is the safety net. A worker that
    died (kill -9) stops sending its heartbeat; after BCL_WORKER_STALLED_SECONDS its jobs are
    queued again by whichever worker notices first. Refuses to start on an unsafe role or a
    cluster of another environment.
    """
    tenancy.assert_safe_role()
    environment_guard.assert_environment_matches()
    metrics.serve_if_configured()
    logger.info("worker_started", worker_id=settings.BCL.world, queue=",".join(queues or ["all"]))
    asyncio.run(_run(queues))
    logger.info("worker_stopped")


async def _run(queues: list[str] | None) -> None:
    sizes = settings.BCL.worker
    connector = queue_app.connector.get_worker_connector()  # type: ignore[attr-defined]
    # A second app for the worker's own traffic: tasks go on queueing through Django's connection,
    # in the transaction of their fact.
    app = queue_app.with_connector(connector)
    async with app.open_async():
        rescue = asyncio.create_task(_rescue_stalled_jobs(app, sizes.stalled_seconds))
        try:
            await app.run_worker_async(
                queues=queues or jobs.registered_queues(),
                name="bcl",
                # What succeeded is told by the facts it made; what failed stays to be looked at.
                delete_jobs="successful",
                concurrency=sizes.concurrency,
                shutdown_graceful_timeout=sizes.shutdown_seconds,
                fetch_job_polling_interval=2.0,
                update_heartbeat_interval=sizes.stalled_seconds / 4,
                stalled_worker_timeout=sizes.stalled_seconds,
            )
        finally:
            rescue.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await rescue


async def _rescue_stalled_jobs(app: procrastinate.App, stalled_seconds: int) -> None:
    """Queue again what dead workers were doing; their jobs are safe to repeat by contract."""
    manager = app.job_manager
    while True:
        for job in await manager.get_stalled_jobs(seconds_since_heartbeat=stalled_seconds):
            logger.warning("job_rescued", task=job.task_name, job_id=job.id)
            # Another worker may have rescued it a moment ago: then there is nothing to do.
            with contextlib.suppress(procrastinate.exceptions.ConnectorException):
                await manager.retry_job(job)
        await asyncio.sleep(stalled_seconds / 4)
