"""What the subscribers' doors take and give, for the published description (`/wire/openapi.json`).

The bodies are the contract's own models: nothing is written twice.
"""

from __future__ import annotations

from typing import Any

from pydantic.json_schema import models_json_schema

from bcl_contract import subscription_messages as contract
from bcl_contract.signed_messages import SIGNATURE_HEADER

_DOORS = (
    ("changes", contract.ChangesRequest, contract.ChangesAnswer, "変更の続きを受け取る"),
    ("find", contract.FindRequest, contract.FindAnswer, "一人分を探す"),
    ("restart", contract.RestartRequest, contract.RestartAnswer, "はじめから受け取り直す"),
)
_TEXT = {"schema": {"type": "string"}, "required": True}


def describe() -> tuple[dict[str, Any], dict[str, Any]]:
    """OpenAPI paths and component schemas of these doors."""
    wanted: list[tuple[Any, Any]] = []
    for _, request, answer, _title in _DOORS:
        wanted += [(request, "validation"), (answer, "serialization")]
    _, found = models_json_schema(wanted, ref_template="#/components/schemas/{model}")
    paths = {
        f"/wire/subscriptions/{word}": {
            "post": _operation(request.__name__, answer.__name__, title)
        }
        for word, request, answer, title in _DOORS
    }
    return paths, found["$defs"]


def _operation(request: str, answer: str, title: str) -> dict[str, Any]:
    return {
        "summary": title,
        "security": [{"subscriberCertificate": []}],
        "requestBody": {"required": True, "content": _json(request)},
        "responses": {
            "200": {
                "description": "署名つきの答え",
                "headers": {SIGNATURE_HEADER: _TEXT, contract.SIGNING_KEY_HEADER: _TEXT},
                "content": _json(answer),
            },
            "4XX": {"$ref": "#/components/responses/Refused"},
            "5XX": {"$ref": "#/components/responses/Refused"},
        },
    }


def _json(name: str) -> dict[str, Any]:
    return {"application/json": {"schema": {"$ref": f"#/components/schemas/{name}"}}}
