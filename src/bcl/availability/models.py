"""Tables of service hours and suspensions, per municipality and service."""

from __future__ import annotations

from django.db import models

from bcl.foundation.fields import TenantField


class ServiceHours(models.Model):
    """When a service of a municipality is open, from a date on.

    Without a row the national hours of `data/service_hours.csv` hold. `opens_at` belongs to the
    open time, `closes_at` doesn't. `closed_days` lists month and day (`12-29`) of each closed day.
    """

    municipality_code = TenantField()
    service = models.CharField(max_length=32, verbose_name="サービス")
    effective_from = models.DateField(verbose_name="適用開始日")
    opens_at = models.TimeField(verbose_name="開始時刻")
    closes_at = models.TimeField(verbose_name="終了時刻")
    closed_days = models.JSONField(default=list, verbose_name="休止日（月日）")
    set_by = models.CharField(max_length=128, verbose_name="設定者")
    set_at = models.DateTimeField(verbose_name="設定日時")

    class Meta:
        verbose_name = "サービス提供時間"
        constraints = (
            models.UniqueConstraint(
                fields=["municipality_code", "service", "effective_from"],
                name="servicehours_one_row_from_a_date",
            ),
            models.CheckConstraint(
                condition=models.Q(opens_at__lt=models.F("closes_at")),
                name="servicehours_opens_before_it_closes",
            ),
        )

    def __str__(self) -> str:
        return f"{self.municipality_code} {self.service} {self.effective_from}"


class Suspension(models.Model):
    """A stop of one service of a municipality, until somebody resumes it."""

    municipality_code = TenantField()
    service = models.CharField(max_length=32, verbose_name="サービス")
    reason_code = models.CharField(max_length=64, verbose_name="停止理由")
    suspended_at = models.DateTimeField(verbose_name="停止日時")
    suspended_by = models.CharField(max_length=160, verbose_name="停止した者")
    resumed_at = models.DateTimeField(null=True, verbose_name="再開日時")
    resumed_by = models.CharField(max_length=160, null=True, verbose_name="再開した者")

    class Meta:
        verbose_name = "サービスの停止"
        constraints = (
            models.UniqueConstraint(
                fields=["municipality_code", "service", "reason_code"],
                condition=models.Q(resumed_at__isnull=True),
                name="suspension_is_open_once_per_reason",
            ),
            # Half a signature is worse than none: a lifted stop says when and by whom.
            models.CheckConstraint(
                condition=models.Q(resumed_at__isnull=True, resumed_by__isnull=True)
                | models.Q(resumed_at__isnull=False, resumed_by__isnull=False),
                name="suspension_resumed_at_and_by_together",
            ),
        )

    def __str__(self) -> str:
        return f"{self.municipality_code} {self.service} {self.reason_code}"
