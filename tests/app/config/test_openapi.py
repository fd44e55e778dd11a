"""The published description of the machine doors says what the doors are."""

from __future__ import annotations

import importlib
from collections.abc import Iterator

import pytest
from django.test import Client
from django.urls import URLPattern, URLResolver

from bcl.config import openapi

pytestmark = pytest.mark.django_db


def routes() -> Iterator[str]:
    def walk(entries: list, before: str) -> Iterator[str]:
        for entry in entries:
            here = before + str(entry.pattern)
            if isinstance(entry, URLResolver):
                yield from walk(entry.url_patterns, here)
            elif isinstance(entry, URLPattern):
                yield "/" + here.replace("<str:", "{").replace(">", "}")

    yield from walk(importlib.import_module("bcl.config.urls").urlpatterns, "")


def test_description__names_every_door_and_no_other() -> None:
    assert set(openapi.describe()["paths"]) == set(routes())


def test_description__of_each_door__leaves_out_only_methods_that_are_refused() -> None:
    for path, operations in openapi.describe()["paths"].items():
        place = path.replace("{upload_id}", "x").replace("{bundle_id}", "x")
        for method in {"get", "put", "post", "patch", "delete"} - set(operations):
            answer = Client().generic(method.upper(), place)
            # Before its method, a door looks at who asks: nobody, here.
            assert answer.status_code in (403, 404, 405), (method, path)


def test_description__is_given_to_whom_the_door_lets_in() -> None:
    answer = Client().get(openapi.PATH)
    assert answer.status_code == 200 and answer.json()["openapi"] == "3.1.0"
    for refused in ("post", "put", "delete"):
        assert getattr(Client(), refused)(openapi.PATH).status_code == 405


def test_description__every_reference__leads_somewhere() -> None:
    described = openapi.describe()

    def references(part: object) -> Iterator[str]:
        if isinstance(part, dict):
            if "$ref" in part:
                yield part["$ref"]
            for each in part.values():
                yield from references(each)
        elif isinstance(part, list | tuple):
            for each in part:
                yield from references(each)

    found = set(references(described))
    assert len(found) > 10
    for reference in found:
        place = described
        for step in reference.removeprefix("#/").split("/"):
            place = place[step]
