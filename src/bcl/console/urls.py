"""Routes of the staff pages: home and components here, screens in each app's `web/`."""

from __future__ import annotations

from django.urls import path

from bcl.console import oversight, views

urlpatterns = [
    path("", views.home, name="home"),
    path("security", oversight.security, name="security"),
    path("retention", oversight.retention_report, name="retention"),
    path("data-uses", oversight.data_uses, name="data-uses"),
    path("components", views.components, name="components"),
]
