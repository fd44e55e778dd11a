"""The door for gateways: tus 1.0.0 uploads and the state of transmissions (step 5 and 10).

Every request names its gateway by client certificate; one that is not registered, revoked or of
another town gets 403 and a code, and nothing else is looked at. Another town's upload or
transmission answers exactly like one that never was.
"""

from __future__ import annotations

import uuid
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from typing import Any

from django.http import HttpRequest, HttpResponse, HttpResponseBase, JsonResponse
from django.views.decorators.csrf import csrf_exempt

from bcl.foundation import tenancy
from bcl.linkage import settings as intake_settings
from bcl.linkage.actions import upload as uploads
from bcl.linkage.actions.answers import describe_contact, describe_transmission
from bcl.linkage.actions.freshness import note_contact
from bcl.linkage.actions.receipt import sign_receipt
from bcl.linkage.actions.resend import tell_requests
from bcl.linkage.queries import find_transmission, list_findings, list_lanes
from bcl.linkage.wire import tus
from bcl.linkage.wire.body import RequestBody
from bcl.municipalities import api as municipalities
from bcl_contract import clock
from bcl_contract.refusals import Refusal

Door = Callable[..., HttpResponseBase]
_OVERRIDABLE = frozenset({"PATCH", "DELETE", "HEAD"})
_LONGEST_BUNDLE_ID = 40
_CONTACT = "/contact"


def refuse(refusal: Refusal) -> HttpResponse:
    """The answer to a refusal: its status, its code and text, nothing about anybody."""
    response = JsonResponse(
        refusal.as_json(),
        status=refusal.text.http_status,
        json_dumps_params={"ensure_ascii": False},
    )
    if refusal.code in ("LINKAGE_UPLOAD_BUSY", "LINKAGE_UPLOAD_TOO_MANY"):
        response["Retry-After"] = "5"
    return response


def gateway_door(view: Door) -> Door:
    """Let only registered gateways of this environment in, whose clock agrees with ours.

    Every answer says our environment and our time: the gateway refuses too (R-040, R-263).
    """

    @csrf_exempt
    def guarded(request: HttpRequest, **arguments: Any) -> HttpResponseBase:
        at = clock.now()
        response = judged(request, at, **arguments)
        response["X-BCL-Environment"] = intake_settings.environment()
        response["X-BCL-Time"] = clock.now().isoformat()
        return response

    def judged(request: HttpRequest, at: datetime, **arguments: Any) -> HttpResponseBase:
        gateway = _find_gateway(request)
        if gateway is None:
            return refuse(Refusal("LINKAGE_GATEWAY_NOT_REGISTERED"))
        foreign = tus.check_environment(
            request.headers.get("X-BCL-Environment"), own=intake_settings.environment()
        )
        if foreign is not None:
            return refuse(foreign)
        limits = intake_settings.limits()
        skew = tus.check_sent_at(
            request.headers.get("X-BCL-Sent-At"),
            now=at,
            tolerance=timedelta(seconds=limits.clock_skew_seconds),
        )
        if skew is not None:
            return refuse(skew)
        intake = uploads.Intake(
            municipality_code=str(gateway.municipality_code),
            gateway_id=str(gateway.id),
            area=intake_settings.receive_area(),
            limits=limits,
        )
        asked = request.path.endswith(_CONTACT)
        note_contact(intake.municipality_code, intake.gateway_id, at=at, asked=asked)
        return view(request, intake=intake, at=at, **arguments)

    return guarded


def _find_gateway(request: HttpRequest) -> Any:
    certificate = getattr(request, "client_certificate_der", None)
    if not certificate:
        return None
    return municipalities.find_gateway_by_cert(certificate)


def _speak_tus(view: Door) -> Door:
    def spoken(request: HttpRequest, **arguments: Any) -> HttpResponseBase:
        method = _method_of(request)
        if method == "OPTIONS":
            response = _options(arguments["intake"])
        elif (refusal := tus.check_version(request.headers.get("Tus-Resumable"))) is not None:
            response = refuse(refusal)
            response["Tus-Version"] = tus.VERSION
        else:
            response = view(request, method=method, **arguments)
        response["Tus-Resumable"] = tus.VERSION
        response["Cache-Control"] = "no-store"
        return response

    return spoken


@gateway_door
@_speak_tus
def upload_collection(
    request: HttpRequest, *, method: str, intake: uploads.Intake, at: datetime
) -> HttpResponseBase:
    """POST creates an upload; with a body of the chunk type it is the first piece as well."""
    if method != "POST":
        return _wrong_method("OPTIONS, POST")
    headers = request.headers
    creation = tus.parse_creation(
        length=headers.get("Upload-Length"),
        metadata=headers.get("Upload-Metadata"),
        defer=headers.get("Upload-Defer-Length"),
        concat=headers.get("Upload-Concat"),
    )
    if isinstance(creation, Refusal):
        return refuse(creation)
    chunk = None
    if headers.get("Content-Type") == tus.CHUNK_TYPE:
        chunk = _read_chunk(request, offset=0)
        if isinstance(chunk, Refusal):
            return refuse(chunk)
    progress = uploads.create_upload(
        intake,
        length=creation.length,
        bundle_id=creation.bundle_id,
        filename=creation.filename,
        at=at,
    )
    if isinstance(progress, Refusal):
        return refuse(progress)
    if chunk is not None:
        # The upload exists whatever becomes of its first piece: the client asks HEAD and goes on.
        appended = uploads.append_chunk(intake, progress.upload_id, chunk, at=at)
        if not isinstance(appended, Refusal):
            progress = appended
    response = HttpResponse(status=201)
    response["Location"] = f"{request.path.rstrip('/')}/{progress.upload_id}"
    _write_progress(response, progress)
    return response


@gateway_door
@_speak_tus
def upload_one(
    request: HttpRequest, *, upload_id: str, method: str, intake: uploads.Intake, at: datetime
) -> HttpResponseBase:
    """HEAD tells the offset, PATCH appends, DELETE gives up."""
    known = _parse_id(upload_id)
    if known is None:
        return refuse(Refusal("LINKAGE_UPLOAD_UNKNOWN"))
    if method == "HEAD":
        progress = uploads.find_upload(intake, known, at=at)
        if isinstance(progress, Refusal):
            return refuse(progress)
        response = HttpResponse(status=200)
        response["Upload-Length"] = str(progress.length)
        _write_progress(response, progress)
        return response
    if method == "PATCH":
        return _append(request, known, intake, at)
    if method == "DELETE":
        refusal = uploads.terminate_upload(intake, known, at=at)
        return HttpResponse(status=204) if refusal is None else refuse(refusal)
    return _wrong_method("OPTIONS, HEAD, PATCH, DELETE")


@gateway_door
def transmission(
    request: HttpRequest, *, bundle_id: str, intake: uploads.Intake, at: datetime
) -> HttpResponseBase:
    """GET: state, counts, findings and signed receipt of one transmission (step 10).

    `?sha256=` picks one of several contents sent under one bundle id; else the first counts.
    """
    if request.method != "GET":
        return _wrong_method("GET")
    if len(bundle_id) > _LONGEST_BUNDLE_ID:
        return refuse(Refusal("TRANSMISSION_NOT_FOUND"))
    with tenancy.scope(intake.municipality_code):
        found = find_transmission(bundle_id, sha256=request.GET.get("sha256"))
        if found is None:
            return refuse(Refusal("TRANSMISSION_NOT_FOUND"))
        answer = describe_transmission(found, list_findings(found), sign_receipt(found, at=at))
    response = JsonResponse(answer, json_dumps_params={"ensure_ascii": False})
    response["Cache-Control"] = "no-store"
    return response


@gateway_door
def contact(request: HttpRequest, *, intake: uploads.Intake, at: datetime) -> HttpResponseBase:
    """GET: a gateway asks, all day long, whether there is anything for it; so we hear it lives.

    Answers with open wishes for re-sending and how far each lane has landed.
    """
    if request.method != "GET":
        return _wrong_method("GET")
    with tenancy.scope(intake.municipality_code):
        answer = describe_contact(tell_requests(at=at), list_lanes())
    response = JsonResponse(answer, json_dumps_params={"ensure_ascii": False})
    response["Cache-Control"] = "no-store"
    return response


def _append(
    request: HttpRequest, upload_id: uuid.UUID, intake: uploads.Intake, at: datetime
) -> HttpResponseBase:
    if request.headers.get("Content-Type") != tus.CHUNK_TYPE:
        return refuse(Refusal("LINKAGE_UPLOAD_CONTENT_TYPE"))
    offset = tus.parse_number(request.headers.get("Upload-Offset"), header="Upload-Offset")
    if isinstance(offset, Refusal):
        return refuse(offset)
    chunk = _read_chunk(request, offset=offset)
    if isinstance(chunk, Refusal):
        return refuse(chunk)
    progress = uploads.append_chunk(intake, upload_id, chunk, at=at)
    if isinstance(progress, Refusal):
        return refuse(progress)
    response = HttpResponse(status=204)
    _write_progress(response, progress)
    return response


def _read_chunk(request: HttpRequest, *, offset: int) -> uploads.Chunk | Refusal:
    length = tus.chunk_length(
        content_length=request.META.get("CONTENT_LENGTH"),
        transfer_encoding=request.headers.get("Transfer-Encoding"),
    )
    if isinstance(length, Refusal):
        return length
    checksum = tus.parse_checksum(request.headers.get("Upload-Checksum"))
    if isinstance(checksum, Refusal):
        return checksum
    body = RequestBody(request, declared=length, idle_seconds=intake_settings.limits().idle_seconds)
    if checksum is None:
        return uploads.Chunk(offset, body)
    hasher = tus.ALGORITHMS[checksum.algorithm]()
    return uploads.Chunk(offset, body, hasher, checksum.digest)


def _write_progress(response: HttpResponse, progress: uploads.Progress) -> None:
    response["Upload-Offset"] = str(progress.offset)
    if progress.transmission is None:
        response["Upload-Expires"] = format_datetime(
            progress.expires_at.astimezone(UTC), usegmt=True
        )
    else:
        response["X-BCL-Bundle-Id"] = progress.transmission.bundle_id
        response["X-BCL-Transmission-State"] = progress.transmission.state


def _options(intake: uploads.Intake) -> HttpResponse:
    response = HttpResponse(status=204)
    response["Tus-Version"] = tus.VERSION
    response["Tus-Extension"] = tus.EXTENSIONS
    response["Tus-Checksum-Algorithm"] = ",".join(tus.ALGORITHMS)
    response["Tus-Max-Size"] = str(intake.limits.maximum_bytes)
    return response


def _wrong_method(allowed: str) -> HttpResponse:
    response = refuse(Refusal("LINKAGE_METHOD_NOT_ALLOWED"))
    response["Allow"] = allowed
    return response


def _method_of(request: HttpRequest) -> str:
    """The protocol lets a client behind an old proxy send POST and name the method in a header."""
    named = request.headers.get("X-HTTP-Method-Override", "")
    return named if request.method == "POST" and named in _OVERRIDABLE else str(request.method)


def _parse_id(text: str) -> uuid.UUID | None:
    try:
        return uuid.UUID(text)
    except ValueError:
        return None
