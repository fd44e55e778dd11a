"""Routes of the 中間DB参照 screens: no number of a record in any of them."""

from __future__ import annotations

from django.urls import path

from bcl.resident_store.web import views

urlpatterns = [
    path("residents", views.search, name="residents"),
    path("residents/person", views.person, name="resident"),
    path("residents/person/reveal", views.reveal, name="resident-reveal"),
    path("residents/household", views.household, name="resident-household"),
]
