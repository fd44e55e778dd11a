"""Drop folders of an external transfer tool: receive keys, and what was answered."""

import django.db.models.deletion
from django.db import migrations, models

import bcl.foundation.fields
from bcl.foundation.migration_operations import tenant_table


class Migration(migrations.Migration):
    dependencies = [
        ("linkage", "0001_initial"),
    ]

    operations = [
        migrations.CreateModel(
            name="FolderDelivery",
            fields=[
                (
                    "id",
                    models.BigAutoField(
                        auto_created=True, primary_key=True, serialize=False, verbose_name="ID"
                    ),
                ),
                ("municipality_code", bcl.foundation.fields.TenantField(verbose_name="団体コード")),
                ("answered", models.CharField(blank=True, default="", max_length=64)),
                ("is_closed", models.BooleanField(default=False)),
                (
                    "transmission",
                    models.OneToOneField(
                        on_delete=django.db.models.deletion.CASCADE,
                        related_name="folder_delivery",
                        to="linkage.transmission",
                    ),
                ),
            ],
            options={
                "verbose_name": "外部転送による受領",
            },
        ),
        migrations.CreateModel(
            name="TransferKey",
            fields=[
                (
                    "id",
                    models.BigAutoField(
                        auto_created=True, primary_key=True, serialize=False, verbose_name="ID"
                    ),
                ),
                ("municipality_code", bcl.foundation.fields.TenantField(verbose_name="団体コード")),
                ("key_id", models.CharField(max_length=64)),
                ("recipient", models.CharField(max_length=80)),
                ("sealed_identity", models.BinaryField()),
                ("created_at", models.DateTimeField()),
            ],
            options={
                "verbose_name": "外部転送の受取鍵",
                "constraints": [
                    models.UniqueConstraint(
                        fields=("municipality_code", "key_id"),
                        name="linkage_transfer_key_id_unique",
                    )
                ],
            },
        ),
        tenant_table("linkage_transferkey", may="SELECT, INSERT"),
        tenant_table("linkage_folderdelivery", may="SELECT, INSERT, UPDATE"),
    ]
