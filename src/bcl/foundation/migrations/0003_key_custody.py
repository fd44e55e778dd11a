"""Data keys that can be destroyed version by version, and the record of escrows."""

from django.db import migrations, models

import bcl.foundation.fields
from bcl.foundation.migration_operations import tenant_table


class Migration(migrations.Migration):
    dependencies = [("foundation", "0002_protection")]

    operations = [
        migrations.AlterField(
            model_name="datakey",
            name="wrapped_key",
            field=models.BinaryField(null=True, verbose_name="包んだ鍵"),
        ),
        migrations.AddField(
            model_name="datakey",
            name="destroyed_at",
            field=models.DateTimeField(null=True, verbose_name="破棄日時"),
        ),
        migrations.AddConstraint(
            model_name="datakey",
            constraint=models.CheckConstraint(
                condition=models.Q(
                    models.Q(("destroyed_at__isnull", True), ("wrapped_key__isnull", False)),
                    models.Q(("destroyed_at__isnull", False), ("wrapped_key__isnull", True)),
                    _connector="OR",
                ),
                name="datakey_is_there_or_destroyed",
            ),
        ),
        migrations.CreateModel(
            name="KeyEscrow",
            fields=[
                (
                    "id",
                    models.BigAutoField(
                        auto_created=True, primary_key=True, serialize=False, verbose_name="ID"
                    ),
                ),
                ("municipality_code", bcl.foundation.fields.TenantField(verbose_name="団体コード")),
                ("town_key_version", models.PositiveIntegerField(verbose_name="団体鍵の版")),
                ("threshold", models.PositiveSmallIntegerField(verbose_name="必要な人数")),
                ("custodians", models.JSONField(verbose_name="保管者の公開鍵")),
                ("package_sha256", models.CharField(max_length=64, verbose_name="預託物のハッシュ値")),
                ("created_at", models.DateTimeField(verbose_name="作成日時")),
                ("created_by", models.CharField(max_length=128, verbose_name="作成者")),
                ("destroyed_at", models.DateTimeField(null=True, verbose_name="破棄日時")),
            ],
            options={
                "verbose_name": "鍵の預託",
                "constraints": [
                    models.UniqueConstraint(
                        fields=("municipality_code", "package_sha256"),
                        name="keyescrow_package_once",
                    )
                ],
            },
        ),
        tenant_table("foundation_keyescrow", may="SELECT, INSERT, UPDATE"),
    ]
