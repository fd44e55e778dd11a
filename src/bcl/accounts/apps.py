from django.apps import AppConfig


class AccountsConfig(AppConfig):
    name = "bcl.accounts"
    label = "accounts"
    verbose_name = "職員アカウント"
