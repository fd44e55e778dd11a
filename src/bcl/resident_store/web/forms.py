"""Forms of the 中間DB参照 screens. Values come by POST only: none ever stands in a URL or a log."""

from __future__ import annotations

import re
from typing import Any

from django import forms

from bcl.resident_store.disclosure import purposes_on
from bcl_contract import clock

_REFERENCE = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,31}\Z")
_NOTHING_GIVEN = "氏名・フリガナ・宛名番号・住所のどれかを入力してください。"
_CRITERIA = ("name", "kana", "addressee_number", "address")


def _text(label: str, *, help_text: str = "", longest: int = 100, **attributes: str) -> Any:
    widget = forms.TextInput(attrs={"autocomplete": "off", **attributes})
    return forms.CharField(
        label=label, help_text=help_text, max_length=longest, required=False, widget=widget
    )


class PurposeForm(forms.Form):
    """Why somebody looks: asked for with every look (R-056)."""

    purpose = forms.ChoiceField(label="参照する目的")
    reference = _text(
        "受付番号など", help_text="あれば、英数字と - _ . で書きます。", longest=32
    )

    def __init__(self, *arguments: Any, **named: Any) -> None:
        super().__init__(*arguments, **named)
        purposes = purposes_on(clock.now().astimezone(clock.JST).date())
        choices = [("", "選んでください"), *purposes.items()]
        self.fields["purpose"] = forms.ChoiceField(label="参照する目的", choices=choices)

    def clean_reference(self) -> str:
        given: str = self.cleaned_data["reference"]
        digits = sum(character.isdigit() for character in given)
        if given and (not _REFERENCE.match(given) or digits > 10):
            raise forms.ValidationError("住民の番号や氏名ではなく、受付番号を書いてください。")
        return given


class SearchForm(PurposeForm):
    """What is known of the person looked for."""

    name = _text("氏名", help_text="姓だけ、名だけなど一部でも探せます。")
    kana = _text("フリガナ", help_text="ひらがなでも書けます。一部でも探せます。")
    born_on = forms.DateField(
        label="生年月日",
        required=False,
        input_formats=["%Y-%m-%d"],
        widget=forms.DateInput(attrs={"type": "date", "class": "short", "autocomplete": "off"}),
    )
    addressee_number = _text("宛名番号", longest=15, inputmode="numeric", **{"class": "short"})
    address = _text(
        "住所", help_text="町名と番地の一部。支援措置の対象者は住所では見つかりません。"
    )

    def clean(self) -> dict[str, Any]:
        given = super().clean() or {}
        if not self.errors and not any(given.get(name) for name in _CRITERIA):
            raise forms.ValidationError(_NOTHING_GIVEN)
        return given


class PersonForm(PurposeForm):
    """Which record is to be shown."""

    record = forms.IntegerField(min_value=0, max_value=2**62)


class RevealForm(PersonForm):
    """Showing the places of somebody under a protective measure: with a fresh code."""

    code = forms.CharField(max_length=6)
