"""Which uses of its data a municipality has begun; those registered before go on as they did."""

from django.db import migrations, models

import bcl.foundation.fields
from bcl.foundation.migration_operations import tenant_table

# Row level security binds the owner too: the scope is set town by town.
_AS_BEFORE = """
DO $$
DECLARE town record;
BEGIN
    FOR town IN SELECT municipality_code, registered_at FROM municipalities_municipality LOOP
        PERFORM set_config('bcl.municipality', town.municipality_code, true);
        INSERT INTO municipalities_profileperiod
            (municipality_code, profile, enabled_at, enabled_by, disabled_by)
            SELECT town.municipality_code, profile, town.registered_at, 'bcl', ''
            FROM unnest(ARRAY['a', 'b']) AS profile;
    END LOOP;
    PERFORM set_config('bcl.municipality', '', true);
END $$
"""


class Migration(migrations.Migration):
    dependencies = [("municipalities", "0004_subscriber")]

    operations = [
        migrations.CreateModel(
            name="ProfilePeriod",
            fields=[
                (
                    "id",
                    models.BigAutoField(
                        auto_created=True, primary_key=True, serialize=False, verbose_name="ID"
                    ),
                ),
                ("municipality_code", bcl.foundation.fields.TenantField(verbose_name="団体コード")),
                ("profile", models.CharField(max_length=1, verbose_name="データ利用区分")),
                ("enabled_at", models.DateTimeField(verbose_name="開始日時")),
                ("enabled_by", models.CharField(max_length=128, verbose_name="開始した人")),
                ("disabled_at", models.DateTimeField(null=True, verbose_name="終了日時")),
                (
                    "disabled_by",
                    models.CharField(blank=True, max_length=128, verbose_name="終了した人"),
                ),
            ],
            options={
                "verbose_name": "データの利用期間",
                "constraints": [
                    models.UniqueConstraint(
                        condition=models.Q(disabled_at__isnull=True),
                        fields=("municipality_code", "profile"),
                        name="profileperiod_open_once",
                    ),
                    models.CheckConstraint(
                        condition=models.Q(profile__in=["a", "b", "c"]),
                        name="profileperiod_profile_is_known",
                    ),
                ],
            },
        ),
        tenant_table("municipalities_profileperiod", may="SELECT, INSERT, UPDATE"),
        migrations.RunSQL(_AS_BEFORE, migrations.RunSQL.noop),
    ]
