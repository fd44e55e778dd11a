"""URLs of the machine door: `/wire/` of every app that has one, health and metrics."""

from __future__ import annotations

from django.urls import URLPattern, URLResolver, include, path

from bcl.config import health, openapi

urlpatterns: list[URLPattern | URLResolver] = [
    path("health", health.health),
    path("metrics", health.numbers),
    path("wire/openapi.json", openapi.show),
    path("wire/", include("bcl.linkage.wire.urls")),
    path("wire/", include("bcl.issuance.wire.urls")),
    path("wire/", include("bcl.subscriptions.wire.urls")),
]

handler400 = "bcl.config.middleware.bad_request"
handler404 = "bcl.config.middleware.not_found"
handler500 = "bcl.config.middleware.server_fault"
