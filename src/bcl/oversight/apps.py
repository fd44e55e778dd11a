"""Django application of oversight: the record of who did what, statements, data taken out."""

from django.apps import AppConfig


class OversightConfig(AppConfig):
    """Names the app."""

    name = "bcl.oversight"
    label = "oversight"
    verbose_name = "監査と持ち出し"
    default_auto_field = "django.db.models.BigAutoField"
