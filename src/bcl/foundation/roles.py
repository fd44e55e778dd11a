"""The database's roles and what each may touch (decision D16). Nothing here needs Django.

| role         | for                                     | row level security            |
|--------------|-----------------------------------------|-------------------------------|
| `bcl_owner`  | migrations, owns the tables             | applies (FORCE), no BYPASSRLS |
| `bcl_app`    | wire, worker, commands: town by SET LOCAL | applies                     |
| `bcl_agency` | agency-scope tables only                | applies                       |
| `bcl_guard`  | the look at a finished certificate: reads, SENT, stop a town | applies |
| `bcl_backup` | physical backups, replication           | sees no table                 |

An external cluster gets the same roles from its administrator: `role_statements` is the text.
"""

from __future__ import annotations

SUPERUSER = "bcl_superuser"
OWNER = "bcl_owner"
APP = "bcl_app"
AGENCY = "bcl_agency"
GUARD = "bcl_guard"
BACKUP = "bcl_backup"
DATABASE = "bcl"

LOGIN_ROLES = (OWNER, APP, AGENCY, GUARD, BACKUP)
ALL_ROLES = (SUPERUSER, *LOGIN_ROLES)

_ATTRIBUTES = "LOGIN NOSUPERUSER NOCREATEDB NOCREATEROLE NOBYPASSRLS INHERIT"


def role_statements(passwords: dict[str, str]) -> list[str]:
    """SQL that makes the roles or sets them right again; `passwords` by role name.

    Passwords must hold neither quotes nor backslashes (ours are hexadecimal).
    """
    statements = []
    for role in LOGIN_ROLES:
        password = passwords[role]
        if not password.isalnum():
            raise ValueError("a role password must be alphanumeric")
        replication = "REPLICATION" if role == BACKUP else "NOREPLICATION"
        statements.append(
            f"DO $$ BEGIN IF NOT EXISTS (SELECT FROM pg_roles WHERE rolname = '{role}') "
            f"THEN CREATE ROLE {role}; END IF; END $$"
        )
        statements.append(f"ALTER ROLE {role} {_ATTRIBUTES} {replication} PASSWORD '{password}'")
    return statements


def database_statements() -> list[str]:
    """SQL for inside the database: who may connect, who may create what."""
    return [
        f"REVOKE ALL ON DATABASE {DATABASE} FROM PUBLIC",
        f"GRANT CONNECT ON DATABASE {DATABASE} TO {OWNER}, {APP}, {AGENCY}, {GUARD}",
        # A load sorts keyed digests through temporary tables; they never hold clear text.
        f"GRANT TEMPORARY ON DATABASE {DATABASE} TO {APP}",
        "REVOKE CREATE ON SCHEMA public FROM PUBLIC",
        f"GRANT USAGE, CREATE ON SCHEMA public TO {OWNER}",
        f"GRANT USAGE ON SCHEMA public TO {APP}, {AGENCY}, {GUARD}",
    ]
