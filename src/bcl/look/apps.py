from django.apps import AppConfig


class LookConfig(AppConfig):
    name = "bcl.look"
    label = "look"
    verbose_name = "画面部品"
