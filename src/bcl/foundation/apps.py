from django.apps import AppConfig


class FoundationConfig(AppConfig):
    name = "bcl.foundation"
    label = "foundation"
    verbose_name = "基盤"
