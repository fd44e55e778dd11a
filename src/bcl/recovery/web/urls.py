"""Routes of the recovery pages."""

from __future__ import annotations

from django.urls import path

from bcl.recovery.web import views

_ONE = "recovery/<int:export_id>"

urlpatterns = [
    path("recovery", views.listing, name="recovery"),
    path("recovery/new", views.add, name="recovery-new"),
    path(_ONE, views.detail, name="recovery-export"),
    path(f"{_ONE}/approve", views.approve, name="recovery-approve"),
    path(f"{_ONE}/take", views.take, name="recovery-take"),
    path(f"{_ONE}/files/<str:name>", views.companion, name="recovery-companion"),
]
