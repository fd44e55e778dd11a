"""Routes of sign-in and user administration."""

from __future__ import annotations

from django.urls import path

from bcl.accounts.web import account_views, sign_in_views

urlpatterns = [
    path("sign-in", sign_in_views.sign_in, name="sign-in"),
    path("sign-in/code", sign_in_views.code, name="sign-in-code"),
    path("sign-out", sign_in_views.sign_out, name="sign-out"),
    path("enrol", sign_in_views.enrol, name="enrol"),
    path("enrol/password", sign_in_views.enrol_password, name="enrol-password"),
    path("enrol/app", sign_in_views.enrol_app, name="enrol-app"),
    path("accounts", account_views.listing, name="accounts"),
    path("accounts/new", account_views.add, name="account-new"),
    path("accounts/of/<str:login_name>", account_views.detail, name="account"),
    path("accounts/of/<str:login_name>/lock", account_views.lock, name="account-lock"),
    path("accounts/of/<str:login_name>/unlock", account_views.unlock, name="account-unlock"),
    path("accounts/of/<str:login_name>/roles", account_views.roles, name="account-roles"),
    path("accounts/of/<str:login_name>/reset", account_views.reset, name="account-reset"),
    path("accounts/of/<str:login_name>/review", account_views.review, name="account-review"),
    path("accounts/of/<str:login_name>/close", account_views.close, name="account-close"),
    path("terminals", account_views.terminals, name="terminals"),
]
