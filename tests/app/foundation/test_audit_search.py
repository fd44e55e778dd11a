"""Searching the audit log stays fast: every question reads one index, backwards, and stops."""

from __future__ import annotations

import json
from datetime import timedelta

import pytest
from django.db import connection

from bcl.foundation import audit_search, clock, tenancy
from bcl.foundation.audit_search import REFUSED, Place, Question

pytestmark = [
    pytest.mark.django_db(transaction=True),
    pytest.mark.requirement("R-171"),
]
ROWS = 20_000
_FILL = (
    "INSERT INTO foundation_auditentry (municipality_code, act, actor_kind, actor_id, at, detail)"
    " SELECT %s, CASE WHEN n %% 500 = 0 THEN 'refuse_inquiry' ELSE 'act_' || n %% 40 END, 'staff',"
    " 'clerk-' || n %% 400, now() - n * interval '30 seconds',"
    " jsonb_build_object('terminal', 't-' || n %% 250) FROM generate_series(1, %s) n"
)


@pytest.fixture
def many_rows(town, superuser_connection) -> None:
    superuser_connection.execute("SET session_replication_role = replica")
    superuser_connection.execute(_FILL, [town, ROWS])
    superuser_connection.execute("ANALYZE foundation_auditentry")


def plan_of(town: str, question: Question, after: Place | None) -> tuple[str, int]:
    """Kinds of plan nodes, and how many rows of the table were read, for the real statement."""
    taken: list[tuple[str, list]] = []

    def keep(execute, sql, params, many, context):
        if "FROM foundation_auditentry" in sql:
            taken.append((sql, params))
        return execute(sql, params, many, context)

    with connection.execute_wrapper(keep):
        audit_search.search(town, question, limit=50, after=after)
    ((sql, params),) = taken
    with tenancy.scope(town), connection.cursor() as db:
        db.execute(f"EXPLAIN (ANALYZE, FORMAT JSON) {sql}", params)
        found = db.fetchone()[0]
    node = (found if isinstance(found, list) else json.loads(found))[0]["Plan"]
    kinds, read = [], 0
    waiting = [node]
    while waiting:
        node = waiting.pop()
        kinds.append(node["Node Type"])
        if node.get("Relation Name") == "foundation_auditentry":
            read = node["Actual Rows"] + node.get("Rows Removed by Filter", 0)
        waiting += node.get("Plans", [])
    return " ".join(kinds), int(read)


@pytest.mark.parametrize(
    "asked",
    [
        {}, {"actor_id": "clerk-7"}, {"act": "act_7"}, {"terminal": "t-7"}, {"outcome": REFUSED},
        {"addressee_number": "000000000000011"},
    ],
    ids=lambda asked: "+".join(asked) or "everything",
)  # fmt: skip
@pytest.mark.parametrize("is_deep", [False, True], ids=["first page", "deep page"])
def test_question__reads_no_more_of_the_table_than_it_shows(
    town, many_rows, asked, is_deep
) -> None:
    now = clock.now()
    question = Question(now - timedelta(days=3650), now + timedelta(days=1), **asked)
    after = Place(now - timedelta(days=4), 2**40) if is_deep else None
    kinds, read = plan_of(town, question, after)
    assert "Index" in kinds and "Seq Scan" not in kinds, kinds
    assert read <= 60, (kinds, read)


def test_count__ends_at_the_limit(town, many_rows) -> None:
    now = clock.now()
    question = Question(now - timedelta(days=3650), now)
    assert audit_search.count_up_to(town, question, 1_000) == 1_001
    assert audit_search.count_up_to(town, question, ROWS * 2) >= ROWS
