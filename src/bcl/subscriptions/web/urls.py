"""Routes of the subscription pages."""

from __future__ import annotations

from django.urls import path

from bcl.subscriptions.web import views

urlpatterns = [
    path("subscriptions", views.listing, name="subscriptions"),
    path("subscriptions/<str:town>/<str:name>", views.detail, name="subscription"),
]
