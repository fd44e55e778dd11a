"""The doors of subscriptions; the paths are those of the contract."""

from __future__ import annotations

from django.urls import path

from bcl.subscriptions.wire import views

urlpatterns = [
    path("subscriptions/changes", views.changes, name="subscription_changes"),
    path("subscriptions/find", views.find, name="subscription_find"),
    path("subscriptions/restart", views.restart, name="subscription_restart"),
]
