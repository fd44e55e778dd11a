"""Staff pages against the bare query behind each, same process, same connection, in turns, warm.

A page is one request through session, view, audit row and template, down to the bytes of the HTML
(TLS and socket left out). The bare query is what the page has to know: for 中間DB参照 the store's
own search, record or household, decrypted, in one scope; for 監査ログ the SELECT of 51 rows. Rows:
residents, and as many rows of the audit log. `times` is page ÷ query at the 95th percentile, by
kind (2.0: the page takes twice as long); ratios are the same as speeds (0.5).
"""

from __future__ import annotations

import argparse
import base64
import json
import os
import random
import resource
import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parent))
sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "src"))

import store_runs

_QUESTIONS, _WARM_UP, _LIMIT = 60, 8, 50
_LOOK = {"purpose": "DATA_CHECK", "reference": "R8-1"}
_PASSWORD = "harbour lantern seven wooden boats"
_FILL = (
    "INSERT INTO foundation_auditentry (municipality_code, act, actor_kind, actor_id, at, detail)"
    " SELECT %s, (ARRAY['sign_in','view_resident','search_residents','refuse_inquiry'])"
    "[1 + n %% 4], 'staff', 'clerk-' || (n %% 40), now() - n * interval '20 seconds',"
    " jsonb_build_object('terminal', 't-' || (n %% 25)) FROM generate_series(1, %s) n"
)


def run(rows: int, repeats: int) -> dict[str, Any]:
    """Measure; gives the result line of `bcl bench`."""
    with store_runs.world() as state:
        data = store_runs.child(state, "generate", str(state / "data"), str(rows))
        path = state / "data" / "full.csv"
        store_runs.child(state, "load", str(path), "1")
        _child(state, "index")
        with store_runs.superuser(state) as db:
            store_runs.make_plain_table(db)
            store_runs.copy_plain(db, path)
            # The append-only log's own triggers stand still for this filling.
            db.execute("SET session_replication_role = replica")
            db.execute(_FILL, [store_runs.TOWN, rows])
            db.execute("RESET session_replication_role")
            db.execute("VACUUM ANALYZE")
        _child(state, "enrol")
        answers = [_child(state, "ask", str(seed)) for seed in range(repeats)]
    kinds = list(answers[0]["p95"])
    page, query = (
        {kind: statistics.median(one["p95"][kind][side] for one in answers) for kind in kinds}
        for side in ("page", "query")
    )
    return {
        "name": "pages",
        "rows": data["rows"],
        "seconds": max(page.values()) / 1000,
        "peak_memory_mb": max(one["peak_memory_mb"] for one in answers),
        "page_p95_ms": {kind: round(value, 2) for kind, value in page.items()},
        "query_p95_ms": {kind: round(value, 2) for kind, value in query.items()},
        "times": {kind: round(page[kind] / query[kind], 2) for kind in kinds},
        "ratios": {f"query_{kind}": query[kind] / page[kind] for kind in kinds},
    }


def _child(state: Path, *words: str) -> dict[str, Any]:
    """One step in a process of its own, so that its peak memory is its own."""
    environment = os.environ | {
        "BCL_STATE_DIR": str(state),
        "BCL_ENVIRONMENT": "test",
        "BCL_WORLD": "bench",
        "BCL_PROCESS": "console",
        "DJANGO_SETTINGS_MODULE": "bcl.config.settings",
        "PYTHONPATH": str(store_runs.SOURCE),
        "BCL_MINIMUM_FREE_MB": "64",
    }
    done = subprocess.run(
        [sys.executable, __file__, "--step", *words],
        env=environment, capture_output=True, text=True, check=False,
    )  # fmt: skip
    if done.returncode:
        raise RuntimeError(f"{words[0]}: {done.stderr[-2000:]}")
    answer: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return answer


# -- steps -----------------------------------------------------------------------------------------


def index() -> dict[str, Any]:
    """Build the search index as the background job does."""
    import django

    django.setup()
    from bcl.resident_store.tasks import tidy_search

    tidy_search(municipality_code=store_runs.TOWN)
    return {}


def enrol() -> dict[str, Any]:
    """A terminal and one member of staff who may open every page measured; the session's secret
    goes to a file of this throw-away world."""
    import django

    django.setup()
    from cryptography.hazmat.primitives.hashes import SHA1
    from cryptography.hazmat.primitives.twofactor.totp import TOTP

    from bcl.accounts import api as accounts
    from bcl.foundation import audit, clock
    from bcl_sim.pki import make_world_pki

    state, at, unix = Path(os.environ["BCL_STATE_DIR"]), clock.now(), time.time()
    pki = make_world_pki(state / "pki", (store_runs.TOWN,), at)
    terminal = accounts.register_terminal(
        owner_code=store_runs.TOWN, terminal_id="t-1", name_ja="端末",
        terminal_class=accounts.TerminalClass.LGWAN,
        cert_pem=pki.terminal(store_runs.TOWN).cert_path.read_bytes(), by=audit.SYSTEM, at=at,
    )  # fmt: skip

    def enrolled(invited: Any) -> Any:
        begun = accounts.begin_enrolment(
            terminal, invited.login_name, invited.enrolment_code, at=at
        )
        accounts.choose_password(begun.principal, _PASSWORD, at=at)
        secret = accounts.offer_totp(begun.principal)
        code = TOTP(base64.b32decode(secret), 6, SHA1(), 30).generate(int(unix) - 30)
        return accounts.confirm_totp(terminal, begun, code.decode(), unix_time=unix, at=at)

    admin = enrolled(
        accounts.found_administrator(
            store_runs.TOWN, "admin-1", "見本　一郎", by=audit.SYSTEM, at=at
        )
    )
    invited = accounts.create_account(
        admin.principal, login_name="clerk-1", name_ja="見本　花子",
        roles=[accounts.Role.TOWN_CLERK, accounts.Role.TOWN_AUDITOR], at=at,
    )  # fmt: skip
    (state / "session").write_text(enrolled(invited).token)
    return {}


class _Pages:
    """Asks views as the server does, from the session on."""

    def __init__(self) -> None:
        from django.test import RequestFactory

        from bcl.accounts import api as accounts
        from bcl.accounts.web.cookie import COOKIE

        self.token = (Path(os.environ["BCL_STATE_DIR"]) / "session").read_text()
        (self.terminal,) = accounts.list_terminals(store_runs.TOWN)
        self.requests = RequestFactory()
        self.requests.cookies[COOKIE] = self.token

    def post(self, path: str, **fields: str) -> bytes:
        """The bytes of the page that answers this form."""
        from django.urls import resolve

        from bcl.console.middleware import StaffSession

        found = resolve(path, urlconf="bcl.config.console_urls")
        request = self.requests.post(path, fields)
        request.terminal = self.terminal  # type: ignore[attr-defined]
        answer = StaffSession(lambda asked: found.func(asked, *found.args, **found.kwargs))(request)
        assert answer.status_code == 200, answer.content[:2000]
        content: bytes = answer.content  # type: ignore[attr-defined]
        return content


Ask = Callable[[], Any]


def ask(seed: str) -> dict[str, Any]:
    """Ask page and query in turns; times in milliseconds by kind."""
    import django

    django.setup()
    from django.test.utils import override_settings

    times: dict[str, dict[str, list[float]]] = {}
    with override_settings(ROOT_URLCONF="bcl.config.console_urls"):
        for kind, pairs in _questions(_Pages(), int(seed)).items():
            sides = times.setdefault(kind, {"page": [], "query": []})
            for place, (page, query) in enumerate(pairs):
                _let_look_on()
                for side, act in (("page", page), ("query", query)):
                    began = time.perf_counter()
                    act()
                    if place >= _WARM_UP:
                        sides[side].append((time.perf_counter() - began) * 1000)
    return {
        "peak_memory_mb": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024,
        "p95": {
            kind: {side: sorted(values)[int(len(values) * 0.95)] for side, values in sides.items()}
            for kind, sides in times.items()
        },
    }


def _let_look_on() -> None:
    """Nobody may be shown so many residents in so short a time: each question is the first."""
    from bcl.accounts.models import StaffAccount
    from bcl.foundation import tenancy

    with tenancy.scope(store_runs.TOWN):
        StaffAccount.objects.update(looks_since=None)


def _questions(pages: _Pages, seed: int) -> dict[str, list[tuple[Ask, Ask]]]:
    from bcl.resident_store import api as store

    with store_runs.superuser(Path(os.environ["BCL_STATE_DIR"])) as db:
        people = db.execute(
            "SELECT addressee_number, full_name FROM plain_j01 WHERE latest = '1'"
            " AND full_name LIKE '%%　%%' ORDER BY md5(addressee_number || %s) LIMIT %s",
            [str(seed), _QUESTIONS + _WARM_UP],
        ).fetchall()
    town = store_runs.TOWN
    asked: dict[str, list[tuple[Ask, Ask]]] = {
        kind: [] for kind in ("search_name", "search_number", "person", "household")
    }
    for number, name in people:
        surname = name.split("　", 1)[0]
        asked["search_name"].append(_search(pages, name=surname))
        asked["search_number"].append(_search(pages, addressee_number=number))
        found = store.find_person(town, number, file_ids=["J01"])
        version = next(each for each in found if each.latest)
        asked["person"].append(_person(pages, number, version.id))
        asked["household"].append(_household(pages, version))
    return asked | _audit_questions(pages, seed)


def _search(pages: _Pages, **wanted: str) -> tuple[Ask, Ask]:
    from bcl.resident_store import api as store

    return (
        lambda: pages.post("/residents", **_LOOK, **wanted),
        lambda: store.search_persons(
            store_runs.TOWN, **wanted, file_ids=["J01"], limit=_LIMIT  # type: ignore[arg-type]
        ),
    )


def _person(pages: _Pages, number: str, record_id: int) -> tuple[Ask, Ask]:
    from bcl.foundation import tenancy
    from bcl.resident_store import api as store

    def query() -> None:
        with tenancy.scope(store_runs.TOWN):
            versions = store.find_person(store_runs.TOWN, number)
            store.read_records(store_runs.TOWN, [each.id for each in versions])

    return lambda: pages.post("/residents/person", **_LOOK, record=str(record_id)), query


def _household(pages: _Pages, version: Any) -> tuple[Ask, Ask]:
    from bcl.foundation import tenancy
    from bcl.resident_store import api as store

    def query() -> None:
        with tenancy.scope(store_runs.TOWN):
            found = store.find_by_key(store_runs.TOWN, version.household_key, file_ids=["J01"])
            store.read_records(store_runs.TOWN, [each.id for each in found if each.latest])

    return lambda: pages.post("/residents/household", **_LOOK, record=str(version.id)), query


def _audit_questions(pages: _Pages, seed: int) -> dict[str, list[tuple[Ask, Ask]]]:
    """The first page, a page deep inside, one person's doings, what was refused."""
    from django.db import connection

    from bcl.foundation import clock, tenancy

    dice = random.Random(seed)
    today = clock.today()
    begin = (today - timedelta(days=3650)).isoformat()
    deep = (clock.now() - timedelta(days=20)).isoformat()
    kinds = {
        "audit_first": ({}, "true", []),
        "audit_deep": ({"after": f"{deep}|1|0"}, "at < %s", [deep]),
        "audit_actor": ({"actor_id": ""}, "actor_id = %s", [""]),
        "audit_refused": ({"outcome": "refused"}, "is_refused", []),
    }
    asked: dict[str, list[tuple[Ask, Ask]]] = {}
    for kind, (fields, where, values) in kinds.items():
        for _ in range(_QUESTIONS + _WARM_UP):
            who = f"clerk-{dice.randrange(40)}"
            sent = {name: text or who for name, text in fields.items()}
            bound = [text or who for text in values]

            def query(where: str = where, bound: list[str] = bound) -> None:
                with tenancy.scope(store_runs.TOWN), connection.cursor() as db:
                    db.execute(
                        "SELECT id, at, act, actor_kind, actor_id, detail FROM"
                        f" foundation_auditentry WHERE municipality_code = %s AND {where}"
                        " ORDER BY at DESC, id DESC LIMIT 51",
                        [store_runs.TOWN, *bound],
                    )
                    db.fetchall()

            def page(sent: dict[str, str] = sent) -> None:
                pages.post("/audit", since=begin, until=today.isoformat(), **sent)

            asked.setdefault(kind, []).append((page, query))
    return asked


if __name__ == "__main__":
    if sys.argv[1:2] == ["--step"]:
        steps = {"index": index, "enrol": enrol, "ask": ask}
        print(json.dumps(steps[sys.argv[2]](*sys.argv[3:])))
    else:
        parser = argparse.ArgumentParser()
        parser.add_argument("--rows", type=int, default=100_000)
        parser.add_argument("--repeats", type=int, default=3)
        parser.add_argument("--json", action="store_true")
        chosen = parser.parse_args()
        print(json.dumps(run(chosen.rows, chosen.repeats)))
