"""Row level security, grants and the append-only trigger for the foundation and the job queue."""

from django.db import migrations

from bcl.foundation import roles
from bcl.foundation.migration_operations import append_only, exempt_table, tenant_table

_REFUSE_CHANGE = """
CREATE FUNCTION foundation_refuse_change() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    RAISE EXCEPTION 'rows of % are never changed or removed', TG_TABLE_NAME
        USING ERRCODE = 'insufficient_privilege';
END
$$
"""

_SEQUENCES = (
    f"GRANT USAGE, SELECT ON ALL SEQUENCES IN SCHEMA public TO {roles.APP}, {roles.AGENCY}",
    "ALTER DEFAULT PRIVILEGES IN SCHEMA public GRANT USAGE, SELECT ON SEQUENCES "
    f"TO {roles.APP}, {roles.AGENCY}",
)


class Migration(migrations.Migration):
    dependencies = [
        ("foundation", "0001_initial"),
        ("procrastinate", "0041_post_retry_failed_job"),
    ]

    operations = [
        migrations.RunSQL(_REFUSE_CHANGE, "DROP FUNCTION foundation_refuse_change()"),
        migrations.RunSQL(list(_SEQUENCES), migrations.RunSQL.noop),
        tenant_table("foundation_townkey", may="SELECT, INSERT, UPDATE"),
        tenant_table("foundation_datakey", may="SELECT, INSERT, UPDATE"),
        tenant_table("foundation_auditentry", may="SELECT, INSERT"),
        tenant_table("foundation_jobkey"),
        append_only("foundation_auditentry"),
        exempt_table("foundation_agencyauditentry", may="SELECT, INSERT"),
        append_only("foundation_agencyauditentry"),
        exempt_table("foundation_clusterinfo", may="SELECT"),
        exempt_table("django_migrations", may="SELECT"),
        exempt_table("procrastinate_jobs", may="SELECT, INSERT, UPDATE, DELETE"),
        exempt_table("procrastinate_events", may="SELECT, INSERT, UPDATE, DELETE"),
        exempt_table("procrastinate_periodic_defers", may="SELECT, INSERT, UPDATE, DELETE"),
        exempt_table("procrastinate_workers", may="SELECT, INSERT, UPDATE, DELETE"),
    ]
