#!/usr/bin/env python3
"""監査記録の検証ツール（audit_verifier.py）: checks an exported audit log without BCL.

One file, Python 3.9 or later, the standard library and `cryptography` (for Ed25519). It shares no
code with the program that keeps the log, opens no network and needs no database: an auditor runs
it on an own machine, with heads kept in a place that the keeper of the log can't change.

    python audit_verifier.py EXPORT.jsonl --heads HEADS.jsonl [--heads DIR] [--key HEX]
    python audit_verifier.py --proof PROOF.json --heads HEADS.jsonl

The log is a hash tree (RFC 6962, SHA-256); a head is its root with the number of rows, signed.
Exit codes: 0 everything matches, 1 a file can't be read, 2 wrong usage, 3 something differs.
"""

# ruff: noqa: T201 - printing is what this program is for
from __future__ import annotations

import argparse
import base64
import binascii
import hashlib
import json
import os
import sys
from collections.abc import Iterable, Iterator, Sequence
from typing import Any

EXPORT_FORMAT = "bcl-audit-export-1"
PROOF_FORMAT = "bcl-audit-proof-1"
HEAD_FORMAT = "bcl-audit-head-1"
MOST_SHOWN = 50

Tree = tuple[int, bytes]
"""Number of rows and the root's hash."""


class Unreadable(Exception):
    """A file can't be read; the text is for the person at the keyboard."""


# --- hash trees (RFC 6962 and RFC 9162) -----------------------------------------------------------


def leaf_hash(row: bytes) -> bytes:
    """Hash of one row's bytes."""
    return hashlib.sha256(b"\0" + row).digest()


def node_hash(left: bytes, right: bytes) -> bytes:
    """Hash of two subtrees side by side."""
    return hashlib.sha256(b"\1" + left + right).digest()


class Tree6962:
    """The root of rows that come one by one; keeps one hash a level."""

    def __init__(self) -> None:
        self.size = 0
        self.levels: list[bytes | None] = []

    def add(self, leaf: bytes) -> None:
        """Append a leaf by its hash."""
        level, carried = 0, leaf
        while level < len(self.levels) and self.levels[level] is not None:
            carried = node_hash(self.levels[level] or b"", carried)
            self.levels[level] = None
            level += 1
        if level == len(self.levels):
            self.levels.append(None)
        self.levels[level] = carried
        self.size += 1

    def root(self) -> bytes:
        """The root of what was added so far."""
        root: bytes | None = None
        for each in self.levels:
            if each is not None:
                root = each if root is None else node_hash(each, root)
        return hashlib.sha256(b"").digest() if root is None else root


def is_included(leaf: bytes, number: int, tree: Tree, proof: Sequence[bytes]) -> bool:
    """Whether the proof shows that the leaf is in the tree at `number` (RFC 9162 §2.1.3.2)."""
    size, root = tree
    if not 0 <= number < size or {len(leaf), len(root)} != {32}:
        return False
    place, last, found = number, size - 1, leaf
    for each in proof:
        if last == 0:
            return False
        if place & 1 or place == last:
            found = node_hash(each, found)
            while not place & 1 and place:
                place >>= 1
                last >>= 1
        else:
            found = node_hash(found, each)
        place >>= 1
        last >>= 1
    return last == 0 and found == root


def is_consistent(first: Tree, second: Tree, proof: Sequence[bytes]) -> bool:
    """Whether the proof shows that the first tree is the beginning of the second one
    (RFC 9162 §2.1.4.2)."""
    if not 0 < first[0] <= second[0]:
        return False  # nothing can be said about a tree without rows
    if first[0] == second[0]:
        return not proof and first[1] == second[1]
    if not proof:
        return False
    path = list(proof) if first[0] & (first[0] - 1) else [first[1], *proof]
    place, last = first[0] - 1, second[0] - 1
    while place & 1:
        place >>= 1
        last >>= 1
    old = new = path[0]
    for each in path[1:]:
        if last == 0:
            return False
        if place & 1 or place == last:
            old, new = node_hash(each, old), node_hash(each, new)
            while not place & 1 and place:
                place >>= 1
                last >>= 1
        else:
            new = node_hash(new, each)
        place >>= 1
        last >>= 1
    return last == 0 and old == first[1] and new == second[1]


# --- heads ----------------------------------------------------------------------------------------


class Head:
    """A signed head: its content, and who signed it."""

    def __init__(self, signed: Any) -> None:
        try:
            self.content = dict(signed["content"])
            self.public_key = bytes.fromhex(signed["public_key"])
            self.signature = base64.b64decode(signed["signature"], validate=True)
            self.log = str(self.content["log"])
            self.number = int(self.content["number"])
            self.epoch = int(self.content["epoch"])
            self.former_size = int(self.content["former_size"])
            self.former = str(self.content["former_sha256"])
            self.size = int(self.content["tree_size"])
            self.root = bytes.fromhex(self.content["root_sha256"])
            self.sealed_at = str(self.content["sealed_at"])
        except (KeyError, TypeError, ValueError, binascii.Error):
            raise Unreadable("先頭値の形が正しくありません。") from None

    @property
    def digest(self) -> str:
        return hashlib.sha256(canonical(self.content)).hexdigest()

    @property
    def is_signed(self) -> bool:
        """Whether the key that the head names signed it."""
        # Imported late: whoever looks at hashes only needs nothing but the standard library.
        from cryptography.exceptions import InvalidSignature
        from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

        try:
            key = Ed25519PublicKey.from_public_bytes(self.public_key)
            key.verify(self.signature, canonical(self.content))
        except (InvalidSignature, ValueError):
            return False
        return self.content.get("format") == HEAD_FORMAT

    def __str__(self) -> str:
        return f"先頭値 {self.number}（{self.size:,} 件、{self.sealed_at}）"


def canonical(content: Any) -> bytes:
    """The one byte form of JSON: sorted keys, no blanks, UTF-8."""
    text = json.dumps(content, ensure_ascii=False, sort_keys=True, separators=(",", ":"))
    return text.encode("utf-8")


def read_heads(places: Iterable[str]) -> list[Head]:
    """Heads of files and directories (*.jsonl, one a line). A torn last line counts for nothing."""
    heads = []
    for place in places:
        files = [place]
        if os.path.isdir(place):
            files = sorted(
                os.path.join(folder, name)
                for folder, _, names in os.walk(place)
                for name in names
                if name.endswith(".jsonl")
            )
        for file in files:
            with _opened(file) as lines:
                for line in lines:
                    try:
                        signed = json.loads(line)
                    except ValueError:
                        continue
                    heads.append(Head(signed))
    return heads


def _opened(path: str) -> Any:
    try:
        return open(path, encoding="utf-8", errors="replace")
    except OSError as fault:
        raise Unreadable(f"ファイルを開けません: {path}（{fault.strerror}）") from None


# --- checking an export ---------------------------------------------------------------------------


class Check:
    """One run over an export: feed it lines, then read `problems` and `notes`."""

    def __init__(self, outside: Sequence[Head], pinned: Sequence[bytes] = ()) -> None:
        self.outside = outside
        self.pinned = list(pinned)
        self.problems: list[str] = []
        self.tree = Tree6962()
        self.header: dict[str, Any] = {}
        self.heads: list[Head] = []
        self.roots: dict[int, bytes] = {}
        self.wanted = {head.size for head in outside}
        self.expected = 0
        self.last_good = 0
        self.is_whole = True
        self.ended: dict[str, Any] | None = None

    @property
    def keys(self) -> list[bytes]:
        """The agency's keys that count."""
        return self.pinned or [head.public_key for head in self.outside]

    def report(self, problem: str) -> None:
        self.problems.append(problem)

    def run(self, lines: Iterable[str]) -> None:
        """Read an export line by line; problems are collected in the order of the log."""
        self._check_outside()
        for place, line in enumerate(lines, start=1):
            try:
                content = json.loads(line)
                self._take(place, content)
            except (ValueError, KeyError, TypeError):
                raise Unreadable(f"書出しの {place} 行目が読めません。") from None
        if not self.header:
            raise Unreadable("監査記録の書出しではありません。")
        self._finish()

    def _take(self, place: int, content: dict[str, Any]) -> None:
        if place == 1:
            if content.get("format") != EXPORT_FORMAT:
                raise Unreadable("監査記録の書出しではありません。")
            self.header = content
        elif "row" in content:
            self._take_row(content)
        elif "head" in content:
            self._take_head(Head(content["head"]))
        else:
            self.ended = content["end"]

    def _take_row(self, content: dict[str, Any]) -> None:
        row, number = content["row"] or {"id": content["id"]}, int(content["leaf"])
        name = f"通し番号 {number}（記録 {row.get('id')}、{row.get('act')}、{row.get('at')}）"
        if number > self.expected:
            self._miss(number)
        elif number < self.expected:
            self.report(f"挿入: {name} は順番に合いません。")
            self.is_whole = False
            return
        self.expected = number + 1
        if content["row"] is None:
            self.report(f"削除: 通し番号 {number}（記録 {row['id']}）の内容がありません。")
        elif row["log"] != self.header["log"]:
            self.report(f"挿入: {name} はこの団体の記録ではありません。")
        elif leaf_hash(canonical(row)).hex() != content["hash"]:
            self.report(f"書換え: {name} の内容がハッシュ値と合いません。")
        # Go on with the hash of the log, so that one altered row is one problem.
        self.tree.add(bytes.fromhex(content["hash"]))
        if self.is_whole and self.tree.size in self.wanted:
            self.roots[self.tree.size] = self.tree.root()

    def _miss(self, until: int) -> None:
        gone = f"{self.expected}" + (f"～{until - 1}" if until - 1 > self.expected else "")
        self.report(f"削除: 通し番号 {gone} の記録がありません。")
        self.expected, self.is_whole = until, False

    def _take_head(self, head: Head) -> None:
        if head.size > self.expected:
            self._miss(head.size)
        if not head.is_signed or head.public_key not in self.keys:
            self.report(f"偽の署名: {head} は機構の署名ではありません。")
        former = self.heads[-1] if self.heads else None
        chained = (
            (head.number, head.former, head.former_size) == (1, "", 0)
            if former is None
            else (head.former, head.former_size) == (former.digest, former.size)
            and head.number == former.number + 1
        )
        if not chained or head.log != self.header["log"]:
            self.report(f"連鎖の切れ目: {head} が前の先頭値につながりません。")
        if self.is_whole and (head.size != self.tree.size or head.root != self.tree.root()):
            until = max(head.size, self.tree.size) - 1
            self.report(
                f"書換え: 通し番号 {self.last_good}～{until} のどれかが変えられています"
                f"（{head} と合いません）。"
            )
            self.is_whole = False
        elif self.is_whole:
            self.last_good = head.size
        self.heads.append(head)

    def _check_outside(self) -> None:
        for head in self.outside:
            if not head.is_signed or (self.pinned and head.public_key not in self.pinned):
                self.report(f"偽の署名: 外部の{head} は機構の署名ではありません。")

    def _finish(self) -> None:
        if self.ended is None or (self.ended.get("rows"), self.ended.get("heads")) != (
            self.expected, len(self.heads),
        ):
            self.report(f"書出しが途中で切れています（{self.expected:,} 件まで）。")
        elif self.heads and self.heads[-1].size != self.expected:
            signed = self.heads[-1].size
            self.report(f"通し番号 {signed} からの記録に、署名した先頭値がありません。")
        known = {head.digest for head in self.heads}
        good = 0
        for head in sorted(self.outside, key=lambda each: each.size):
            if head.digest in known and self.roots.get(head.size) == head.root:
                good = head.size
            elif not self._is_later(head):
                self._report_outside(head, good)
                break

    def _is_later(self, head: Head) -> bool:
        """Whether a head was made after the export: nothing can be said about it."""
        return head.size > self.expected and head.sealed_at > str(self.header["exported_at"])

    def _report_outside(self, head: Head, good: int) -> None:
        newer = [each for each in self.heads if each.epoch > head.epoch]
        if newer and newer[0].former_size < head.size:
            self.report(
                f"巻戻し: 通し番号 {newer[0].former_size}～{head.size - 1} の記録は、復元によって"
                f"失われています（外部の{head}）。"
            )
        elif head.size > self.expected:
            self.report(
                f"削除: 末尾の通し番号 {self.expected}～{head.size - 1} の記録がありません"
                f"（外部の{head}）。"
            )
        elif self.is_whole:
            self.report(
                f"書換え: 通し番号 {good}～{head.size - 1} のどれかが、外部の{head} と合いません。"
            )
        else:
            self.report(f"外部の{head} と照合できません（上の誤りのため）。")

    @property
    def later(self) -> int:
        """How many outside heads are newer than the export."""
        return sum(self._is_later(head) for head in self.outside)


def check_export(path: str, outside: Sequence[Head], pinned: Sequence[bytes] = ()) -> Check:
    """Check an export file against outside heads of its log; raises `Unreadable`."""
    with _opened(path) as lines:
        first = lines.readline()
        try:
            log = json.loads(first)["log"]
        except (ValueError, KeyError, TypeError):
            raise Unreadable("監査記録の書出しではありません。") from None
        check = Check([head for head in outside if head.log == log], pinned)
        check.run(_chained(first, lines))
    return check


def _chained(first: str, lines: Iterable[str]) -> Iterator[str]:
    yield first
    yield from lines


def check_proof(proof: dict[str, Any], outside: Sequence[Head]) -> list[str]:
    """Problems of the proof of one row (`bcl audit prove`); empty when it holds."""
    try:
        head, row, number = Head(proof["head"]), proof["row"], int(proof["leaf"])
        path = [bytes.fromhex(each) for each in proof["path"]]
    except (KeyError, TypeError, ValueError):
        raise Unreadable("記録の証明の形が正しくありません。") from None
    problems = []
    if not head.is_signed:
        problems.append(f"偽の署名: {head} は機構の署名ではありません。")
    if row.get("log") != head.log or not is_included(
        leaf_hash(canonical(row)), number, (head.size, head.root), path
    ):
        problems.append(f"書換え: 通し番号 {number} の記録は {head} に含まれていません。")
    if head.digest not in {each.digest for each in outside}:
        problems.append(f"{head} は外部の先頭値の中にありません。")
    return problems


# --- the command ----------------------------------------------------------------------------------


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line; gives the exit code."""
    parser = argparse.ArgumentParser(
        description="監査記録の書出し（bcl audit export）が、外部に置いた先頭値と合うかを調べます。"
    )
    parser.add_argument("export", nargs="?", metavar="書出し", help="監査記録の書出し（.jsonl）")
    parser.add_argument("--proof", metavar="ファイル", help="一つの記録の証明（bcl audit prove）")
    parser.add_argument(
        "--heads", action="append", default=[], required=True, metavar="場所",
        help="外部に置いた先頭値のファイルかフォルダ（くり返せます）",
    )  # fmt: skip
    parser.add_argument(
        "--key", action="append", default=[], metavar="公開鍵",
        help="機構の公開鍵（16進64文字）。書くと、この鍵の署名だけを認めます",
    )  # fmt: skip
    given = parser.parse_args(arguments)
    if (given.export is None) == (given.proof is None):
        parser.error("書出しか --proof のどちらか一つを指定してください。")
    try:
        pinned = [bytes.fromhex(each) for each in given.key]
        outside = read_heads(given.heads)
        return _tell_proof(given.proof, outside) if given.proof else _tell_export(
            given.export, outside, pinned
        )
    except ImportError:
        print("Python のパッケージ cryptography がないため、署名を確かめられません。")
    except Unreadable as fault:
        print(f"読み取れません: {fault}")
    except ValueError:
        parser.error("--key は公開鍵を16進で書いてください。")
    return 1


def _tell_proof(path: str, outside: Sequence[Head]) -> int:
    with _opened(path) as file:
        try:
            proof = json.load(file)
        except ValueError:
            raise Unreadable("記録の証明の形が正しくありません。") from None
    problems = check_proof(proof, outside)
    for each in problems:
        print(each)
    if not problems:
        print(f"通し番号 {proof['leaf']} の記録は {Head(proof['head'])} に含まれています。")
    return 3 if problems else 0


def _tell_export(path: str, outside: Sequence[Head], pinned: Sequence[bytes]) -> int:
    check = check_export(path, outside, pinned)
    print(f"団体 {check.header['log']}　記録 {check.expected:,} 件　先頭値 {len(check.heads):,} 個")
    print(f"書出しの日時 {check.header['exported_at']}")
    if not check.outside:
        print("外部の先頭値の中に、この団体のものがありません。照合できません。")
        return 3
    matched = len(check.outside) - check.later
    for each in check.problems[:MOST_SHOWN]:
        print(f"  {each}")
    if len(check.problems) > MOST_SHOWN:
        print(f"  ほか {len(check.problems) - MOST_SHOWN:,} 件")
    if check.later:
        print(f"書出しより後の先頭値 {check.later:,} 個は照合していません。")
    if check.problems:
        print("記録に誤りがあります。上の最初の行から調べてください。")
        return 3
    for key in sorted({head.public_key.hex() for head in check.heads}):
        print(f"署名の鍵 {key}")
    print(f"外部の先頭値 {matched:,} 個とすべて合いました。書換え・削除・挿入はありません。")
    return 0


if __name__ == "__main__":
    sys.exit(main())
