from django.apps import AppConfig


class ConsoleConfig(AppConfig):
    name = "bcl.console"
    label = "console"
    verbose_name = "管理者ページ"
