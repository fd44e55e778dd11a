"""The job queue is the outbox: jobs live and die with the transaction of their fact."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import textwrap
import time

import pytest
from django.db import connection, transaction

from bcl.foundation import jobs, tenancy
from bcl.foundation.models import JobKey

ran: list[dict] = []


@jobs.task("testing.note_call", queue="testing")
def _note_call(**arguments) -> None:
    ran.append(arguments)


@jobs.task("testing.fail_always", queue="testing", attempts=3)
def _fail_always(**arguments) -> None:
    raise ZeroDivisionError


@jobs.task("testing.queue_another", queue="testing")
def _queue_another(*, municipality_code: str) -> None:
    jobs.defer("testing.note_call", municipality_code=municipality_code, step=2)


@pytest.fixture(autouse=True)
def _nothing_ran():
    ran.clear()


def _defer(town, **changes):
    return jobs.defer("testing.note_call", municipality_code=town, **({"step": 1} | changes))


def test_job__queued_in_a_transaction__runs_with_its_ids(town):
    with tenancy.scope(town):
        assert _defer(town)
    assert jobs.run_pending_now() == 1
    assert ran == [{"municipality_code": town, "step": 1}]
    assert jobs.run_pending_now() == 0


def test_job__when_the_fact_rolls_back__is_gone(town):
    with pytest.raises(ZeroDivisionError), tenancy.scope(town):
        _defer(town)
        raise ZeroDivisionError
    assert jobs.pending_count() == 0


@pytest.mark.django_db(transaction=True)
def test_job__before_the_commit__is_invisible_to_workers(town, app_connection):
    query = "SELECT count(*) FROM procrastinate_jobs"
    with tenancy.scope(town):
        _defer(town)
        assert app_connection.execute(query).fetchone() == (0,)
    assert app_connection.execute(query).fetchone() == (1,)


def test_job__with_the_same_key_twice__runs_once(town):
    first, second = (_defer(town, idempotency_key="effect-1") for _ in range(2))
    assert first == second
    assert jobs.run_pending_now() == 1
    assert _defer(town, idempotency_key="effect-1") == first
    assert jobs.run_pending_now() == 0


def test_job__with_the_same_key_in_another_town__runs_too(town, other_town):
    _defer(town, idempotency_key="effect-1")
    _defer(other_town, idempotency_key="effect-1")
    assert jobs.run_pending_now() == 2


def test_key__of_a_rolled_back_fact__is_free_again(town):
    with pytest.raises(ZeroDivisionError), transaction.atomic():
        _defer(town, idempotency_key="effect-1")
        raise ZeroDivisionError
    _defer(town, idempotency_key="effect-1")
    assert jobs.run_pending_now() == 1


def test_job__queueing_another__both_run(town):
    jobs.defer("testing.queue_another", municipality_code=town)
    assert jobs.run_pending_now() == 2
    assert ran == [{"municipality_code": town, "step": 2}]


def test_job__that_fails__reaches_the_test_and_stays_queued(town):
    jobs.defer("testing.fail_always", municipality_code=town)
    with pytest.raises(ZeroDivisionError):
        jobs.run_pending_now()
    assert jobs.pending_count() == 1


@pytest.mark.parametrize("value", ["山田太郎", "a b", 1.5, None, ["x"]])
def test_argument__that_is_no_id__is_refused(town, value):
    with pytest.raises(ValueError, match="step"):
        _defer(town, step=value)


def test_task__unknown__raises(town):
    with pytest.raises(KeyError):
        jobs.defer("testing.nobody_knows", municipality_code=town)


def test_backoff__grows_and_ends():
    strategy, pauses = jobs.BackOff(12), []
    for attempts in range(12):
        job = type("Job", (), {"attempts": attempts})()
        decision = strategy.get_retry_decision(exception=ValueError(), job=job)
        pauses.append(None if decision is None else decision)
    assert all(pauses[:11]) and pauses[11] is None


@pytest.mark.parametrize(
    ("japan", "utc"),
    [
        ("15 3 * * *", "15 18 * * *"),
        ("0 23 * * *", "0 14 * * *"),
        ("*/10 * * * *", "*/10 * * * *"),
        ("30 6,23 * * *", "30 21,14 * * *"),
    ],
)
def test_schedule__in_japan_time__is_given_to_the_queue_in_utc(japan, utc):
    assert jobs._cron_in_utc(japan) == utc


def test_schedule__of_a_weekday__is_refused_rather_than_wrong():
    with pytest.raises(ValueError, match="schedule"):
        jobs._cron_in_utc("0 3 * * 1")


def test_schedule__of_a_task__reaches_the_queue_and_runs_without_arguments():
    import procrastinate
    from procrastinate.testing import InMemoryConnector

    calls = []
    known = jobs.Task("testing.tick", "testing", lambda **a: calls.append(a), False, 3, "0 3 * * *")
    app = procrastinate.App(connector=InMemoryConnector())
    jobs._add(app, known)
    (periodic,) = app.periodic_registry.periodic_tasks.values()
    assert periodic.cron == "0 18 * * *"
    app.tasks["testing.tick"].func(timestamp=1_700_000_000)
    assert calls == [{}]


@pytest.mark.django_db(transaction=True)
def test_key__queued_by_two_sessions_at_once__is_queued_once(town):
    from concurrent.futures import ThreadPoolExecutor

    def once() -> int | None:
        try:
            with tenancy.scope(town):
                number = _defer(town, idempotency_key="race")
                time.sleep(0.05)
            return number
        finally:
            connection.close()

    with ThreadPoolExecutor(4) as pool:
        numbers = [future.result() for future in [pool.submit(once) for _ in range(8)]]
    assert len(set(numbers)) == 1
    assert jobs.pending_count() == 1
    with tenancy.scope(town):
        assert JobKey.objects.get().job_id == numbers[0]


# -- the worker process -------------------------------------------------------------------------

_WORKER = textwrap.dedent("""
    import sys, time, pathlib
    import django
    django.setup()
    from bcl.foundation import jobs, worker, tenancy
    from django.db import connection, transaction

    marks = pathlib.Path(sys.argv[1])

    @jobs.task("testing.note_call", queue="testing")
    def note(*, municipality_code, step):
        (marks / f"ran-{step}").touch()

    @jobs.task("testing.fail_always", queue="testing", attempts=3)
    def fail_first(*, municipality_code, step):
        mark = marks / f"failed-{step}"
        if not mark.exists():
            mark.touch()
            with tenancy.scope(municipality_code):
                jobs.defer("testing.note_call", municipality_code=municipality_code, step=99)
                raise ZeroDivisionError("山田太郎 123456789012")
        (marks / f"ran-{step}").touch()

    @jobs.task("testing.queue_another", queue="testing")
    def hang_first(*, municipality_code):
        mark = marks / "hanging"
        if not mark.exists():
            mark.touch()
            time.sleep(600)
        (marks / "rescued").touch()

    worker.run()
""")


@pytest.fixture
def start_worker(town, tmp_path):
    started: list[subprocess.Popen] = []

    def start() -> subprocess.Popen:
        environ = os.environ | {
            "DJANGO_SETTINGS_MODULE": "bcl.config.settings",
            "BCL_ROLE": "worker",
            "BCL_WORKER_STALLED_SECONDS": "3",
        }
        with (tmp_path / "log").open("ab") as output:
            started.append(
                subprocess.Popen(
                    [sys.executable, "-c", _WORKER, str(tmp_path)],
                    env=environ,
                    stderr=output,
                )
            )
        return started[-1]

    yield start
    for process in started:
        process.kill()
        process.wait()


def _wait_for(path, seconds: float = 30) -> None:
    deadline = time.monotonic() + seconds
    while not path.exists():
        assert time.monotonic() < deadline, f"{path.name} did not happen"
        time.sleep(0.02)


@pytest.mark.django_db(transaction=True)
def test_worker__running__takes_new_jobs_at_once_and_stops_in_order(town, tmp_path, start_worker):
    worker = start_worker()
    _defer(town)
    _wait_for(tmp_path / "ran-1")
    queued = time.monotonic()
    _defer(town, step=2)
    _wait_for(tmp_path / "ran-2")
    # LISTEN/NOTIFY, not the two-second polling: both cores may be busy, hence the margin.
    assert time.monotonic() - queued < 1.9
    worker.send_signal(signal.SIGTERM)
    assert worker.wait(timeout=20) == 0


@pytest.mark.django_db(transaction=True)
def test_worker__when_a_job_fails__tries_again_and_logs_no_values(town, tmp_path, start_worker):
    jobs.defer("testing.fail_always", municipality_code=town, step=1)
    start_worker()
    _wait_for(tmp_path / "ran-1")
    log = (tmp_path / "log").read_text()
    assert "job_failed" in log and "ZeroDivisionError" in log
    assert "山田" not in log and "5c71" not in log and "123456789012" not in log
    assert not (tmp_path / "ran-99").exists(), "a job queued by a failed transaction ran"


@pytest.mark.django_db(transaction=True)
def test_worker__when_the_database_is_killed__waits_and_goes_on(
    town, tmp_path, start_worker, cluster
):
    worker = start_worker()
    _defer(town)
    _wait_for(tmp_path / "ran-1")
    cluster.kill()
    time.sleep(3)
    cluster.ensure_running()
    connection.close()
    _defer(town, step=2)
    _wait_for(tmp_path / "ran-2", seconds=90)
    assert worker.poll() is None
    worker.send_signal(signal.SIGTERM)
    assert worker.wait(timeout=40) == 0, (tmp_path / "log").read_text()


@pytest.mark.django_db(transaction=True)
def test_worker__killed_in_a_job__leaves_it_to_the_next(town, tmp_path, start_worker):
    jobs.defer("testing.queue_another", municipality_code=town)
    first = start_worker()
    _wait_for(tmp_path / "hanging")
    first.kill()
    first.wait()
    start_worker()
    _wait_for(tmp_path / "rescued")
