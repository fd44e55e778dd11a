"""The one list of tables outside row level security, each with its reason.

None of them holds personal data. The self-test (`tenancy.assert_safe_role`) refuses to serve when
a table of the database is neither under row level security nor listed here.
"""

from __future__ import annotations

EXEMPT_TABLES: dict[str, str] = {
    "django_migrations": "which migrations ran",
    "foundation_clusterinfo": "what this cluster is for (demo, test, production)",
    "foundation_agencyauditentry": "acts of the agency that concern no single municipality",
    "foundation_auditpending": "ids of audit rows without a leaf number; the sealer serves all",
    "foundation_agencysigningkey": "the agency's own key for proofs, wrapped by the provider",
    "procrastinate_jobs": "the job queue: names and ids; workers serve all municipalities",
    "procrastinate_events": "history of jobs, no arguments",
    "procrastinate_periodic_defers": "schedule of nightly jobs",
    "procrastinate_workers": "heartbeats of workers",
    "municipalities_municipality": "directory of municipalities; work across towns reads it",
    "municipalities_gateway": "found by client certificate before the town is known",
    "accounts_terminal": "found by client certificate before anybody is signed in",
    "municipalities_subscriber": "found by client certificate before the town is known",
    "municipalities_deliverycenter": "a party of the agency, not of a town",
}

# Functions that run with their owner's rights could step around the policies: none is allowed.
SECURITY_DEFINER_FUNCTIONS: frozenset[str] = frozenset()
