"""Row level security: the database keeps the municipalities apart."""

from __future__ import annotations

from contextlib import contextmanager

import psycopg
import pytest
from django.db import connection, transaction
from django.db.utils import ProgrammingError

from bcl.foundation import clock, exempt_tables, tenancy
from bcl.foundation.models import AuditEntry, DataKey
from bcl.foundation.roles import SUPERUSER

pytestmark = [pytest.mark.requirement("R-002"), pytest.mark.requirement("R-173")]


def _audit_row(code: str) -> AuditEntry:
    return AuditEntry.objects.create(
        municipality_code=code,
        act="test_act",
        actor_kind="system",
        actor_id="test",
        at=clock.now(),
    )


def test_rows__without_scope__none_are_visible(town):
    with tenancy.scope(town):
        assert DataKey.objects.count() > 0
    assert DataKey.objects.count() == 0


def test_rows__in_scopes_one_after_another__own_rows_only(town, other_town):
    for code in (town, other_town, town):
        with tenancy.scope(code):
            assert set(DataKey.objects.values_list("municipality_code", flat=True)) == {code}


def test_insert__for_another_town__is_refused_by_the_database(town, other_town):
    with pytest.raises(ProgrammingError, match="row-level security"), tenancy.scope(town):
        _audit_row(other_town)


def test_insert__without_scope__is_refused_by_the_database(town):
    with pytest.raises(ProgrammingError, match="row-level security"), transaction.atomic():
        _audit_row(town)


def test_update__moving_a_row_to_another_town__is_refused(town, other_town):
    with pytest.raises(ProgrammingError, match="row-level security"), tenancy.scope(town):
        DataKey.objects.update(municipality_code=other_town)


def test_scope__of_another_town_inside__raises(town, other_town):
    with tenancy.scope(town):
        with pytest.raises(tenancy.TenancyError), tenancy.scope(other_town):
            pass
        with tenancy.scope(town):
            assert tenancy.current() == town
        assert DataKey.objects.exists(), "leaving the inner scope must not close the outer one"
    assert tenancy.current() is None


def test_scope__after_an_error_inside__is_closed(town):
    with pytest.raises(ZeroDivisionError), tenancy.scope(town):
        raise ZeroDivisionError
    assert tenancy.current() is None
    assert DataKey.objects.count() == 0


@pytest.mark.parametrize("code", ["", "99999", "9999970", "99999a", "'; --", "999997\n"])
def test_scope__with_something_that_is_no_code__raises(db, code):
    with pytest.raises(tenancy.TenancyError), tenancy.scope(code):
        pass


def test_snapshot__inside_a_transaction__raises(town):
    with transaction.atomic(), pytest.raises(tenancy.TenancyError):
        with tenancy.scope(town, snapshot=True):
            pass


@pytest.mark.django_db(transaction=True)
def test_snapshot__while_another_session_commits__does_not_see_it(town, app_connection):
    with tenancy.scope(town, snapshot=True):
        before = AuditEntry.objects.count()
        with app_connection.transaction():
            app_connection.execute("SELECT set_config('bcl.municipality', %s, true)", [town])
            app_connection.execute(
                "INSERT INTO foundation_auditentry (municipality_code, act, actor_kind, actor_id,"
                " at, detail) VALUES (%s, 'test_act', 'system', 'x', now(), '{}')",
                [town],
            )
        assert AuditEntry.objects.count() == before
    with tenancy.scope(town):
        assert AuditEntry.objects.count() == before + 1


@pytest.mark.django_db(transaction=True)
def test_connection__reused_after_a_scope__shows_nothing(town):
    with tenancy.scope(town):
        pass
    with connection.cursor() as cursor:
        cursor.execute("SELECT nullif(current_setting('bcl.municipality', true), '')")
        assert cursor.fetchone() == (None,)
        cursor.execute("SELECT count(*) FROM foundation_datakey")
        assert cursor.fetchone() == (0,)


@pytest.mark.django_db(transaction=True)
def test_owner__without_scope__sees_no_rows_either(town, owner_connection):
    query = "SELECT count(*) FROM foundation_townkey"
    assert owner_connection.execute(query).fetchone() == (0,)


def test_policy__with_an_index_on_the_town__uses_it(town, superuser_connection):
    """A policy comparing as text would make every index on municipality_code useless."""
    with tenancy.scope(town), connection.cursor() as cursor:
        cursor.execute("SET LOCAL enable_seqscan = off")
        cursor.execute("EXPLAIN SELECT * FROM foundation_auditentry")
        plan = "\n".join(row[0] for row in cursor.fetchall())
    assert "Index Cond: (municipality_code" in plan.replace("auditentry.", "")


# -- the start-up self-test ---------------------------------------------------------------------


def test_self_test__as_the_serving_role__is_content(db):
    tenancy.assert_safe_role()


def test_self_test__every_exempt_table__exists_and_has_a_reason(db):
    with connection.cursor() as cursor:
        cursor.execute("SELECT tablename FROM pg_tables WHERE schemaname = 'public'")
        present = {name for (name,) in cursor.fetchall()}
    assert set(exempt_tables.EXEMPT_TABLES) <= present
    assert all(len(reason) > 10 for reason in exempt_tables.EXEMPT_TABLES.values())


@contextmanager
def _changed(superuser_connection, change: str, undo: str):
    superuser_connection.execute(change)
    try:
        yield
    finally:
        superuser_connection.execute(undo)


@pytest.mark.django_db(transaction=True)
@pytest.mark.parametrize(
    ("change", "undo", "word"),
    [
        ("ALTER ROLE bcl_app SUPERUSER", "ALTER ROLE bcl_app NOSUPERUSER", "管理者権限"),
        ("ALTER ROLE bcl_app BYPASSRLS", "ALTER ROLE bcl_app NOBYPASSRLS", "越える権限"),
        ("GRANT bcl_owner TO bcl_app", "REVOKE bcl_owner FROM bcl_app", "所有"),
        ("CREATE ROLE sly SUPERUSER; GRANT sly TO bcl_app", "DROP ROLE sly", "sly"),
        (
            "ALTER TABLE foundation_townkey NO FORCE ROW LEVEL SECURITY",
            "ALTER TABLE foundation_townkey FORCE ROW LEVEL SECURITY",
            "所有者に及ばない",
        ),
        (
            "ALTER TABLE foundation_townkey DISABLE ROW LEVEL SECURITY",
            "ALTER TABLE foundation_townkey ENABLE ROW LEVEL SECURITY",
            "保護がない",
        ),
        ("CREATE TABLE stray (municipality_code char(6))", "DROP TABLE stray", "stray"),
        ("CREATE VIEW leak AS SELECT * FROM foundation_townkey", "DROP VIEW leak", "leak"),
        (
            "CREATE MATERIALIZED VIEW copy AS SELECT * FROM foundation_townkey",
            "DROP MATERIALIZED VIEW copy",
            "copy",
        ),
        (
            "CREATE POLICY wide ON foundation_townkey USING (true)",
            "DROP POLICY wide ON foundation_townkey",
            "wide",
        ),
        (
            "CREATE FUNCTION sneak() RETURNS int LANGUAGE sql SECURITY DEFINER AS 'SELECT 1'",
            "DROP FUNCTION sneak()",
            "sneak",
        ),
    ],
)
def test_self_test__after_a_dangerous_change__refuses(superuser_connection, change, undo, word):
    with _changed(superuser_connection, change, undo):
        with pytest.raises(tenancy.UnsafeDatabaseRole) as refused:
            tenancy.assert_safe_role()
        assert any(word in complaint for complaint in refused.value.complaints)
    tenancy.assert_safe_role()


@pytest.mark.django_db(transaction=True)
def test_self_test__of_a_security_invoker_view__is_content(superuser_connection):
    change = "CREATE VIEW honest WITH (security_invoker = true) AS SELECT * FROM foundation_townkey"
    with _changed(superuser_connection, change, "DROP VIEW honest"):
        tenancy.assert_safe_role()


@pytest.mark.django_db(transaction=True)
def test_view__without_security_invoker__leaks_nothing_through_the_owner(
    town, superuser_connection
):
    """FORCE binds the owner too, so even a forgotten view shows an empty table."""
    superuser_connection.execute(
        "SET ROLE bcl_owner; CREATE VIEW through_owner AS SELECT * FROM foundation_townkey; "
        "RESET ROLE; GRANT SELECT ON through_owner TO bcl_app"
    )
    try:
        with connection.cursor() as cursor:
            cursor.execute("SELECT count(*) FROM through_owner")
            assert cursor.fetchone() == (0,)
    finally:
        superuser_connection.execute("DROP VIEW through_owner")


@pytest.mark.django_db(transaction=True)
def test_self_test__connected_as_superuser__refuses(cluster_info, monkeypatch):
    from django.db import connections

    password = cluster_info.passwords[SUPERUSER]
    alias = connections["default"]
    alias.close()
    monkeypatch.setitem(alias.settings_dict, "USER", SUPERUSER)
    monkeypatch.setitem(alias.settings_dict, "PASSWORD", password)
    try:
        with pytest.raises(tenancy.UnsafeDatabaseRole):
            tenancy.assert_safe_role()
    finally:
        alias.close()


def test_roles__as_made__cannot_pass_row_security(superuser_connection):
    rows = superuser_connection.execute(
        "SELECT rolname FROM pg_roles WHERE rolname LIKE 'bcl\\_%' "
        "AND rolname <> 'bcl_superuser' AND (rolsuper OR rolbypassrls OR rolcreaterole)"
    ).fetchall()
    assert rows == []


def test_app_role__creating_a_table__is_refused(app_connection):
    with pytest.raises(psycopg.errors.InsufficientPrivilege):
        app_connection.execute("CREATE TABLE mine (a int)")
