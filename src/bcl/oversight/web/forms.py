"""Forms of the oversight pages. Numbers of persons and search terms come by POST only."""

from __future__ import annotations

from datetime import date, datetime, time, timedelta
from typing import Any

from django import forms

from bcl.foundation import audit_looks
from bcl.foundation.audit_search import ALLOWED, REFUSED, Place, Question
from bcl.oversight import rules
from bcl.oversight.rules import ExportKind
from bcl_contract import clock

_CODE_HELP = "認証アプリに今表示されている6桁の数字です。サインインに使ったものは使えません。"
_OUTCOMES = [("", "すべて"), (ALLOWED, "許可された操作"), (REFUSED, "断られた操作")]
_DAYS_AT_FIRST = 7


def _text(label: str, *, help_text: str = "", longest: int = 100, **attributes: str) -> Any:
    widget = forms.TextInput(attrs={"autocomplete": "off", **attributes})
    return forms.CharField(
        label=label, help_text=help_text, max_length=longest, required=False, widget=widget
    )


def _day(label: str) -> forms.DateField:
    return forms.DateField(
        label=label,
        input_formats=["%Y-%m-%d"],
        widget=forms.DateInput(attrs={"type": "date", "class": "short"}, format="%Y-%m-%d"),
    )


def _begin(day: date) -> datetime:
    return datetime.combine(day, time(), clock.JST)


def _check_days(form: forms.Form, given: dict[str, Any]) -> None:
    if not form.errors and given["since"] > given["until"]:
        form.add_error("until", "始めの日より後の日を入力してください。")


def first_days(days: int = _DAYS_AT_FIRST) -> dict[str, str]:
    """The period a page begins with: the last days, today included."""
    today = clock.today()
    return {"since": (today - timedelta(days=days - 1)).isoformat(), "until": today.isoformat()}


def _act_choices() -> list[tuple[str, str]]:
    found = sorted(audit_looks.all_acts(), key=lambda act: act.label_ja)
    return [("", "すべて"), *((act.act, act.label_ja) for act in found)]


class AuditConditions(forms.Form):
    """What of the audit log is looked for."""

    since = _day("この日から")
    until = _day("この日まで")
    actor_id = _text("操作した人・装置", help_text="職員番号、連携装置などの番号。", longest=128)
    act = forms.ChoiceField(label="操作", required=False, choices=_act_choices)
    terminal = _text("端末", help_text="端末の番号。", longest=128)
    outcome = forms.ChoiceField(label="結果", required=False, choices=_OUTCOMES)

    def clean(self) -> dict[str, Any]:
        given = super().clean() or {}
        _check_days(self, given)
        return given

    def conditions(self) -> dict[str, str]:
        """As an export keeps them."""
        given = self.cleaned_data
        return {
            "since": _begin(given["since"]).isoformat(),
            "until": _begin(given["until"] + timedelta(days=1)).isoformat(),
            **{
                name: given[name]
                for name in ("actor_id", "act", "terminal", "outcome")
                if given[name]
            },
        }


class AuditSearchForm(AuditConditions):
    """The conditions, whose log, whom it concerns, and where the page before ended."""

    addressee_number = _text(
        "住民の宛名番号",
        help_text="15桁。この方についての記録だけを探します。",
        longest=15,
        inputmode="numeric",
    )
    log = _text("団体コード", help_text="空欄のときは機構の記録です。", longest=6)
    after = forms.CharField(required=False, max_length=80, widget=forms.HiddenInput)

    def __init__(self, *arguments: Any, is_agency: bool, **named: Any) -> None:
        super().__init__(*arguments, **named)
        # The digest of a person is a town's own: the agency finds nobody by number.
        del self.fields["addressee_number" if is_agency else "log"]

    def clean_addressee_number(self) -> str:
        given: str = self.cleaned_data["addressee_number"]
        if given and not (given.isascii() and given.isdigit() and len(given) == 15):
            raise forms.ValidationError("宛名番号は15桁の数字です。")
        return given

    def clean_after(self) -> Place | None:
        """Where the former page ended; anything else begins anew."""
        at, _, rest = str(self.cleaned_data["after"]).partition("|")
        entry, _, agency = rest.partition("|")
        try:
            return Place(datetime.fromisoformat(at), int(entry), agency == "1") if at else None
        except ValueError:
            return None

    def question(self) -> Question:
        """What the foundation searches by."""
        found = self.conditions()
        return Question(
            since=datetime.fromisoformat(found.pop("since")),
            until=datetime.fromisoformat(found.pop("until")),
            addressee_number=self.cleaned_data.get("addressee_number", ""),
            **found,
        )


def place_text(place: Place) -> str:
    """A place as a hidden field holds it."""
    return f"{place.at.isoformat()}|{place.entry_id}|{int(place.is_agency)}"


class CodeForm(forms.Form):
    """A fresh code, and the digest of what stood on the page."""

    stamp = forms.RegexField(regex=r"\A[0-9a-f]{64}\Z", required=False)
    code = forms.CharField(
        label="確認コード",
        max_length=6,
        help_text=_CODE_HELP,
        widget=forms.TextInput(
            attrs={"inputmode": "numeric", "class": "short", "autocomplete": "one-time-code"}
        ),
    )


class StatementForm(forms.Form):
    """Whose statement, about when, under which case number."""

    addressee_number = forms.CharField(
        label="宛名番号",
        max_length=15,
        help_text="15桁。中間DB参照で確かめてください。",
        widget=forms.TextInput(
            attrs={"inputmode": "numeric", "class": "short", "autocomplete": "off"}
        ),
    )
    since = _day("この日から")
    until = _day("この日まで")
    reference = forms.CharField(
        label="受付番号",
        max_length=32,
        help_text="開示請求などの受付番号。英数字と - _ . で書きます。",
        widget=forms.TextInput(attrs={"class": "short", "autocomplete": "off"}),
    )

    def clean(self) -> dict[str, Any]:
        given = super().clean() or {}
        _check_days(self, given)
        return given

    def wish(self) -> dict[str, Any]:
        """What `request_statement` takes."""
        given = self.cleaned_data
        return {
            "addressee_number": given["addressee_number"],
            "since": _begin(given["since"]),
            "until": _begin(given["until"] + timedelta(days=1)),
            "reference": given["reference"],
        }


class ResidentConditions(forms.Form):
    """Which residents; the same fields as 中間DB参照."""

    name = _text("氏名", help_text="一部でもかまいません。")
    kana = _text("フリガナ")
    born_on = forms.DateField(
        label="生年月日",
        required=False,
        input_formats=["%Y-%m-%d"],
        widget=forms.DateInput(attrs={"type": "date", "class": "short"}, format="%Y-%m-%d"),
    )
    addressee_number = _text("宛名番号", longest=15, inputmode="numeric")
    address = _text("住所", help_text="支援措置の対象者は、住所では見つかりません。")

    def conditions(self) -> dict[str, str]:
        """As an export keeps them."""
        given = self.cleaned_data
        found = {
            name: given[name] for name in ("name", "kana", "addressee_number", "address")
            if given[name]
        }
        return found | ({"birth_date": given["born_on"].isoformat()} if given["born_on"] else {})


class LinkageConditions(forms.Form):
    """Which transmissions: received from a day to a day."""

    since = _day("この日から")
    until = _day("この日まで")

    def clean(self) -> dict[str, Any]:
        given = super().clean() or {}
        _check_days(self, given)
        return given

    def conditions(self) -> dict[str, str]:
        """As an export keeps them."""
        given = self.cleaned_data
        return {
            "since": _begin(given["since"]).isoformat(),
            "until": _begin(given["until"] + timedelta(days=1)).isoformat(),
        }


CONDITIONS: dict[ExportKind, type[forms.Form]] = {
    ExportKind.RESIDENTS: ResidentConditions,
    ExportKind.AUDIT: AuditConditions,
    ExportKind.LINKAGE: LinkageConditions,
}


class ExportForm(forms.Form):
    """What is taken out, why, how much of it and by whom it can be opened."""

    purpose = forms.ChoiceField(label="持ち出しの目的")
    reference = forms.CharField(
        label="受付番号・文書番号",
        max_length=32,
        help_text="英数字と - _ . で書きます。住民の番号や氏名は書きません。",
        widget=forms.TextInput(attrs={"class": "short", "autocomplete": "off"}),
    )
    columns = forms.MultipleChoiceField(
        label="項目", help_text="要るものだけを選びます。", widget=forms.CheckboxSelectMultiple
    )
    row_limit = forms.IntegerField(
        label="件数の上限",
        min_value=1,
        widget=forms.TextInput(attrs={"inputmode": "numeric", "class": "short"}),
    )
    recipient_id = forms.ChoiceField(label="受領者")

    def __init__(
        self, *arguments: Any, kind: ExportKind, receivers: list[str], **named: Any
    ) -> None:
        super().__init__(*arguments, **named)
        today = clock.today()
        most = rules.limits_on(today).rows_of(kind)
        purposes = [("", "選んでください"), *rules.purposes_on(today).items()]
        fields: dict[str, Any] = self.fields
        fields["purpose"].choices = purposes
        fields["columns"].choices = list(rules.columns_of(kind).items())
        fields["recipient_id"].choices = [(one, one) for one in receivers]
        fields["row_limit"].help_text = (
            f"{most:,}件まで。条件に合うものがこれより多いときは、申請できません。"
        )
        fields["row_limit"].max_value = most
        fields["row_limit"].initial = most
