"""The process that migrates: `python -m bcl.config.migrate_as_owner` (see foundation.migrate)."""

from __future__ import annotations

from bcl.config import env


def main() -> None:
    """Become the owner role, bring the tables up to date, note what the cluster is for."""
    env.assume(BCL_DATABASE_ROLE="owner")
    import django

    django.setup()
    from bcl.foundation import migrate

    migrate.migrate_here()


if __name__ == "__main__":
    main()
