"""Tables of recovery exports. None holds a resident's data; the reason is sealed."""

from __future__ import annotations

from django.db import models
from django.db.models import F, Q

from bcl.foundation.fields import TenantField
from bcl.recovery.rules import ExportState


class RecoveryExport(models.Model):
    """One export of a municipality's data (リカバリデータ提供) from request to release.

    `load_number` is the state it shows, fixed at the request. `request_sha256` is the digest of
    everything in the request; the approval is a signature over it. `counts` names files and
    rows. `package_sha256` is of the encrypted package.
    """

    municipality_code = TenantField()
    state = models.CharField(
        max_length=12, choices=[(state.value, state.value) for state in ExportState]
    )
    load_number = models.BigIntegerField()
    sealed_reason = models.BinaryField()
    incident_id = models.CharField(max_length=64)
    receiver_id = models.CharField(max_length=64)
    receiver_public_key = models.CharField(max_length=128)
    request_sha256 = models.CharField(max_length=64)
    requested_at = models.DateTimeField()
    requested_by = models.CharField(max_length=128)
    request_signature = models.CharField(max_length=120)
    approved_at = models.DateTimeField(null=True)
    approved_by = models.CharField(max_length=128, blank=True, default="")
    approval_signature = models.CharField(max_length=120, blank=True, default="")
    built_at = models.DateTimeField(null=True)
    package_sha256 = models.CharField(max_length=64, blank=True, default="")
    package_bytes = models.BigIntegerField(null=True)
    counts = models.JSONField(default=list)
    released_at = models.DateTimeField(null=True)
    released_by = models.CharField(max_length=128, blank=True, default="")
    expires_at = models.DateTimeField()

    class Meta:
        verbose_name = "リカバリデータの提供"
        constraints = (
            models.CheckConstraint(
                condition=Q(approved_by="") | ~Q(approved_by=F("requested_by")),
                name="recovery_export_approved_by_a_second_person",
            ),
            models.CheckConstraint(
                condition=Q(approved_at__isnull=True, approved_by="", approval_signature="")
                | (Q(approved_at__isnull=False) & ~Q(approved_by="") & ~Q(approval_signature="")),
                name="recovery_export_approval_is_whole",
            ),
            # No way to a package without an approval, whatever the program does.
            models.CheckConstraint(
                condition=Q(state__in=["REQUESTED", "EXPIRED"]) | Q(approved_at__isnull=False),
                name="recovery_export_needs_approval",
            ),
            models.CheckConstraint(
                condition=~Q(state__in=["BUILT", "RELEASED"])
                | (Q(built_at__isnull=False) & ~Q(package_sha256="")),
                name="recovery_export_built_has_its_digest",
            ),
            models.CheckConstraint(
                condition=Q(released_at__isnull=True) ^ ~Q(released_by=""),
                name="recovery_export_released_at_and_by",
            ),
            # One signed act counts once.
            models.UniqueConstraint(
                fields=["municipality_code", "request_signature"],
                name="recovery_export_request_signed_once",
            ),
        )

    def __str__(self) -> str:
        return f"recovery export {self.pk} {self.state}"
