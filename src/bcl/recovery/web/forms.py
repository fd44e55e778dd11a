"""Forms of the recovery pages. Only what is named here is ever read from a request."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from django import forms

from bcl.recovery.api import AsOf
from bcl.recovery.rules import LONGEST_REASON
from bcl_contract import clock

NEWEST, AT, SEQUENCE = "newest", "at", "sequence"
_CODE_HELP = "認証アプリに今表示されている6桁の数字です。サインインに使ったものは使えません。"


def _code_field() -> forms.CharField:
    return forms.CharField(
        label="確認コード",
        max_length=6,
        help_text=_CODE_HELP,
        widget=forms.TextInput(
            attrs={"inputmode": "numeric", "class": "short", "autocomplete": "one-time-code"}
        ),
    )


class RequestForm(forms.Form):
    """Which state is wanted, why, and who is to be able to open it."""

    which = forms.ChoiceField(
        label="どの時点のデータか",
        choices=[
            (NEWEST, "いちばん新しいもの"),
            (AT, "日時を指定する"),
            (SEQUENCE, "通番を指定する"),
        ],
        initial=NEWEST,
        widget=forms.RadioSelect,
    )
    as_of_at = forms.DateTimeField(
        label="日時",
        required=False,
        help_text="「日時を指定する」のとき。この日時までに反映したデータです。",
        input_formats=["%Y-%m-%dT%H:%M", "%Y-%m-%d %H:%M"],
        widget=forms.DateTimeInput(attrs={"type": "datetime-local", "class": "short"}),
    )
    sequence = forms.IntegerField(
        label="通番",
        required=False,
        min_value=1,
        max_value=2**53,
        help_text="「通番を指定する」のとき。通常の系列の通番です。",
        widget=forms.TextInput(attrs={"inputmode": "numeric", "class": "short"}),
    )
    reason = forms.CharField(
        label="理由",
        max_length=LONGEST_REASON,
        help_text="承認する人が読みます。住民の氏名などは書かないでください。",
        widget=forms.Textarea(attrs={"rows": 3}),
    )
    incident_id = forms.CharField(
        label="事案番号",
        max_length=64,
        help_text="英数字と - _ . で書きます（例 2026-0001）。",
        widget=forms.TextInput(attrs={"class": "short", "autocomplete": "off"}),
    )
    receiver_id = forms.ChoiceField(label="受領者")
    code = _code_field()

    def __init__(self, *arguments: Any, receivers: list[str], **named: Any) -> None:
        super().__init__(*arguments, **named)
        choices = [(one, one) for one in receivers]
        self.fields["receiver_id"] = forms.ChoiceField(label="受領者", choices=choices)

    def clean(self) -> dict[str, Any]:
        given = super().clean() or {}
        if given.get("which") == AT and not given.get("as_of_at") and not self.errors:
            self.add_error("as_of_at", "日時を入力してください。")
        if given.get("which") == SEQUENCE and not given.get("sequence") and not self.errors:
            self.add_error("sequence", "通番を入力してください。")
        return given

    def wish(self, at: datetime) -> dict[str, Any]:
        """What was asked for, as `recovery.request_content` takes it; newest = that of `at`."""
        given = self.cleaned_data
        moment = {NEWEST: at, AT: _in_japan(given["as_of_at"]), SEQUENCE: None}[given["which"]]
        sequence = given["sequence"] if given["which"] == SEQUENCE else None
        return {
            "as_of": AsOf(sequence=sequence, at=moment),
            "reason": given["reason"],
            "incident_id": given["incident_id"],
            "receiver_id": given["receiver_id"],
        }


class CodeForm(forms.Form):
    """A fresh code, and the digest of what stood on the page."""

    stamp = forms.RegexField(regex=r"\A[0-9a-f]{64}\Z")
    code = _code_field()


def _in_japan(moment: datetime | None) -> datetime | None:
    return moment if moment is None or moment.tzinfo else moment.replace(tzinfo=clock.JST)
