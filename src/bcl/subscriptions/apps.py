"""Django application of subscriptions."""

from django.apps import AppConfig


class SubscriptionsConfig(AppConfig):
    """Names the app."""

    name = "bcl.subscriptions"
    label = "subscriptions"
    verbose_name = "データの配り先"
    default_auto_field = "django.db.models.BigAutoField"
