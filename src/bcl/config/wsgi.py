"""The WSGI application of the machine door; loading it runs the start-up self-tests."""

from __future__ import annotations

import os

import django
from django.core.handlers.wsgi import WSGIHandler

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "bcl.config.settings")
django.setup(set_prefix=False)

from bcl.config.start_up import assert_ready_to_serve  # noqa: E402 - needs the apps loaded

assert_ready_to_serve()
application = WSGIHandler()
