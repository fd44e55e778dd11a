"""Routes of the linkage screens."""

from __future__ import annotations

from django.urls import path

from bcl.linkage.web import decisions, holds, interface, resends, views

_ONE = "linkage/<uuid:transmission_id>"

urlpatterns = [
    path("interface", interface.versions, name="interface"),
    path(
        "interface/<str:version>.zip", interface.specification, name="interface-specification"
    ),
    path("linkage", views.overview, name="linkage"),
    path("linkage/holds", holds.listing, name="holds"),
    path("linkage/holds/ask", holds.ask, name="hold-ask"),
    path("linkage/holds/approve", holds.approve, name="hold-approve"),
    path("linkage/resend", resends.ask, name="resend"),
    path("linkage/resend/<uuid:request_id>/withdraw", resends.withdraw, name="resend-withdraw"),
    path(_ONE, views.detail, name="transmission"),
    path(f"{_ONE}/findings.csv", views.findings_csv, name="transmission-findings"),
    path(f"{_ONE}/ask-release", decisions.ask_release, name="transmission-ask-release"),
    path(f"{_ONE}/release", decisions.release, name="transmission-release"),
    path(f"{_ONE}/reject", decisions.reject, name="transmission-reject"),
]
