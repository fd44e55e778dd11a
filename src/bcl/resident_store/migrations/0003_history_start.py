"""How far back the store's history reaches, once retention has deleted ended records."""

from django.db import migrations, models

import bcl.foundation.fields
from bcl.foundation.migration_operations import tenant_table


class Migration(migrations.Migration):
    dependencies = [("resident_store", "0002_protection")]

    operations = [
        migrations.CreateModel(
            name="HistoryStart",
            fields=[
                (
                    "id",
                    models.BigAutoField(
                        auto_created=True, primary_key=True, serialize=False, verbose_name="ID"
                    ),
                ),
                (
                    "municipality_code",
                    bcl.foundation.fields.TenantField(unique=True, verbose_name="団体コード"),
                ),
                ("load_number", models.IntegerField()),
                ("moved_at", models.DateTimeField()),
            ],
            options={"verbose_name": "履歴の始まり"},
        ),
        tenant_table("resident_store_historystart", may="SELECT, INSERT, UPDATE"),
    ]
