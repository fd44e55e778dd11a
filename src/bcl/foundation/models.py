"""Tables of the foundation: what the cluster is for, keys, audit, job keys."""

from __future__ import annotations

from django.db import models

from bcl.foundation.audit_models import AuditHead, AuditLeaf, AuditPending
from bcl.foundation.fields import TenantField

__all__ = [
    "AgencyAuditEntry", "AgencySigningKey", "AuditEntry", "AuditHead", "AuditLeaf", "AuditPending",
    "ClusterInfo", "DataKey", "DeletionCertificate", "JobKey", "KeyEscrow", "KeyRotation",
    "TownErasure", "TownKey",
]  # fmt: skip


class ClusterInfo(models.Model):
    """One row that says what this database cluster is for (D31)."""

    id = models.SmallIntegerField(primary_key=True, default=1, verbose_name="番号")
    environment = models.CharField(max_length=16, verbose_name="環境")
    fencing_epoch = models.BigIntegerField(default=1, verbose_name="復元の世代")
    timeline = models.IntegerField(null=True, verbose_name="認めた時系列")
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
    row_tag = models.BinaryField(null=True, verbose_name="記録の認証値（団体の鍵による）")

    class Meta:
        verbose_name = "監査記録"
        indexes = (
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


class AgencySigningKey(models.Model):
    """The key the agency signs proofs with; the private half is wrapped by the provider."""

    key_id = models.CharField(max_length=64, unique=True, verbose_name="鍵番号")
    public_key = models.CharField(max_length=64, verbose_name="公開鍵（Ed25519、16進）")
    provider_key_id = models.CharField(max_length=64, verbose_name="上位鍵の番号")
    wrapped_private_key = models.BinaryField(verbose_name="包んだ秘密鍵")
    created_at = models.DateTimeField(verbose_name="作成日時")

    class Meta:
        verbose_name = "機構の署名鍵"

    def __str__(self) -> str:
        return self.key_id


class KeyRotation(models.Model):
    """A data key that was rotated, and how far the sealed data has followed.

    RUNNING: cells are sealed again, `position` is how far in `place`. SETTLING: none is left, but
    a transaction that began earlier may yet bring one. DONE: nothing needs an older version.
    """

    municipality_code = TenantField()
    purpose = models.CharField(max_length=24, verbose_name="用途")
    version = models.PositiveIntegerField(verbose_name="新しい版")
    state = models.CharField(max_length=12, default="RUNNING", verbose_name="状態")
    place = models.CharField(max_length=80, blank=True, default="", verbose_name="作業中の場所")
    position = models.CharField(max_length=80, blank=True, default="", verbose_name="作業中の位置")
    resealed = models.BigIntegerField(default=0, verbose_name="包み直した数")
    total = models.BigIntegerField(default=0, verbose_name="始めたときの数")
    started_at = models.DateTimeField(verbose_name="開始日時")
    started_by = models.CharField(max_length=128, verbose_name="開始した人")
    settles_from = models.DateTimeField(null=True, verbose_name="確認を始めた時刻（DBの時計）")
    finished_at = models.DateTimeField(null=True, verbose_name="終了日時")

    class Meta:
        verbose_name = "データ鍵の更新"
        constraints = (
            models.UniqueConstraint(
                fields=["municipality_code", "purpose", "version"],
                name="keyrotation_version_once",
            ),
            models.UniqueConstraint(
                fields=["municipality_code", "purpose"],
                condition=models.Q(state__in=["RUNNING", "SETTLING"]),
                name="keyrotation_one_at_a_time",
            ),
        )

    def __str__(self) -> str:
        return f"{self.municipality_code} {self.purpose} v{self.version} {self.state}"


class TownErasure(models.Model):
    """Crypto-erasure of a municipality that leaves: asked by one, approved by another (R-027)."""

    municipality_code = TenantField()
    state = models.CharField(max_length=16, verbose_name="状態")
    reason_code = models.CharField(max_length=32, verbose_name="理由")
    reference = models.CharField(max_length=64, verbose_name="文書番号")
    request_sha256 = models.CharField(max_length=64, verbose_name="申請の検査値")
    requested_at = models.DateTimeField(verbose_name="申請日時")
    requested_by = models.CharField(max_length=128, verbose_name="申請者")
    request_signature = models.CharField(max_length=128, verbose_name="申請の署名")
    approved_at = models.DateTimeField(null=True, verbose_name="承認日時")
    approved_by = models.CharField(max_length=128, blank=True, default="", verbose_name="承認者")
    approval_signature = models.CharField(
        max_length=128, blank=True, default="", verbose_name="承認の署名"
    )
    before = models.JSONField(default=dict, verbose_name="破棄する前の記録（要約値）")
    proof = models.JSONField(null=True, verbose_name="消去証明")
    erased_at = models.DateTimeField(null=True, verbose_name="消去日時")

    class Meta:
        verbose_name = "団体のデータの消去"
        constraints = (
            models.CheckConstraint(
                condition=models.Q(approved_by="")
                | ~models.Q(approved_by=models.F("requested_by")),
                name="townerasure_approved_by_a_second_person",
            ),
            models.CheckConstraint(
                condition=models.Q(state="REQUESTED", approved_at__isnull=True)
                | models.Q(state="WITHDRAWN")
                | (
                    models.Q(state__in=["APPROVED", "ERASED"], approved_at__isnull=False)
                    & ~models.Q(approved_by="")
                    & ~models.Q(approval_signature="")
                ),
                name="townerasure_needs_approval",
            ),
            models.UniqueConstraint(
                fields=["municipality_code", "request_signature"],
                name="townerasure_request_signed_once",
            ),
        )

    def __str__(self) -> str:
        return f"{self.municipality_code} {self.state}"


class DeletionCertificate(models.Model):
    """What one retention run deleted of one data class: a signed link of the town's chain."""

    municipality_code = TenantField()
    number = models.BigIntegerField(verbose_name="番号")
    data_class = models.CharField(max_length=64, verbose_name="データの区分")
    run_at = models.DateTimeField(verbose_name="実行日時")
    content = models.JSONField(verbose_name="証明の内容")
    sha256 = models.CharField(max_length=64, verbose_name="検査値")
    key_id = models.CharField(max_length=64, verbose_name="署名鍵の番号")
    signature = models.CharField(max_length=128, verbose_name="署名")

    class Meta:
        verbose_name = "削除証明"
        constraints = (
            models.UniqueConstraint(
                fields=["municipality_code", "number"], name="deletioncertificate_number_once"
            ),
        )

    def __str__(self) -> str:
        return f"{self.municipality_code} #{self.number} {self.data_class}"
