"""Routes of the oversight pages."""

from __future__ import annotations

from django.urls import path

from bcl.oversight.web import audit_views, export_views, statement_views, verification_views

_STATEMENT = "statements/<int:statement_id>"
_EXPORT = "exports/<int:export_id>"

urlpatterns = [
    path("audit", audit_views.search, name="audit"),
    path("audit/rows/<str:log>/<str:key>", audit_views.row, name="audit-row"),
    path("audit/verification", verification_views.overview, name="audit-verification"),
    path("audit/verification/start", verification_views.start, name="audit-verification-start"),
    path("audit/verification/log", verification_views.download, name="audit-log-file"),
    path("audit/verification/verifier", verification_views.verifier, name="audit-verifier"),
    path("statements", statement_views.listing, name="statements"),
    path("statements/new", statement_views.add, name="statement-new"),
    path(_STATEMENT, statement_views.detail, name="statement"),
    path(f"{_STATEMENT}/approve", statement_views.approve, name="statement-approve"),
    path(f"{_STATEMENT}/paper", statement_views.paper, name="statement-paper"),
    path("exports", export_views.listing, name="exports"),
    path("exports/trace", export_views.trace, name="export-trace"),
    path("exports/new/<str:kind>", export_views.add, name="export-new"),
    path(_EXPORT, export_views.detail, name="export"),
    path(f"{_EXPORT}/approve", export_views.approve, name="export-approve"),
    path(f"{_EXPORT}/decline", export_views.decline, name="export-decline"),
    path(f"{_EXPORT}/take", export_views.take, name="export-take"),
]
