"""sqlmap at every parameter of the staff pages: real TLS, a terminal's certificate, a session."""

from __future__ import annotations

import http.server
import re
import secrets
import sqlite3
import subprocess
import threading
from pathlib import Path
from urllib.parse import parse_qs, urlencode, urlsplit

import httpx
import pytest
from staff_client import TOWN, person_of, post, signed_in

from bcl_cli.world.world import World

SQLMAP = Path("/usr/bin/sqlmap")
SECONDS = 480
SAFE = "do not appear to be injectable"
FOUND = re.compile(r"is vulnerable|identified the following injection point")
# A statement broken by a quote or a bracket is a fault of the page, whatever the tool concludes.
BROKEN = "500 (Internal Server Error)"

RECORD = "the record of somebody whom the person has found"
# What these answer when nothing is attacked; all else answers 200. A whole request for recovery
# data would spend a wrong code each time and stop the account, so its receiver is unknown.
EXPECTED = {"/linkage/holds/ask": 404, "/recovery/new": 422, "/sign-in": 401}
# Login name -> what is tried with this person's session: path, query, form, parameters to try.
TARGETS = {
    "admin-1": [
        ("/linkage", {"state": "LANDED", "page": "1"}, None, "state,page"),
        ("/", {"done": "account-locked"}, None, "done"),
        ("/accounts/of/clerk-1*", None, None, None),
        ("/accounts/new", None,
         {"login_name": f"x-{secrets.token_hex(4)}", "name_ja": "x", "roles": "TOWN_CLERK"},
         "login_name,name_ja,roles"),
        ("/interface/1.0*.zip", None, None, None),
    ],
    "clerk-1": [
        ("/residents", None,
         {"purpose": "DATA_CHECK", "reference": "a-1", "name": "田", "kana": "",
          "born_on": "", "addressee_number": "", "address": ""},
         "purpose,reference,name,kana,born_on,addressee_number,address"),
        ("/residents/person", None, {"purpose": "DATA_CHECK", "reference": "a", "record": RECORD},
         "purpose,reference,record"),
        ("/residents/household", None,
         {"purpose": "DATA_CHECK", "reference": "a", "record": RECORD},
         "record"),
        ("/linkage/holds/ask", None, {"hold": "R1", "reason": "PAPER_CHECKED"}, "hold,reason"),
        ("/recovery/new", None,
         {"which": "sequence", "sequence": "1", "reason": "x", "incident_id": "2026-1",
          "receiver_id": "r", "code": "000000"},
         "which,sequence,reason,incident_id,receiver_id,code"),
        ("/sign-in", None, {"login_name": "nobody", "password": "x"}, "login_name,password"),
    ],
}  # fmt: skip


def run_sqlmap(folder: Path, *arguments: str, authorities: str = "") -> str:
    """sqlmap without questions, within bounds; gives what it said."""
    done = subprocess.run(
        [
            str(SQLMAP), "--batch", "--disable-coloring", "--level=2", "--risk=1",
            "--technique=BEUS", "--ignore-stdin", "--threads=4", "--timeout=15", "--retries=0",
            "--flush-session", f"--output-dir={folder}", "--skip-waf", "--ignore-code=*",
            "--dbms=PostgreSQL",
            # Each page has a form token of its own: compared as markup, no two pages are equal and
            # the tool takes chance for an answer.
            "--text-only", "--union-cols=1-12",
            *arguments,
        ],
        capture_output=True, text=True, timeout=SECONDS, check=False,
        env={"PATH": "/usr/bin:/bin", "HOME": str(folder), "SSL_CERT_FILE": authorities},
    )  # fmt: skip
    return done.stdout + done.stderr


def record_of(client: httpx.Client) -> str:
    """The number of a record that this person may open."""
    found = post(client, "/residents", purpose="DATA_CHECK", name="田")
    return re.findall(r'name="record" value="(\d+)"', found.text)[0]


@pytest.mark.requirement("R-164")
@pytest.mark.parametrize("login_name", TARGETS)
def test_sqlmap__at_every_parameter__finds_nothing(
    world: World, tell, tmp_path, login_name
) -> None:
    if not SQLMAP.exists():
        pytest.skip("sqlmap is not installed (make setup-attack)")
    terminal = world.pki.terminal(TOWN)
    both = tmp_path / "terminal.pem"
    both.write_bytes(terminal.key_path.read_bytes() + terminal.cert_path.read_bytes())
    trusted, injectable, tried = world.pki.bcl_ca.cert_path, [], 0
    with signed_in(world, person_of(world, login_name)) as client:
        client.get("/accounts/new")
        cookie = "; ".join(f"{name}={value}" for name, value in client.cookies.items())
        token = client.cookies["__Host-bcl-form"]
        for path, query, form, names in TARGETS[login_name]:
            if form is not None and form.get("record") == RECORD:
                form = {**form, "record": record_of(client)}
            url = f"{world.console_url}{path}" + (f"?{urlencode(query)}" if query else "")
            asked = ["-u", url, "--auth-type=PKI", f"--auth-file={both}", f"--cookie={cookie}"]
            asked += [f"--headers=Referer: {url}\nOrigin: {world.console_url}"]
            if form is not None:
                asked += ["--data", urlencode({**form, "csrfmiddlewaretoken": token})]
            if names is not None:
                asked += ["-p", names]
            before = post(client, path, **form) if form else client.get(url.replace("*", ""))
            assert before.status_code == EXPECTED.get(path, 200), (path, before.status_code)
            said = run_sqlmap(tmp_path / "out", *asked, authorities=str(trusted))
            (tmp_path / f"said-{tried}.txt").write_text(f"{path}\n{said}", encoding="utf-8")
            if FOUND.search(said) or BROKEN in said:
                injectable.append((path, said[-2000:]))
            assert SAFE in said or injectable, (path, said[-3000:])
            tried += len(names.split(",")) if names else 1
        assert client.get("/").status_code == 200, "the session lived through it"
    tell[f"sqlmap as {login_name}"] = {"parameters": tried, "findings": len(injectable)}
    assert injectable == []


class _Leaky(http.server.BaseHTTPRequestHandler):
    """A page that does what ours must never do."""

    def do_GET(self) -> None:
        wanted = parse_qs(urlsplit(self.path).query).get("id", ["1"])[0]
        with sqlite3.connect(":memory:") as db:
            db.execute("CREATE TABLE t (id INTEGER, name TEXT)")
            db.execute("INSERT INTO t VALUES (1, 'one')")
            try:
                rows = db.execute(f"SELECT name FROM t WHERE id = {wanted}").fetchall()
            except sqlite3.Error as fault:
                rows = [(f"error {fault}",)]
        self.send_response(200)
        self.end_headers()
        self.wfile.write(f"<html><body>found: {rows}</body></html>".encode())

    def log_message(self, *_: object) -> None:
        """Say nothing."""


def test_control__a_page_with_a_hole__is_found(tmp_path) -> None:
    """sqlmap, asked as above, sees what it should see."""
    if not SQLMAP.exists():
        pytest.skip("sqlmap is not installed (make setup-attack)")
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), _Leaky)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    url = f"http://127.0.0.1:{server.server_address[1]}/?id=1"
    said = run_sqlmap(tmp_path / "out", "-u", url, "-p", "id", "--dbms=SQLite")
    server.shutdown()
    server.server_close()
    assert FOUND.search(said), said[-3000:]
