"""What the intake doors take and give, for the published description (`/wire/openapi.json`).

The uploads follow tus 1.0.0 (tus.io); this says which of its headers count here.
"""

from __future__ import annotations

from typing import Any

from bcl.linkage.rules import TransmissionState
from bcl.linkage.wire import tus

_NUMBER = {"type": "string", "pattern": r"^(0|[1-9][0-9]{0,17})$"}
_REFUSED = {"$ref": "#/components/responses/Refused"}


def describe() -> tuple[dict[str, Any], dict[str, Any]]:
    """OpenAPI paths and component schemas of these doors."""
    asked = _plain("送れる大きさと拡張を尋ねる", {"204": _none()})
    collection = {"post": _creation(), "options": asked}
    paths = {
        "/wire/uploads/": collection,
        "/wire/uploads": collection,
        "/wire/uploads/{upload_id}": {
            "parameters": [_path("upload_id", {"type": "string", "format": "uuid"})],
            "head": _plain("受け取った位置を尋ねる", {"200": _none()}, [_TUS]),
            "patch": _piece(),
            "delete": _plain("送るのをやめる", {"204": _none()}, [_TUS]),
            "options": asked,
        },
        "/wire/transmissions/{bundle_id}": {
            "parameters": [
                _path("bundle_id", {"type": "string", "minLength": 1, "maxLength": 40}),
            ],
            "get": _plain(
                "送った連携データの状態・指摘・受領証",
                {"200": _json("Transmission")},
                [{"name": "sha256", "in": "query", "schema": {"type": "string"}}],
            ),
        },
        "/wire/contact": {"get": _plain("送り直しの依頼などを尋ねる", {"200": _json("Contact")})},
    }
    return paths, {"Transmission": _transmission(), "Contact": _CONTACT}


def _header(name: str, schema: dict[str, Any], *, required: bool = True) -> dict[str, Any]:
    return {"name": name, "in": "header", "required": required, "schema": schema}


def _path(name: str, schema: dict[str, Any]) -> dict[str, Any]:
    return {"name": name, "in": "path", "required": True, "schema": schema}


_TUS = _header("Tus-Resumable", {"type": "string", "const": tus.VERSION})
_CLAIMS = [
    _header("X-BCL-Environment", {"type": "string", "enum": ["production", "verification"]}),
    _header("X-BCL-Sent-At", {"type": "string", "format": "date-time"}, required=False),
]


def _none() -> dict[str, Any]:
    return {"description": "本文はない（見出しで答える）"}


def _json(name: str) -> dict[str, Any]:
    schema = {"$ref": f"#/components/schemas/{name}"}
    return {"description": name, "content": {"application/json": {"schema": schema}}}


def _plain(
    title: str, responses: dict[str, Any], parameters: list[dict[str, Any]] | None = None
) -> dict[str, Any]:
    return {
        "summary": title,
        "security": [{"gatewayCertificate": []}],
        "parameters": [*_CLAIMS, *(parameters or [])],
        "responses": {**responses, "4XX": _REFUSED, "5XX": _REFUSED},
    }


def _creation() -> dict[str, Any]:
    metadata = {"type": "string", "description": "bundle_id と filename（値は base64）"}
    parameters = [
        _TUS, _header("Upload-Length", _NUMBER), _header("Upload-Metadata", metadata),
    ]  # fmt: skip
    created = {
        **_none(),
        "headers": {
            "Location": {"required": True, "schema": {"type": "string"}},
            "Upload-Offset": {"required": True, "schema": _NUMBER},
        },
    }
    return _plain("送信を始める", {"201": created}, parameters)


def _piece() -> dict[str, Any]:
    checksum = {"type": "string", "description": "sha256 か sha1 と base64 の値"}
    parameters = [
        _TUS, _header("Upload-Offset", _NUMBER),
        _header("Upload-Checksum", checksum, required=False),
    ]  # fmt: skip
    operation = _plain("続きを送る", {"204": _none()}, parameters)
    piece = {"schema": {"type": "string", "format": "binary"}}
    operation["requestBody"] = {"required": True, "content": {tus.CHUNK_TYPE: piece}}
    return operation


def _nullable(kind: str) -> dict[str, Any]:
    return {"type": [kind, "null"]}


def _transmission() -> dict[str, Any]:
    finding = {
        "type": "object",
        "properties": {
            "file": {"type": "string"},
            "line": _nullable("integer"),
            "column": _nullable("string"),
            "rule": {"type": "string"},
            "severity": {"type": "string"},
            "code": {"type": "string"},
        },
        "required": ["file", "line", "column", "rule", "severity", "code"],
    }
    properties = {
        "bundle_id": {"type": "string"},
        "state": {"type": "string", "enum": [state.value for state in TransmissionState]},
        "code": _nullable("string"),
        "refusal": {"anyOf": [{"$ref": "#/components/schemas/Refusal"}, {"type": "null"}]},
        "lane": _nullable("string"),
        "sequence": _nullable("integer"),
        "mode": _nullable("string"),
        "as_of": _nullable("string"),
        "interface_version": _nullable("string"),
        "received_at": {"type": "string", "format": "date-time"},
        "landed_at": _nullable("string"),
        "load_number": _nullable("integer"),
        "files": {"type": "array", "items": {"type": "object"}},
        "findings": {"type": "array", "items": finding},
        "findings_total": {"type": "integer"},
        "receipt": {"type": "object"},
        "signature": {"type": "string"},
        "key_id": {"type": "string"},
    }
    return {"type": "object", "properties": properties, "required": list(properties)}


_CONTACT: dict[str, Any] = {
    "type": "object",
    "properties": {
        "resend_requests": {
            "type": "array",
            "items": {
                "type": "object",
                "properties": {
                    "id": {"type": "string", "format": "uuid"},
                    "lane": {"type": "string"},
                    "kind": {"type": "string"},
                    "sequence": _nullable("integer"),
                    "reason": {"type": "string"},
                    "requested_at": {"type": "string", "format": "date-time"},
                },
                "required": ["id", "lane", "kind", "sequence", "reason", "requested_at"],
            },
        },
        "lanes": {"type": "object", "additionalProperties": {"type": "integer"}},
    },
    "required": ["resend_requests", "lanes"],
}
