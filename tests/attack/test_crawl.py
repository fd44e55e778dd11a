"""Tenant × role × route through real TLS: who gets what, and never a byte of another town."""

from __future__ import annotations

import csv
import http.client
import os
import re
import secrets
import socket
import ssl
from collections.abc import Iterator
from dataclasses import dataclass, replace
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
from bcl_sim.core_system.town import Town
from bcl_sim.pki import AGENCY_CODE as AGENCY

ZONES = Path(bcl.config.__file__).parent / "data" / "zones.csv"
ARGUMENTS = {"int": "1", "str": "clerk-1", "uuid": "00000000-0000-4000-8000-000000000000"}
BEFORE_SIGN_IN = {"/sign-in", "/sign-in/code", "/enrol", "/enrol/password", "/enrol/app"}
CLAIMS = {
    "X-Forwarded-For": "127.0.0.1", "X-Real-IP": "127.0.0.1", "Forwarded": "for=127.0.0.1",
    "X-Original-URL": "/", "X-HTTP-Method-Override": "GET", "X-Client-Cert": "x",
}  # fmt: skip


def staff_paths(transmission: str = ARGUMENTS["uuid"]) -> list[str]:
    """Every route of the staff pages, from the table that a test holds against the resolver."""
    with ZONES.open(encoding="utf-8", newline="") as file:
        routes = [row["route"] for row in csv.DictReader(file) if row["door"] == "console"]
    routes.remove("static/")
    given = {**ARGUMENTS, "uuid": transmission}
    return ["/" + re.sub(r"<(\w+):\w+>", lambda one: given[one[1]], one) for one in routes]


@dataclass(frozen=True)
class Canaries:
    """What must never be seen outside of one tenant, and how a thief would ask for it."""

    marks: frozenset[str]
    transmission: str = ARGUMENTS["uuid"]
    records: tuple[str, ...] = ()
    searches: tuple[dict[str, str], ...] = ()

    def seen_in(self, text: str) -> list[str]:
        return sorted(mark for mark in self.marks if mark in text)


def add_staff(world: World, code: str, name_ja: str) -> None:
    """A colleague with this name, registered by the tenant's own administrator."""
    with signed_in(world, person_of(world, "admin-1", code)) as client:
        made = post(
            client,
            "/accounts/new",
            login_name=f"canary-{secrets.token_hex(4)}",
            name_ja=name_ja,
            roles="TOWN_CLERK",
        )
        assert made.status_code == 200, made.text
        assert name_ja in client.get("/accounts").text


def staff_canary(world: World, code: str) -> str:
    """A name that nobody else has, of a person who works for one town."""
    name_ja = f"見張{secrets.token_hex(6)}　{code}"
    add_staff(world, code, name_ja)
    return name_ja


def first_town_canaries(world: World) -> Canaries:
    """Residents as the first town's own system knows them; its clerk finds them by the pages."""
    town = Town(world.places.town(TOWN, "core") / "town")
    rows = town.truth()["J01"][::10]
    town.close()
    marks = {row["addressee_number"] for row in rows} | {
        row[name] for row in rows for name in ("full_name", "full_name_kana") if row[name]
    }
    look, records = {"purpose": "DATA_CHECK", "reference": "", "born_on": ""}, []
    searches = [{**look, "addressee_number": row["addressee_number"]} for row in rows[:20]]
    with signed_in(world, person_of(world, "clerk-1")) as client:
        for row, search in zip(rows, searches, strict=False):
            found = post(client, "/residents", **search)
            assert row["full_name"] in found.text, "the town itself sees its people"
            records += re.findall(r'name="record" value="(\d+)"', found.text)
    with signed_in(world, person_of(world, "admin-1")) as client:
        transmission = re.search(r'href="/linkage/([0-9a-f-]{36})"', client.get("/linkage").text)
    assert transmission is not None
    return Canaries(frozenset(marks), transmission[1], tuple(records), tuple(searches))


def crawl(world: World, code: str, canaries: Canaries) -> tuple[int, list[tuple[str, str, str]]]:
    """Every person of a tenant at every route; gives the requests and what was wrong."""
    asked, faults = 0, []
    for person in people_of(world, code):
        with signed_in(world, person) as client:
            for path, answer in _answers(client, canaries):
                asked += 1
                if answer.status_code >= 500:
                    faults.append((person.login_name, path, str(answer.status_code)))
                if canaries.seen_in(answer.text):
                    faults.append((person.login_name, path, "something of another town"))
    return asked, faults


def _answers(
    client: httpx.Client, canaries: Canaries
) -> Iterator[tuple[str, httpx.Response]]:
    for path in staff_paths(canaries.transmission):
        if path != "/sign-out":
            yield path, client.get(path, headers=CLAIMS)
            yield path, client.put(path)
    look = {"purpose": "DATA_CHECK", "reference": ""}
    for record in canaries.records:
        for path in ("/residents/person", "/residents/household"):
            yield path, post(client, path, **look, record=record)
    for record in canaries.records[:1]:  # once: wrong codes stop the terminal
        path = "/residents/person/reveal"
        yield path, post(client, path, **look, record=record, code="000000")
    for search in canaries.searches:
        # What was asked for comes back in the form: take it out before looking for the rest.
        answer = post(client, "/residents", **search)
        answer._content = answer.content.replace(search["addressee_number"].encode(), b"")
        yield "/residents", answer


@pytest.mark.requirement("R-002")
@pytest.mark.requirement("R-060")
def test_crawl__every_person_of_every_tenant__sees_nothing_of_another(world: World, tell) -> None:
    first = first_town_canaries(world)
    staff = {code: staff_canary(world, code) for code in (TOWN, OTHER_TOWN)}
    first = replace(first, marks=first.marks | {staff[TOWN]})
    other = Canaries(frozenset({staff[OTHER_TOWN]}))
    asked, faults = 0, []
    for code, foreign in (
        (TOWN, other), (OTHER_TOWN, first), (AGENCY, other), (AGENCY, first),
    ):  # fmt: skip
        requests, found = crawl(world, code, foreign)
        asked, faults = asked + requests, faults + found
    tell["crawl tenant × role × route"] = {
        "requests": asked, "canaries": len(first.marks) + 1, "findings": len(faults),
    }  # fmt: skip
    assert len(first.marks) > 200 and len(first.records) > 10 and asked > 1500
    assert faults == []


def test_control__a_planted_leak__is_found_by_the_same_crawl(world: World) -> None:
    """A name of the first town that stands in the other town's list of staff."""
    mark = staff_canary(world, TOWN)
    add_staff(world, OTHER_TOWN, mark)
    _, faults = crawl(world, OTHER_TOWN, Canaries(frozenset({mark})))
    assert ("admin-1", "/accounts", "something of another town") in faults


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
