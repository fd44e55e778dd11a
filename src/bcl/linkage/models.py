"""Tables of the linkage intake: uploads on their way in, transmissions, their findings, lanes.

No table holds a resident's data: findings name file, line, column and rule, never a value.
"""

from __future__ import annotations

import uuid

from django.db import models
from django.db.models import F, Q

from bcl.foundation.fields import TenantField
from bcl.linkage.rules import TransmissionState

MAXIMUM_FINDINGS_KEPT = 1000


class UploadState(models.TextChoices):
    """Where an upload stands."""

    OPEN = "OPEN", "受信中"
    COMPLETE = "COMPLETE", "受信完了"
    TERMINATED = "TERMINATED", "送信側が取消し"
    EXPIRED = "EXPIRED", "期限切れ"


class Upload(models.Model):
    """A transmission on its way in (tus 1.0): bytes up to `offset` are on disk, sealed.

    `offset` moves only after the bytes before it were forced to the disk; bytes of the file
    behind `offset` were never acknowledged and are cut off by the next writer.
    """

    id = models.UUIDField(primary_key=True, default=uuid.uuid4, editable=False)
    municipality_code = TenantField()
    gateway_id = models.CharField(max_length=128)
    bundle_id = models.CharField(max_length=40)
    filename = models.CharField(max_length=255)
    length = models.BigIntegerField()
    offset = models.BigIntegerField(default=0)
    key_version = models.IntegerField()
    state = models.CharField(max_length=12, choices=UploadState.choices, default=UploadState.OPEN)
    created_at = models.DateTimeField()
    expires_at = models.DateTimeField()

    class Meta:
        verbose_name = "受信"
        constraints = (
            models.CheckConstraint(
                condition=Q(offset__gte=0) & Q(offset__lte=F("length")),
                name="linkage_upload_offset_within_length",
            ),
        )
        indexes = (
            models.Index(
                fields=["municipality_code", "state", "expires_at"],
                name="linkage_upload_expiry_idx",
            ),
        )

    def __str__(self) -> str:
        return f"upload {self.id} {self.offset}/{self.length} {self.state}"


class MalwareCheck(models.TextChoices):
    """Whether the files of a transmission were looked at by the malware engine (R-165)."""

    NOT_YET = "", "まだ"
    CLEAN = "CLEAN", "検査済み（検出なし）"
    FOUND = "FOUND", "検出"
    UNCHECKED = "UNCHECKED", "未検査（検査ソフトなし）"


class Transmission(models.Model):
    """One transmission (連携の送付一回) from the moment its last byte is on disk.

    Facts of the manifest (`lane` … `sender_system`) are null until it has been opened.
    `refusal_code` says why it is HELD or REJECTED. `counts` is a list with one object a file.
    """

    id = models.UUIDField(primary_key=True, default=uuid.uuid4, editable=False)
    municipality_code = TenantField()
    bundle_id = models.CharField(max_length=40)
    sha256 = models.CharField(max_length=64)
    bytes = models.BigIntegerField()
    upload_id = models.UUIDField()
    key_version = models.IntegerField()
    gateway_id = models.CharField(max_length=128)
    state = models.CharField(
        max_length=12, choices=[(state.value, state.value) for state in TransmissionState]
    )
    refusal_code = models.CharField(max_length=60, blank=True, default="")
    refusal_detail = models.JSONField(default=dict)
    lane = models.CharField(max_length=8, blank=True, default="")
    sequence = models.BigIntegerField(null=True)
    previous_sequence = models.BigIntegerField(null=True)
    mode = models.CharField(max_length=16, blank=True, default="")
    as_of = models.DateTimeField(null=True)
    interface_version = models.CharField(max_length=16, blank=True, default="")
    sender_system = models.CharField(max_length=200, blank=True, default="")
    counts = models.JSONField(default=list)
    findings_total = models.BigIntegerField(default=0)
    faults = models.IntegerField(default=0)
    malware_check = models.CharField(
        max_length=12, choices=MalwareCheck.choices, blank=True, default=MalwareCheck.NOT_YET
    )
    received_at = models.DateTimeField()
    opened_at = models.DateTimeField(null=True)
    landed_at = models.DateTimeField(null=True)
    load_number = models.BigIntegerField(null=True)
    release_asked_at = models.DateTimeField(null=True)
    release_asked_by = models.CharField(max_length=128, blank=True, default="")
    released_at = models.DateTimeField(null=True)
    released_by = models.CharField(max_length=128, blank=True, default="")
    confirmed_at = models.DateTimeField(null=True)
    confirmed_by = models.CharField(max_length=128, blank=True, default="")

    class Meta:
        verbose_name = "連携の送付一回"
        constraints = (
            models.UniqueConstraint(
                fields=["municipality_code", "bundle_id", "sha256"],
                name="linkage_transmission_received_once",
            ),
            models.UniqueConstraint(
                fields=["municipality_code", "lane", "sequence"],
                condition=Q(state="LANDED"),
                name="linkage_transmission_one_landed_per_number",
            ),
            models.CheckConstraint(
                condition=Q(state="LANDED", landed_at__isnull=False, load_number__isnull=False)
                | (~Q(state="LANDED") & Q(landed_at__isnull=True, load_number__isnull=True)),
                name="linkage_transmission_landed_has_time_and_load",
            ),
            models.CheckConstraint(
                condition=Q(state__in=["HELD", "REJECTED"]) ^ Q(refusal_code=""),
                name="linkage_transmission_held_or_rejected_says_why",
            ),
            # Half a signature is worse than none: who and when belong together.
            models.CheckConstraint(
                condition=Q(released_at__isnull=True) ^ ~Q(released_by=""),
                name="linkage_transmission_released_at_and_by",
            ),
            models.CheckConstraint(
                condition=Q(release_asked_at__isnull=True) ^ ~Q(release_asked_by=""),
                name="linkage_transmission_release_asked_at_and_by",
            ),
            models.CheckConstraint(
                condition=Q(confirmed_at__isnull=True) ^ ~Q(confirmed_by=""),
                name="linkage_transmission_confirmed_at_and_by",
            ),
        )
        indexes = (
            models.Index(
                fields=["municipality_code", "lane", "sequence"],
                name="linkage_transmission_lane_idx",
            ),
            models.Index(
                fields=["municipality_code", "state", "received_at"],
                name="linkage_transmission_state_idx",
            ),
        )

    def __str__(self) -> str:
        return f"transmission {self.bundle_id} {self.lane}#{self.sequence} {self.state}"


class TransmissionFinding(models.Model):
    """One finding of the validator, in the order found; at most `MAXIMUM_FINDINGS_KEPT` are kept.

    Holds the place and the rule, never the value (R-022).
    """

    municipality_code = TenantField()
    transmission = models.ForeignKey(
        Transmission, on_delete=models.CASCADE, related_name="findings"
    )
    position = models.IntegerField()
    file = models.CharField(max_length=120)
    line = models.BigIntegerField(null=True)
    column = models.CharField(max_length=120, blank=True, default="")
    rule = models.CharField(max_length=60)
    severity = models.CharField(max_length=12)
    code = models.CharField(max_length=60)

    class Meta:
        verbose_name = "連携データの指摘"
        constraints = (
            models.UniqueConstraint(
                fields=["municipality_code", "transmission", "position"],
                name="linkage_finding_one_per_position",
            ),
        )

    def __str__(self) -> str:
        return f"finding {self.file}:{self.line} {self.rule}"


class Lane(models.Model):
    """How far a lane of a municipality has landed. Its row is the lock of the lane."""

    municipality_code = TenantField()
    lane = models.CharField(max_length=8)
    last_sequence = models.BigIntegerField(default=0)
    last_as_of = models.DateTimeField(null=True)
    last_landed_at = models.DateTimeField(null=True)

    class Meta:
        verbose_name = "連携の系列"
        constraints = (
            models.UniqueConstraint(
                fields=["municipality_code", "lane"], name="linkage_lane_once_per_town"
            ),
        )

    def __str__(self) -> str:
        return f"lane {self.lane} at {self.last_sequence}"


class ReceiptKey(models.Model):
    """The key BCL signs receipts of one municipality with; the private half is sealed."""

    municipality_code = TenantField()
    key_id = models.CharField(max_length=64)
    public_key = models.CharField(max_length=64)
    sealed_private_key = models.BinaryField()
    created_at = models.DateTimeField()

    class Meta:
        verbose_name = "受領証の署名鍵"
        constraints = (
            models.UniqueConstraint(
                fields=["municipality_code", "key_id"], name="linkage_receipt_key_id_unique"
            ),
        )

    def __str__(self) -> str:
        return f"receipt key {self.key_id}"


class TransferKey(models.Model):
    """The age key packages of one municipality are encrypted to when an external tool carries
    them (R-014); the private half is sealed. Earlier keys stay usable for what is on its way."""

    municipality_code = TenantField()
    key_id = models.CharField(max_length=64)
    recipient = models.CharField(max_length=80)
    sealed_identity = models.BinaryField()
    created_at = models.DateTimeField()

    class Meta:
        verbose_name = "外部転送の受取鍵"
        constraints = (
            models.UniqueConstraint(
                fields=["municipality_code", "key_id"], name="linkage_transfer_key_id_unique"
            ),
        )

    def __str__(self) -> str:
        return f"transfer key {self.key_id}"


class FolderDelivery(models.Model):
    """A transmission that came through a drop folder: what has been answered into the folder.

    `answered` is a digest over the last answer's facts; `is_closed` when it was the final one.
    """

    municipality_code = TenantField()
    transmission = models.OneToOneField(
        Transmission, on_delete=models.CASCADE, related_name="folder_delivery"
    )
    answered = models.CharField(max_length=64, blank=True, default="")
    is_closed = models.BooleanField(default=False)

    class Meta:
        verbose_name = "外部転送による受領"

    def __str__(self) -> str:
        return f"folder delivery of {self.transmission_id}"


class GatewayContact(models.Model):
    """When a gateway of a municipality was last heard of (R-035).

    `asked_at`: it asked whether there is anything for it, which it does all day long; null for
    one that only ever sends. `seen_at`: any request at all.
    """

    municipality_code = TenantField()
    gateway_id = models.CharField(max_length=128)
    seen_at = models.DateTimeField()
    asked_at = models.DateTimeField(null=True)

    class Meta:
        verbose_name = "連携装置からの連絡"
        constraints = (
            models.UniqueConstraint(
                fields=["municipality_code", "gateway_id"], name="linkage_contact_once_per_gateway"
            ),
        )

    def __str__(self) -> str:
        return f"contact of {self.gateway_id}"


class ResendRequest(models.Model):
    """A wish to have a transmission sent again: of one number, or a new full file.

    Fulfilled by the first transmission received after it that brings what was asked for.
    """

    id = models.UUIDField(primary_key=True, default=uuid.uuid4, editable=False)
    municipality_code = TenantField()
    lane = models.CharField(max_length=8)
    kind = models.CharField(max_length=12)
    sequence = models.BigIntegerField(null=True)
    reason_code = models.CharField(max_length=60)
    requested_at = models.DateTimeField()
    requested_by = models.CharField(max_length=128)
    told_at = models.DateTimeField(null=True)
    ended_at = models.DateTimeField(null=True)
    fulfilled_by = models.UUIDField(null=True)

    class Meta:
        verbose_name = "再送の依頼"
        constraints = (
            models.CheckConstraint(
                condition=Q(kind="SEQUENCE", sequence__isnull=False)
                | Q(kind="FULL", sequence__isnull=True),
                name="linkage_resend_kind_and_number",
            ),
            models.UniqueConstraint(
                fields=["municipality_code", "lane", "kind", "sequence"],
                condition=Q(ended_at__isnull=True),
                nulls_distinct=False,
                name="linkage_resend_open_once",
            ),
        )

    def __str__(self) -> str:
        return f"resend {self.lane} {self.kind} {self.sequence}"


class HoldRelease(models.Model):
    """A wish to lift a hold on a household or a person by hand; counts when a second one agrees."""

    id = models.UUIDField(primary_key=True, default=uuid.uuid4, editable=False)
    municipality_code = TenantField()
    hold = models.CharField(max_length=24)
    reason = models.CharField(max_length=60)
    requested_at = models.DateTimeField()
    requested_by = models.CharField(max_length=128)
    approved_at = models.DateTimeField(null=True)
    approved_by = models.CharField(max_length=128, blank=True, default="")

    class Meta:
        verbose_name = "保留の手動解除"
        constraints = (
            models.UniqueConstraint(
                fields=["municipality_code", "hold"],
                condition=Q(approved_at__isnull=True),
                name="linkage_hold_release_asked_once",
            ),
            models.CheckConstraint(
                condition=Q(approved_at__isnull=True, approved_by="")
                | (
                    Q(approved_at__isnull=False)
                    & ~Q(approved_by="")
                    & ~Q(approved_by=models.F("requested_by"))
                ),
                name="linkage_hold_release_by_two_persons",
            ),
        )

    def __str__(self) -> str:
        return f"release of {self.hold}"
