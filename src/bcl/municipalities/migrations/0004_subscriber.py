"""Systems that may subscribe to towns' data."""

from django.db import migrations, models

from bcl.foundation.migration_operations import exempt_table


class Migration(migrations.Migration):
    dependencies = [("municipalities", "0003_notice")]

    operations = [
        migrations.CreateModel(
            name="Subscriber",
            fields=[
                (
                    "subscriber_id",
                    models.CharField(
                        max_length=32,
                        primary_key=True,
                        serialize=False,
                        verbose_name="配り先番号",
                    ),
                ),
                ("name_ja", models.CharField(max_length=64, verbose_name="システム名")),
                (
                    "cert_fingerprint",
                    models.CharField(
                        max_length=64, unique=True, verbose_name="証明書の指紋（SHA-256）"
                    ),
                ),
                (
                    "status",
                    models.CharField(default="REGISTERED", max_length=16, verbose_name="状態"),
                ),
                ("registered_at", models.DateTimeField(verbose_name="登録日時")),
                ("revoked_at", models.DateTimeField(null=True, verbose_name="失効日時")),
            ],
            options={
                "verbose_name": "配り先のシステム",
                "constraints": [
                    models.CheckConstraint(
                        condition=models.Q(status__in=["REGISTERED", "REVOKED"]),
                        name="subscriber_status_is_known",
                    ),
                    models.CheckConstraint(
                        condition=models.Q(revoked_at__isnull=True, status="REGISTERED")
                        | models.Q(revoked_at__isnull=False, status="REVOKED"),
                        name="subscriber_revoked_with_its_time",
                    ),
                ],
            },
        ),
        exempt_table("municipalities_subscriber"),
    ]
