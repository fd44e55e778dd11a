"""What changed between two versions of the interface (仕様の差分).

Owns: comparing two interfaces: files, columns and code lists, one `Change` a difference.
Promises: columns are told apart by their English names, files by their ids; a rename is known
only where the specification says so (`conversion_rules`). `must_act` is set when data that was
right in the old version can be wrong in the new one.

    for change in compare("1.0", "2.0"): print(change.text_ja)
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from bcl_contract.linkage.conversion_rules import ConversionRules, load_rules
from bcl_contract.linkage.layouts import CodeList, Column, Interface, Layout, load_interface

ADDED, REMOVED, CHANGED = "added", "removed", "changed"
FILE, COLUMN, CODE_LIST, CODE = "file", "column", "code_list", "code"

ATTRIBUTES = {
    "name": "英名",
    "title_ja": "名前",
    "type": "型",
    "length": "桁",
    "required": "必須",
    "condition": "条件",
    "key_order": "キー",
    "code_list": "コード",
    "profiles": "利用",
    "sensitivity": "区分",
    "search": "検索",
    "urgent": "緊急の送信",
    "position": "番号",
    "urgent_condition": "緊急の送信の条件",
    "closed": "値の限定",
    "label_ja": "意味",
}
_SUBJECTS = {FILE: "ファイル", COLUMN: "項目", CODE_LIST: "コード一覧", CODE: "コード"}
_KINDS = {ADDED: "追加", REMOVED: "廃止", CHANGED: "変更"}
_COLUMN_ATTRIBUTES = (
    "title_ja", "type", "length", "required", "condition", "key_order", "code_list", "search",
    "sensitivity", "profiles", "urgent",
)  # fmt: skip
_WIDER_TYPES = {("N", "X"), ("K", "J"), ("F", "N"), ("F", "X"), ("I", "X"), ("F", "I")}
"""(old, new): every value of the old type is a value of the new one."""


@dataclass(frozen=True)
class Change:
    """One difference. `place` is the file id, "file id.column", a code list or "list.code".

    `attribute` is what changed (empty for added and removed things), `before` and `after` its
    texts, `title_ja` what people call the thing.
    """

    kind: str
    subject: str
    place: str
    title_ja: str
    attribute: str = ""
    before: str = ""
    after: str = ""
    must_act: bool = False

    @property
    def what_ja(self) -> str:
        """What happened to what, e.g. 項目の桁の変更."""
        attribute = f"の{ATTRIBUTES[self.attribute]}" if self.attribute else ""
        return f"{_SUBJECTS[self.subject]}{attribute}の{_KINDS[self.kind]}"

    @property
    def text_ja(self) -> str:
        """One line for people."""
        what = f"{_SUBJECTS[self.subject]} {self.place}「{self.title_ja}」"
        mark = "【対応が必要】" if self.must_act else ""
        if self.kind != CHANGED:
            after = f" → {self.after}" if self.after else ""
            return f"{_KINDS[self.kind]}: {what}{after}{mark}"
        said = (
            f"{ATTRIBUTES[self.attribute]} {self.before or '（なし）'} → {self.after or '（なし）'}"
        )
        return f"{_KINDS[self.kind]}: {what} {said}{mark}"

    def as_json(self) -> dict[str, object]:
        """Give the machine form."""
        return {
            "kind": self.kind, "subject": self.subject, "place": self.place,
            "title_ja": self.title_ja, "attribute": self.attribute or None,
            "before": self.before or None, "after": self.after or None,
            "must_act": self.must_act,
        }  # fmt: skip


def compare(source: str, target: str) -> list[Change]:
    """List what changed from version `source` to `target`, in the order of the specification.

    Raises `UnknownInterfaceVersion`.
    """
    old, new = load_interface(source), load_interface(target)
    return list(compare_interfaces(old, new, load_rules(source, target)))


def compare_interfaces(
    old: Interface, new: Interface, rules: ConversionRules | None = None
) -> Iterator[Change]:
    """Give the differences of two interfaces."""
    rules = rules or ConversionRules()
    for file_id, layout in new.files.items():
        if file_id not in old.files:
            yield Change(ADDED, FILE, file_id, layout.title_ja)
        else:
            yield from _compare_layouts(old.files[file_id], layout, rules)
    for file_id, layout in old.files.items():
        if file_id not in new.files:
            yield Change(REMOVED, FILE, file_id, layout.title_ja, must_act=True)
    yield from _compare_code_lists(old, new, rules)


def reads_alike(old: Interface, new: Interface, file_id: str) -> bool:
    """Whether a line written in `old` says in `new` the same, as it stands.

    Same columns in the same places, same keys, and no code of the old version that the new one
    lacks or understands otherwise.
    """
    if file_id not in old.files or file_id not in new.files:
        return False
    before, after = old.files[file_id], new.files[file_id]
    if before.names != after.names:
        return False
    for one, other in zip(before.columns, after.columns, strict=True):
        if (one.type, one.key_order, one.code_list) != (
            other.type, other.key_order, other.code_list
        ):  # fmt: skip
            return False
        if one.code_list is not None:
            known = new.code_lists[one.code_list].values
            codes = old.code_lists[one.code_list].values
            if any(known.get(code) != label for code, label in codes.items()):
                return False
    return True


def is_wider_type(old: str, new: str) -> bool:
    """Whether every value of the old type may stand in a column of the new type."""
    return old == new or (old, new) in _WIDER_TYPES


def _compare_layouts(old: Layout, new: Layout, rules: ConversionRules) -> Iterator[Change]:
    file_id = new.file_id
    for attribute in ("title_ja", "name", "urgent_condition"):
        before, after = getattr(old, attribute), getattr(new, attribute)
        if before != after:
            must_act = attribute == "urgent_condition"
            yield Change(CHANGED, FILE, file_id, new.title_ja, attribute, before, after, must_act)
    taken = set()
    for column in new.columns:
        source = rules.renamed.get((file_id, column.name), column.name)
        place = f"{file_id}.{column.name}"
        if not old.has(source):
            yield Change(
                ADDED, COLUMN, place, column.title_ja, must_act=True
            )  # the header has one title more
            continue
        taken.add(source)
        if source != column.name:
            yield Change(CHANGED, COLUMN, place, column.title_ja, "name", source, column.name)
        yield from _compare_columns(place, old.column(source), column)
    for column in old.columns:
        if column.name not in taken:
            place = f"{file_id}.{column.name}"
            yield Change(REMOVED, COLUMN, place, column.title_ja, must_act=True)
    yield from _compare_order(old, new, rules)


def _compare_columns(place: str, old: Column, new: Column) -> Iterator[Change]:
    for attribute in _COLUMN_ATTRIBUTES:
        before, after = getattr(old, attribute), getattr(new, attribute)
        if before != after:
            yield Change(
                CHANGED, COLUMN, place, new.title_ja, attribute, _text(before), _text(after),
                must_act=_must_act(attribute, old, new),
            )  # fmt: skip


def _must_act(attribute: str, old: Column, new: Column) -> bool:
    """Whether this difference can make a right value wrong."""
    if attribute == "length":
        return new.length < old.length
    if attribute == "type":
        return not is_wider_type(old.type, new.type)
    if attribute in ("required", "condition"):
        return new.required != "N" and (new.required, new.condition) != ("C", old.condition)
    return attribute in ("title_ja", "key_order", "code_list")


def _compare_order(old: Layout, new: Layout, rules: ConversionRules) -> Iterator[Change]:
    """Columns that both have, in another order: the file's line looks different."""
    before = [column.name for column in old.columns]
    sources = [rules.renamed.get((new.file_id, name), name) for name in new.names]
    after = [name for name in sources if old.has(name)]
    kept = set(after)
    if [name for name in before if name in kept] != after:
        yield Change(
            CHANGED, FILE, new.file_id, new.title_ja, "position", "前の順", "新しい順", True
        )


def _compare_code_lists(old: Interface, new: Interface, rules: ConversionRules) -> Iterator[Change]:
    for name, codes in new.code_lists.items():
        if name not in old.code_lists:
            yield Change(ADDED, CODE_LIST, name, _user_of(new, name))
        else:
            yield from _compare_codes(old.code_lists[name], codes, rules)
    for name in old.code_lists:
        if name not in new.code_lists:
            yield Change(REMOVED, CODE_LIST, name, _user_of(old, name))


def _user_of(interface: Interface, code_list: str) -> str:
    """The title of the first column that uses a code list; its name when none does."""
    for layout in interface.files.values():
        for column in layout.columns:
            if column.code_list == code_list:
                return column.title_ja
    return code_list


def _compare_codes(old: CodeList, new: CodeList, rules: ConversionRules) -> Iterator[Change]:
    name = new.name
    if old.closed != new.closed:
        yield Change(
            CHANGED, CODE_LIST, name, name, "closed", _text(old.closed), _text(new.closed),
            must_act=new.closed,
        )  # fmt: skip
    moved = rules.codes.get(name, {})
    for code, label in new.values.items():
        if code not in old.values:
            yield Change(ADDED, CODE, f"{name}.{code}", label)
        elif old.values[code] != label:
            yield Change(
                CHANGED, CODE, f"{name}.{code}", label, "label_ja", old.values[code], label,
                must_act=True,
            )  # fmt: skip
    for code, label in old.values.items():
        if code not in new.values:
            after = f"{moved[code]} に置き換え" if code in moved else ""
            yield Change(REMOVED, CODE, f"{name}.{code}", label, after=after, must_act=True)


def _text(value: object) -> str:
    if isinstance(value, bool):
        return "あり" if value else "なし"
    return "" if value is None else str(value)
