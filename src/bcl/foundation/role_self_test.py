"""What `tenancy.assert_safe_role` looks at, as questions to the system catalogues."""

from __future__ import annotations

from typing import Any

from bcl.foundation import exempt_tables

_ROLE = """
SELECT r.rolname, r.rolsuper, r.rolbypassrls
  FROM pg_roles r
 WHERE pg_has_role(current_user, r.oid, 'MEMBER') OR r.rolname = session_user
"""

_OWNED = """
SELECT c.relname
  FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
 WHERE n.nspname NOT LIKE 'pg\\_%%' AND n.nspname <> 'information_schema'
   AND c.relkind IN ('r', 'p', 'v', 'm', 'S', 'f')
   AND pg_has_role(current_user, c.relowner, 'MEMBER')
 ORDER BY 1
"""

# Temporary tables live in pg_temp_* schemas and are the session's own.
_RELATIONS = """
SELECT c.relname, c.relkind::text, c.relrowsecurity, c.relforcerowsecurity, c.relispartition,
       COALESCE('security_invoker=true' = ANY (c.reloptions)
             OR 'security_invoker=on' = ANY (c.reloptions), false),
       has_table_privilege(c.oid, 'SELECT') OR has_table_privilege(c.oid, 'INSERT')
         OR has_table_privilege(c.oid, 'UPDATE') OR has_table_privilege(c.oid, 'DELETE')
  FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
 WHERE n.nspname NOT LIKE 'pg\\_%%' AND n.nspname <> 'information_schema'
   AND c.relkind IN ('r', 'p', 'v', 'm', 'f')
 ORDER BY 1
"""

_POLICIES = """
SELECT tablename, policyname FROM pg_policies
 WHERE permissive = 'PERMISSIVE'
   AND (COALESCE(qual, with_check) NOT LIKE '%%bcl.municipality%%'
     OR COALESCE(with_check, qual) NOT LIKE '%%bcl.municipality%%')
 ORDER BY 1, 2
"""

_DEFINER_FUNCTIONS = """
SELECT p.proname
  FROM pg_proc p JOIN pg_namespace n ON n.oid = p.pronamespace
 WHERE n.nspname NOT LIKE 'pg\\_%%' AND n.nspname <> 'information_schema' AND p.prosecdef
 ORDER BY 1
"""


def find_complaints(connection: Any) -> list[str]:
    """Everything that makes the connected role unsafe, one short Japanese phrase each."""
    with connection.cursor() as cursor:
        complaints = _role_complaints(_rows(cursor, _ROLE))
        complaints += [f"接続利用者が {name} を所有している" for (name,) in _rows(cursor, _OWNED)]
        for row in _rows(cursor, _RELATIONS):
            complaints += _relation_complaints(row)
        complaints += [
            f"表 {table} の規則 {policy} が団体で絞っていない"
            for table, policy in _rows(cursor, _POLICIES)
        ]
        complaints += [
            f"関数 {name} が所有者の権限で動く"
            for (name,) in _rows(cursor, _DEFINER_FUNCTIONS)
            if name not in exempt_tables.SECURITY_DEFINER_FUNCTIONS
        ]
    return complaints


def _rows(cursor: Any, query: str) -> list[tuple[Any, ...]]:
    cursor.execute(query, [])
    return list(cursor.fetchall())


def _role_complaints(memberships: list[tuple[Any, ...]]) -> list[str]:
    complaints = []
    for name, is_superuser, bypasses in memberships:
        if is_superuser:
            complaints.append(f"接続利用者が管理者権限（{name}）を持つ")
        if bypasses:
            complaints.append(f"接続利用者が行単位の保護を越える権限（{name}）を持つ")
    return complaints


def _relation_complaints(row: tuple[Any, ...]) -> list[str]:
    name, kind, row_security, forced, is_partition, security_invoker, may_touch = row
    if name in exempt_tables.EXEMPT_TABLES:
        return []
    if kind == "v":
        return [] if security_invoker else [f"ビュー {name} が閲覧者の権限で動かない"]
    if kind in "mf":
        return [f"{name} は行単位の保護がきかない種類の表である"]
    if is_partition and not may_touch:
        # Reached only through its parent, whose policy applies.
        return []
    if not row_security:
        return [f"表 {name} に行単位の保護がない"]
    return [] if forced else [f"表 {name} の保護が所有者に及ばない"]
