"""Forms of sign-in and user administration. Only what is named here is ever read from a request."""

from __future__ import annotations

import re
from typing import Any

from django import forms

from bcl.accounts.api import AGENCY_CODE, ROLE_NAMES_JA
from bcl.accounts.rules import belongs_to

_LOGIN_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{1,31}\Z")


def _text(label: str, *, complete: str = "off", **more: Any) -> forms.CharField:
    attributes = {"autocomplete": complete, **more.pop("attributes", {})}
    widget = more.pop("widget", forms.TextInput)(attrs=attributes)
    return forms.CharField(label=label, widget=widget, strip=more.pop("strip", True), **more)


def _password(label: str, complete: str, **more: Any) -> forms.CharField:
    return _text(
        label,
        complete=complete,
        widget=forms.PasswordInput,
        strip=False,
        max_length=4096,
        **more,
    )


class SignInForm(forms.Form):
    """First factor."""

    login_name = _text("職員番号", complete="username", max_length=64)
    password = _password("パスワード", "current-password")


class CodeForm(forms.Form):
    """Second factor."""

    code = _text(
        "確認コード",
        complete="one-time-code",
        max_length=8,
        help_text="認証アプリに表示されている6桁の数字です。",
        attributes={"inputmode": "numeric", "class": "short"},
    )


def _fresh_code() -> forms.CharField:
    return _text(
        "確認コード",
        complete="one-time-code",
        max_length=8,
        help_text="認証アプリに今表示されている6桁の数字です。サインインに使ったものは使えません。",
        attributes={"inputmode": "numeric", "class": "short"},
    )


class FreshCodeForm(forms.Form):
    """The second factor once more, for an act."""

    code = _fresh_code()


class PasskeyForm(forms.Form):
    """What a device made, and what its owner calls it."""

    label = _text("呼び名", max_length=32, help_text="例: 職員証、青い鍵。自分だけに見えます。")
    answer = forms.CharField(max_length=65536, widget=forms.HiddenInput)


class EnrolmentForm(forms.Form):
    """The one-time code from the administrator."""

    login_name = _text("職員番号", complete="username", max_length=64)
    code = _text(
        "登録コード",
        max_length=32,
        help_text="団体管理者から受け取った、ABCD-EFGH-IJKL-MNOP の形のコードです。",
    )


class PasswordForm(forms.Form):
    """The own password, twice."""

    password = _password(
        "新しいパスワード",
        "new-password",
        help_text="12文字以上。長い言葉の組み合わせがおすすめです。",
    )
    again = _password("新しいパスワード（もう一度）", "new-password")

    def clean(self) -> dict[str, Any]:
        cleaned: dict[str, Any] = super().clean() or {}
        first, second = cleaned.get("password"), cleaned.get("again")
        if first and second and first != second:
            self.add_error("again", "二つの入力が違っています。")
        return cleaned


class OwnPasswordForm(PasswordForm):
    """Changing the own password: the old one, the new one twice, a fresh code."""

    current = _password("今のパスワード", "current-password")
    code = _fresh_code()
    field_order = ("current", "password", "again", "code")


def role_choices(municipality_code: str) -> list[tuple[str, str]]:
    """Roles that staff of this tenant can hold."""
    return [
        (role.value, name)
        for role, name in ROLE_NAMES_JA.items()
        if belongs_to(role, municipality_code)
    ]


class RolesForm(forms.Form):
    """The roles of an account."""

    roles = forms.MultipleChoiceField(
        label="役割", widget=forms.CheckboxSelectMultiple, required=False
    )

    def __init__(self, *arguments: Any, municipality_code: str = AGENCY_CODE, **named: Any) -> None:
        super().__init__(*arguments, **named)
        self.fields["roles"].choices = role_choices(municipality_code)


class NewAccountForm(RolesForm):
    """A new member of staff."""

    login_name = _text("職員番号", max_length=32, help_text="半角の英数字と . _ - で、2〜32文字。")
    name_ja = _text("氏名", max_length=64)
    valid_until_on = forms.DateField(
        label="有効期限",
        required=False,
        help_text="異動・任期の終わりが決まっているとき。その日まで使えます。",
        widget=forms.DateInput(attrs={"type": "date", "class": "short"}),
    )
    field_order = ("login_name", "name_ja", "roles", "valid_until_on")

    def clean_login_name(self) -> str:
        given: str = self.cleaned_data["login_name"]
        if not _LOGIN_NAME.match(given):
            raise forms.ValidationError("半角の英数字と . _ - で、2〜32文字にしてください。")
        return given


class ValidityForm(forms.Form):
    """Until when an account may be used."""

    valid_until_on = forms.DateField(
        label="新しい有効期限",
        required=False,
        help_text="その日まで使えます。空にすると期限がなくなります。",
        widget=forms.DateInput(attrs={"type": "date", "class": "short"}),
    )


class PrivilegeForm(forms.Form):
    """Asking for privileges."""

    ticket = _text(
        "作業の番号",
        max_length=32,
        help_text="作業の申請や連絡票の番号。半角の英数字と . _ / - で、3〜32文字。",
        attributes={"class": "short"},
    )
    reason = _text("理由", max_length=500, help_text="何をするためか。氏名などは書きません。")
    minutes = forms.IntegerField(
        label="時間（分）",
        min_value=1,
        initial=30,
        help_text="長くても60分。時間が来ると自動で終わります。",
        widget=forms.NumberInput(attrs={"class": "short"}),
    )


class TerminalForm(forms.Form):
    """A terminal to be registered."""

    owner = forms.ChoiceField(label="団体")
    terminal_id = _text("端末番号", max_length=32, help_text="半角の英数字と . _ - で、2〜32文字。")
    name_ja = _text("端末名", max_length=64, help_text="例: 市民課の端末1")
    place_ja = _text("設置場所", max_length=64, help_text="例: 本庁舎1階 市民課")
    terminal_class = forms.ChoiceField(
        label="区分",
        choices=[("LGWAN", "LGWAN系"), ("INDIVIDUAL_NUMBER", "マイナンバー利用事務系")],
        help_text="個人番号を扱うのは、マイナンバー利用事務系の端末だけです。",
    )
    valid_until_on = forms.DateField(
        label="有効期限",
        required=False,
        help_text="貸出や更改の予定があるとき。その日まで使えます。",
        widget=forms.DateInput(attrs={"type": "date", "class": "short"}),
    )
    papers = _text(
        "証明書または CSR",
        max_length=20000,
        widget=forms.Textarea,
        help_text="-----BEGIN の行から -----END の行までを貼り付けます。秘密鍵は貼り付けません。",
        attributes={"rows": "8", "spellcheck": "false"},
    )

    def __init__(self, *arguments: Any, towns: list[tuple[str, str]], **named: Any) -> None:
        super().__init__(*arguments, **named)
        choices = [(code, f"{name}（{code}）") for code, name in towns]
        self.fields["owner"].choices = choices  # type: ignore[attr-defined]

    def clean_terminal_id(self) -> str:
        given: str = self.cleaned_data["terminal_id"]
        if not _LOGIN_NAME.match(given):
            raise forms.ValidationError("半角の英数字と . _ - で、2〜32文字にしてください。")
        return given

    def clean_papers(self) -> str:
        given: str = self.cleaned_data["papers"]
        if "PRIVATE KEY" in given:
            raise forms.ValidationError(
                "秘密鍵が入っています。この鍵はもう使わず、端末で作り直してください。"
            )
        return given
