"""Tenant × role × route through real TLS: who gets what, and never a byte of another town."""

from __future__ import annotations

import csv
import http.client
import os
import re
import socket
import ssl
from pathlib import Path

import httpx
import pytest
from staff_client import (
    OTHER_TOWN,
    TOWN,
    browser,
    people_of,
    person_of,
    post,
    signed_in,
    tls_of,
)

import bcl.config
from bcl_cli.world.world import World

ZONES = Path(bcl.config.__file__).parent / "data" / "zones.csv"
ARGUMENTS = {"int": "1", "str": "clerk-1", "uuid": "00000000-0000-4000-8000-000000000000"}
BEFORE_SIGN_IN = {"/sign-in", "/sign-in/code", "/enrol", "/enrol/password", "/enrol/app"}
CLAIMS = {
    "X-Forwarded-For": "127.0.0.1", "X-Real-IP": "127.0.0.1", "Forwarded": "for=127.0.0.1",
    "X-Original-URL": "/", "X-HTTP-Method-Override": "GET", "X-Client-Cert": "x",
}  # fmt: skip


def staff_paths() -> list[str]:
    """Every route of the staff pages, from the table that a test holds against the resolver."""
    with ZONES.open(encoding="utf-8", newline="") as file:
        routes = [row["route"] for row in csv.DictReader(file) if row["door"] == "console"]
    routes.remove("static/")
    return ["/" + re.sub(r"<(\w+):\w+>", lambda one: ARGUMENTS[one[1]], one) for one in routes]


def canaries_of(world: World) -> set[str]:
    """Names of people that the first town's own clerk finds."""
    names: set[str] = set()
    look = {"purpose": "DATA_CHECK", "reference": ""}
    with signed_in(world, person_of(world, "clerk-1")) as client:
        for part in ("田", "山", "藤", "子", "本", "木"):
            found = post(client, "/residents", **look, name=part)
            names |= set(re.findall(r'<th scope="row"[^>]*>([^<>]+\u3000[^<>]+)</th>', found.text))
    return {name for name in names if 3 < len(name) < 20}


@pytest.mark.requirement("R-002")
@pytest.mark.requirement("R-060")
def test_crawl__every_person_of_every_tenant__sees_nothing_of_another(world: World, tell) -> None:
    agency = "000000"
    asked, faults = 0, []
    canaries = canaries_of(world)
    for code in (TOWN, OTHER_TOWN, agency):
        for person in people_of(world, code):
            with signed_in(world, person) as client:
                for path in staff_paths():
                    if path == "/sign-out":
                        continue
                    for answer in (client.get(path, headers=CLAIMS), client.put(path)):
                        asked += 1
                        if answer.status_code >= 500:
                            faults.append((person.login_name, path, answer.status_code))
                        if code != TOWN and any(name in answer.text for name in canaries):
                            faults.append((person.login_name, path, "a name of another town"))
    tell["crawl tenant × role × route"] = {"requests": asked, "findings": len(faults)}
    assert len(canaries) > 50 and asked > 800
    assert faults == []


@pytest.mark.requirement("R-091")
def test_crawl__without_a_terminal_or_a_session__gets_no_page(world: World, tell) -> None:
    asked = 0
    with browser(world, OTHER_TOWN) as nobody:
        for path in staff_paths():
            answers = (nobody.get(path, headers=CLAIMS), post(nobody, path))
            for answer in answers:
                asked += 1
                if path in BEFORE_SIGN_IN:
                    assert answer.status_code < 500
                else:
                    assert answer.status_code in (302, 405), (path, answer.status_code)
    # A machine's certificate is no terminal's, whatever authority signed it.
    strangers = [None, world.pki.gateway(TOWN), world.pki.center_client, world.pki.kiosk()]
    for stranger in strangers:
        context = tls_of(world, None)
        if stranger is not None:
            context.load_cert_chain(str(stranger.cert_path), str(stranger.key_path))
        with httpx.Client(verify=context) as client, pytest.raises(httpx.TransportError):
            client.get(f"{world.console_url}/sign-in", headers=CLAIMS)
    tell["crawl without a session"] = {"requests": asked, "strangers": len(strangers)}


@pytest.mark.requirement("R-061")
def test_session__at_another_terminal__is_worth_nothing(world: World) -> None:
    person = people_of(world, TOWN)[0]
    with signed_in(world, person) as client, browser(world, OTHER_TOWN) as other:
        other.cookies.update(client.cookies)
        answer = other.get("/")
        assert (answer.status_code, answer.headers["Location"]) == (302, "/sign-in")
        assert client.get("/").status_code == 200


RAW = [
    b"GET / HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\n"
    b"Transfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
    b"GET / HTTP/1.1\r\nHost: a\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\nx",
    b"GET / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: xchunked\r\n\r\n",
    b"GET / HTTP/1.1\r\nHost: a\r\nX: a\r\n b\r\n\r\n",
    b"GET / HTTP/1.1\r\nHost: a\r\nX\x00: a\r\n\r\n",
    b"GET / HTTP/1.1\r\nHost : a\r\n\r\n",
    b"GET /" + b"a" * 5000 + b" HTTP/1.1\r\nHost: a\r\n\r\n",
    b"GET / HTTP/1.1\r\nHost: a\r\nX: " + b"a" * 70_000 + b"\r\n\r\n",
    b"GET / HTTP/1.1\r\nHost: a\r\n" + b"".join(b"X%d: a\r\n" % n for n in range(500)) + b"\r\n",
    b"POST /wire/issuance/issue HTTP/1.1\r\nHost: a\r\nContent-Length: -1\r\n\r\n",
    b"get / HTTP/1.1\r\nHost: a\r\n\r\n",
    b"GET http://evil.example/ HTTP/9.9\r\n\r\n",
    os.urandom(4096),
]


@pytest.mark.requirement("R-164")
@pytest.mark.parametrize("door", ["console", "wire"])
def test_malformed_requests__at_a_door__are_refused_without_a_fault(
    world: World, tell, door
) -> None:
    context = tls_of(world, TOWN)
    if door == "wire":
        context = tls_of(world, None)
        gateway = world.pki.gateway(TOWN)
        context.load_cert_chain(str(gateway.cert_path), str(gateway.key_path))
    for raw in RAW:
        with socket.create_connection(("127.0.0.1", world.ports[door]), timeout=10) as plain:
            with context.wrap_socket(plain, server_hostname="localhost") as line:
                line.sendall(raw)
                answer = first_line(line)
        assert not answer.startswith(b"HTTP/1.1 5") or b" 501 " in answer, (raw[:60], answer)
        assert not answer.startswith(b"HTTP/1.1 200"), (raw[:60], answer)
    with browser(world, TOWN) as client:
        assert client.get("/sign-in").status_code == 200, "the door still serves"
    tell[f"malformed requests at {door}"] = {"requests": len(RAW), "findings": 0}


def first_line(line: ssl.SSLSocket) -> bytes:
    """The status line; empty when the server just hung up."""
    try:
        return line.recv(http.client._MAXLINE).partition(b"\r\n")[0]
    except OSError:
        return b""
