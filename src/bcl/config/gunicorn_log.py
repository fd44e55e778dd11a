"""gunicorn's own messages through our JSON log, without request lines or values."""

from __future__ import annotations

import logging
from typing import Any

from gunicorn.glogging import Logger as GunicornLogger

from bcl.foundation import log


class JsonLog(GunicornLogger):
    """Hands everything to the root logger, which withholds what isn't known to be harmless."""

    def setup(self, cfg: Any) -> None:
        log.configure({"level": "INFO"})
        self.error_log = log.standard_logger("gunicorn.error")
        self.error_log.setLevel(logging.INFO)
        self.error_log.propagate = True
        self.access_log = log.standard_logger("gunicorn.access")
        self.access_log.setLevel(logging.CRITICAL)

    def access(self, *args: Any, **kwargs: Any) -> None:
        """No access lines: the middleware counts requests, and URLs may carry ids."""

    def reopen_files(self) -> None:
        """Nothing to reopen: lines go to standard error."""
