"""Django application of the linkage intake."""

from django.apps import AppConfig


class LinkageConfig(AppConfig):
    """Names the app."""

    name = "bcl.linkage"
    label = "linkage"
    verbose_name = "データ連携の受付"
    default_auto_field = "django.db.models.BigAutoField"
