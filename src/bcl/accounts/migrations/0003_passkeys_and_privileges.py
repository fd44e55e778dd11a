"""Passkeys, privileges for a time (特権ID), more about terminals, a count of changes."""

import uuid

import django.db.models.deletion
from django.db import migrations, models

import bcl.foundation.fields
from bcl.foundation.migration_operations import tenant_table


class Migration(migrations.Migration):
    dependencies = [
        ("accounts", "0002_protection"),
    ]

    operations = [
        migrations.AddField(
            model_name="staffaccount",
            name="revision",
            field=models.IntegerField(default=1, verbose_name="変更の回数"),
        ),
        migrations.AddField(
            model_name="staffsession",
            name="challenge",
            field=models.BinaryField(null=True, verbose_name="パスキーへの問い"),
        ),
        migrations.AddField(
            model_name="staffsession",
            name="challenge_for",
            field=models.CharField(default="", max_length=8, verbose_name="問いの用途"),
        ),
        migrations.AddField(
            model_name="staffsession",
            name="challenge_until",
            field=models.DateTimeField(null=True, verbose_name="問いの期限"),
        ),
        migrations.AddField(
            model_name="terminal",
            name="key_fingerprint",
            field=models.CharField(
                max_length=64, null=True, unique=True, verbose_name="公開鍵の指紋（SHA-256）"
            ),
        ),
        migrations.AddField(
            model_name="terminal",
            name="last_seen_at",
            field=models.DateTimeField(null=True, verbose_name="最後に使った日時"),
        ),
        migrations.AddField(
            model_name="terminal",
            name="place_ja",
            field=models.CharField(default="", max_length=64, verbose_name="設置場所"),
        ),
        migrations.AddField(
            model_name="terminal",
            name="valid_until_on",
            field=models.DateField(null=True, verbose_name="有効期限"),
        ),
        migrations.AlterField(
            model_name="terminal",
            name="cert_fingerprint",
            field=models.CharField(
                max_length=64, null=True, unique=True, verbose_name="証明書の指紋（SHA-256）"
            ),
        ),
        migrations.CreateModel(
            name="Elevation",
            fields=[
                (
                    "id",
                    models.UUIDField(default=uuid.uuid4, primary_key=True, serialize=False),
                ),
                ("municipality_code", bcl.foundation.fields.TenantField(verbose_name="団体コード")),
                ("ticket", models.CharField(max_length=32, verbose_name="作業の番号")),
                ("sealed_reason", models.BinaryField(verbose_name="理由（暗号化）")),
                ("minutes", models.IntegerField(verbose_name="長さ（分）")),
                ("asked_at", models.DateTimeField(verbose_name="申請日時")),
                ("decided_at", models.DateTimeField(null=True, verbose_name="承認・却下の日時")),
                (
                    "decided_by",
                    models.CharField(default="", max_length=64, verbose_name="承認・却下した人"),
                ),
                ("ends_at", models.DateTimeField(null=True, verbose_name="終わる日時")),
                ("ended_at", models.DateTimeField(null=True, verbose_name="終えた日時")),
                ("ended_by", models.CharField(default="", max_length=128, verbose_name="終えた人")),
                (
                    "account",
                    models.ForeignKey(
                        on_delete=django.db.models.deletion.PROTECT,
                        related_name="elevations",
                        to="accounts.staffaccount",
                    ),
                ),
            ],
            options={
                "verbose_name": "特権",
                "indexes": [
                    models.Index(
                        fields=["municipality_code", "account", "ends_at"], name="elevation_now"
                    )
                ],
                "constraints": [
                    models.CheckConstraint(
                        condition=models.Q(
                            ("ends_at__isnull", True),
                            models.Q(
                                ("decided_at__isnull", False),
                                models.Q(("decided_by", ""), _negated=True),
                            ),
                            _connector="OR",
                        ),
                        name="elevation_needs_a_second_person",
                    )
                ],
            },
        ),
        migrations.CreateModel(
            name="Passkey",
            fields=[
                ("id", models.UUIDField(default=uuid.uuid4, primary_key=True, serialize=False)),
                ("municipality_code", bcl.foundation.fields.TenantField(verbose_name="団体コード")),
                ("credential_id", models.BinaryField(max_length=1023, verbose_name="鍵の番号")),
                ("public_key", models.BinaryField(verbose_name="公開鍵（COSE）")),
                ("sign_count", models.BigIntegerField(verbose_name="使った回数")),
                ("origin", models.CharField(max_length=255, verbose_name="作った場所（オリジン）")),
                ("sealed_label", models.BinaryField(verbose_name="呼び名（暗号化）")),
                ("added_at", models.DateTimeField(verbose_name="登録日時")),
                ("last_used_at", models.DateTimeField(null=True, verbose_name="最後に使った日時")),
                ("removed_at", models.DateTimeField(null=True, verbose_name="削除日時")),
                (
                    "removed_reason",
                    models.CharField(default="", max_length=16, verbose_name="削除の理由"),
                ),
                (
                    "account",
                    models.ForeignKey(
                        on_delete=django.db.models.deletion.PROTECT,
                        related_name="passkeys",
                        to="accounts.staffaccount",
                    ),
                ),
            ],
            options={
                "verbose_name": "パスキー",
                "constraints": [
                    models.UniqueConstraint(
                        fields=("municipality_code", "credential_id"), name="passkey_is_one_persons"
                    )
                ],
            },
        ),
        tenant_table("accounts_passkey", may="SELECT, INSERT, UPDATE"),
        tenant_table("accounts_elevation", may="SELECT, INSERT, UPDATE"),
    ]
