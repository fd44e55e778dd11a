"""Tables of the municipality directory and of the parties that may speak for one."""

from __future__ import annotations

from django.db import models

from bcl.foundation.fields import TenantField

_PARTY_STATES = ["REGISTERED", "REVOKED"]


def _revoked_together(name: str) -> models.CheckConstraint:
    return models.CheckConstraint(
        condition=models.Q(status="REGISTERED", revoked_at__isnull=True)
        | models.Q(status="REVOKED", revoked_at__isnull=False),
        name=name,
    )


class Municipality(models.Model):
    """A municipality that BCL serves (agency scope, no personal data but the mayor's name)."""

    municipality_code = models.CharField(max_length=6, primary_key=True, verbose_name="団体コード")
    name_ja = models.CharField(max_length=64, verbose_name="団体名")
    head_title_ja = models.CharField(max_length=16, verbose_name="長の職名")
    mayor_name_ja = models.CharField(max_length=64, verbose_name="長の氏名")
    registered_at = models.DateTimeField(verbose_name="登録日時")

    class Meta:
        verbose_name = "団体"
        constraints = (
            models.CheckConstraint(
                condition=models.Q(municipality_code__regex=r"^[0-9]{6}$"),
                name="municipality_code_has_six_digits",
            ),
        )

    def __str__(self) -> str:
        return self.municipality_code


class MunicipalitySetting(models.Model):
    """A setting of one municipality, in force from a moment until the next row of its name."""

    municipality_code = TenantField()
    name = models.CharField(max_length=64, verbose_name="設定名")
    effective_from = models.DateTimeField(verbose_name="適用開始日時")
    value = models.JSONField(verbose_name="値")
    set_by = models.CharField(max_length=128, verbose_name="設定者")
    set_at = models.DateTimeField(verbose_name="設定日時")

    class Meta:
        verbose_name = "団体の設定"
        constraints = (
            models.UniqueConstraint(
                fields=["municipality_code", "name", "effective_from"],
                name="municipalitysetting_one_value_from_a_moment",
            ),
        )

    def __str__(self) -> str:
        return f"{self.municipality_code} {self.name}"


class ProfilePeriod(models.Model):
    """One period in which a municipality used its data for one profile (a, b or c; R-011)."""

    municipality_code = TenantField()
    profile = models.CharField(max_length=1, verbose_name="データ利用区分")
    enabled_at = models.DateTimeField(verbose_name="開始日時")
    enabled_by = models.CharField(max_length=128, verbose_name="開始した人")
    disabled_at = models.DateTimeField(null=True, verbose_name="終了日時")
    disabled_by = models.CharField(max_length=128, blank=True, verbose_name="終了した人")

    class Meta:
        verbose_name = "データの利用期間"
        constraints = (
            models.UniqueConstraint(
                fields=["municipality_code", "profile"],
                condition=models.Q(disabled_at__isnull=True),
                name="profileperiod_open_once",
            ),
            models.CheckConstraint(
                condition=models.Q(profile__in=["a", "b", "c"]),
                name="profileperiod_profile_is_known",
            ),
        )

    def __str__(self) -> str:
        return f"{self.municipality_code} {self.profile}"


class Gateway(models.Model):
    """A town hall's linkage gateway: its TLS certificate and its signing key.

    Found by certificate before the town is known, hence agency scope. Rows are revoked, never
    removed: old transmissions stay checkable.
    """

    gateway_id = models.CharField(max_length=32, primary_key=True, verbose_name="連携装置番号")
    municipality = models.ForeignKey(
        Municipality,
        on_delete=models.PROTECT,
        db_column="municipality_code",
        verbose_name="団体コード",
    )
    cert_fingerprint = models.CharField(
        max_length=64, unique=True, verbose_name="証明書の指紋（SHA-256）"
    )
    signing_public_key = models.BinaryField(verbose_name="署名検証鍵（Ed25519）")
    status = models.CharField(max_length=16, default="REGISTERED", verbose_name="状態")
    registered_at = models.DateTimeField(verbose_name="登録日時")
    revoked_at = models.DateTimeField(null=True, verbose_name="失効日時")

    class Meta:
        verbose_name = "連携装置"
        constraints = (
            models.CheckConstraint(
                condition=models.Q(status__in=_PARTY_STATES), name="gateway_status_is_known"
            ),
            _revoked_together("gateway_revoked_with_its_time"),
        )

    def __str__(self) -> str:
        return self.gateway_id


class DeliveryCenter(models.Model):
    """The certificate delivery center as a party of the agency: TLS certificate, signing key."""

    center_id = models.CharField(max_length=32, primary_key=True, verbose_name="センター番号")
    cert_fingerprint = models.CharField(
        max_length=64, unique=True, verbose_name="証明書の指紋（SHA-256）"
    )
    signing_public_key = models.BinaryField(verbose_name="署名検証鍵（Ed25519）")
    status = models.CharField(max_length=16, default="REGISTERED", verbose_name="状態")
    registered_at = models.DateTimeField(verbose_name="登録日時")
    revoked_at = models.DateTimeField(null=True, verbose_name="失効日時")

    class Meta:
        verbose_name = "証明書交付センター"
        constraints = (
            models.CheckConstraint(
                condition=models.Q(status__in=_PARTY_STATES),
                name="deliverycenter_status_is_known",
            ),
            _revoked_together("deliverycenter_revoked_with_its_time"),
        )

    def __str__(self) -> str:
        return self.center_id


class Subscriber(models.Model):
    """A system that may subscribe to towns' data: known by its TLS certificate (R-029).

    Found by certificate before any town is known, hence agency scope. What it may have of which
    town stands in that town's subscriptions.
    """

    subscriber_id = models.CharField(max_length=32, primary_key=True, verbose_name="配り先番号")
    name_ja = models.CharField(max_length=64, verbose_name="システム名")
    cert_fingerprint = models.CharField(
        max_length=64, unique=True, verbose_name="証明書の指紋（SHA-256）"
    )
    status = models.CharField(max_length=16, default="REGISTERED", verbose_name="状態")
    registered_at = models.DateTimeField(verbose_name="登録日時")
    revoked_at = models.DateTimeField(null=True, verbose_name="失効日時")

    class Meta:
        verbose_name = "配り先のシステム"
        constraints = (
            models.CheckConstraint(
                condition=models.Q(status__in=_PARTY_STATES), name="subscriber_status_is_known"
            ),
            _revoked_together("subscriber_revoked_with_its_time"),
        )

    def __str__(self) -> str:
        return self.subscriber_id


class StaffMember(models.Model):
    """A member of staff who may act on the command line with a signing key (D31)."""

    municipality_code = TenantField()
    staff_id = models.CharField(max_length=64, verbose_name="職員番号")
    signing_public_key = models.BinaryField(verbose_name="署名検証鍵（Ed25519）")
    status = models.CharField(max_length=16, default="REGISTERED", verbose_name="状態")
    registered_at = models.DateTimeField(verbose_name="登録日時")
    revoked_at = models.DateTimeField(null=True, verbose_name="失効日時")

    class Meta:
        verbose_name = "職員"
        constraints = (
            models.UniqueConstraint(
                fields=["municipality_code", "staff_id"], name="staffmember_id_is_unique"
            ),
            models.CheckConstraint(
                condition=models.Q(status__in=_PARTY_STATES), name="staffmember_status_is_known"
            ),
            _revoked_together("staffmember_revoked_with_its_time"),
        )

    def __str__(self) -> str:
        return f"{self.municipality_code} {self.staff_id}"


class RecoveryReceiver(models.Model):
    """Who may open a municipality's recovery packages: an age public key."""

    municipality_code = TenantField()
    receiver_id = models.CharField(max_length=64, verbose_name="受領者番号")
    age_public_key = models.CharField(max_length=128, verbose_name="受領者の公開鍵")
    status = models.CharField(max_length=16, default="REGISTERED", verbose_name="状態")
    registered_at = models.DateTimeField(verbose_name="登録日時")
    revoked_at = models.DateTimeField(null=True, verbose_name="失効日時")

    class Meta:
        verbose_name = "リカバリデータの受領者"
        constraints = (
            models.UniqueConstraint(
                fields=["municipality_code", "receiver_id"],
                name="recoveryreceiver_id_is_unique",
            ),
            models.CheckConstraint(
                condition=models.Q(status__in=_PARTY_STATES),
                name="recoveryreceiver_status_is_known",
            ),
            _revoked_together("recoveryreceiver_revoked_with_its_time"),
        )

    def __str__(self) -> str:
        return f"{self.municipality_code} {self.receiver_id}"


class Notice(models.Model):
    """Something a municipality or its operator should know of: open until it is over.

    `mark` tells notices of one code apart (a lane, a version, a deadline). Told once: the same
    code and mark is one open notice however often it is found again. `detail` holds ids, codes,
    counts and times only, never a value of a register.
    """

    municipality_code = TenantField()
    kind = models.CharField(max_length=16, verbose_name="種類")
    code = models.CharField(max_length=60, verbose_name="理由コード")
    mark = models.CharField(max_length=80, blank=True, default="", verbose_name="区別")
    detail = models.JSONField(default=dict, verbose_name="内訳")
    opened_at = models.DateTimeField(verbose_name="発生日時")
    closed_at = models.DateTimeField(null=True, verbose_name="解消日時")

    class Meta:
        verbose_name = "お知らせ"
        constraints = (
            models.UniqueConstraint(
                fields=["municipality_code", "code", "mark"],
                condition=models.Q(closed_at__isnull=True),
                name="notice_open_once",
            ),
            models.CheckConstraint(
                condition=models.Q(kind__in=["ALARM", "REMINDER"]), name="notice_kind_is_known"
            ),
        )

    def __str__(self) -> str:
        return f"{self.municipality_code} {self.code} {self.mark}"
