"""Registration of the issuance app."""

from __future__ import annotations

from django.apps import AppConfig


class IssuanceConfig(AppConfig):
    """Issuing certificates (証明発行)."""

    name = "bcl.issuance"
    label = "issuance"
    verbose_name = "証明発行"
