"""Notices of a municipality: alarms and reminders."""

from django.db import migrations, models

import bcl.foundation.fields
from bcl.foundation.migration_operations import tenant_table


class Migration(migrations.Migration):
    dependencies = [("municipalities", "0002_protection")]

    operations = [
        migrations.CreateModel(
            name="Notice",
            fields=[
                (
                    "id",
                    models.BigAutoField(
                        auto_created=True, primary_key=True, serialize=False, verbose_name="ID"
                    ),
                ),
                (
                    "municipality_code",
                    bcl.foundation.fields.TenantField(verbose_name="団体コード"),
                ),
                ("kind", models.CharField(max_length=16, verbose_name="種類")),
                ("code", models.CharField(max_length=60, verbose_name="理由コード")),
                (
                    "mark",
                    models.CharField(blank=True, default="", max_length=80, verbose_name="区別"),
                ),
                ("detail", models.JSONField(default=dict, verbose_name="内訳")),
                ("opened_at", models.DateTimeField(verbose_name="発生日時")),
                ("closed_at", models.DateTimeField(null=True, verbose_name="解消日時")),
            ],
            options={
                "verbose_name": "お知らせ",
                "constraints": [
                    models.UniqueConstraint(
                        condition=models.Q(closed_at__isnull=True),
                        fields=("municipality_code", "code", "mark"),
                        name="notice_open_once",
                    ),
                    models.CheckConstraint(
                        condition=models.Q(kind__in=["ALARM", "REMINDER"]),
                        name="notice_kind_is_known",
                    ),
                ],
            },
        ),
        tenant_table("municipalities_notice", may="SELECT, INSERT, UPDATE"),
    ]
