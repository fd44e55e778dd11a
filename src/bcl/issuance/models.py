"""Tables of issuing. Nothing here holds a name, an address or a number in clear.

Keys of persons, households and cards are blind digests under the town's own keys; content is
sealed, bound to its row. PDFs are never stored (R-080).
"""

from __future__ import annotations

from typing import ClassVar

from django.db import models

from bcl.foundation.fields import TenantField
from bcl.issuance.rules import TransactionState


class IssuableRecord(models.Model):
    """One row of the linkage data that issuing may read (証明発行DB): a projection of the feed.

    `content` is the sealed JSON of the columns issuing subscribes to; `load_number` the version.
    The rows can be dropped and built again at any time; nobody edits them (R-044).
    """

    municipality_code = TenantField()
    file_id = models.CharField("ファイル", max_length=4)
    record_key = models.BinaryField("記録の鍵")
    person_key = models.BinaryField("個人の鍵", null=True)
    household_key = models.BinaryField("世帯の鍵", null=True)
    lookup_key = models.BinaryField("検索の鍵", null=True)
    load_number = models.BigIntegerField("反映番号")
    content = models.BinaryField("内容（暗号）")

    class Meta:
        verbose_name = "証明発行DBの記録"
        constraints: ClassVar = [
            models.UniqueConstraint(
                # A card linked to two persons comes as two rows under one key (decision D8).
                fields=["municipality_code", "file_id", "record_key", "person_key"],
                name="issuable_record_is_unique",
            )
        ]
        indexes: ClassVar = [
            models.Index(
                fields=["municipality_code", "person_key"], name="issuable_record_person_idx"
            ),
            models.Index(
                fields=["municipality_code", "household_key"], name="issuable_record_house_idx"
            ),
            models.Index(
                fields=["municipality_code", "lookup_key"], name="issuable_record_lookup_idx"
            ),
        ]

    def __str__(self) -> str:
        return f"IssuableRecord({self.file_id}, load {self.load_number})"


class ProjectionPosition(models.Model):
    """How far the issuable records of a town follow the feed."""

    municipality_code = TenantField(unique=True)
    load_number = models.BigIntegerField("反映番号", default=0)
    refreshed_at = models.DateTimeField("反映日時", null=True)

    class Meta:
        verbose_name = "証明発行DBの反映位置"

    def __str__(self) -> str:
        return f"ProjectionPosition({self.municipality_code}, load {self.load_number})"


class IssuanceTransaction(models.Model):
    """One request of the delivery center and what became of it (取引情報, R-055).

    `subject` is sealed JSON (who asked, who was chosen); `reason` the sealed inner refusal code,
    padded to one length. `card_key` is the blind key of the user-authentication certificate.
    """

    municipality_code = TenantField()
    transaction_number = models.CharField("取引番号", max_length=26)
    request_hash = models.CharField("要求のハッシュ値", max_length=64)
    state = models.CharField(
        "状態", max_length=16, choices=[(state.value, state.value) for state in TransactionState]
    )
    certificate_kind = models.CharField("証明書の種類", max_length=64)
    scope = models.CharField("範囲", max_length=16)
    shown = models.JSONField("記載を選んだ項目", default=list)
    copies = models.PositiveSmallIntegerField("通数")
    kiosk = models.CharField("端末", max_length=130)
    card_key = models.BinaryField("電子証明書の鍵")
    subject = models.BinaryField("対象（暗号）", null=True)
    reason = models.BinaryField("断った理由（暗号）", null=True)
    refusal_code = models.CharField("回答した理由", max_length=64, blank=True)
    issue_number = models.CharField("発行番号", max_length=40, null=True)
    issued_on = models.DateField("交付年月日", null=True)
    record_load = models.BigIntegerField("記録の版", null=True)
    data_as_of = models.DateTimeField("データの基準日時", null=True)
    layout_version = models.CharField("様式の版", max_length=80, blank=True)
    pdf_sha256 = models.CharField("証明書のハッシュ値", max_length=64, blank=True)
    page_count = models.PositiveSmallIntegerField("頁数", null=True)
    fee_yen = models.PositiveIntegerField("手数料", null=True)
    requested_at = models.DateTimeField("要求日時")
    received_at = models.DateTimeField("受付日時")
    deadline_at = models.DateTimeField("期限")
    issued_at = models.DateTimeField("発行日時", null=True)
    sent_at = models.DateTimeField("送信日時", null=True)
    ended_at = models.DateTimeField("終了日時", null=True)
    delivery_status = models.CharField("交付結果", max_length=16, blank=True)
    printed_copies = models.PositiveSmallIntegerField("印刷通数", null=True)
    paid_yen = models.PositiveIntegerField("収納額", null=True)

    class Meta:
        verbose_name = "取引情報"
        constraints: ClassVar = [
            models.UniqueConstraint(
                fields=["municipality_code", "transaction_number"],
                name="issuance_transaction_number_is_unique",
            ),
            models.UniqueConstraint(
                fields=["municipality_code", "issue_number"], name="issue_number_is_unique"
            ),
            # A paper without its digest on record could never be told from another one.
            models.CheckConstraint(
                name="issued_transaction_names_its_paper",
                condition=~models.Q(state__in=["ISSUED", "SENT", "DELIVERED", "UNCONFIRMED"])
                | (
                    models.Q(issue_number__isnull=False)
                    & ~models.Q(pdf_sha256="")
                    & models.Q(record_load__isnull=False)
                    & models.Q(issued_at__isnull=False)
                ),
            ),
        ]
        indexes: ClassVar = [
            models.Index(
                fields=["municipality_code", "state", "deadline_at"],
                name="issuance_transaction_state_idx",
            )
        ]

    def __str__(self) -> str:
        return f"IssuanceTransaction({self.transaction_number}, {self.state})"


class Inquiry(models.Model):
    """What one transaction was offered: the random references of household members.

    The references mean something inside this transaction and for this card only, so no number of
    the register ever leaves BCL.
    """

    municipality_code = TenantField()
    transaction_number = models.CharField("取引番号", max_length=26)
    card_key = models.BinaryField("電子証明書の鍵")
    members = models.BinaryField("世帯員の参照（暗号）")
    asked_at = models.DateTimeField("照会日時")

    class Meta:
        verbose_name = "照会"
        constraints: ClassVar = [
            models.UniqueConstraint(
                fields=["municipality_code", "transaction_number"],
                name="inquiry_of_a_transaction_is_unique",
            )
        ]

    def __str__(self) -> str:
        return f"Inquiry({self.transaction_number})"


class SeenMessage(models.Model):
    """A message id of the delivery center that was accepted once (no replay)."""

    municipality_code = TenantField()
    message_id = models.CharField("電文番号", max_length=26)
    seen_at = models.DateTimeField("受付日時")

    class Meta:
        verbose_name = "受け付けた電文"
        constraints: ClassVar = [
            models.UniqueConstraint(
                fields=["municipality_code", "message_id"], name="message_is_accepted_once"
            )
        ]

    def __str__(self) -> str:
        return f"SeenMessage({self.message_id})"


class IssuanceBlock(models.Model):
    """A stop on issuing one kind, or every kind, set by staff (発行禁止設定, R-054).

    Stands in its own table: re-loading the town's data never touches it (decision D23).
    """

    municipality_code = TenantField()
    scope = models.CharField("対象", max_length=1)
    person_key = models.BinaryField("個人の鍵", null=True)
    household_key = models.BinaryField("世帯の鍵", null=True)
    certificate_kind = models.CharField("証明書の種類", max_length=64, blank=True)
    reason = models.CharField("事由", max_length=40)
    starts_at = models.DateTimeField("開始日時")
    ends_at = models.DateTimeField("終了日時", null=True)
    placed_at = models.DateTimeField("設定日時")
    placed_by = models.CharField("設定者", max_length=128)
    lifted_at = models.DateTimeField("解除日時", null=True)
    lifted_by = models.CharField("解除者", max_length=128, blank=True)

    class Meta:
        verbose_name = "発行禁止設定"
        constraints: ClassVar = [
            models.CheckConstraint(
                name="issuance_block_ends_after_start",
                condition=models.Q(ends_at__isnull=True)
                | models.Q(ends_at__gt=models.F("starts_at")),
            ),
            # Half a signature is worse than none: a block that nobody lifted would look lifted.
            models.CheckConstraint(
                name="issuance_block_is_lifted_by_somebody",
                condition=(models.Q(lifted_at__isnull=True) & models.Q(lifted_by=""))
                | (models.Q(lifted_at__isnull=False) & ~models.Q(lifted_by="")),
            ),
            models.CheckConstraint(
                name="issuance_block_names_what_it_stops",
                condition=models.Q(scope="5", person_key=None, household_key=None)
                | models.Q(scope="1", person_key__isnull=False, household_key=None)
                | models.Q(scope="2", household_key__isnull=False, person_key=None),
            ),
        ]
        indexes: ClassVar = [
            models.Index(
                fields=["municipality_code", "person_key"], name="issuance_block_person_idx"
            ),
            models.Index(
                fields=["municipality_code", "household_key"], name="issuance_block_house_idx"
            ),
        ]

    def __str__(self) -> str:
        return f"IssuanceBlock({self.pk}, scope {self.scope})"


class OfficialSeal(models.Model):
    """The picture of the mayor's seal with the days it is valid (電子公印, R-081)."""

    municipality_code = TenantField()
    valid_from_on = models.DateField("使用開始日")
    valid_until_on = models.DateField("使用終了日（この日から使わない）", null=True)
    side_mm = models.DecimalField("一辺の長さ（mm）", max_digits=4, decimal_places=1)
    sha256 = models.CharField("ハッシュ値", max_length=64)
    image = models.BinaryField("印影（暗号）")
    registered_at = models.DateTimeField("登録日時")
    registered_by = models.CharField("登録者", max_length=128)

    class Meta:
        verbose_name = "電子公印"
        constraints: ClassVar = [
            models.UniqueConstraint(
                fields=["municipality_code", "valid_from_on"],
                name="one_official_seal_begins_on_a_day",
            )
        ]

    def __str__(self) -> str:
        return f"OfficialSeal(from {self.valid_from_on})"
