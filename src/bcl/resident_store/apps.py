"""Django application of the resident store."""

from django.apps import AppConfig


class ResidentStoreConfig(AppConfig):
    """Names the app."""

    name = "bcl.resident_store"
    label = "resident_store"
    verbose_name = "中間DB"
    default_auto_field = "django.db.models.BigAutoField"
