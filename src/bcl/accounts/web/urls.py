"""Routes of sign-in and user administration."""

from __future__ import annotations

from django.urls import path

from bcl.accounts.web import (
    account_views,
    own_views,
    privilege_views,
    sign_in_views,
    terminal_views,
)

urlpatterns = [
    path("sign-in", sign_in_views.sign_in, name="sign-in"),
    path("sign-in/code", sign_in_views.code, name="sign-in-code"),
    path("sign-in/passkey", own_views.sign_in_passkey, name="sign-in-passkey"),
    path("sign-out", sign_in_views.sign_out, name="sign-out"),
    path("enrol", sign_in_views.enrol, name="enrol"),
    path("enrol/password", sign_in_views.enrol_password, name="enrol-password"),
    path("enrol/app", sign_in_views.enrol_app, name="enrol-app"),
    path("accounts", account_views.listing, name="accounts"),
    path("accounts/review.zip", account_views.review_list, name="account-review-list"),
    path("accounts/new", account_views.add, name="account-new"),
    path("accounts/of/<str:login_name>", account_views.detail, name="account"),
    path("accounts/of/<str:login_name>/lock", account_views.lock, name="account-lock"),
    path("accounts/of/<str:login_name>/unlock", account_views.unlock, name="account-unlock"),
    path("accounts/of/<str:login_name>/roles", account_views.roles, name="account-roles"),
    path("accounts/of/<str:login_name>/reset", account_views.reset, name="account-reset"),
    path("accounts/of/<str:login_name>/review", account_views.review, name="account-review"),
    path("accounts/of/<str:login_name>/close", account_views.close, name="account-close"),
    path("accounts/of/<str:login_name>/validity", account_views.validity, name="account-validity"),
    path(
        "accounts/of/<str:login_name>/end-sessions",
        account_views.end_sessions,
        name="account-end-sessions",
    ),
    path("own", own_views.own, name="own"),
    path("own/password", own_views.password, name="own-password"),
    path("own/end-sessions", own_views.end_others, name="own-end-sessions"),
    path("own/passkeys/new", own_views.passkey_new, name="passkey-new"),
    path("own/passkeys/keep", own_views.passkey_keep, name="passkey-keep"),
    path("own/passkeys/<uuid:passkey_id>/remove", own_views.passkey_remove, name="passkey-remove"),
    path("privileges", privilege_views.listing, name="privileges"),
    path("privileges/new", privilege_views.ask, name="privilege-ask"),
    path("privileges/<uuid:request_id>", privilege_views.detail, name="privilege"),
    path("privileges/<uuid:request_id>/approve", privilege_views.approve, name="privilege-approve"),
    path("privileges/<uuid:request_id>/refuse", privilege_views.refuse, name="privilege-refuse"),
    path("privileges/<uuid:request_id>/end", privilege_views.end, name="privilege-end"),
    path("terminals", terminal_views.listing, name="terminals"),
    path("terminals/new", terminal_views.add, name="terminal-new"),
    path(
        "terminals/of/<str:owner>/<str:terminal_id>/revoke",
        terminal_views.revoke,
        name="terminal-revoke",
    ),
]
