"""The zone matrix is code: every route from every zone equals the table (R-158, R-159).

Crawled through the middleware of each door; the real doors' listeners are in `test_wire_server`
and in the attack suite.
"""

from __future__ import annotations

import importlib
from collections.abc import Iterator
from dataclasses import replace
from datetime import timedelta

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509.oid import NameOID
from django.test import Client
from django.urls import URLPattern, URLResolver

from bcl.accounts import api as accounts
from bcl.config import env, zones
from bcl.foundation import audit
from bcl_contract import clock

pytestmark = [pytest.mark.requirement("R-159"), pytest.mark.django_db]

# What the handbook's picture allows; the product's own table must say the same.
BY_PREFIX = {
    "health": {"LGWAN", "IP_VPN", "OPERATIONS"},
    "metrics": {"OPERATIONS"},
    "wire/openapi.json": {"LGWAN", "IP_VPN", "OPERATIONS"},
    "wire/uploads": {"LGWAN"},
    "wire/transmissions": {"LGWAN"},
    "wire/contact": {"LGWAN"},
    "wire/issuance": {"IP_VPN"},
    "wire/subscriptions": {"IP_VPN"},
}


# What a caller might send to pass for somebody elsewhere. Nothing of it is ever looked at.
FORGED = {
    "HTTP_X_FORWARDED_FOR": "10.0.0.1",
    "HTTP_X_REAL_IP": "10.0.0.1",
    "HTTP_FORWARDED": 'for=10.0.0.1;proto=https;by="LGWAN"',
    "HTTP_X_FORWARDED_HOST": "bcl.lgwan.example",
    "HTTP_X_CLIENT_IP": "10.0.0.1",
    "HTTP_TRUE_CLIENT_IP": "10.0.0.1",
    "HTTP_X_BCL_ZONE": "LGWAN",
    "HTTP_X_ORIGINAL_URL": "/sign-in",
    "HTTP_X_REWRITE_URL": "/sign-in",
}
ARGUMENTS = {
    "<str:upload_id>": "x",
    "<str:bundle_id>": "x",
    "<str:version>": "1.0",
    "<int:export_id>": "7",
    "<str:name>": "reader.py",
    "<str:login_name>": "admin-1",
    "<str:log>": "999997",
    "<str:key>": "7",
    "<str:kind>": "nothing",
    "<int:statement_id>": "7",
    "<str:owner>": "999997",
    "<str:terminal_id>": "terminal-1",
    "<uuid:passkey_id>": "00000000-0000-4000-8000-000000000000",
    "<uuid:request_id>": "00000000-0000-4000-8000-000000000000",
    "<uuid:transmission_id>": "00000000-0000-4000-8000-000000000000",
}


def path_of(route: str) -> str:
    for name, value in ARGUMENTS.items():
        route = route.replace(name, value)
    return f"/{route}"


def routes(door: str = "wire") -> Iterator[str]:
    def walk(entries: list, before: str) -> Iterator[str]:
        for entry in entries:
            here = before + str(entry.pattern)
            if isinstance(entry, URLResolver):
                yield from walk(entry.url_patterns, here)
            elif isinstance(entry, URLPattern):
                yield here

    module = {"wire": "bcl.config.urls", "console": "bcl.config.console_urls"}[door]
    yield from walk(importlib.import_module(module).urlpatterns, "")


@pytest.mark.parametrize("door", ["wire", "console"])
def test_table__names_every_route_and_no_other(door) -> None:
    beside = {zones.STATIC_ROUTE} if door == "console" else set()
    assert set(zones.routes_of(door)) == set(routes(door)) | beside


@pytest.mark.parametrize("zone", zones.ZONES)
def test_crawl__every_route_from_this_zone__answers_as_the_picture(zone, settings) -> None:
    settings.BCL = replace(settings.BCL, zone=zone, process_role="wire")
    for route in routes():
        answer = Client().get(path_of(route), **FORGED)
        refused = answer.status_code == 403 and b"NETWORK_ZONE_CLOSED" in answer.content
        (allowed,) = [those for prefix, those in BY_PREFIX.items() if route.startswith(prefix)]
        assert refused is (zone not in allowed), (route, zone, answer.status_code)


@pytest.fixture
def terminal(town) -> bytes:
    """The certificate (DER) of a registered terminal."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "terminal")])
    now = clock.now()
    certificate = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - timedelta(days=1))
        .not_valid_after(now + timedelta(days=1))
        .sign(key, SHA256())
    )
    accounts.register_terminal(
        owner_code=town,
        terminal_id="terminal-1",
        name_ja="窓口の端末",
        terminal_class=accounts.TerminalClass.LGWAN,
        cert_pem=certificate.public_bytes(Encoding.PEM),
        by=audit.SYSTEM,
        at=now,
    )
    return certificate.public_bytes(Encoding.DER)


class Line:
    """Stands for the TLS connection that gunicorn hands to the application."""

    def __init__(self, der: bytes) -> None:
        self._der = der

    def getpeercert(self, binary_form: bool) -> bytes:
        assert binary_form
        return self._der


@pytest.mark.requirement("R-158")
@pytest.mark.parametrize("zone", zones.ZONES)
def test_staff_pages__every_route_from_this_zone__answers_as_the_table(
    zone, settings, terminal
) -> None:
    settings.BCL = replace(settings.BCL, zone=zone, process_role="console")
    settings.ROOT_URLCONF = "bcl.config.console_urls"
    settings.MIDDLEWARE = settings.CONSOLE_MIDDLEWARE
    client = Client(raise_request_exception=False)
    line = {"gunicorn.socket": Line(terminal)}
    for route in [*routes("console"), zones.STATIC_ROUTE]:
        path = "/static/look/look.css" if route == zones.STATIC_ROUTE else path_of(route)
        for method in ("get", "post"):
            answer = getattr(client, method)(path, secure=True, **FORGED, **line)
            body = b"".join(answer) if answer.streaming else answer.content
            refused = answer.status_code == 403 and b"NETWORK_ZONE_CLOSED" in body
            assert refused is (zone not in zones.routes_of("console")[route]), (route, zone)
            assert refused is (zone != "LGWAN"), "staff pages are reached over LGWAN only"


def test_unknown_route__is_closed_even_on_one_machine() -> None:
    assert not zones.may_be_called("wire/new-thing", door="wire", zone="ALL")
    assert zones.may_be_called("wire/issuance/issue", door="wire", zone="ALL")


def test_production__a_door_without_its_zone__does_not_start() -> None:
    variables = {"BCL_ENVIRONMENT": "production", "BCL_ROLE": "wire"}
    with pytest.raises(env.SettingsError, match="BCL_ZONE"):
        env.read(variables)
    assert env.read(variables | {"BCL_ZONE": "LGWAN"}).zone == "LGWAN"
    assert env.read(variables | {"BCL_ROLE": "worker"}).zone == "ALL"
