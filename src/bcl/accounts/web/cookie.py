"""The session cookie: one random secret, kept from scripts, other sites and plain lines."""

from __future__ import annotations

from django.http import HttpRequest, HttpResponse
from django.middleware.csrf import rotate_token

# The prefix makes browsers insist on Secure, on Path=/ and on no Domain.
COOKIE = "__Host-bcl-session"


def token_of(request: HttpRequest) -> str:
    """The secret that the browser sent; empty when there is none."""
    return request.COOKIES.get(COOKIE, "")[:128]


def keep_token(request: HttpRequest, response: HttpResponse, token: str) -> HttpResponse:
    """Give the browser this secret until it closes; the server decides how long it counts.

    Forms that were opened before belong to whoever sat here then: their marks end here, so that
    nothing from an old tab is sent in another person's name.
    """
    rotate_token(request)
    response.set_cookie(COOKIE, token, secure=True, httponly=True, samesite="Strict", path="/")
    return response


def drop_session(request: HttpRequest, response: HttpResponse) -> HttpResponse:
    """Let the browser forget the secret, and whatever else it might keep of us."""
    rotate_token(request)
    response.delete_cookie(COOKIE, path="/", samesite="Strict")
    # delete_cookie leaves Secure out for names it doesn't know; the prefix needs it.
    response.cookies[COOKIE].update({"secure": True, "httponly": True})
    response["Clear-Site-Data"] = '"cache", "storage"'
    return response
