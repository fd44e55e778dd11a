"""`/wire/openapi.json`: what the machine doors take and give, put together from the apps (OpenAPI).

For those who build gateways and delivery centers, and for tools that try the doors. A test holds
it against the real routes; it names no town, no machine and no secret.
"""

from __future__ import annotations

from functools import cache
from typing import Any

from django.http import HttpRequest, JsonResponse
from django.views.decorators.http import require_http_methods

from bcl.issuance.wire import description as issuance
from bcl.linkage.wire import description as linkage
from bcl.subscriptions.wire import description as subscriptions

PATH = "/wire/openapi.json"


@require_http_methods(["GET"])
def show(request: HttpRequest) -> JsonResponse:
    """The description; anybody whom the door's TLS lets in may read it."""
    return JsonResponse(describe(), json_dumps_params={"ensure_ascii": False})


@cache
def describe() -> dict[str, Any]:
    """The whole description as an OpenAPI 3.1 object."""
    paths: dict[str, Any] = {PATH: {"get": _own_operation()}, **_watch_doors()}
    schemas: dict[str, Any] = {"Refusal": _REFUSAL, "Health": _HEALTH}
    for door in (linkage, issuance, subscriptions):
        found_paths, found_schemas = door.describe()
        paths |= found_paths
        schemas |= found_schemas
    for operations in paths.values():
        for method in operations.keys() & _METHODS:
            operations[method]["responses"] |= _OF_THE_SERVER
    for operations in paths.values():
        for method in operations.keys() & _METHODS:
            operations[method]["responses"] |= _OF_THE_SERVER
    return {
        "openapi": "3.1.0",
        "info": {"title": "BCL の機械の入口", "version": "1"},
        "paths": paths,
        "components": {
            "schemas": schemas,
            "responses": {"Refused": _REFUSED},
            "securitySchemes": {
                "gatewayCertificate": _MUTUAL_TLS,
                "deliveryCenterCertificate": _MUTUAL_TLS,
                "subscriberCertificate": _MUTUAL_TLS,
            },
        },
    }


def _own_operation() -> dict[str, Any]:
    content = {"application/json": {"schema": {"type": "object", "required": ["openapi"]}}}
    return {
        "summary": "この説明",
        "responses": {
            "200": {"description": "OpenAPI 3.1", "content": content},
            "4XX": {"$ref": "#/components/responses/Refused"},
        },
    }


def _watch_doors() -> dict[str, Any]:
    health = {"application/json": {"schema": {"$ref": "#/components/schemas/Health"}}}
    numbers = {"text/plain": {"schema": {"type": "string"}}}
    refused = {"4XX": {"$ref": "#/components/responses/Refused"}}
    well = {"description": "動いている", "content": health}
    unwell = {"description": "動けない", "content": health}
    told = {"description": "Prometheus の形の数値", "content": numbers}
    return {
        "/health": {
            "get": {"summary": "状態", "responses": {"200": well, "503": unwell, **refused}}
        },
        "/metrics": {"get": {"summary": "数値（運用のみ）", "responses": {"200": told, **refused}}},
    }


_METHODS = frozenset({"get", "post", "patch", "delete", "head", "options"})
# Refused before any door is looked at: the HTTP server's own words.
_OF_THE_SERVER = {
    "414": {"description": "番地が長すぎる", "content": {"text/html": {}}},
    "431": {"description": "見出しが多すぎるか長すぎる", "content": {"text/html": {}}},
}
_METHODS = frozenset({"get", "post", "patch", "delete", "head", "options"})
# Refused before any door is looked at: the HTTP server's own words.
_OF_THE_SERVER = {
    "414": {"description": "番地が長すぎる", "content": {"text/html": {}}},
    "431": {"description": "見出しが多すぎるか長すぎる", "content": {"text/html": {}}},
}
_MUTUAL_TLS = {"type": "mutualTLS"}
_REFUSAL: dict[str, Any] = {
    "type": "object",
    "properties": {
        "code": {"type": "string", "pattern": "^[A-Z][A-Z0-9_]+$"},
        "text": {"type": "string"},
        "who": {"type": "string"},
        "how": {"type": "string"},
        "detail": {"type": "object"},
    },
    "required": ["code", "text", "detail"],
}
_REFUSED: dict[str, Any] = {
    "description": "断る理由（コードと言葉）",
    "content": {"application/json": {"schema": {"$ref": "#/components/schemas/Refusal"}}},
}
_HEALTH: dict[str, Any] = {
    "type": "object",
    "properties": {
        "status": {"type": "string", "enum": ["ok", "unavailable"]},
        "checks": {"type": "object", "additionalProperties": {"type": "string"}},
    },
    "required": ["status", "checks"],
}
