"""The command that vendors get in the kit: BCL's own checks on a machine without BCL.

`bcl interface kit` packs this module and what it imports into one zipapp. It needs Python 3.11
and the few packages named in the kit; no database, no network, no key.
"""

from __future__ import annotations

import csv
import json
import sys
from collections.abc import Callable, Sequence
from pathlib import Path

from bcl_contract.linkage import catalog as catalogs
from bcl_contract.linkage.catalog import UnknownInterfaceVersion
from bcl_contract.linkage.changes import compare
from bcl_contract.linkage.convert import convert_path
from bcl_contract.linkage.report_text import refusal_lines, report_lines
from bcl_contract.linkage.sample_expectations import Expectation, read_expectations
from bcl_contract.linkage.transmission_check import Report
from bcl_contract.linkage.validator import validate_path
from bcl_contract.refusals import Refusal

OK, FAULTY, WRONG_USE = 0, 3, 2
EXPECTATIONS = "samples.csv"
_OPTIONS = {
    "validate": {"--file-id", "--version"},
    "samples": set[str](),
    "diff": set[str](),
    "convert": {"--from", "--to", "--file-id"},
    "list": set[str](),
}
HELP = """使い方: python bcl-interface.pyz コマンド …

  validate 場所 … [--version 版] [--file-id 種類] [--json]
      送信ファイル（フォルダー・CSV・zip）を、BCLと同じ規則で検査します。
  samples フォルダー [--json]
      付属のサンプルを検査し、期待どおりの指摘が出るかを確かめます。
  diff 前の版 新しい版 [--json]
      二つの版の違いを表示します。
  convert 入力 出力 --from 版 --to 版
      試験用のデータを、別の版の形に変換します。
  list
      この検査プログラムが知っている版を表示します。

終了コードは、0が問題なし（注意だけを含む）、3が誤りあり、2が使い方の誤りです。
値は表示しません。示すのはファイル・行・項目・規則だけです。"""


class _WrongUse(Exception):
    """The command line can't be followed; the text says why."""


class _Arguments:
    """What was typed: places and options."""

    def __init__(self, command: str, rest: Sequence[str]) -> None:
        self.places: list[str] = []
        self.options: dict[str, str] = {}
        self.json = False
        known, words = _OPTIONS[command], iter(rest)
        for word in words:
            if word == "--json":
                self.json = True
            elif word in known:
                value = next(words, None)
                if value is None:
                    raise _WrongUse(f"{word} の値がありません。")
                self.options[word] = value
            elif word.startswith("-"):
                raise _WrongUse(f"{word} という指定はありません。")
            else:
                self.places.append(word)

    def exactly(self, count: int) -> list[str]:
        """The places, as many as the command needs."""
        if len(self.places) != count:
            raise _WrongUse("指定の数が違います。")
        return self.places

    def needed(self, option: str) -> str:
        """The value of an option that must be there."""
        if option not in self.options:
            raise _WrongUse(f"{option} を指定してください。")
        return self.options[option]


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the tool; gives the exit code."""
    words = list(sys.argv[1:] if arguments is None else arguments)
    if not words or words[0] in ("-h", "--help", "help"):
        print(HELP)  # noqa: T201 - a command's answer
        return OK if words else WRONG_USE
    try:
        if words[0] not in _COMMANDS:
            raise _WrongUse(f"{words[0]} というコマンドはありません。")
        return _COMMANDS[words[0]](_Arguments(words[0], words[1:]))
    except _WrongUse as wrong:
        print(f"{wrong}\n\n{HELP}", file=sys.stderr)  # noqa: T201
    except UnknownInterfaceVersion as unknown:
        print(f"第{unknown}版のインタフェースはありません。", file=sys.stderr)  # noqa: T201
    return WRONG_USE


def _tell(lines: Sequence[str]) -> None:
    print("\n".join(lines))  # noqa: T201


def _tell_json(value: object) -> None:
    _tell([json.dumps(value, ensure_ascii=False, indent=1)])


def _validate(arguments: _Arguments) -> int:
    if not arguments.places:
        raise _WrongUse("検査する場所を指定してください。")
    version = arguments.options.get("--version")
    if version is not None:
        catalogs.current().find(version)
    reports = [
        validate_path(place, file_id=arguments.options.get("--file-id"), version=version)
        for place in arguments.places
    ]
    if arguments.json:
        told = [report.as_json() for report in reports]
        _tell_json(told[0] if len(told) == 1 else told)
    else:
        for report in reports:
            _tell([report.path, *report_lines(report)] if len(reports) > 1 else
                  report_lines(report))  # fmt: skip
    return OK if all(report.ok for report in reports) else FAULTY


def _samples(arguments: _Arguments) -> int:
    (place,) = arguments.exactly(1)
    folder = Path(place)
    try:
        expectations = read_expectations(folder / EXPECTATIONS)
    except (OSError, KeyError, ValueError, csv.Error):
        raise _WrongUse(f"{folder} にサンプルの一覧（{EXPECTATIONS}）がありません。") from None
    results = [(each, validate_path(folder / each.sample)) for each in expectations]
    wrong = [(each, report) for each, report in results if not each.is_met_by(report)]
    if arguments.json:
        _tell_json([_result_json(each, report) for each, report in results])
    else:
        for each, report in results:
            mark = "期待どおり" if each.is_met_by(report) else "ちがいます"
            _tell([f"{mark}  {each.sample}  {each.text_ja}"])
        _tell([f"結果: {len(results)}種類のうち、期待とちがうもの {len(wrong)}種類"])
    return FAULTY if wrong else OK


def _result_json(expected: Expectation, report: Report) -> dict[str, object]:
    return {
        "sample": expected.sample,
        "as_expected": expected.is_met_by(report),
        "report": report.as_json(),
    }


def _diff(arguments: _Arguments) -> int:
    old, new = arguments.exactly(2)
    changes = compare(old, new)
    if arguments.json:
        _tell_json({"from": old, "to": new, "changes": [each.as_json() for each in changes]})
    else:
        needed = sum(change.must_act for change in changes)
        _tell([change.text_ja for change in changes])
        _tell([f"第{old}版から第{new}版への違い: {len(changes)}件（うち対応が必要 {needed}件）"])
    return OK


def _convert(arguments: _Arguments) -> int:
    source, target = arguments.exactly(2)
    result = convert_path(
        Path(source),
        Path(target),
        from_version=arguments.needed("--from"),
        to_version=arguments.needed("--to"),
        file_id=arguments.options.get("--file-id"),
    )
    if isinstance(result, Refusal):
        _tell(refusal_lines(result, first="変換できませんでした"))
        return FAULTY
    _tell([*result.lines(), f"書き出しました: {target}"])
    return OK


def _list(arguments: _Arguments) -> int:
    arguments.exactly(0)
    for each in catalogs.current().versions:
        until = each.accepted_until.isoformat() if each.accepted_until else "定めなし"
        _tell([
            f"第{each.version}版  受入開始 {each.accepted_from.isoformat()}  受入期限 {until}"
        ])  # fmt: skip
    return OK


_COMMANDS: dict[str, Callable[[_Arguments], int]] = {
    "validate": _validate,
    "samples": _samples,
    "diff": _diff,
    "convert": _convert,
    "list": _list,
}


if __name__ == "__main__":
    sys.exit(main())
