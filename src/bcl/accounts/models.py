"""Tables of staff accounts. Names of staff and secrets lie sealed; passwords as Argon2 hashes."""

from __future__ import annotations

import uuid

from django.db import models

from bcl.accounts.rules import Role, TerminalClass
from bcl.foundation.fields import TenantField


class AccountStatus(models.TextChoices):
    """INVITED until password and second factor are set; LOCKED can return, CLOSED can't."""

    INVITED = "INVITED", "登録待ち"
    ACTIVE = "ACTIVE", "有効"
    LOCKED = "LOCKED", "停止中"
    CLOSED = "CLOSED", "廃止"


class Terminal(models.Model):
    """A registered administration terminal, found by its TLS certificate (R-061).

    Looked up before anybody is known, hence outside row level security; holds no personal data.
    """

    terminal_id = models.CharField(max_length=32, primary_key=True, verbose_name="端末番号")
    owner_code = models.CharField(max_length=6, verbose_name="団体コード（機構は000000）")
    name_ja = models.CharField(max_length=64, verbose_name="端末名")
    terminal_class = models.CharField(
        max_length=24, choices=[(one.value, one.value) for one in TerminalClass]
    )
    # A terminal registered by a signing request has only the key until its certificate comes.
    cert_fingerprint = models.CharField(
        max_length=64, unique=True, null=True, verbose_name="証明書の指紋（SHA-256）"
    )
    key_fingerprint = models.CharField(
        max_length=64, unique=True, null=True, verbose_name="公開鍵の指紋（SHA-256）"
    )
    place_ja = models.CharField(max_length=64, default="", verbose_name="設置場所")
    valid_until_on = models.DateField(null=True, verbose_name="有効期限")
    last_seen_at = models.DateTimeField(null=True, verbose_name="最後に使った日時")
    registered_at = models.DateTimeField(verbose_name="登録日時")
    revoked_at = models.DateTimeField(null=True, verbose_name="失効日時")

    class Meta:
        verbose_name = "管理端末"

    def __str__(self) -> str:
        return self.terminal_id


class StaffAccount(models.Model):
    """One person who may sign in. `epoch` rises whenever all sessions must end."""

    id = models.UUIDField(primary_key=True, default=uuid.uuid4)
    municipality_code = TenantField()
    login_name = models.CharField(max_length=64, verbose_name="職員番号")
    sealed_name = models.BinaryField(verbose_name="氏名（暗号化）")
    status = models.CharField(
        max_length=16, choices=AccountStatus.choices, default=AccountStatus.INVITED
    )
    status_reason = models.CharField(max_length=64, default="", verbose_name="状態の理由")
    password_hash = models.CharField(max_length=256, default="", verbose_name="パスワード")
    enrolment_digest = models.BinaryField(null=True, verbose_name="登録コードの要約")
    enrolment_until = models.DateTimeField(null=True, verbose_name="登録コードの期限")
    sealed_totp_secret = models.BinaryField(null=True, verbose_name="確認コードの鍵（暗号化）")
    totp_confirmed_at = models.DateTimeField(null=True, verbose_name="確認コードの登録日時")
    totp_last_step = models.BigIntegerField(default=0, verbose_name="最後に使った確認コード")
    epoch = models.IntegerField(default=1, verbose_name="世代")
    revision = models.IntegerField(default=1, verbose_name="変更の回数")
    valid_until_on = models.DateField(null=True, verbose_name="有効期限")
    created_at = models.DateTimeField(verbose_name="作成日時")
    created_by = models.CharField(max_length=128, verbose_name="作成者")
    last_sign_in_at = models.DateTimeField(null=True, verbose_name="最終サインイン")
    reviewed_at = models.DateTimeField(null=True, verbose_name="棚卸し日時")
    reviewed_by = models.CharField(max_length=128, default="", verbose_name="棚卸しした人")
    looks_since = models.DateTimeField(null=True, verbose_name="参照を数え始めた日時")
    looks_persons = models.IntegerField(default=0, verbose_name="その後に表示した人数")
    looks_slowed_at = models.DateTimeField(null=True, verbose_name="参照を待たせた日時")

    class Meta:
        verbose_name = "職員アカウント"
        constraints = (
            models.UniqueConstraint(
                fields=["municipality_code", "login_name"], name="staffaccount_login_is_unique"
            ),
            models.CheckConstraint(
                condition=models.Q(status__in=AccountStatus.values),
                name="staffaccount_status_is_known",
            ),
            models.CheckConstraint(
                condition=~models.Q(status="ACTIVE")
                | (~models.Q(password_hash="") & models.Q(totp_confirmed_at__isnull=False)),
                name="staffaccount_active_has_two_factors",
            ),
        )

    def __str__(self) -> str:
        return f"{self.municipality_code} {self.login_name}"


class RoleGrant(models.Model):
    """A role that an account holds from a moment until it is withdrawn."""

    municipality_code = TenantField()
    account = models.ForeignKey(StaffAccount, on_delete=models.PROTECT, related_name="grants")
    role = models.CharField(max_length=32, choices=[(one.value, one.value) for one in Role])
    granted_at = models.DateTimeField(verbose_name="付与日時")
    granted_by = models.CharField(max_length=128, verbose_name="付与者")
    withdrawn_at = models.DateTimeField(null=True, verbose_name="取消日時")
    withdrawn_by = models.CharField(max_length=128, default="", verbose_name="取消者")

    class Meta:
        verbose_name = "役割"
        constraints = (
            models.UniqueConstraint(
                fields=["municipality_code", "account", "role"],
                condition=models.Q(withdrawn_at__isnull=True),
                name="rolegrant_held_once",
            ),
        )

    def __str__(self) -> str:
        return f"{self.municipality_code} {self.role}"


class StaffSession(models.Model):
    """One sign-in at one terminal. The cookie's secret is kept as a digest only."""

    token_digest = models.BinaryField(primary_key=True, max_length=32)
    municipality_code = TenantField()
    account = models.ForeignKey(StaffAccount, on_delete=models.PROTECT, related_name="sessions")
    account_epoch = models.IntegerField(verbose_name="世代")
    terminal_id = models.CharField(max_length=32, verbose_name="端末番号")
    began_at = models.DateTimeField(verbose_name="開始日時")
    last_seen_at = models.DateTimeField(verbose_name="最終操作日時")
    second_factor_at = models.DateTimeField(null=True, verbose_name="二要素の確認日時")
    # What a passkey has to answer: good once, for this session and this purpose only.
    challenge = models.BinaryField(null=True, verbose_name="パスキーへの問い")
    challenge_for = models.CharField(max_length=8, default="", verbose_name="問いの用途")
    challenge_until = models.DateTimeField(null=True, verbose_name="問いの期限")
    ended_at = models.DateTimeField(null=True, verbose_name="終了日時")
    end_reason = models.CharField(max_length=32, default="", verbose_name="終了の理由")

    class Meta:
        verbose_name = "サインイン"

    def __str__(self) -> str:
        return f"{self.municipality_code} {self.terminal_id}"


class SignInFailure(models.Model):
    """A failed attempt, for throttling and for the audit screen. Names nobody that isn't staff:
    an unknown login name is kept as a keyed digest like a known one."""

    municipality_code = TenantField()
    login_digest = models.BinaryField(verbose_name="職員番号の要約")
    terminal_id = models.CharField(max_length=32, verbose_name="端末番号")
    factor = models.CharField(max_length=16, verbose_name="要素")
    at = models.DateTimeField(verbose_name="日時")

    class Meta:
        verbose_name = "サインインの失敗"
        indexes = (
            models.Index(
                fields=["municipality_code", "terminal_id", "at"], name="failure_by_place"
            ),
        )

    def __str__(self) -> str:
        return f"{self.municipality_code} {self.terminal_id}"


class Passkey(models.Model):
    """A WebAuthn key of one person, good only at the origin where it was made."""

    id = models.UUIDField(primary_key=True, default=uuid.uuid4)
    municipality_code = TenantField()
    account = models.ForeignKey(StaffAccount, on_delete=models.PROTECT, related_name="passkeys")
    credential_id = models.BinaryField(max_length=1023, verbose_name="鍵の番号")
    public_key = models.BinaryField(verbose_name="公開鍵（COSE）")
    sign_count = models.BigIntegerField(verbose_name="使った回数")
    origin = models.CharField(max_length=255, verbose_name="作った場所（オリジン）")
    sealed_label = models.BinaryField(verbose_name="呼び名（暗号化）")
    added_at = models.DateTimeField(verbose_name="登録日時")
    last_used_at = models.DateTimeField(null=True, verbose_name="最後に使った日時")
    removed_at = models.DateTimeField(null=True, verbose_name="削除日時")
    removed_reason = models.CharField(max_length=16, default="", verbose_name="削除の理由")

    class Meta:
        verbose_name = "パスキー"
        constraints = (
            models.UniqueConstraint(
                fields=["municipality_code", "credential_id"], name="passkey_is_one_persons"
            ),
        )

    def __str__(self) -> str:
        return f"{self.municipality_code} {self.id}"


class Elevation(models.Model):
    """特権ID: rights beyond the everyday ones, asked for under a ticket, agreed to by a second
    person, for some minutes (S4)."""

    id = models.UUIDField(primary_key=True, default=uuid.uuid4)
    municipality_code = TenantField()
    account = models.ForeignKey(StaffAccount, on_delete=models.PROTECT, related_name="elevations")
    ticket = models.CharField(max_length=32, verbose_name="作業の番号")
    sealed_reason = models.BinaryField(verbose_name="理由（暗号化）")
    minutes = models.IntegerField(verbose_name="長さ（分）")
    asked_at = models.DateTimeField(verbose_name="申請日時")
    decided_at = models.DateTimeField(null=True, verbose_name="承認・却下の日時")
    decided_by = models.CharField(max_length=64, default="", verbose_name="承認・却下した人")
    ends_at = models.DateTimeField(null=True, verbose_name="終わる日時")
    ended_at = models.DateTimeField(null=True, verbose_name="終えた日時")
    ended_by = models.CharField(max_length=128, default="", verbose_name="終えた人")

    class Meta:
        verbose_name = "特権"
        constraints = (
            models.CheckConstraint(
                condition=models.Q(ends_at__isnull=True)
                | (models.Q(decided_at__isnull=False) & ~models.Q(decided_by="")),
                name="elevation_needs_a_second_person",
            ),
        )
        indexes = (
            models.Index(fields=["municipality_code", "account", "ends_at"], name="elevation_now"),
        )

    def __str__(self) -> str:
        return f"{self.municipality_code} {self.ticket}"
