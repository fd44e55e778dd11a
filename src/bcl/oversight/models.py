"""Tables of oversight: checks of the audit log, statements for residents, data taken out.

None holds a resident's data in clear: numbers, search terms and reasons are sealed under the
row's `token`, and emptied when the row's work is done.
"""

from __future__ import annotations

from django.db import models
from django.db.models import F, Q

from bcl.foundation.fields import TenantField
from bcl.oversight.rules import ExportKind, ExportState, StatementState, VerificationState


def _choices(states: type) -> list[tuple[str, str]]:
    return [(state.value, state.value) for state in states]  # type: ignore[attr-defined]


class AuditVerification(models.Model):
    """One check of the town's audit log, run as a job. `findings` names rows and numbers only."""

    municipality_code = TenantField()
    state = models.CharField(max_length=12, choices=_choices(VerificationState))
    requested_at = models.DateTimeField()
    requested_by = models.CharField(max_length=128)
    total = models.BigIntegerField(default=0)
    looked_at = models.BigIntegerField(default=0)
    finished_at = models.DateTimeField(null=True)
    heads = models.BigIntegerField(default=0)
    outside_heads = models.BigIntegerField(default=0)
    waiting = models.BigIntegerField(default=0)
    tags_checked = models.BooleanField(default=False)
    findings_total = models.BigIntegerField(default=0)
    findings = models.JSONField(default=list)

    class Meta:
        verbose_name = "監査ログの検証"
        constraints = (
            models.CheckConstraint(
                condition=~Q(state="DONE") | Q(finished_at__isnull=False),
                name="oversight_verification_done_has_its_time",
            ),
            # One at a time: a second request finds the running one.
            models.UniqueConstraint(
                fields=["municipality_code"],
                condition=Q(state__in=["WAITING", "RUNNING"]),
                name="oversight_verification_one_at_a_time",
            ),
        )

    def __str__(self) -> str:
        return f"verification {self.pk} {self.state}"


class LookStatement(models.Model):
    """「誰がこの方の情報を見たか」: asked for, agreed to where the law protects, handed out."""

    municipality_code = TenantField()
    token = models.CharField(max_length=32)
    state = models.CharField(max_length=12, choices=_choices(StatementState))
    sealed_person = models.BinaryField()
    since = models.DateTimeField()
    until = models.DateTimeField()
    reference = models.CharField(max_length=32)
    is_protected = models.BooleanField()
    request_sha256 = models.CharField(max_length=64)
    requested_at = models.DateTimeField()
    requested_by = models.CharField(max_length=128)
    approved_at = models.DateTimeField(null=True)
    approved_by = models.CharField(max_length=128, blank=True, default="")
    approval_signature = models.CharField(max_length=120, blank=True, default="")
    printed_at = models.DateTimeField(null=True)
    printed_by = models.CharField(max_length=128, blank=True, default="")
    entries = models.IntegerField(null=True)

    class Meta:
        verbose_name = "閲覧記録の回答書"
        constraints = (
            models.UniqueConstraint(
                fields=["municipality_code", "token"], name="oversight_statement_token_once"
            ),
            models.CheckConstraint(
                condition=Q(approved_by="") | ~Q(approved_by=F("requested_by")),
                name="oversight_statement_approved_by_a_second_person",
            ),
            # Nobody under a protective measure without a second person, whatever a program does.
            models.CheckConstraint(
                condition=Q(state="REQUESTED") | Q(is_protected=False) | ~Q(approval_signature=""),
                name="oversight_statement_protected_needs_approval",
            ),
        )

    def __str__(self) -> str:
        return f"statement {self.pk} {self.state}"


class DataExport(models.Model):
    """Data to be taken out (持ち出し), from request to deletion.

    `content_digest` is a keyed digest of exactly the rows the request meant; the approval is a
    signature over `request_sha256`, which names it, and the build refuses other rows.
    `canary` stands in every row of the file and finds this row again.
    """

    municipality_code = TenantField()
    token = models.CharField(max_length=32)
    canary = models.CharField(max_length=16)
    kind = models.CharField(max_length=12, choices=_choices(ExportKind))
    state = models.CharField(max_length=12, choices=_choices(ExportState))
    purpose = models.CharField(max_length=32)
    reference = models.CharField(max_length=32)
    columns = models.JSONField(default=list)
    sealed_filter = models.BinaryField()
    sealed_persons = models.BinaryField()
    row_limit = models.IntegerField()
    rows = models.IntegerField()
    content_digest = models.CharField(max_length=32)
    recipient_id = models.CharField(max_length=64)
    recipient_public_key = models.CharField(max_length=128)
    request_sha256 = models.CharField(max_length=64)
    requested_at = models.DateTimeField()
    requested_by = models.CharField(max_length=128)
    approved_at = models.DateTimeField(null=True)
    approved_by = models.CharField(max_length=128, blank=True, default="")
    approval_signature = models.CharField(max_length=120, blank=True, default="")
    built_at = models.DateTimeField(null=True)
    rows_written = models.IntegerField(default=0)
    file_sha256 = models.CharField(max_length=64, blank=True, default="")
    file_bytes = models.BigIntegerField(null=True)
    refusal_code = models.CharField(max_length=60, blank=True, default="")
    take_limit = models.IntegerField()
    takes = models.IntegerField(default=0)
    last_taken_at = models.DateTimeField(null=True)
    last_taken_by = models.CharField(max_length=128, blank=True, default="")
    expires_at = models.DateTimeField()
    deleted_at = models.DateTimeField(null=True)

    class Meta:
        verbose_name = "データの持ち出し"
        constraints = (
            models.UniqueConstraint(
                fields=["municipality_code", "token"], name="oversight_export_token_once"
            ),
            models.UniqueConstraint(
                fields=["municipality_code", "canary"], name="oversight_export_canary_once"
            ),
            models.CheckConstraint(
                condition=Q(approved_by="") | ~Q(approved_by=F("requested_by")),
                name="oversight_export_approved_by_a_second_person",
            ),
            models.CheckConstraint(
                condition=Q(state__in=["REQUESTED", "DECLINED", "EXPIRED"])
                | ~Q(approval_signature=""),
                name="oversight_export_needs_approval",
            ),
            models.CheckConstraint(
                condition=Q(takes__lte=F("take_limit")) & Q(rows__lte=F("row_limit")),
                name="oversight_export_within_its_limits",
            ),
            models.CheckConstraint(
                condition=~Q(state="BUILT")
                | (Q(built_at__isnull=False) & ~Q(file_sha256="") & Q(deleted_at__isnull=True)),
                name="oversight_export_built_has_its_digest",
            ),
        )

    def __str__(self) -> str:
        return f"data export {self.pk} {self.state}"
