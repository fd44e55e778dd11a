"""Who is woken after a landing: one table, app -> task (journey daily-sync, step 9).

The resident store publishes and calls nobody; its own index for parts of names follows like any
other. A subscriber pulls the changes from its own position; the job only says that there is
something to pull.
"""

from __future__ import annotations

import importlib.util

SUBSCRIPTIONS: dict[str, str] = {
    "issuance": "issuance.refresh_issuable_records",
    "subscriptions": "subscriptions.prepare_deliveries",
    "resident_store": "resident_store.tidy_search",
}


def installed_tasks() -> tuple[str, ...]:
    """Tasks of the subscribing apps that this installation has."""
    return tuple(
        task
        for app, task in SUBSCRIPTIONS.items()
        if importlib.util.find_spec(f"bcl.{app}") and importlib.util.find_spec(f"bcl.{app}.tasks")
    )
