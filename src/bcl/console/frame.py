"""What every staff page shows around its content: who, where one can go, what was just done."""

from __future__ import annotations

from typing import Any

from django.http import HttpRequest
from django.urls import reverse

from bcl.accounts.api import AGENCY_CODE
from bcl.municipalities import api as municipalities

# Title, route name, permission that shows it.
NAVIGATION = (
    ("ホーム", "home", "home.view"),
    ("連携", "linkage", "linkage.view"),
    ("連携仕様", "interface", "interface.view"),
    ("データ利用", "data-uses", "subscriptions.view"),
    ("配り先", "subscriptions", "subscriptions.view"),
    ("中間DB参照", "residents", "residents.view"),
    ("リカバリ", "recovery", "recovery.view"),
    ("監査ログ", "audit", "audit.view"),
    ("閲覧記録", "statements", "statements.view"),
    ("持ち出し", "exports", "exports.view"),
    ("ユーザ管理", "accounts", "accounts.view"),
    ("管理端末", "terminals", "terminals.view"),
    ("特権", "privileges", "privileges.view"),
    ("保存期間", "retention", "retention.view"),
    ("自己点検", "security", "security.view"),
)

DONE = {
    "account-locked": "アカウントを停止しました。次の操作から使えません。",
    "account-unlocked": "停止を解除しました。",
    "account-roles": "役割を変えました。本人の次の操作から変わります。",
    "account-reviewed": "棚卸しを記録しました。",
    "account-closed": "アカウントを廃止しました。",
    "account-validity": "有効期限を変えました。",
    "sessions-ended": "サインインを終えました。",
    "password-changed": "パスワードを変えました。ほかのサインインはすべて終わりました。",
    "passkey-added": "パスキーを登録しました。次のサインインから使えます。",
    "passkey-removed": "パスキーを消しました。",
    "terminal-registered": "端末を登録しました。",
    "terminal-revoked": "端末を失効させました。その端末のサインインはすべて終わりました。",
    "privilege-asked": "申請しました。別の人が承認すると使えます。",
    "privilege-approved": "承認しました。時間が来ると自動で終わります。",
    "privilege-refused": "却下しました。",
    "privilege-ended": "特権を終えました。",
    "transmission-released": "承認しました。反映の順番が来ると自動で反映されます。",
    "transmission-release-asked": "申し出を記録しました。別の承認者が承認すると反映されます。",
    "hold-asked": "申し出を記録しました。別の承認者が承認すると解除されます。",
    "hold-lifted": "解除しました。この人・世帯の証明書をまた発行できます。",
    "recovery-requested": "申請しました。別の人が承認すると作り始めます。",
    "recovery-approved": "承認しました。リカバリデータを作っています。",
    "resend-asked": "送り直しを依頼しました。連携装置が次に問い合わせたときに伝わります。",
    "resend-withdrawn": "依頼を取り下げました。",
    "audit-check-started": "検証を始めました。終わると画面が変わります。",
    "statement-asked": "申請しました。別の人が承認すると作れます。",
    "statement-ready": "作成できます。内容を確かめて、PDF を作ってください。",
    "statement-approved": "承認しました。申請した人が PDF を作れます。",
    "export-asked": "申請しました。別の人が承認すると作り始めます。",
    "export-approved": "承認しました。ファイルを作っています。",
    "export-declined": "取りやめました。ファイルは作られません。",
    "transmission-rejected": "却下しました。正しい連携データを同じ通番で送り直してください。",
}


def page_context(request: HttpRequest) -> dict[str, Any]:
    """Context processor of all staff pages."""
    principal = getattr(request, "principal", None)
    context: dict[str, Any] = {
        "principal": principal,
        "terminal": getattr(request, "terminal", None),
        "said": DONE.get(request.GET.get("done", "")),
    }
    if principal is not None and principal.has_second_factor:
        context["tenant_name"] = _tenant_name(principal.municipality_code)
        context["navigation"] = _navigation(request, principal.permissions)
    return context


def _tenant_name(code: str) -> str:
    if code == AGENCY_CODE:
        return "機構"
    found = municipalities.find_municipality(code)
    return found.name_ja if found is not None else code


def _navigation(request: HttpRequest, permissions: frozenset[str]) -> list[dict[str, Any]]:
    items = []
    for title, route, permission in NAVIGATION:
        if permission in permissions:
            url = reverse(route)
            here = request.path == url or (url != "/" and request.path.startswith(f"{url}/"))
            items.append({"title": title, "url": url, "is_current": here})
    return items
