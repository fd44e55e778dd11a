"""Operations for migrations: what a table needs beyond Django's CREATE TABLE.

    operations = [
        migrations.CreateModel(...),
        tenant_table("linkage_transmission"),
        append_only("linkage_receipt"),          # after tenant_table
    ]

Each call gives one `RunSQL`. Every table of the product gets `tenant_table` or `exempt_table`;
the start-up self-test refuses to serve otherwise.
"""

from __future__ import annotations

import re

from django.db.migrations.operations import RunSQL

from bcl.foundation import exempt_tables, roles

_NAME = re.compile(r"[a-z][a-z0-9_]{0,62}\Z")

# The subselect makes PostgreSQL read the setting once per query instead of once per row; the cast
# keeps the comparison inside char(6), so that indexes on municipality_code serve. After a
# transaction that used SET LOCAL the setting reads '' and not NULL, hence nullif.
_OWN_TOWN = (
    "municipality_code = "
    "(SELECT nullif(current_setting('bcl.municipality', true), '')::character(6))"
)


def tenant_table(table: str, *, may: str = "SELECT, INSERT, UPDATE, DELETE") -> RunSQL:
    """Put `table` (it has a `municipality_code` column) under row level security.

    `may` is what the serving role may do at all; the policy then shows it only the rows of the
    current scope, and none without a scope. FORCE makes the policy bind the owner too.
    """
    _check_name(table)
    return RunSQL(
        sql=[
            f"ALTER TABLE {table} ENABLE ROW LEVEL SECURITY",
            f"ALTER TABLE {table} FORCE ROW LEVEL SECURITY",
            f"CREATE POLICY own_municipality ON {table} "
            f"USING ({_OWN_TOWN}) WITH CHECK ({_OWN_TOWN})",
            f"REVOKE ALL ON {table} FROM PUBLIC, {roles.APP}",
            f"GRANT {may} ON {table} TO {roles.APP}",
        ],
        reverse_sql=[
            f"DROP POLICY IF EXISTS own_municipality ON {table}",
            f"ALTER TABLE {table} NO FORCE ROW LEVEL SECURITY",
            f"ALTER TABLE {table} DISABLE ROW LEVEL SECURITY",
        ],
    )


def exempt_table(table: str, *, may: str = "SELECT, INSERT, UPDATE") -> RunSQL:
    """Grant a table that stands outside row level security; it must be in `exempt_tables`."""
    _check_name(table)
    if table not in exempt_tables.EXEMPT_TABLES:
        raise ValueError(f"{table} is not listed in exempt_tables.EXEMPT_TABLES")
    return RunSQL(
        sql=[
            f"REVOKE ALL ON {table} FROM PUBLIC, {roles.APP}, {roles.AGENCY}",
            f"GRANT {may} ON {table} TO {roles.APP}, {roles.AGENCY}",
        ],
        reverse_sql=RunSQL.noop,
    )


def append_only(table: str) -> RunSQL:
    """Refuse UPDATE, DELETE and TRUNCATE on `table` for every role, the owner too."""
    _check_name(table)
    return RunSQL(
        sql=[
            f"REVOKE UPDATE, DELETE, TRUNCATE ON {table} FROM {roles.APP}, {roles.AGENCY}",
            f"CREATE TRIGGER append_only_rows BEFORE UPDATE OR DELETE ON {table} "
            "FOR EACH ROW EXECUTE FUNCTION foundation_refuse_change()",
            f"CREATE TRIGGER append_only_table BEFORE TRUNCATE ON {table} "
            "FOR EACH STATEMENT EXECUTE FUNCTION foundation_refuse_change()",
        ],
        reverse_sql=[
            f"DROP TRIGGER IF EXISTS append_only_rows ON {table}",
            f"DROP TRIGGER IF EXISTS append_only_table ON {table}",
        ],
    )


def _check_name(table: str) -> None:
    if not _NAME.match(table):
        raise ValueError("a table name has only lower case letters, digits and underscores")
