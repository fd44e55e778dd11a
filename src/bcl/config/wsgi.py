"""The WSGI application of a door; loading it runs the start-up self-tests.

Which door it is says BCL_ROLE (`wire` or `console`), which `serve.run` sets.
"""

from __future__ import annotations

import django
from django.core.handlers.wsgi import WSGIHandler

from bcl.config import env

env.assume()
django.setup(set_prefix=False)

from bcl.config.start_up import assert_ready_to_serve  # noqa: E402 - needs the apps loaded

assert_ready_to_serve()
application = WSGIHandler()
