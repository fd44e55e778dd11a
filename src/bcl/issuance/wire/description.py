"""What the issuing doors take and give, for the published description (`/wire/openapi.json`).

The bodies are the contract's own models: nothing is written twice.
"""

from __future__ import annotations

from typing import Any

from pydantic.json_schema import models_json_schema

from bcl_contract import delivery_center as contract

_DOORS = (
    ("INQUIRE", contract.InquireRequest, contract.InquireAnswer, "証明書の種類を尋ねる"),
    ("ISSUE", contract.IssueRequest, contract.IssueAnswer, "証明書の発行を求める"),
    ("CONFIRM", contract.ConfirmRequest, contract.ConfirmAnswer, "交付の結果を知らせる"),
    ("RECONCILE", contract.ReconcileRequest, contract.ReconcileAnswer, "一日の件数を突き合わせる"),
)


def describe() -> tuple[dict[str, Any], dict[str, Any]]:
    """OpenAPI paths and component schemas of these doors."""
    wanted: list[tuple[Any, Any]] = []
    for _, request, answer, _title in _DOORS:
        wanted += [(request, "validation"), (answer, "serialization")]
    _, found = models_json_schema(wanted, ref_template="#/components/schemas/{model}")
    paths = {
        getattr(contract, f"{word}_PATH"): {
            "post": _operation(request.__name__, answer.__name__, title)
        }
        for word, request, answer, title in _DOORS
    }
    return paths, found["$defs"]


def _operation(request: str, answer: str, title: str) -> dict[str, Any]:
    signature = {"schema": {"type": "string", "contentEncoding": "base64"}, "required": True}
    return {
        "summary": title,
        "security": [{"deliveryCenterCertificate": []}],
        "parameters": [{"name": contract.SIGNATURE_HEADER, "in": "header", **signature}],
        "requestBody": {"required": True, "content": _json(request)},
        "responses": {
            "200": {
                "description": "署名つきの答え。断るときも 200 で、result と refusal に示す",
                "headers": {contract.SIGNATURE_HEADER: signature},
                "content": _json(answer),
            },
            "4XX": {"$ref": "#/components/responses/Refused"},
            "5XX": {"$ref": "#/components/responses/Refused"},
        },
    }


def _json(name: str) -> dict[str, Any]:
    return {"application/json": {"schema": {"$ref": f"#/components/schemas/{name}"}}}
