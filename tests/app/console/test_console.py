"""The staff pages over real TLS: terminals, sign-in, rights, foreign ids, headers."""

from __future__ import annotations

import re
import ssl

import httpx
import pytest

from bcl.accounts import api as accounts
from bcl.foundation import audit, clock, tenancy
from bcl.foundation.models import AuditEntry

CLERK, ADMIN, AUDITOR = (
    accounts.Role.TOWN_CLERK,
    accounts.Role.TOWN_ADMIN,
    accounts.Role.TOWN_AUDITOR,
)
TOWN, OTHER = "999997", "999989"


def code_in(answer: httpx.Response) -> str:
    found = re.search(r"コード: ([A-Z_]+)", answer.text)
    return found.group(1) if found else ""


def without_tokens(answer: httpx.Response) -> str:
    """The page without its form tokens, which are different each time."""
    return re.sub(r'value="[A-Za-z0-9]{64}"', "", answer.text)


@pytest.mark.requirement("R-061")
def test_console__a_terminal_nobody_registered__gets_nothing(office) -> None:
    accounts.revoke_terminal(f"terminal-{OTHER}", owner_code=OTHER, by=audit.SYSTEM, at=clock.now())
    with office.browser(OTHER) as client:
        for path in ("/", "/sign-in", "/static/look/look.css", "/nowhere"):
            answer = client.get(path)
            assert (answer.status_code, code_in(answer)) == (403, "TERMINAL_UNKNOWN"), path


@pytest.mark.requirement("R-061")
def test_console__without_a_certificate__hangs_up(office, console_pki) -> None:
    context = ssl.create_default_context(cafile=str(console_pki.bcl_ca.cert_path))
    with httpx.Client(verify=context) as client, pytest.raises(httpx.TransportError):
        client.get(office.url)


@pytest.mark.requirement("R-058")
def test_console__first_visit__from_code_to_home(office) -> None:
    invited = accounts.found_administrator(
        TOWN, "admin-1", "見本　一郎", by=audit.SYSTEM, at=clock.now()
    )
    with office.browser(TOWN) as client:
        assert client.get("/").headers["Location"] == "/sign-in"
        wrong = office.post(client, "/enrol", login_name="admin-1", code="AAAA-BBBB-CCCC-DDDD")
        assert (wrong.status_code, code_in(wrong)) == (401, "SIGN_IN_FAILED")
        begun = office.post(client, "/enrol", login_name="admin-1", code=invited.enrolment_code)
        assert begun.headers["Location"] == "/enrol/password"
        cookie = begun.headers["Set-Cookie"]
        for part in ("__Host-bcl-session=", "Secure", "HttpOnly", "SameSite=Strict", "Path=/"):
            assert part in cookie
        assert client.get("/").headers["Location"] == "/sign-in", "half a session opens nothing"
        short = office.post(client, "/enrol/password", password="short", again="short")
        assert code_in(short) == "PASSWORD_TOO_SHORT"
        differ = office.post(client, "/enrol/password", password="x" * 20, again="y" * 20)
        assert "二つの入力が違っています" in differ.text
        done = office.post(
            client, "/enrol/password", password="海の見える町役場", again="海の見える町役場の人"
        )
        assert done.status_code == 200
        good = "海の見える町役場で働く人"
        done = office.post(client, "/enrol/password", password=good, again=good)
        assert done.headers["Location"] == "/enrol/app"
        page = client.get("/enrol/app").text
        secret = re.search(r'<p class="mono">([A-Z2-7 ]+)</p>', page).group(1).replace(" ", "")
        assert "data:image/svg+xml" in page
        person = office.person(TOWN, "admin-1", secret, good)
        home = office.post(client, "/enrol/app", code=person.code())
        assert home.headers["Location"] == "/"
        shown = client.get("/").text
        assert "見本　一郎" in shown and "団体管理者" in shown
        out = office.post(client, "/sign-out")
        assert out.headers["Location"] == "/sign-in"
        assert client.get("/").headers["Location"] == "/sign-in"


HEADERS = {
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "same-origin",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
}


def test_console__every_answer__carries_the_headers(office) -> None:
    admin = office.administrator(TOWN)
    with office.signed_in(admin) as client:
        answers = [client.get(path) for path in ("/", "/nowhere", "/sign-in", "/interface/1.0.zip")]
        answers += [client.get("/static/look/look.css"), client.get("/static/nothing")]
        answers += [client.put("/accounts"), client.post("/accounts/new", data={"name_ja": "x"})]
        answers += [client.request("TRACE", "/"), client.request("FANTASY", "/")]
        answers += [client.get("/linkage/holds", headers={"Range": "bytes=0-1"})]
        answers += [client.post("/sign-in", content=iter([b"x"])), client.get("/%00%ff")]
        for answer in answers:
            policy = answer.headers["Content-Security-Policy"]
            assert "default-src 'none'" in policy and "frame-ancestors 'none'" in policy
            assert "unsafe" not in policy
            assert answer.headers["Strict-Transport-Security"].startswith("max-age=")
            assert {name: answer.headers[name] for name in HEADERS} == HEADERS
            if not answer.request.url.path.startswith("/static/look"):
                assert answer.headers["Cache-Control"] == "no-store", answer.request.url
        page = client.get("/").text
        assert not re.search(r"<script[^>]*>[^<]|\sstyle=|\son[a-z]+=|https?://", page)


def test_console__cookies__stay_with_this_host_and_away_from_scripts(office) -> None:
    admin = office.administrator(TOWN)
    with office.browser(TOWN) as client:
        answers = [
            client.get("/sign-in"),
            office.post(client, "/sign-in", login_name="admin-1", password=admin.password),
            office.post(client, "/sign-in/code", code=admin.code()),
            office.post(client, "/sign-out"),
        ]
        cookies = [text for one in answers for text in one.headers.get_list("Set-Cookie")]
        assert len(cookies) >= 4
        assert "storage" in answers[-1].headers["Clear-Site-Data"]
        for cookie in cookies:
            assert cookie.startswith("__Host-")
            for part in ("Secure", "HttpOnly", "SameSite=Strict", "Path=/"):
                assert part in cookie, cookie
            assert "Domain" not in cookie


def test_console__a_form_from_elsewhere__is_refused(office) -> None:
    with office.browser(TOWN) as client:
        client.get("/sign-in")
        bare = client.post("/sign-in", data={"login_name": "a", "password": "b"})
        assert (bare.status_code, code_in(bare)) == (403, "CONSOLE_FORM_STALE")
        token = client.cookies["__Host-bcl-form"]
        foreign = client.post(
            "/sign-in",
            data={"login_name": "a", "password": "b", "csrfmiddlewaretoken": token},
            headers={"Origin": "https://evil.example"},
        )
        assert code_in(foreign) == "CONSOLE_FORM_STALE"


@pytest.mark.requirement("R-060")
def test_accounts__an_administrator__adds_a_colleague_and_stops_them(office) -> None:
    office.add(TOWN, "clerk-1", CLERK)
    second = office.add(TOWN, "admin-2", ADMIN)
    with office.signed_in(second) as client:
        listing = client.get("/accounts").text
        assert "clerk-1" in listing and "職員の一覧（3人）" in listing
        made = office.post(
            client,
            "/accounts/new",
            login_name="clerk-2",
            name_ja="<b>太字</b>",
            roles=["TOWN_CLERK"],
        )
        assert made.status_code == 200
        assert re.search(r"[A-Z2-7]{4}(-[A-Z2-7]{4}){3}", made.text)
        page = client.get("/accounts/of/clerk-2").text
        assert "&lt;b&gt;太字" in page and "<b>太字" not in page
        twice = office.post(client, "/accounts/new", login_name="clerk-2", name_ja="x")
        assert (twice.status_code, code_in(twice)) == (409, "ACCOUNT_EXISTS")
        more = office.post(
            client, "/accounts/new", login_name="x-1", name_ja="x", roles=["AGENCY_ADMIN"]
        )
        assert more.status_code == 200 and "正しく選択してください" in more.text
        assert accounts.find_account(TOWN, "x-1") is None
        locked = office.post(client, "/accounts/of/clerk-1/lock")
        assert locked.headers["Location"].endswith("?done=account-locked")
        assert "停止しました" in client.get(locked.headers["Location"]).text
        own = office.post(client, "/accounts/of/admin-2/lock")
        assert code_in(own) == "ACCOUNT_OWN"
    with tenancy.scope(TOWN):
        assert AuditEntry.objects.filter(act="lock_account").count() == 1


@pytest.mark.requirement("R-060")
def test_accounts__a_locked_colleague__is_out_with_the_next_click(office) -> None:
    clerk = office.add(TOWN, "clerk-1", CLERK)
    admin = office.add(TOWN, "admin-2", ADMIN)
    with office.signed_in(clerk) as theirs, office.signed_in(admin) as ours:
        assert theirs.get("/").status_code == 200
        office.post(ours, "/accounts/of/clerk-1/lock")
        thrown_out = theirs.get("/")
        assert thrown_out.headers["Location"].startswith("/sign-in")


@pytest.mark.requirement("R-002")
def test_accounts__of_another_town_or_unknown__answer_the_same(office) -> None:
    office.add(OTHER, "clerk-9", CLERK)
    admin = office.add(TOWN, "admin-2", ADMIN)
    with office.signed_in(admin) as client:
        for act in ("", "/lock", "/unlock", "/reset", "/review", "/close", "/roles"):
            foreign, unknown = (
                client.get(f"/accounts/of/{name}")
                if not act
                else office.post(client, f"/accounts/of/{name}{act}")
                for name in ("clerk-9", "nobody9")
            )
            assert foreign.status_code == unknown.status_code == 404, act
            assert without_tokens(foreign) == without_tokens(unknown)
        assert "clerk-9" not in client.get("/accounts").text
    assert accounts.find_account(OTHER, "clerk-9").status == "ACTIVE"


def test_session__carried_to_another_towns_terminal__is_worth_nothing(office) -> None:
    admin = office.add(TOWN, "admin-2", ADMIN)
    with office.signed_in(admin) as client, office.browser(OTHER) as thief:
        thief.cookies.set("__Host-bcl-session", client.cookies["__Host-bcl-session"])
        assert thief.get("/accounts").headers["Location"] == "/sign-in"
        assert client.get("/accounts").status_code == 200


@pytest.mark.requirement("R-266")
def test_console__unknown_page__has_a_code_and_a_way_back(office) -> None:
    with office.browser(TOWN) as client:
        answer = client.get("/nowhere")
        assert (answer.status_code, code_in(answer)) == (404, "CONSOLE_UNKNOWN_PAGE")
        assert "ホームへ戻る" in answer.text


@pytest.mark.requirement("R-058")
def test_own_password__changed_on_the_page__is_the_one_to_sign_in_with(office) -> None:
    clerk = office.add(TOWN, "clerk-1", accounts.Role.TOWN_CLERK)
    new = "夜半の嵐に花の散るころに"
    with office.signed_in(clerk) as client, office.signed_in(clerk) as other:
        assert "/own/password" in client.get("/own").text
        form = client.get("/own/password").text
        assert 'autocomplete="current-password"' in form and "今のパスワード" in form
        office.forget_codes(clerk)
        fields = {"current": clerk.password, "password": new, "again": new}
        twice = office.post(client, "/own/password", **fields | {"again": "x"}, code="123456")
        assert twice.status_code == 422 and "二つの入力が違っています" in twice.text
        wrong = office.post(client, "/own/password", **fields | {"current": "x"}, code="123456")
        assert (wrong.status_code, code_in(wrong)) == (401, "PASSWORD_CURRENT_WRONG")
        assert new not in wrong.text, "no password comes back on a page"
        done = office.post(client, "/own/password", **fields, code=clerk.code())
        assert done.headers["Location"] == "/own?done=password-changed"
        assert "パスワードを変えました" in client.get(done.headers["Location"]).text
        assert other.get("/").headers["Location"].startswith("/sign-in")
    office.forget_codes(clerk)
    clerk.password = new
    with office.signed_in(clerk) as client:
        assert client.get("/").status_code == 200
