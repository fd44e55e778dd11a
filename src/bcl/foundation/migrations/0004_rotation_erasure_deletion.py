"""Rotation of data keys, erasure of a town, certificates of deletion, the agency's signing key."""

from django.db import migrations, models

import bcl.foundation.fields
from bcl.foundation.migration_operations import append_only, exempt_table, tenant_table


class Migration(migrations.Migration):
    dependencies = [
        ("foundation", "0003_key_custody"),
    ]

    operations = [
        migrations.CreateModel(
            name="AgencySigningKey",
            fields=[
                (
                    "id",
                    models.BigAutoField(
                        auto_created=True, primary_key=True, serialize=False, verbose_name="ID"
                    ),
                ),
                ("key_id", models.CharField(max_length=64, unique=True, verbose_name="鍵番号")),
                (
                    "public_key",
                    models.CharField(max_length=64, verbose_name="公開鍵（Ed25519、16進）"),
                ),
                ("provider_key_id", models.CharField(max_length=64, verbose_name="上位鍵の番号")),
                ("wrapped_private_key", models.BinaryField(verbose_name="包んだ秘密鍵")),
                ("created_at", models.DateTimeField(verbose_name="作成日時")),
            ],
            options={
                "verbose_name": "機構の署名鍵",
            },
        ),
        migrations.CreateModel(
            name="DeletionCertificate",
            fields=[
                (
                    "id",
                    models.BigAutoField(
                        auto_created=True, primary_key=True, serialize=False, verbose_name="ID"
                    ),
                ),
                ("municipality_code", bcl.foundation.fields.TenantField(verbose_name="団体コード")),
                ("number", models.BigIntegerField(verbose_name="番号")),
                ("data_class", models.CharField(max_length=64, verbose_name="データの区分")),
                ("run_at", models.DateTimeField(verbose_name="実行日時")),
                ("content", models.JSONField(verbose_name="証明の内容")),
                ("sha256", models.CharField(max_length=64, verbose_name="検査値")),
                ("key_id", models.CharField(max_length=64, verbose_name="署名鍵の番号")),
                ("signature", models.CharField(max_length=128, verbose_name="署名")),
            ],
            options={
                "verbose_name": "削除証明",
                "constraints": [
                    models.UniqueConstraint(
                        fields=("municipality_code", "number"),
                        name="deletioncertificate_number_once",
                    )
                ],
            },
        ),
        migrations.CreateModel(
            name="KeyRotation",
            fields=[
                (
                    "id",
                    models.BigAutoField(
                        auto_created=True, primary_key=True, serialize=False, verbose_name="ID"
                    ),
                ),
                ("municipality_code", bcl.foundation.fields.TenantField(verbose_name="団体コード")),
                ("purpose", models.CharField(max_length=24, verbose_name="用途")),
                ("version", models.PositiveIntegerField(verbose_name="新しい版")),
                ("state", models.CharField(default="RUNNING", max_length=12, verbose_name="状態")),
                (
                    "place",
                    models.CharField(
                        blank=True, default="", max_length=80, verbose_name="作業中の場所"
                    ),
                ),
                (
                    "position",
                    models.CharField(
                        blank=True, default="", max_length=80, verbose_name="作業中の位置"
                    ),
                ),
                ("resealed", models.BigIntegerField(default=0, verbose_name="包み直した数")),
                ("total", models.BigIntegerField(default=0, verbose_name="始めたときの数")),
                ("started_at", models.DateTimeField(verbose_name="開始日時")),
                ("started_by", models.CharField(max_length=128, verbose_name="開始した人")),
                (
                    "settles_from",
                    models.DateTimeField(null=True, verbose_name="確認を始めた時刻（DBの時計）"),
                ),
                ("finished_at", models.DateTimeField(null=True, verbose_name="終了日時")),
            ],
            options={
                "verbose_name": "データ鍵の更新",
                "constraints": [
                    models.UniqueConstraint(
                        fields=("municipality_code", "purpose", "version"),
                        name="keyrotation_version_once",
                    ),
                    models.UniqueConstraint(
                        condition=models.Q(("state__in", ["RUNNING", "SETTLING"])),
                        fields=("municipality_code", "purpose"),
                        name="keyrotation_one_at_a_time",
                    ),
                ],
            },
        ),
        migrations.CreateModel(
            name="TownErasure",
            fields=[
                (
                    "id",
                    models.BigAutoField(
                        auto_created=True, primary_key=True, serialize=False, verbose_name="ID"
                    ),
                ),
                ("municipality_code", bcl.foundation.fields.TenantField(verbose_name="団体コード")),
                ("state", models.CharField(max_length=16, verbose_name="状態")),
                ("reason_code", models.CharField(max_length=32, verbose_name="理由")),
                ("reference", models.CharField(max_length=64, verbose_name="文書番号")),
                ("request_sha256", models.CharField(max_length=64, verbose_name="申請の検査値")),
                ("requested_at", models.DateTimeField(verbose_name="申請日時")),
                ("requested_by", models.CharField(max_length=128, verbose_name="申請者")),
                ("request_signature", models.CharField(max_length=128, verbose_name="申請の署名")),
                ("approved_at", models.DateTimeField(null=True, verbose_name="承認日時")),
                (
                    "approved_by",
                    models.CharField(blank=True, default="", max_length=128, verbose_name="承認者"),
                ),
                (
                    "approval_signature",
                    models.CharField(
                        blank=True, default="", max_length=128, verbose_name="承認の署名"
                    ),
                ),
                (
                    "before",
                    models.JSONField(default=dict, verbose_name="破棄する前の記録（要約値）"),
                ),
                ("proof", models.JSONField(null=True, verbose_name="消去証明")),
                ("erased_at", models.DateTimeField(null=True, verbose_name="消去日時")),
            ],
            options={
                "verbose_name": "団体のデータの消去",
                "constraints": [
                    models.CheckConstraint(
                        condition=models.Q(
                            ("approved_by", ""),
                            models.Q(("approved_by", models.F("requested_by")), _negated=True),
                            _connector="OR",
                        ),
                        name="townerasure_approved_by_a_second_person",
                    ),
                    models.CheckConstraint(
                        condition=models.Q(
                            models.Q(("approved_at__isnull", True), ("state", "REQUESTED")),
                            ("state", "WITHDRAWN"),
                            models.Q(
                                ("approved_at__isnull", False),
                                ("state__in", ["APPROVED", "ERASED"]),
                                models.Q(("approved_by", ""), _negated=True),
                                models.Q(("approval_signature", ""), _negated=True),
                            ),
                            _connector="OR",
                        ),
                        name="townerasure_needs_approval",
                    ),
                    models.UniqueConstraint(
                        fields=("municipality_code", "request_signature"),
                        name="townerasure_request_signed_once",
                    ),
                ],
            },
        ),
        exempt_table("foundation_agencysigningkey", may="SELECT, INSERT"),
        tenant_table("foundation_keyrotation", may="SELECT, INSERT, UPDATE"),
        tenant_table("foundation_townerasure", may="SELECT, INSERT, UPDATE"),
        tenant_table("foundation_deletioncertificate", may="SELECT, INSERT"),
        append_only("foundation_deletioncertificate"),
    ]
