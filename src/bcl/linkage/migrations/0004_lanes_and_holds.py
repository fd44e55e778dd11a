"""Contacts of gateways, wishes to send again, releases that take two persons."""

import uuid

from django.db import migrations, models

import bcl.foundation.fields
from bcl.foundation.migration_operations import tenant_table


class Migration(migrations.Migration):
    dependencies = [
        ("linkage", "0003_reseal_keys"),
    ]

    operations = [
        migrations.CreateModel(
            name="GatewayContact",
            fields=[
                (
                    "id",
                    models.BigAutoField(
                        auto_created=True, primary_key=True, serialize=False, verbose_name="ID"
                    ),
                ),
                ("municipality_code", bcl.foundation.fields.TenantField(verbose_name="団体コード")),
                ("gateway_id", models.CharField(max_length=128)),
                ("seen_at", models.DateTimeField()),
                ("asked_at", models.DateTimeField(null=True)),
            ],
            options={
                "verbose_name": "連携装置からの連絡",
            },
        ),
        migrations.CreateModel(
            name="HoldRelease",
            fields=[
                (
                    "id",
                    models.UUIDField(
                        default=uuid.uuid4, editable=False, primary_key=True, serialize=False
                    ),
                ),
                ("municipality_code", bcl.foundation.fields.TenantField(verbose_name="団体コード")),
                ("hold", models.CharField(max_length=24)),
                ("reason", models.CharField(max_length=60)),
                ("requested_at", models.DateTimeField()),
                ("requested_by", models.CharField(max_length=128)),
                ("approved_at", models.DateTimeField(null=True)),
                ("approved_by", models.CharField(blank=True, default="", max_length=128)),
            ],
            options={
                "verbose_name": "保留の手動解除",
            },
        ),
        migrations.CreateModel(
            name="ResendRequest",
            fields=[
                (
                    "id",
                    models.UUIDField(
                        default=uuid.uuid4, editable=False, primary_key=True, serialize=False
                    ),
                ),
                ("municipality_code", bcl.foundation.fields.TenantField(verbose_name="団体コード")),
                ("lane", models.CharField(max_length=8)),
                ("kind", models.CharField(max_length=12)),
                ("sequence", models.BigIntegerField(null=True)),
                ("reason_code", models.CharField(max_length=60)),
                ("requested_at", models.DateTimeField()),
                ("requested_by", models.CharField(max_length=128)),
                ("told_at", models.DateTimeField(null=True)),
                ("ended_at", models.DateTimeField(null=True)),
                ("fulfilled_by", models.UUIDField(null=True)),
            ],
            options={
                "verbose_name": "再送の依頼",
            },
        ),
        migrations.AddField(
            model_name="transmission",
            name="release_asked_at",
            field=models.DateTimeField(null=True),
        ),
        migrations.AddField(
            model_name="transmission",
            name="release_asked_by",
            field=models.CharField(blank=True, default="", max_length=128),
        ),
        migrations.AddConstraint(
            model_name="transmission",
            constraint=models.CheckConstraint(
                condition=models.Q(
                    ("release_asked_at__isnull", True),
                    models.Q(("release_asked_by", ""), _negated=True),
                    _connector="XOR",
                ),
                name="linkage_transmission_release_asked_at_and_by",
            ),
        ),
        migrations.AddConstraint(
            model_name="gatewaycontact",
            constraint=models.UniqueConstraint(
                fields=("municipality_code", "gateway_id"), name="linkage_contact_once_per_gateway"
            ),
        ),
        migrations.AddConstraint(
            model_name="holdrelease",
            constraint=models.UniqueConstraint(
                condition=models.Q(("approved_at__isnull", True)),
                fields=("municipality_code", "hold"),
                name="linkage_hold_release_asked_once",
            ),
        ),
        migrations.AddConstraint(
            model_name="holdrelease",
            constraint=models.CheckConstraint(
                condition=models.Q(
                    models.Q(("approved_at__isnull", True), ("approved_by", "")),
                    models.Q(
                        ("approved_at__isnull", False),
                        models.Q(("approved_by", ""), _negated=True),
                        models.Q(("approved_by", models.F("requested_by")), _negated=True),
                    ),
                    _connector="OR",
                ),
                name="linkage_hold_release_by_two_persons",
            ),
        ),
        migrations.AddConstraint(
            model_name="resendrequest",
            constraint=models.CheckConstraint(
                condition=models.Q(
                    models.Q(("kind", "SEQUENCE"), ("sequence__isnull", False)),
                    models.Q(("kind", "FULL"), ("sequence__isnull", True)),
                    _connector="OR",
                ),
                name="linkage_resend_kind_and_number",
            ),
        ),
        migrations.AddConstraint(
            model_name="resendrequest",
            constraint=models.UniqueConstraint(
                condition=models.Q(("ended_at__isnull", True)),
                fields=("municipality_code", "lane", "kind", "sequence"),
                name="linkage_resend_open_once",
                nulls_distinct=False,
            ),
        ),
        tenant_table("linkage_gatewaycontact", may="SELECT, INSERT, UPDATE"),
        tenant_table("linkage_resendrequest", may="SELECT, INSERT, UPDATE"),
        tenant_table("linkage_holdrelease", may="SELECT, INSERT, UPDATE"),
    ]
