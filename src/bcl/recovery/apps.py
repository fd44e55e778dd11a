"""Django application of recovery exports."""

from django.apps import AppConfig


class RecoveryConfig(AppConfig):
    """Names the app."""

    name = "bcl.recovery"
    label = "recovery"
    verbose_name = "リカバリデータの提供"
    default_auto_field = "django.db.models.BigAutoField"
