from django.apps import AppConfig


class MunicipalitiesConfig(AppConfig):
    name = "bcl.municipalities"
    label = "municipalities"
    verbose_name = "団体"
