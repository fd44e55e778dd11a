"""Subscriptions and the pages prepared for them."""

import django.db.models.deletion
from django.db import migrations, models

import bcl.foundation.fields
from bcl.foundation.migration_operations import tenant_table


class Migration(migrations.Migration):
    initial = True

    dependencies = [("foundation", "0002_protection")]

    operations = [
        migrations.CreateModel(
            name="Subscription",
            fields=[
                (
                    "id",
                    models.BigAutoField(
                        auto_created=True, primary_key=True, serialize=False, verbose_name="ID"
                    ),
                ),
                ("municipality_code", bcl.foundation.fields.TenantField(verbose_name="団体コード")),
                ("name", models.CharField(max_length=32, verbose_name="購読名")),
                ("version", models.IntegerField(verbose_name="版")),
                (
                    "state",
                    models.CharField(
                        choices=[
                            ("REQUESTED", "REQUESTED"),
                            ("ACTIVE", "ACTIVE"),
                            ("PAUSED", "PAUSED"),
                            ("ENDED", "ENDED"),
                        ],
                        max_length=16,
                        verbose_name="状態",
                    ),
                ),
                ("subscriber_id", models.CharField(max_length=32, verbose_name="配り先番号")),
                ("profile", models.JSONField(verbose_name="定義")),
                ("profile_sha256", models.CharField(max_length=64, verbose_name="定義の検査値")),
                ("requested_at", models.DateTimeField(verbose_name="申請日時")),
                ("requested_by", models.CharField(max_length=128, verbose_name="申請者")),
                (
                    "request_signature",
                    models.CharField(max_length=128, unique=True, verbose_name="申請の署名"),
                ),
                ("approved_at", models.DateTimeField(null=True, verbose_name="承認日時")),
                (
                    "approved_by",
                    models.CharField(blank=True, max_length=128, verbose_name="承認者"),
                ),
                (
                    "approval_signature",
                    models.CharField(blank=True, max_length=128, verbose_name="承認の署名"),
                ),
                (
                    "approved_classes",
                    models.CharField(blank=True, max_length=128, verbose_name="承認した区分"),
                ),
                ("changed_at", models.DateTimeField(null=True, verbose_name="状態の変更日時")),
                (
                    "changed_by",
                    models.CharField(blank=True, max_length=128, verbose_name="状態を変更した人"),
                ),
                ("epoch", models.IntegerField(default=0, verbose_name="世代")),
                ("fencing_epoch", models.BigIntegerField(default=0, verbose_name="復元の世代")),
                (
                    "planned_load",
                    models.BigIntegerField(default=0, verbose_name="用意した反映番号"),
                ),
                ("last_page", models.BigIntegerField(default=0, verbose_name="用意した頁")),
                ("delivered_page", models.BigIntegerField(default=0, verbose_name="渡した頁")),
                (
                    "acknowledged_page",
                    models.BigIntegerField(default=0, verbose_name="受領済みの頁"),
                ),
                ("delivered_at", models.DateTimeField(null=True, verbose_name="最後に渡した日時")),
                (
                    "acknowledged_at",
                    models.DateTimeField(null=True, verbose_name="最後に受領した日時"),
                ),
            ],
            options={
                "verbose_name": "購読",
                "constraints": [
                    models.UniqueConstraint(
                        fields=("municipality_code", "name", "version"),
                        name="subscription_version_once",
                    ),
                    models.UniqueConstraint(
                        condition=models.Q(("state__in", ["ACTIVE", "PAUSED"])),
                        fields=("municipality_code", "name"),
                        name="subscription_runs_once",
                    ),
                    models.UniqueConstraint(
                        condition=models.Q(("state", "REQUESTED")),
                        fields=("municipality_code", "name"),
                        name="subscription_asked_for_once",
                    ),
                    models.CheckConstraint(
                        condition=models.Q(
                            models.Q(("state__in", ["ACTIVE", "PAUSED"]), _negated=True),
                            models.Q(
                                ("approved_at__isnull", False),
                                models.Q(("approved_by", ""), _negated=True),
                                models.Q(("approved_by", models.F("requested_by")), _negated=True),
                            ),
                            _connector="OR",
                        ),
                        name="subscription_runs_only_approved_by_another",
                    ),
                    models.CheckConstraint(
                        condition=models.Q(
                            ("acknowledged_page__lte", models.F("delivered_page")),
                            ("delivered_page__lte", models.F("last_page")),
                        ),
                        name="subscription_pages_in_order",
                    ),
                ],
            },
        ),
        migrations.CreateModel(
            name="DeliveryPage",
            fields=[
                (
                    "id",
                    models.BigAutoField(
                        auto_created=True, primary_key=True, serialize=False, verbose_name="ID"
                    ),
                ),
                ("municipality_code", bcl.foundation.fields.TenantField(verbose_name="団体コード")),
                ("epoch", models.IntegerField(verbose_name="世代")),
                ("number", models.BigIntegerField(verbose_name="頁")),
                ("load_number", models.BigIntegerField(verbose_name="反映番号")),
                ("completes_load", models.BooleanField(verbose_name="反映の最後の頁")),
                ("items", models.BinaryField(verbose_name="記録の番号と鍵")),
                (
                    "subscription",
                    models.ForeignKey(
                        on_delete=django.db.models.deletion.CASCADE,
                        to="subscriptions.subscription",
                        verbose_name="購読",
                    ),
                ),
            ],
            options={
                "verbose_name": "配る頁",
                "constraints": [
                    models.UniqueConstraint(
                        fields=("subscription", "epoch", "number"), name="delivery_page_once"
                    )
                ],
            },
        ),
        tenant_table("subscriptions_subscription", may="SELECT, INSERT, UPDATE"),
        tenant_table("subscriptions_deliverypage"),
    ]
