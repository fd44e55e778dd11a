"""Routes of the intake, below `/wire/`."""

from __future__ import annotations

from django.urls import path

from bcl.linkage.wire import views

urlpatterns = [
    path("uploads/", views.upload_collection, name="linkage_uploads"),
    path("uploads", views.upload_collection),
    path("uploads/<str:upload_id>", views.upload_one, name="linkage_upload"),
    path("contact", views.contact, name="linkage_contact"),
    path("transmissions/<str:bundle_id>", views.transmission, name="linkage_transmission"),
]
