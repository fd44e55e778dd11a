"""The timeline of the database that was let in (see foundation.fencing)."""

from django.db import migrations, models

# A cluster that is migrated is one that serves: its present timeline is the one let in.
_PRESENT = """
UPDATE foundation_clusterinfo
   SET timeline = ('x' || left(pg_walfile_name(pg_current_wal_insert_lsn()), 8))::bit(32)::int
"""


class Migration(migrations.Migration):
    dependencies = [
        ("foundation", "0004_rotation_erasure_deletion"),
    ]

    operations = [
        migrations.AddField(
            model_name="clusterinfo",
            name="timeline",
            field=models.IntegerField(null=True, verbose_name="認めた時系列"),
        ),
        migrations.RunSQL(_PRESENT, reverse_sql=migrations.RunSQL.noop),
    ]
