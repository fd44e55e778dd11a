from django.apps import AppConfig

from bcl_contract import private_memory


class FoundationConfig(AppConfig):
    name = "bcl.foundation"
    label = "foundation"
    verbose_name = "基盤"

    def ready(self) -> None:
        """Every process with the cloud's settings may come to hold keys."""
        private_memory.keep_out_of_dumps()
