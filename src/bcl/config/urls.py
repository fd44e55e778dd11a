"""URLs of the machine door: `/wire/` of every app that has one, health and metrics."""

from __future__ import annotations

import importlib.util

from django.urls import URLPattern, URLResolver, include, path

urlpatterns: list[URLPattern | URLResolver] = [
    path("wire/", include(f"bcl.{name}.wire.urls"))
    for name in ("linkage", "issuance")
    if importlib.util.find_spec(f"bcl.{name}")
    and importlib.util.find_spec(f"bcl.{name}.wire")
    and importlib.util.find_spec(f"bcl.{name}.wire.urls")
]
