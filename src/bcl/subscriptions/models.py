"""Tables of subscriptions. No value of a register stands in them."""

from __future__ import annotations

from typing import ClassVar

from django.db import models

from bcl.foundation.fields import TenantField
from bcl.subscriptions.rules import RUNNING, SubscriptionState


class Subscription(models.Model):
    """One version of what a system gets of this town, and how far it has got.

    `profile` is the canonical form of the file, `approved_classes` what the approver named. Pages
    count from 1 in each `epoch`: made up to `last_page` (of load `planned_load`), handed out up to
    `delivered_page`, stored by the subscriber up to `acknowledged_page`.
    """

    municipality_code = TenantField()
    name = models.CharField("購読名", max_length=32)
    version = models.IntegerField("版")
    state = models.CharField(
        "状態", max_length=16, choices=[(each.value, each.value) for each in SubscriptionState]
    )
    subscriber_id = models.CharField("配り先番号", max_length=32)
    profile = models.JSONField("定義")
    profile_sha256 = models.CharField("定義の検査値", max_length=64)
    requested_at = models.DateTimeField("申請日時")
    requested_by = models.CharField("申請者", max_length=128)
    request_signature = models.CharField("申請の署名", max_length=128, unique=True)
    approved_at = models.DateTimeField("承認日時", null=True)
    approved_by = models.CharField("承認者", max_length=128, blank=True)
    approval_signature = models.CharField("承認の署名", max_length=128, blank=True)
    approved_classes = models.CharField("承認した区分", max_length=128, blank=True)
    changed_at = models.DateTimeField("状態の変更日時", null=True)
    changed_by = models.CharField("状態を変更した人", max_length=128, blank=True)
    epoch = models.IntegerField("世代", default=0)
    fencing_epoch = models.BigIntegerField("復元の世代", default=0)
    planned_load = models.BigIntegerField("用意した反映番号", default=0)
    last_page = models.BigIntegerField("用意した頁", default=0)
    delivered_page = models.BigIntegerField("渡した頁", default=0)
    acknowledged_page = models.BigIntegerField("受領済みの頁", default=0)
    delivered_at = models.DateTimeField("最後に渡した日時", null=True)
    acknowledged_at = models.DateTimeField("最後に受領した日時", null=True)

    class Meta:
        verbose_name = "購読"
        constraints: ClassVar = [
            models.UniqueConstraint(
                fields=["municipality_code", "name", "version"], name="subscription_version_once"
            ),
            models.UniqueConstraint(
                fields=["municipality_code", "name"],
                condition=models.Q(state__in=[each.value for each in RUNNING]),
                name="subscription_runs_once",
            ),
            models.UniqueConstraint(
                fields=["municipality_code", "name"],
                condition=models.Q(state="REQUESTED"),
                name="subscription_asked_for_once",
            ),
            models.CheckConstraint(
                name="subscription_runs_only_approved_by_another",
                condition=~models.Q(state__in=[each.value for each in RUNNING])
                | (
                    models.Q(approved_at__isnull=False)
                    & ~models.Q(approved_by="")
                    & ~models.Q(approved_by=models.F("requested_by"))
                ),
            ),
            models.CheckConstraint(
                name="subscription_pages_in_order",
                condition=models.Q(acknowledged_page__lte=models.F("delivered_page"))
                & models.Q(delivered_page__lte=models.F("last_page")),
            ),
        ]

    def __str__(self) -> str:
        return f"Subscription({self.name}, {self.state})"


class DeliveryPage(models.Model):
    """What one page holds: records by id, gone ones by key (`pages.ITEM`, packed)."""

    municipality_code = TenantField()
    subscription = models.ForeignKey(Subscription, on_delete=models.CASCADE, verbose_name="購読")
    epoch = models.IntegerField("世代")
    number = models.BigIntegerField("頁")
    load_number = models.BigIntegerField("反映番号")
    completes_load = models.BooleanField("反映の最後の頁")
    items = models.BinaryField("記録の番号と鍵")

    class Meta:
        verbose_name = "配る頁"
        constraints: ClassVar = [
            models.UniqueConstraint(
                fields=["subscription", "epoch", "number"], name="delivery_page_once"
            )
        ]

    def __str__(self) -> str:
        return f"DeliveryPage({self.epoch}/{self.number})"
