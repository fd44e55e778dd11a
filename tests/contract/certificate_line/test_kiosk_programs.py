"""The whole line as programs on loopback: JPKI, center and kiosk with real TLS; BCL faked."""

import dataclasses
import json
import os
import signal
import socket
import ssl
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from pathlib import Path
from socketserver import ThreadingMixIn
from wsgiref.simple_server import WSGIRequestHandler, WSGIServer, make_server

import httpx
import pytest
from cryptography.hazmat.primitives.asymmetric import ec

from bcl_contract import clock
from bcl_contract.delivery_center import Scope
from bcl_contract.refusals import Refusal
from bcl_sim.delivery_center.configuration import (
    ConfigurationError,
    read_configuration,
    write_configuration,
)
from bcl_sim.delivery_center.journal import Journal, State
from bcl_sim.jpki.authority import Authority, Period
from bcl_sim.jpki.authority import State as CertState
from bcl_sim.jpki.card import SoftwareCard, issue_card
from bcl_sim.kiosk import Choice, connect, issue

PIN = "4649"
FEE = 300


class Server(ThreadingMixIn, WSGIServer):
    daemon_threads = True


class Quiet(WSGIRequestHandler):
    def log_message(self, *_):
        return


@dataclasses.dataclass
class Line:
    """Everything that runs, and how to reach it."""

    folder: Path
    world: object
    authority: Authority
    fake_bcl: object
    config: Path
    serials: Callable[[], int]
    url: str = ""
    program: subprocess.Popen | None = None

    def start_center(self) -> None:
        self.program = _start("bcl_sim.delivery_center", "serve", "--config", str(self.config))
        self.url = f"https://{_listening(self.program)}"

    def card(self) -> tuple[SoftwareCard, int]:
        serial_number, at = self.serials(), clock.now()
        card = issue_card(
            self.authority,
            self.folder / f"{serial_number:X}.card",
            serial_number=serial_number,
            pin=PIN,
            period=Period(at - timedelta(days=1), at + timedelta(days=30)),
            key=ec.generate_private_key(ec.SECP256R1()),
        )
        return card, serial_number

    def kiosk(self, number: int = 1):
        kiosk = self.world.kiosk(number)
        return connect(
            self.url,
            cert=kiosk.cert_path,
            key=kiosk.key_path,
            center_authorities=self.world.center_ca.cert_path,
        )

    def journal(self) -> Journal:
        return Journal(read_configuration(self.config).journal_path)


def _start(module: str, *arguments: str) -> subprocess.Popen:
    return subprocess.Popen(
        [sys.executable, "-m", module, *arguments], stdout=subprocess.PIPE, text=True
    )


def _listening(program: subprocess.Popen) -> str:
    address = json.loads(program.stdout.readline())["listening"][0]
    return address


def _stop(program: subprocess.Popen) -> None:
    program.terminate()
    program.wait(20)
    program.stdout.close()


@pytest.fixture
def bcl_server(fake_bcl, world) -> Iterator[str]:
    fake_bcl.clock = clock.now
    server = make_server("127.0.0.1", 0, fake_bcl, Server, Quiet)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_3
    context.load_cert_chain(world.wire_server.cert_path, world.wire_server.key_path)
    context.load_verify_locations(world.wire_clients_path)
    context.verify_mode = ssl.CERT_REQUIRED
    server.socket = context.wrap_socket(server.socket, server_side=True)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f"https://127.0.0.1:{server.server_port}"
    server.shutdown()
    server.server_close()


@pytest.fixture(scope="module")
def jpki(tmp_path_factory) -> Iterator[tuple[Authority, str]]:
    """The JPKI as a program: its authority, and the address of its responder."""
    folder = tmp_path_factory.mktemp("jpki")
    authority = Authority(folder)
    authority.initialise(clock.now())
    program = _start("bcl_sim.jpki", "serve", "--state", str(folder), "--bind", "127.0.0.1:0")
    yield authority, f"http://{_listening(program)}/ocsp"
    _stop(program)


@pytest.fixture
def line(tmp_path, world, fake_bcl, bcl_server, jpki, serials) -> Iterator[Line]:
    authority, ocsp_url = jpki
    config = tmp_path / "center.toml"
    write_configuration(
        config,
        world=world,
        state_directory=tmp_path / "center",
        bind="127.0.0.1:0",
        jpki_roots=authority.trust_roots_path,
        ocsp_url=ocsp_url,
        routes={"999997": bcl_server},
    )
    running = Line(tmp_path, world, authority, fake_bcl, config, serials)
    running.start_center()
    yield running
    _stop(running.program)


def visit(line: Line, card: SoftwareCard, **changes):
    with line.kiosk() as connection:
        values = {
            "pin": PIN,
            "municipality_code": "999997",
            "choice": Choice(show=("head", "domicile")),
            "out": line.folder / "prints",
        }
        return issue(connection, card, **values | changes)


@pytest.mark.requirement("R-044")
@pytest.mark.requirement("R-048")
@pytest.mark.requirement("R-049")
def test_kiosk__card_to_paper__six_stations_with_one_number(line):
    card, _ = line.card()
    paper = visit(line, card)
    assert not isinstance(paper, Refusal), paper
    assert paper.pdf_path.read_bytes() == line.fake_bcl.pdf
    assert [hop.place for hop in paper.hops] == [
        "kiosk", "center", "bcl", "certificate", "center", "kiosk",
    ]  # fmt: skip
    assert [hop.at for hop in paper.hops] == sorted(hop.at for hop in paper.hops)
    numbers = {request.transaction_number for _, request in line.fake_bcl.seen}
    assert numbers == {paper.transaction_number}
    assert line.fake_bcl.states == {paper.transaction_number: "PRINTED"}
    assert (paper.fee_yen, paper.copies, paper.pages) == (FEE, 1, 1)
    assert line.journal().counts()["PRINTED"] == 1


@pytest.mark.requirement("R-049")
@pytest.mark.parametrize(
    ("put_in", "code"),
    [(0, "KIOSK_NOT_PAID"), (FEE - 1, "CENTER_PAYMENT_DIFFERS"), (1000, "CENTER_PAYMENT_DIFFERS")],
)
def test_kiosk__not_paid_exactly__prints_nothing(line, put_in, code):
    card, _ = line.card()
    asked = []

    def pay(fee_yen):
        asked.append(fee_yen)
        assert not (line.folder / "prints").exists(), "no print before the payment"
        return put_in

    refusal = visit(line, card, pay=pay)
    assert (refusal.code, asked) == (code, [FEE])
    assert not (line.folder / "prints").exists()
    assert line.journal().counts()["ABORTED"] == 1
    assert line.fake_bcl.states.popitem()[1] == "ABORTED"


def test_kiosk__printer_out_of_order__gives_the_money_back(line):
    card, _ = line.card()
    (line.folder / "prints").write_text("a file where the folder should be")
    assert visit(line, card).code == "KIOSK_PRINT_FAILED"
    money = line.journal().money()
    assert money == {"paid_yen": FEE, "printed_yen": 0, "refund_yen": FEE, "open_yen": 0}


@pytest.mark.requirement("R-048")
@pytest.mark.requirement("R-071")
def test_kiosks__twenty_four_at_once__everybody_gets_their_own_paper(line):
    line.fake_bcl.pdf_names_transaction = True
    cards = [line.card()[0] for _ in range(24)]
    with ThreadPoolExecutor(8) as pool:
        papers = list(pool.map(lambda card: visit(line, card), cards))
    assert [paper for paper in papers if isinstance(paper, Refusal)] == []
    assert len({paper.transaction_number for paper in papers}) == 24
    for paper in papers:
        content = paper.pdf_path.read_bytes()
        assert content == line.fake_bcl.pdf + paper.transaction_number.encode()
    money = line.journal().money()
    assert (money["paid_yen"], money["printed_yen"]) == (24 * FEE, 24 * FEE)


@pytest.mark.requirement("R-045")
@pytest.mark.requirement("R-046")
def test_kiosk__wrong_pin_revoked_card_and_wrong_choice__each_has_its_code(line):
    card, serial_number = line.card()
    assert visit(line, card, pin="0000").code == "KIOSK_PIN_WRONG"
    choices = {
        Choice(certificate_kind="FAMILY_REGISTER"): "CENTER_KIND_NOT_OFFERED",
        Choice(certificate_kind="not a kind"): "CENTER_OPTION_NOT_OFFERED",
        Choice(copies=0): "CENTER_OPTION_NOT_OFFERED",
        Choice(scope=Scope.PART, members=(3,)): "KIOSK_MEMBER_UNKNOWN",
    }
    for choice, code in choices.items():
        assert visit(line, card, choice=choice).code == code
    assert visit(line, card, municipality_code="999989").code == "CENTER_MUNICIPALITY_NOT_SERVED"
    assert visit(line, card, municipality_code="x").code == "CENTER_MUNICIPALITY_NOT_SERVED"
    part = visit(line, card, choice=Choice(scope=Scope.PART, members=(2,)))
    assert line.fake_bcl.seen[-2][1].member_refs == ("member-reference-2",)
    assert part.pages == 1
    line.authority.set_state(serial_number, CertState.REVOKED, clock.now())
    assert visit(line, card).code == "USER_AUTH_CERT_REVOKED"
    assert len(list((line.folder / "prints").iterdir())) == 1


@pytest.mark.requirement("R-046")
def test_kiosk__jpki_is_down__nobody_passes(line):
    card, _ = line.card()
    text = line.config.read_text()
    start = text.index('ocsp_url = "') + len('ocsp_url = "')
    silent = socket.create_server(("127.0.0.1", 0))
    url = f"http://127.0.0.1:{silent.getsockname()[1]}/ocsp"
    line.config.write_text(text[:start] + url + text[text.index('"', start) :])
    _stop(line.program)
    line.start_center()
    assert visit(line, card).code == "USER_AUTH_CERT_OCSP_SLOW"
    silent.close()
    assert visit(line, card).code == "USER_AUTH_CERT_OCSP_UNREACHABLE"
    assert line.fake_bcl.seen == []


@pytest.mark.requirement("R-083")
def test_center__killed_between_certificate_and_payment__goes_on_after_its_restart(line):
    card, _ = line.card()

    def pay(fee_yen):
        os.kill(line.program.pid, signal.SIGKILL)
        line.program.wait(10)
        line.program.stdout.close()
        port = line.url.rsplit(":", 1)[1]
        line.config.write_text(line.config.read_text().replace(":0", f":{port}", 1))
        line.start_center()
        return fee_yen

    paper = visit(line, card, pay=pay)
    assert not isinstance(paper, Refusal), paper
    assert line.journal().find(paper.transaction_number).state is State.PRINTED
    assert line.fake_bcl.states == {paper.transaction_number: "PRINTED"}


def test_center__unregistered_callers__get_nowhere(line):
    ca = line.world.center_ca.cert_path
    plain = ssl.create_default_context(cafile=str(ca))
    with pytest.raises(httpx.TransportError):
        httpx.post(line.url + "/kiosk/begin", verify=plain, trust_env=False)
    old = ssl.create_default_context(cafile=str(ca))
    kiosk = line.world.kiosk(1)
    old.load_cert_chain(kiosk.cert_path, kiosk.key_path)
    old.maximum_version = ssl.TLSVersion.TLSv1_2
    with pytest.raises(httpx.TransportError):
        httpx.get(line.url + "/status", verify=old, trust_env=False)
    gateway = ssl.create_default_context(cafile=str(ca))
    gateway.load_cert_chain(
        line.world.gateway("999997").cert_path, line.world.gateway("999997").key_path
    )
    with pytest.raises(httpx.TransportError):
        httpx.get(line.url + "/status", verify=gateway, trust_env=False)
    # The right authority, but no kiosk.
    other = line.world.center_client
    with connect(
        line.url, cert=other.cert_path, key=other.key_path, center_authorities=ca
    ) as connection:
        card, _ = line.card()
        refusal = issue(
            connection, card, pin=PIN, municipality_code="999997", choice=Choice(),
            out=line.folder,
        )  # fmt: skip
    assert refusal.code == "CENTER_NOT_REGISTERED"


def test_center__bad_requests__are_refused_with_a_code(line):
    kiosk = line.world.kiosk(1)
    context = ssl.create_default_context(cafile=str(line.world.center_ca.cert_path))
    context.load_cert_chain(kiosk.cert_path, kiosk.key_path)
    with httpx.Client(verify=context, trust_env=False, base_url=line.url) as http:
        assert http.get("/kiosk/begin").status_code == 405
        assert http.post("/kiosk/nothing").status_code == 404
        for body, code in (
            (b"", "CENTER_MESSAGE_NOT_JSON"),
            (b"{}", "CENTER_MESSAGE_WRONG_FORM"),
            (b"x" * 70_000, "CENTER_MESSAGE_TOO_LARGE"),
            (b'{"a":1,"a":1}', "CENTER_MESSAGE_NOT_JSON"),
        ):
            answer = http.post("/kiosk/begin", content=body)
            assert answer.json()["refusal"]["code"] == code
            assert answer.status_code in {400, 413, 422}
        status = http.get("/status").json()
    assert status["money"]["paid_yen"] == 0
    assert status["unconfirmed"] == 0


@pytest.mark.requirement("R-048")
def test_command__kiosk_issue__prints_six_stations_and_the_file(line):
    card, _ = line.card()
    arguments = [
        sys.executable, "-m", "bcl_cli.main", "kiosk", "issue", "--municipality", "999997",
        "--card", str(card._path), "--kind", "resident_record_copy", "--scope", "all",
        "--show", "head,domicile", "--out", str(line.folder / "out"), "--center", line.url,
        "--pki", str(line.world.directory),
    ]  # fmt: skip
    done = subprocess.run([*arguments, "--pin", PIN], capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr
    (pdf,) = (line.folder / "out").iterdir()
    assert str(pdf) in done.stdout
    assert done.stdout.count(f"取引番号 {pdf.stem}") == 7
    assert "手数料 300円" in done.stdout
    wrong = subprocess.run(
        [*arguments, "--pin", "0000"], capture_output=True, text=True, timeout=60
    )
    assert wrong.returncode == 3
    assert "KIOSK_PIN_WRONG" in wrong.stderr
    assert "あと2回" in wrong.stderr


@pytest.mark.parametrize(
    "change",
    [
        lambda text: text.replace("ocsp_seconds = 2.0", "ocsp_seconds = true"),
        lambda text: text.replace("ocsp_seconds = 2.0", ""),
        lambda text: text.replace("https://", "http://"),
        lambda text: text + "issue_seconds = -1\n",
        lambda text: text + "unknown_seconds = 1\n",
        lambda text: "unknown = 1\n" + text,
        lambda text: text + "[[[",
    ],
)
def test_configuration__wrong_setting__stops_with_one_sentence(world, tmp_path, change):
    path = tmp_path / "center.toml"
    write_configuration(
        path, world=world, state_directory=tmp_path, bind="127.0.0.1:0",
        jpki_roots=world.bcl_ca.cert_path, ocsp_url="http://127.0.0.1:1/",
        routes={"999997": "https://127.0.0.1:1"},
    )  # fmt: skip
    assert read_configuration(path).routes == {"999997": "https://127.0.0.1:1"}
    path.write_text(change(path.read_text()))
    with pytest.raises(ConfigurationError, match="設定"):
        read_configuration(path)
