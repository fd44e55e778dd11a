"""The doors of issuing for the delivery center; the paths are those of the contract."""

from __future__ import annotations

from django.urls import path

from bcl.issuance.wire import views

urlpatterns = [
    path("issuance/inquire", views.inquire, name="issuance_inquire"),
    path("issuance/issue", views.issue, name="issuance_issue"),
    path("issuance/confirm", views.confirm, name="issuance_confirm"),
    path("issuance/reconcile", views.reconcile, name="issuance_reconcile"),
]
