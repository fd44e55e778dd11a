"""Routes of the linkage screens."""

from __future__ import annotations

from django.urls import path

from bcl.linkage.web import views

urlpatterns = [
    path("linkage", views.overview, name="linkage"),
    path("linkage/<uuid:transmission_id>", views.detail, name="transmission"),
    path("linkage/<uuid:transmission_id>/release", views.release, name="transmission-release"),
    path("linkage/<uuid:transmission_id>/reject", views.reject, name="transmission-reject"),
]
