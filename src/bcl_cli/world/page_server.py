"""`python -m bcl_cli.world.page_server`: serves the world page of the world in the environment."""

from __future__ import annotations

import json
from typing import Any

import django

from bcl_cli.world.page import WorldPage
from bcl_cli.world.places import Places
from bcl_sim.serving import serve


def build(places: Places) -> WorldPage:
    """Load the cloud's code and make the page."""
    django.setup()
    from bcl_cli.world.status import StatusCollector

    return WorldPage(StatusCollector(places).collect, places.results)


def report(places: Places) -> dict[str, Any]:
    """The demonstration's report, if one was walked."""
    path = places.results / "report.json"
    return json.loads(path.read_text(encoding="utf-8")) if path.is_file() else {}


def main() -> None:
    """Serve until stopped."""
    places = Places.of()
    bind = f"127.0.0.1:{places.ports()['page']}"
    serve(lambda: build(places), name="page", bind=bind, threads=4)


if __name__ == "__main__":
    main()
