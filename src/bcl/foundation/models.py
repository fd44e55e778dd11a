"""Tables of the foundation: what the cluster is for, keys, audit, job keys."""

from __future__ import annotations

from django.db import models

from bcl.foundation.fields import TenantField


class ClusterInfo(models.Model):
    """One row that says what this database cluster is for (D31)."""

    id = models.SmallIntegerField(primary_key=True, default=1, verbose_name="番号")
    environment = models.CharField(max_length=16, verbose_name="環境")
    fencing_epoch = models.BigIntegerField(default=1, verbose_name="復元の世代")
    created_at = models.DateTimeField(verbose_name="作成日時")

    class Meta:
        verbose_name = "クラスター情報"
        constraints = (
            models.CheckConstraint(condition=models.Q(id=1), name="clusterinfo_is_a_single_row"),
            models.CheckConstraint(
                condition=models.Q(environment__in=["demo", "test", "production"]),
                name="clusterinfo_environment_is_known",
            ),
        )

    def __str__(self) -> str:
        return f"{self.environment} epoch {self.fencing_epoch}"


class TownKey(models.Model):
    """A municipality's key-encryption key, wrapped by the provider's (D13).

    Destroying it (erasure when a municipality leaves) empties `wrapped_key` and keeps the row.
    """

    municipality_code = TenantField()
    version = models.PositiveIntegerField(verbose_name="版")
    provider_key_id = models.CharField(max_length=64, verbose_name="上位鍵の番号")
    wrapped_key = models.BinaryField(null=True, verbose_name="包んだ鍵")
    created_at = models.DateTimeField(verbose_name="作成日時")
    destroyed_at = models.DateTimeField(null=True, verbose_name="破棄日時")

    class Meta:
        verbose_name = "団体鍵"
        constraints = (
            models.UniqueConstraint(
                fields=["municipality_code", "version"], name="townkey_version_is_unique"
            ),
            models.CheckConstraint(
                condition=models.Q(wrapped_key__isnull=False, destroyed_at__isnull=True)
                | models.Q(wrapped_key__isnull=True, destroyed_at__isnull=False),
                name="townkey_is_there_or_destroyed",
            ),
        )

    def __str__(self) -> str:
        return f"{self.municipality_code} v{self.version}"


class DataKey(models.Model):
    """A data key of one municipality and purpose, wrapped by the municipality's key (D13)."""

    municipality_code = TenantField()
    purpose = models.CharField(max_length=24, verbose_name="用途")
    version = models.PositiveIntegerField(verbose_name="版")
    town_key_version = models.PositiveIntegerField(verbose_name="団体鍵の版")
    wrapped_key = models.BinaryField(null=True, verbose_name="包んだ鍵")
    created_at = models.DateTimeField(verbose_name="作成日時")
    destroyed_at = models.DateTimeField(null=True, verbose_name="破棄日時")

    class Meta:
        verbose_name = "データ鍵"
        constraints = (
            models.CheckConstraint(
                condition=models.Q(wrapped_key__isnull=False, destroyed_at__isnull=True)
                | models.Q(wrapped_key__isnull=True, destroyed_at__isnull=False),
                name="datakey_is_there_or_destroyed",
            ),
            models.UniqueConstraint(
                fields=["municipality_code", "purpose", "version"],
                name="datakey_version_is_unique",
            ),
        )

    def __str__(self) -> str:
        return f"{self.municipality_code} {self.purpose} v{self.version}"


class KeyEscrow(models.Model):
    """That a town key was given into escrow, m of n (D13): never the package itself.

    Packages lie outside the database (files with the agency and the custodians): database backups
    must not hold what opens them. `package_sha256` says which package is meant.
    """

    municipality_code = TenantField()
    town_key_version = models.PositiveIntegerField(verbose_name="団体鍵の版")
    threshold = models.PositiveSmallIntegerField(verbose_name="必要な人数")
    custodians = models.JSONField(verbose_name="保管者の公開鍵")
    package_sha256 = models.CharField(max_length=64, verbose_name="預託物のハッシュ値")
    created_at = models.DateTimeField(verbose_name="作成日時")
    created_by = models.CharField(max_length=128, verbose_name="作成者")
    destroyed_at = models.DateTimeField(null=True, verbose_name="破棄日時")

    class Meta:
        verbose_name = "鍵の預託"
        constraints = (
            models.UniqueConstraint(
                fields=["municipality_code", "package_sha256"], name="keyescrow_package_once"
            ),
        )

    def __str__(self) -> str:
        return f"{self.municipality_code} v{self.town_key_version}"


class AuditEntry(models.Model):
    """Who did what in a municipality, written in the act's own transaction; never changed."""

    municipality_code = TenantField()
    act = models.CharField(max_length=64, verbose_name="操作")
    actor_kind = models.CharField(max_length=16, verbose_name="操作者の種類")
    actor_id = models.CharField(max_length=128, verbose_name="操作者")
    at = models.DateTimeField(verbose_name="日時")
    subject_digest = models.BinaryField(null=True, verbose_name="対象者の照合値")
    detail = models.JSONField(default=dict, verbose_name="内容（番号と件数だけ）")

    class Meta:
        verbose_name = "監査記録"
        indexes = (
            models.Index(fields=["municipality_code", "at"], name="auditentry_town_at_idx"),
            models.Index(
                fields=["municipality_code", "subject_digest", "at"],
                name="auditentry_subject_idx",
            ),
        )

    def __str__(self) -> str:
        return f"{self.municipality_code} {self.act} {self.at:%Y-%m-%dT%H:%M:%S%z}"


class AgencyAuditEntry(models.Model):
    """Who did what at the agency, for acts that concern no single municipality."""

    act = models.CharField(max_length=64, verbose_name="操作")
    actor_kind = models.CharField(max_length=16, verbose_name="操作者の種類")
    actor_id = models.CharField(max_length=128, verbose_name="操作者")
    at = models.DateTimeField(verbose_name="日時")
    detail = models.JSONField(default=dict, verbose_name="内容（番号と件数だけ）")

    class Meta:
        verbose_name = "機構の監査記録"

    def __str__(self) -> str:
        return f"{self.act} {self.at:%Y-%m-%dT%H:%M:%S%z}"


class JobKey(models.Model):
    """An effect that was queued once: the same key never queues it again."""

    municipality_code = TenantField()
    task_name = models.CharField(max_length=128, verbose_name="仕事の名前")
    idempotency_key = models.CharField(max_length=200, verbose_name="重複防止の鍵")
    job_id = models.BigIntegerField(null=True, verbose_name="仕事の番号")
    created_at = models.DateTimeField(verbose_name="作成日時")

    class Meta:
        verbose_name = "仕事の重複防止"
        constraints = (
            models.UniqueConstraint(
                fields=["municipality_code", "task_name", "idempotency_key"],
                name="jobkey_effect_is_queued_once",
            ),
        )

    def __str__(self) -> str:
        return f"{self.municipality_code} {self.task_name} {self.job_id}"
