"""URLs of the staff pages: every app that has a `web/`, the console's frame, faults."""

from __future__ import annotations

from django.urls import URLPattern, URLResolver, include, path

urlpatterns: list[URLPattern | URLResolver] = [
    path("", include("bcl.console.urls")),
    path("", include("bcl.accounts.web.urls")),
    path("", include("bcl.linkage.web.urls")),
    path("", include("bcl.recovery.web.urls")),
    path("", include("bcl.resident_store.web.urls")),
    path("", include("bcl.subscriptions.web.urls")),
    path("", include("bcl.oversight.web.urls")),
]

handler400 = "bcl.console.views.bad_request"
handler404 = "bcl.console.views.not_found"
handler500 = "bcl.console.views.server_fault"
