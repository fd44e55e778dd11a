"""The built-in way to BCL: tus 1.0 over mutual TLS (`connection`, `tus_client`)."""

from __future__ import annotations

from datetime import timedelta
from typing import Self
from urllib.parse import quote

from bcl_contract import clock
from bcl_contract.refusals import Refusal
from bcl_gateway.answers import note_contact, take_answer, take_contact
from bcl_gateway.bandwidth import Pace
from bcl_gateway.connection import LineBroken, ServerRefuses, WireConnection, refusal_in
from bcl_gateway.journal import Item
from bcl_gateway.outbound import NO_PROBLEM, Outbound
from bcl_gateway.sign import open_spooled
from bcl_gateway.states import ItemState
from bcl_gateway.tus_client import ask_offset, create_upload, send_rest


class TusCarrier:
    """Speaks with BCL's wire door; connects when the first thing is due."""

    contact_every = timedelta(minutes=5)

    def __init__(self, out: Outbound) -> None:
        self._out = out
        self._opened: WireConnection | None = None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        if self._opened is not None:
            self._opened.close()

    @property
    def _line(self) -> WireConnection:
        if self._opened is None:
            self._opened = WireConnection(self._out.config)
        return self._opened

    def upload(self, item: Item) -> Item:
        """SIGNED → SENDING → SENT, from wherever BCL's offset stands."""
        out, journal, line = self._out, self._out.journal, self._line
        if item.state is ItemState.SIGNED:
            item = journal.move(item, ItemState.SENDING, at=clock.now())
        length = item.package_bytes or 0
        with open_spooled(out.config, out.keys, item) as source:
            offset = ask_offset(line, item.upload_url) if item.upload_url else None
            if offset is None:
                url = create_upload(
                    line,
                    length=length,
                    bundle_id=item.bundle_id or "",
                    filename=f"{item.sequence}.zip",
                )
                item, offset = journal.learn(item, at=clock.now(), upload_url=url, offset=0), 0

            def acknowledged(reached: int) -> None:
                journal.learn(item, at=clock.now(), offset=reached, **NO_PROBLEM)
                out.progress(item, reached, length)

            out.progress(item, offset, length)
            send_rest(
                line, item.upload_url or "", source,
                offset=offset, length=length, chunk_bytes=out.config.chunk_bytes,
                report=acknowledged, pace=Pace(out.config.limits, out.seams),
            )  # fmt: skip
        return journal.move(item, ItemState.SENT, at=clock.now(), offset=length, **NO_PROBLEM)

    def fetch_answer(self, item: Item) -> Item:
        """Ask what became of a transmission; believe only a receipt that BCL signed (R-015)."""
        query = f"transmissions/{quote(item.bundle_id or '')}?sha256={item.package_sha256}"
        answer = self._line.request("GET", self._line.url(query))
        if answer.status == 404:
            return self._send_again(item)
        if answer.status != 200:
            raise ServerRefuses(refusal_in(answer)) if answer.status < 500 else LineBroken()
        try:
            content = answer.json()
        except ValueError:
            raise ServerRefuses(Refusal("GATEWAY_SERVER_ANSWER")) from None
        return take_answer(self._out, item, content)

    def make_contact(self) -> None:
        """Ask whether there is anything for us."""
        answer = self._line.request("GET", self._line.url("contact"))
        if answer.status != 200:
            raise ServerRefuses(refusal_in(answer)) if answer.status < 500 else LineBroken()
        try:
            content = answer.json()
        except ValueError:
            raise ServerRefuses(Refusal("GATEWAY_SERVER_ANSWER")) from None
        take_contact(self._out, content)
        note_contact(self._out)

    def _send_again(self, item: Item) -> Item:
        """BCL does not know what it never signed for: upload once more. After a receipt it must."""
        if item.receipt is not None:
            raise ServerRefuses(Refusal("GATEWAY_SERVER_ANSWER", {"status": 404}))
        if item.failures < 3:  # the job that records it may be a moment late
            raise LineBroken
        return self._out.journal.move(
            item,
            ItemState.SENDING,
            at=clock.now(),
            note="unknown to BCL",
            upload_url=None,
            offset=0,
        )
