"""Numbers for operators (Prometheus) and the answer to "are you well?".

Labels are codes (task, state, outcome), never ids of persons. The wire server answers `/health`
and `/metrics` behind its client certificates; processes may also open a plain loopback port
(BCL_HEALTH_PORT) for probes that hold none.
"""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from django.conf import settings
from django.db import DatabaseError, connection
from prometheus_client import CONTENT_TYPE_LATEST, Counter, Gauge, Histogram, generate_latest

__all__ = [
    "CONTENT_TYPE",
    "JOBS",
    "REQUESTS",
    "REQUEST_SECONDS",
    "Counter",
    "Gauge",
    "Health",
    "Histogram",
    "check_health",
    "render",
    "serve_if_configured",
]

CONTENT_TYPE = CONTENT_TYPE_LATEST

JOBS = Counter("bcl_jobs_total", "Finished background jobs", ["task", "outcome"])
REQUESTS = Counter("bcl_wire_requests_total", "Answered requests", ["method", "status"])
REQUEST_SECONDS = Histogram(
    "bcl_wire_request_seconds",
    "Time to answer a request",
    buckets=(0.005, 0.02, 0.05, 0.1, 0.25, 0.5, 1, 2, 5, 15, 60),
)
PENDING_JOBS = Gauge("bcl_jobs_pending", "Jobs waiting or running")
FAILED_JOBS = Gauge("bcl_jobs_failed", "Jobs that failed for good and wait for an operator")


@dataclass(frozen=True)
class Health:
    """State of this process: `healthy`, and each check's word ("ok" or what is wrong)."""

    healthy: bool
    checks: dict[str, str]

    def as_json(self) -> dict[str, Any]:
        return {"status": "ok" if self.healthy else "unavailable", "checks": self.checks}


def check_health() -> Health:
    """Ask the database for a row and the migrations for their completeness."""
    checks: dict[str, str] = {}
    try:
        with connection.cursor() as cursor:
            cursor.execute(
                "SELECT count(*) FILTER (WHERE status IN ('todo', 'doing')), "
                "count(*) FILTER (WHERE status = 'failed') FROM procrastinate_jobs"
            )
            pending, failed = cursor.fetchone()
        PENDING_JOBS.set(pending)
        FAILED_JOBS.set(failed)
        checks["database"] = "ok"
    except DatabaseError:
        checks["database"] = "unreachable"
    return Health(all(word == "ok" for word in checks.values()), checks)


def render() -> bytes:
    """All numbers of this process in Prometheus' text format."""
    return generate_latest()


def serve_if_configured() -> ThreadingHTTPServer | None:
    """Open the loopback port for probes when BCL_HEALTH_PORT is set; gives the server."""
    health = settings.BCL.health
    if not health.port:
        return None
    server = ThreadingHTTPServer((health.host, health.port), _Probe)
    server.daemon_threads = True
    threading.Thread(target=server.serve_forever, name="health", daemon=True).start()
    return server


class _Probe(BaseHTTPRequestHandler):
    """Answers two paths and nothing else."""

    timeout = 5

    def do_GET(self) -> None:
        pages: dict[str, Callable[[], tuple[int, str, bytes]]] = {
            "/health": _health_page,
            "/metrics": _metrics_page,
        }
        page = pages.get(self.path)
        status, kind, body = page() if page else (404, "text/plain", b"")
        self.send_response(status)
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *args: Iterable[Any]) -> None:
        """Say nothing: a probe asks every few seconds."""


def _health_page() -> tuple[int, str, bytes]:
    try:
        health = check_health()
    finally:
        # This thread's connection isn't cleaned up by a request cycle.
        connection.close()
    body = json.dumps(health.as_json()).encode()
    return (200 if health.healthy else 503), "application/json", body


def _metrics_page() -> tuple[int, str, bytes]:
    return 200, CONTENT_TYPE, render()
