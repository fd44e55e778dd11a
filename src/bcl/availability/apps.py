from django.apps import AppConfig


class AvailabilityConfig(AppConfig):
    name = "bcl.availability"
    label = "availability"
    verbose_name = "サービス提供"
