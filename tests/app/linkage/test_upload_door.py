"""The tus door: who may come in, what headers may say, what an acknowledged offset promises."""

from __future__ import annotations

import base64
import hashlib
import io
import os

import pytest

from bcl.foundation import tenancy
from bcl.linkage import settings as intake_settings
from bcl.linkage.models import Transmission, Upload
from bcl.municipalities import api as municipalities

pytestmark = pytest.mark.django_db


def code_of(response) -> str:
    return response.json()["code"]


def checksum(content: bytes, algorithm: str = "sha256") -> str:
    digest = hashlib.new(algorithm, content).digest()
    return f"{algorithm} {base64.b64encode(digest).decode()}"


@pytest.mark.requirement("R-015")
def test_upload__sent_in_pieces__is_one_received_transmission(gateway, new_bundle_id) -> None:
    content, bundle_id = os.urandom(300_000), new_bundle_id()
    answer = gateway.send(content, bundle_id, piece=70_000)
    assert answer["Upload-Offset"] == "300000"
    assert answer["X-BCL-Transmission-State"] == "RECEIVED"
    state = gateway.state(bundle_id).json()
    assert state["receipt"]["sha256"] == hashlib.sha256(content).hexdigest()
    assert state["receipt"]["bytes"] == 300_000


def test_options__names_version_extensions_and_algorithms(gateway) -> None:
    answer = gateway.request("OPTIONS", "/wire/uploads/")
    assert answer.status_code == 204
    assert answer["Tus-Version"] == "1.0.0"
    for extension in ("creation", "checksum", "termination", "expiration"):
        assert extension in answer["Tus-Extension"].split(",")
    assert "sha256" in answer["Tus-Checksum-Algorithm"]


@pytest.mark.requirement("R-016")
def test_stranger__gets_403_and_nothing_more(town, gateway, make_gateway, new_bundle_id) -> None:
    created = gateway.create(10, new_bundle_id())
    stranger = make_gateway(town)
    municipalities.revoke_gateway(stranger.gateway_id)
    attempts = [
        stranger.request("OPTIONS", "/wire/uploads/"),
        stranger.create(10, new_bundle_id()),
        stranger.tus("HEAD", created["Location"]),
        stranger.patch(created["Location"], b"0123456789", 0),
        stranger.tus("DELETE", created["Location"]),
        stranger.state("01JTEST0000000000000000001"),
    ]
    for answer in attempts:
        assert answer.status_code == 403
        if answer.request["REQUEST_METHOD"] != "HEAD":
            assert code_of(answer) == "LINKAGE_GATEWAY_NOT_REGISTERED"
        assert "Tus-Version" not in answer
    assert gateway.tus("HEAD", created["Location"])["Upload-Offset"] == "0"


@pytest.mark.requirement("R-016")
def test_other_towns_upload__answers_like_one_that_never_was(
    gateway, other_gateway, new_bundle_id
) -> None:
    bundle_id = new_bundle_id()
    created = gateway.create(10, bundle_id)
    unknown = "/wire/uploads/4b9e0f5e-3f0c-4c38-9d36-0d1f7a7a7a7a"
    for method in ("HEAD", "DELETE"):
        foreign = other_gateway.tus(method, created["Location"])
        never = other_gateway.tus(method, unknown)
        assert (foreign.status_code, foreign.content) == (404, never.content)
    foreign = other_gateway.patch(created["Location"], b"0123456789", 0)
    never = other_gateway.patch(unknown, b"0123456789", 0)
    assert (foreign.status_code, foreign.content) == (404, never.content)
    gateway.patch(created["Location"], b"0123456789", 0)
    assert other_gateway.state(bundle_id).status_code == 404
    assert gateway.state(bundle_id).status_code == 200


@pytest.mark.parametrize(
    "length", ["-1", "+5", "5.0", "0x10", "１０", "1e3", " 5", "", "05", "9" * 40, "5,5", "0"]
)
def test_creation__with_a_length_that_is_none__is_refused(gateway, new_bundle_id, length) -> None:
    answer = gateway.create(1, new_bundle_id(), **{"Upload-Length": length})
    assert answer.status_code == 400
    assert code_of(answer) == "LINKAGE_UPLOAD_HEADER_INVALID"


@pytest.mark.parametrize(
    "value",
    [
        "bundle_id",
        "bundle_id not-base64!",
        "bundle_id MDFKVEVTVA==,bundle_id MDFKVEVTVA==",
        "bundle_id " + base64.b64encode(b"01JTEST\r\nSet-Cookie: a=b").decode(),
        "bundle_id " + base64.b64encode(b"\xff\xfe" * 10).decode(),
        "bundle_id " + base64.b64encode(b"../../etc/passwd-very-long").decode(),
        "bundle_id " + base64.b64encode(b"short").decode(),
        "filename YS56aXA=",
        "",
        "x" * 5000,
    ],
)
def test_creation__with_metadata_that_is_none__is_refused(gateway, value) -> None:
    answer = gateway.tus(
        "POST", "/wire/uploads/", **{"Upload-Length": "5", "Upload-Metadata": value}
    )
    assert answer.status_code == 400
    assert code_of(answer) == "LINKAGE_UPLOAD_HEADER_INVALID"


def test_creation__too_large__is_refused(gateway, new_bundle_id) -> None:
    limit = intake_settings.limits().maximum_bytes
    assert gateway.create(limit + 1, new_bundle_id()).status_code == 413


@pytest.mark.parametrize("header", ["Upload-Concat", "Upload-Defer-Length"])
def test_creation__with_an_extension_we_do_not_offer__is_refused(
    gateway, new_bundle_id, header
) -> None:
    answer = gateway.create(5, new_bundle_id(), **{header: "1"})
    assert code_of(answer) == "LINKAGE_UPLOAD_EXTENSION_UNKNOWN"


def test_creation__with_the_disk_nearly_full__is_refused_before_a_byte_is_sent(
    gateway, new_bundle_id, monkeypatch
) -> None:
    from bcl.linkage.adapters.receive_area import ReceiveArea

    floor = intake_settings.limits().free_bytes
    monkeypatch.setattr(ReceiveArea, "free_bytes", lambda self: floor + 1000)
    first = gateway.create(600, new_bundle_id())
    assert first.status_code == 201
    # What is promised to the first upload is not there for a second one.
    second = gateway.create(600, new_bundle_id())
    assert second.status_code == 507
    assert code_of(second) == "LINKAGE_UPLOAD_STORAGE_FULL"


def test_request__of_another_protocol_version__is_refused(gateway, new_bundle_id) -> None:
    answer = gateway.request("POST", "/wire/uploads/", **{"Tus-Resumable": "0.2.2"})
    assert answer.status_code == 412
    assert answer["Tus-Version"] == "1.0.0"
    assert gateway.request("POST", "/wire/uploads/").status_code == 412


@pytest.mark.requirement("R-263")
@pytest.mark.parametrize(
    ("seconds", "status"), [(0, 201), (59, 201), (-59, 201), (62, 400), (-62, 400)]
)
def test_request__from_a_skewed_clock__is_refused(gateway, new_bundle_id, seconds, status) -> None:
    from datetime import timedelta

    from bcl_contract import clock

    sent_at = (clock.now() + timedelta(seconds=seconds)).isoformat()
    answer = gateway.create(5, new_bundle_id(), **{"X-BCL-Sent-At": sent_at})
    assert answer.status_code == status
    if status == 400:
        assert code_of(answer) == "TRANSMISSION_CLOCK_SKEW"


def test_request__with_a_time_that_is_none__is_refused(gateway, new_bundle_id) -> None:
    for value in ("yesterday", "2026-11-22T10:00:00", "1764000000"):
        answer = gateway.create(5, new_bundle_id(), **{"X-BCL-Sent-At": value})
        assert code_of(answer) == "LINKAGE_UPLOAD_HEADER_INVALID"


@pytest.mark.requirement("R-017")
def test_patch__at_another_offset__changes_nothing(gateway, new_bundle_id) -> None:
    path = gateway.create(10, new_bundle_id())["Location"]
    assert gateway.patch(path, b"01234", 0).status_code == 204
    for offset in ("0", "4", "6", "10", "9" * 18):
        answer = gateway.patch(path, b"x", 0, **{"Upload-Offset": offset})
        assert answer.status_code == 409
        assert code_of(answer) == "LINKAGE_UPLOAD_OFFSET"
    assert gateway.tus("HEAD", path)["Upload-Offset"] == "5"


@pytest.mark.parametrize("offset", ["-1", "five", "5,5", "", str(2**63)])
def test_patch__with_an_offset_that_is_none__is_refused(gateway, new_bundle_id, offset) -> None:
    path = gateway.create(10, new_bundle_id())["Location"]
    answer = gateway.patch(path, b"x", 0, **{"Upload-Offset": offset})
    assert answer.status_code == 400


def test_patch__of_another_content_type__is_refused(gateway, new_bundle_id) -> None:
    path = gateway.create(10, new_bundle_id())["Location"]
    answer = gateway.patch(path, b"x", 0, **{"Content-Type": "application/octet-stream"})
    assert answer.status_code == 415


@pytest.mark.requirement("R-017")
@pytest.mark.parametrize("algorithm", ["sha256", "sha1"])
def test_patch__with_a_wrong_checksum__is_460_and_moves_nothing(
    gateway, new_bundle_id, algorithm
) -> None:
    content, path = os.urandom(5000), gateway.create(5000, new_bundle_id())["Location"]
    first = {"Upload-Checksum": checksum(content[:2000], algorithm)}
    assert gateway.patch(path, content[:2000], 0, **first).status_code == 204
    # The last piece, so that nothing must be taken as complete either.
    wrong = {"Upload-Checksum": checksum(b"other", algorithm)}
    answer = gateway.patch(path, content[2000:], 2000, **wrong)
    assert (answer.status_code, code_of(answer)) == (460, "LINKAGE_UPLOAD_CHECKSUM")
    assert gateway.tus("HEAD", path)["Upload-Offset"] == "2000"
    right = {"Upload-Checksum": checksum(content[2000:], algorithm)}
    assert gateway.patch(path, content[2000:], 2000, **right).status_code == 204
    with tenancy.scope(gateway.municipality_code):
        assert Transmission.objects.get().sha256 == hashlib.sha256(content).hexdigest()


@pytest.mark.parametrize(
    "value", ["md5 1B2M2Y8AsgTpgAmY7PhCfg==", "sha256", "sha256 !!", "sha256 YWJj", "SHA256 YWJj"]
)
def test_patch__with_a_checksum_that_is_none__is_refused(gateway, new_bundle_id, value) -> None:
    path = gateway.create(10, new_bundle_id())["Location"]
    answer = gateway.patch(path, b"x", 0, **{"Upload-Checksum": value})
    assert answer.status_code == 400
    assert gateway.tus("HEAD", path)["Upload-Offset"] == "0"


def test_patch__past_the_announced_length__is_refused_and_stores_nothing(
    gateway, new_bundle_id
) -> None:
    path = gateway.create(10, new_bundle_id())["Location"]
    assert gateway.patch(path, b"0123456789X", 0).status_code == 413
    assert gateway.tus("HEAD", path)["Upload-Offset"] == "0"


@pytest.mark.requirement("R-017")
def test_patch__cut_off_in_the_middle__keeps_what_arrived(gateway, new_bundle_id) -> None:
    path = gateway.create(1000, new_bundle_id())["Location"]
    # The sender said 1000 bytes and the line dropped after 400.
    answer = gateway.client.generic(
        "PATCH",
        path,
        b"-",
        content_type="application/offset+octet-stream",
        secure=True,
        HTTP_TUS_RESUMABLE="1.0.0",
        HTTP_X_BCL_ENVIRONMENT="verification",
        HTTP_UPLOAD_OFFSET="0",
        CONTENT_LENGTH="1000",
        **{"gunicorn.socket": gateway.line(), "wsgi.input": io.BytesIO(b"a" * 400)},
    )
    assert code_of(answer) == "LINKAGE_UPLOAD_BODY_BROKEN"
    assert gateway.tus("HEAD", path)["Upload-Offset"] == "400"
    assert gateway.patch(path, b"b" * 600, 400).status_code == 204
    with tenancy.scope(gateway.municipality_code):
        assert (
            Transmission.objects.get().sha256 == hashlib.sha256(b"a" * 400 + b"b" * 600).hexdigest()
        )


def test_patch__cut_off_with_a_checksum__keeps_nothing(gateway, new_bundle_id) -> None:
    path = gateway.create(1000, new_bundle_id())["Location"]
    answer = gateway.client.generic(
        "PATCH",
        path,
        b"-",
        content_type="application/offset+octet-stream",
        secure=True,
        HTTP_TUS_RESUMABLE="1.0.0",
        HTTP_X_BCL_ENVIRONMENT="verification",
        HTTP_UPLOAD_OFFSET="0",
        CONTENT_LENGTH="1000",
        HTTP_UPLOAD_CHECKSUM=checksum(b"a" * 1000),
        **{"gunicorn.socket": gateway.line(), "wsgi.input": io.BytesIO(b"a" * 400)},
    )
    assert answer.status_code in (400, 460)
    assert gateway.tus("HEAD", path)["Upload-Offset"] == "0"


def test_patch__while_another_writer_is_at_it__is_refused(gateway, new_bundle_id) -> None:
    path = gateway.create(10, new_bundle_id())["Location"]
    with tenancy.scope(gateway.municipality_code):
        upload = Upload.objects.get()
    from bcl.linkage.actions.upload import _place

    writer = intake_settings.receive_area().open_writer(_place(upload), acknowledged=0)
    try:
        answer = gateway.patch(path, b"0123456789", 0)
        assert (answer.status_code, code_of(answer)) == (423, "LINKAGE_UPLOAD_BUSY")
    finally:
        writer.abandon()
    assert gateway.patch(path, b"0123456789", 0).status_code == 204


@pytest.mark.requirement("R-017")
def test_bytes_behind_the_acknowledged_offset__are_cut_by_the_next_writer(
    gateway, new_bundle_id
) -> None:
    """A server that died between fsync and commit: the file holds more than was acknowledged."""
    from bcl.linkage.actions.upload import _place

    path = gateway.create(10, new_bundle_id())["Location"]
    gateway.patch(path, b"01234", 0)
    with tenancy.scope(gateway.municipality_code):
        upload = Upload.objects.get()
    writer = intake_settings.receive_area().open_writer(_place(upload), acknowledged=5)
    writer.write(b"WRONG")
    writer.close()
    assert gateway.tus("HEAD", path)["Upload-Offset"] == "5"
    assert gateway.patch(path, b"56789", 5).status_code == 204
    with tenancy.scope(gateway.municipality_code):
        assert Transmission.objects.get().sha256 == hashlib.sha256(b"0123456789").hexdigest()


def test_delete__frees_the_bytes_and_forgets_the_upload(gateway, new_bundle_id) -> None:
    path = gateway.create(10, new_bundle_id())["Location"]
    gateway.patch(path, b"01234", 0)
    area, code = intake_settings.receive_area(), gateway.municipality_code
    before = set(area.stored_uploads(code))
    assert gateway.tus("DELETE", path).status_code == 204
    assert len(before - set(area.stored_uploads(code))) == 1
    assert gateway.tus("HEAD", path).status_code == 404
    assert gateway.patch(path, b"56789", 5).status_code == 404


def test_delete__of_a_finished_upload__is_refused(gateway, new_bundle_id) -> None:
    path = gateway.create(5, new_bundle_id())["Location"]
    gateway.patch(path, b"01234", 0)
    assert code_of(gateway.tus("DELETE", path)) == "LINKAGE_UPLOAD_COMPLETE"


def test_creation_with_upload__stores_the_first_piece(gateway, new_bundle_id) -> None:
    answer = gateway.tus(
        "POST",
        "/wire/uploads/",
        b"01234",
        **{
            "Upload-Length": "10",
            "Upload-Metadata": "bundle_id " + base64.b64encode(new_bundle_id().encode()).decode(),
            "Content-Type": "application/offset+octet-stream",
        },
    )
    assert (answer.status_code, answer["Upload-Offset"]) == (201, "5")
    assert gateway.patch(answer["Location"], b"56789", 5)["X-BCL-Transmission-State"] == "RECEIVED"


def test_expired_upload__is_unknown_and_its_bytes_go(gateway, new_bundle_id) -> None:
    from datetime import timedelta

    from bcl.linkage import api as linkage
    from bcl_contract import clock

    path = gateway.create(10, new_bundle_id())["Location"]
    gateway.patch(path, b"01234", 0)
    later = clock.Clock(offset=timedelta(hours=25))
    with clock.use(later):
        assert gateway.tus("HEAD", path).status_code == 404
        linkage.tidy_intake(gateway.municipality_code, at=clock.now())
    with tenancy.scope(gateway.municipality_code):
        assert Upload.objects.get().state == "EXPIRED"
        upload_id = Upload.objects.get().id
    assert upload_id not in set(
        intake_settings.receive_area().stored_uploads(gateway.municipality_code)
    )


@pytest.mark.requirement("R-026")
def test_receive_area__holds_no_clear_byte(gateway, new_bundle_id) -> None:
    canary = "山田花子カナリア".encode() * 100
    path = gateway.create(len(canary) + 1, new_bundle_id())["Location"]
    gateway.patch(path, canary, 0)
    files = list((intake_settings.receive_area().root / gateway.municipality_code).iterdir())
    assert files
    for file in files:
        assert "カナリア".encode() not in file.read_bytes()
        assert file.stat().st_mode & 0o777 == 0o600


def test_method__we_do_not_offer__is_refused(gateway, new_bundle_id) -> None:
    path = gateway.create(10, new_bundle_id())["Location"]
    assert gateway.tus("PUT", path).status_code == 405
    assert gateway.tus("GET", "/wire/uploads/").status_code == 405
    assert gateway.request("POST", "/wire/transmissions/01JTEST").status_code == 405


@pytest.mark.requirement("R-017")
@pytest.mark.parametrize("method", ["write", "flush_segment_and_fsync"])
def test_patch__when_the_disk_fills_up__is_507_and_goes_on_later(
    gateway, new_bundle_id, monkeypatch, method
) -> None:
    import errno

    from bcl_contract.sealed_file import SealedWriter

    path = gateway.create(3000, new_bundle_id())["Location"]
    assert gateway.patch(path, b"a" * 1000, 0).status_code == 204

    def full(self, *arguments):
        raise OSError(errno.ENOSPC, "no space left")

    with monkeypatch.context() as broken:
        broken.setattr(SealedWriter, method, full)
        for body in (b"b" * 1000, b"b" * 2000):
            answer = gateway.patch(path, body, 1000)
            assert (answer.status_code, code_of(answer)) == (507, "LINKAGE_UPLOAD_STORAGE_FULL")
    assert gateway.tus("HEAD", path)["Upload-Offset"] == "1000"
    assert gateway.patch(path, b"b" * 2000, 1000).status_code == 204
    with tenancy.scope(gateway.municipality_code):
        assert (
            Transmission.objects.get().sha256
            == hashlib.sha256(b"a" * 1000 + b"b" * 2000).hexdigest()
        )


class BreakingOff(io.BytesIO):
    """A chunked body whose line breaks after the first bytes, as the server's parser tells it."""

    class NoMoreData(Exception):
        pass

    def read(self, size: int = -1) -> bytes:
        block = super().read(size)
        if not block:
            raise self.NoMoreData
        return block


def chunked(gateway, path: str, body: io.BytesIO, offset: int, **more: str):
    return gateway.client.generic(
        "PATCH",
        path,
        content_type="application/offset+octet-stream",
        secure=True,
        HTTP_TUS_RESUMABLE="1.0.0",
        HTTP_X_BCL_ENVIRONMENT="verification",
        HTTP_UPLOAD_OFFSET=str(offset),
        HTTP_TRANSFER_ENCODING="chunked",
        CONTENT_TYPE="application/offset+octet-stream",
        **{"gunicorn.socket": gateway.line(), "wsgi.input": body},
        **more,
    )


def test_patch__without_a_length__is_read_to_its_own_end(gateway, new_bundle_id) -> None:
    path = gateway.create(5000, new_bundle_id())["Location"]
    assert chunked(gateway, path, io.BytesIO(b"a" * 2000), 0)["Upload-Offset"] == "2000"
    broken = chunked(gateway, path, BreakingOff(b"b" * 500), 2000)
    assert code_of(broken) == "LINKAGE_UPLOAD_BODY_BROKEN"
    assert gateway.tus("HEAD", path)["Upload-Offset"] == "2500"
    too_long = chunked(gateway, path, io.BytesIO(b"c" * 2501), 2500)
    assert too_long.status_code == 413
    assert gateway.tus("HEAD", path)["Upload-Offset"] == "2500"
    done = chunked(gateway, path, io.BytesIO(b"c" * 2500), 2500)
    assert done["X-BCL-Transmission-State"] == "RECEIVED"


def test_long_body__is_acknowledged_on_the_way(gateway, new_bundle_id, monkeypatch) -> None:
    """A server that dies in the middle of one huge PATCH loses no more than a few MiB."""
    from dataclasses import replace

    small = replace(intake_settings.limits(), acknowledge_bytes=1 << 20)
    monkeypatch.setattr(intake_settings, "limits", lambda: small)
    path = gateway.create(10 << 20, new_bundle_id())["Location"]

    class Killed(BaseException):
        pass

    class Dying(io.BytesIO):
        def read(self, size: int = -1) -> bytes:
            if self.tell() >= 5 << 20:
                raise Killed
            return super().read(size)

    with pytest.raises(Killed):
        chunked(gateway, path, Dying(bytes(10 << 20)), 0)
    reached = int(gateway.tus("HEAD", path)["Upload-Offset"])
    assert (4 << 20) <= reached <= (5 << 20)
    assert gateway.patch(path, bytes((10 << 20) - reached), reached).status_code == 204
