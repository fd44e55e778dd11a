"""A signed-in terminal of the running world, and a door for tools that hold no certificate."""

from __future__ import annotations

import asyncio
import contextlib
import re
import ssl
import threading
from collections.abc import Iterator

import httpx

from bcl_cli.world.console_people import DemoPerson, read_people
from bcl_cli.world.world import World

TOWN, OTHER_TOWN = "999997", "999989"
_sessions: dict[tuple[str, str], httpx.Cookies] = {}


def people_of(world: World, code: str) -> list[DemoPerson]:
    """Everybody who can sign in for one tenant."""
    return [one for one in read_people(world.places) if one.municipality_code == code]


def person_of(world: World, login_name: str, code: str = TOWN) -> DemoPerson:
    """One of them."""
    (found,) = [one for one in people_of(world, code) if one.login_name == login_name]
    return found


def tls_of(world: World, code: str | None) -> ssl.SSLContext:
    """What the terminal of a tenant shows in the handshake; nothing for None."""
    context = ssl.create_default_context(cafile=str(world.pki.bcl_ca.cert_path))
    if code is not None:
        terminal = world.pki.terminal(code)
        context.load_cert_chain(str(terminal.cert_path), str(terminal.key_path))
    return context


class Browser(httpx.Client):
    """A client that may be used before and inside its `with`."""

    def __enter__(self) -> Browser:
        return self


def browser(world: World, code: str) -> Browser:
    """A terminal's browser before anybody has signed in."""
    return Browser(base_url=world.console_url, verify=tls_of(world, code), timeout=60)


def post(client: httpx.Client, path: str, **fields: object) -> httpx.Response:
    """Send a form as a page would."""
    if "__Host-bcl-form" not in client.cookies:
        client.get("/sign-in")
    token = client.cookies["__Host-bcl-form"]
    origin = str(client.base_url)
    return client.post(
        path,
        data={**fields, "csrfmiddlewaretoken": token},
        headers={"Referer": f"{origin}{path}", "Origin": origin},
    )


def signed_in(world: World, person: DemoPerson) -> Browser:
    """A terminal's browser with this person's session, begun once: a code is good once."""
    client = browser(world, person.municipality_code)
    who = (person.municipality_code, person.login_name)
    client.cookies.update(_sessions.get(who, {}))
    if who in _sessions and client.get("/").status_code == 200:
        return client
    begun = post(client, "/sign-in", login_name=person.login_name, password=person.password)
    assert begun.status_code == 302, begun.text
    for ahead in (0, 1):
        answer = post(client, "/sign-in/code", code=person.code(ahead=ahead))
        if answer.status_code == 302:
            _sessions[who] = httpx.Cookies(client.cookies)
            return client
    raise AssertionError(f"{person.login_name} could not sign in: {answer.text}")


def visible_code(answer: httpx.Response) -> str:
    """The refusal code that a page shows; empty without one."""
    found = re.search(r"コード: ([A-Z_]+)", answer.text)
    return found.group(1) if found else ""


class Door:
    """A local TLS port that passes bytes on to the staff pages as the terminal of a tenant.

    For tools that can't show a certificate of their own. Nothing in between reads or changes
    anything, and it ends with the test.
    """

    def __init__(self, world: World, code: str) -> None:
        self._world, self._code = world, code
        self._loop = asyncio.new_event_loop()
        self.port = 0

    @property
    def url(self) -> str:
        return f"https://localhost:{self.port}"

    async def _serve(self, ready: threading.Event) -> None:
        inside = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        own = self._world.pki.console_server
        inside.load_cert_chain(str(own.cert_path), str(own.key_path))
        server = await asyncio.start_server(self._pass_on, "127.0.0.1", 0, ssl=inside)
        self.port = server.sockets[0].getsockname()[1]
        self._ended = asyncio.Event()
        ready.set()
        await self._ended.wait()
        server.close()

    async def _pass_on(
        self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> None:
        port = self._world.ports["console"]
        outside = tls_of(self._world, self._code)
        with contextlib.suppress(OSError, asyncio.CancelledError):
            there = await asyncio.open_connection(
                "127.0.0.1", port, ssl=outside, server_hostname="localhost"
            )
            await asyncio.gather(_pump(reader, there[1]), _pump(there[0], writer))
            there[1].close()
        writer.close()


async def _pump(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    with contextlib.suppress(OSError):
        while block := await reader.read(1 << 16):
            writer.write(block)
            await writer.drain()
        writer.write_eof() if writer.can_write_eof() else writer.close()


@contextlib.contextmanager
def door(world: World, code: str) -> Iterator[Door]:
    """Open such a door for as long as the block runs."""
    made, ready = Door(world, code), threading.Event()
    serving = threading.Thread(target=made._loop.run_until_complete, args=(made._serve(ready),))
    serving.start()
    ready.wait(10)
    try:
        yield made
    finally:
        made._loop.call_soon_threadsafe(made._ended.set)
        serving.join(10)
        for task in asyncio.all_tasks(made._loop):
            task.cancel()
        made._loop.close()
