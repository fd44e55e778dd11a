"""V01-V05, V09, V10: what several rows of J01 say about one person and one household.

Works on facts, not values: names and addresses come as 64-bit hashes, so a million residents
take about a hundred bytes each and nothing readable is kept.
Source: the interface specification, checks V01 to V10 (household severity).
"""

from __future__ import annotations

import polars as pl

from bcl_contract.linkage.findings import HOUSEHOLD, WARNING, Finding
from bcl_contract.linkage.layouts import Layout
from bcl_contract.linkage.table import Chunk

_NAMES = (
    "full_name",
    "preferred_full_name",
    "full_name_roman",
    "full_name_kanji",
    "alias",
    "preferred_full_name_kana",
)
_ADDRESS = (
    "address_municipality_name",
    "address_town",
    "address_lot_as_written",
    "address_building",
)
_COLUMNS = (
    "addressee_number",
    "history_number",
    "history_branch_number",
    "latest",
    "household_number",
    "entry_order",
    "resident_state",
    "relationship_code_1",
    "head_of_household_name",
    "deleted",
    *_NAMES,
    *_ADDRESS,
)
HEAD, HEAD_UNKNOWN = "02", "01"
_RULES = ("V05", "V09", "V10", "V01", "V02", "V03", "V04")  # in the order of their findings
_ROWS_AT_ONCE = 150_000


def _digest(name: str) -> pl.Expr:
    """64-bit hash of a value, null for an empty one."""
    return pl.when(pl.col(name).is_not_null()).then(pl.col(name).hash(1))


def person_facts(chunk: Chunk) -> pl.DataFrame:
    """Take the facts of a chunk of J01: one row per row that is not deleted."""
    order = pl.col("entry_order").cast(pl.UInt16, strict=False)
    history = pl.col("history_number").cast(pl.UInt32, strict=False).fill_null(0) * 1000
    branch = pl.col("history_branch_number").cast(pl.UInt32, strict=False).fill_null(0)
    address = pl.concat_str([pl.col(name).fill_null("") for name in _ADDRESS], separator="\x1f")
    return (
        chunk.frame(_COLUMNS)
        .with_columns(
            line=pl.int_range(chunk.first_line, chunk.first_line + chunk.rows, dtype=pl.UInt32)
        )
        .filter(pl.col("deleted").ne_missing("1"))
        .select(
            "line",
            person=pl.col("addressee_number").hash(1),
            household=pl.col("household_number").hash(1),
            latest=pl.col("latest").eq_missing("1"),
            resident=pl.col("latest").eq_missing("1") & pl.col("resident_state").eq_missing("1"),
            history=history + branch,
            order=order,
            head=pl.col("relationship_code_1").eq_missing(HEAD),
            head_unknown=pl.col("relationship_code_1").eq_missing(HEAD_UNKNOWN),
            head_name=_digest("head_of_household_name"),
            address=address.hash(1),
            **{f"name_{index}": _digest(name) for index, name in enumerate(_NAMES)},
        )
    )


def _findings(
    lines: pl.DataFrame, layout: Layout, file: str, *, column: str, rule: str, code: str,
    severity: str = HOUSEHOLD,
) -> list[Finding]:  # fmt: skip
    title = layout.column(column).title_ja
    return [
        Finding(file, line, title, rule, severity, code) for line in lines["line"].sort().to_list()
    ]


def check_residents(
    facts: pl.DataFrame, layout: Layout, *, file: str, mode: str
) -> list[Finding]:
    """All rules over persons and households, rule after rule, each by line.

    Persons and households are taken in parts: what joining a million rows at once takes would be
    the most that checking a large town takes at all.
    """
    parts = 1 + len(facts) // _ROWS_AT_ONCE
    found: list[Finding] = []
    for subject, check in (("person", check_persons), ("household", check_households)):
        for part in range(parts):
            some = facts.filter(pl.col(subject) % parts == part) if parts > 1 else facts
            found += check(some, layout, file=file, mode=mode)
    return sorted(found, key=lambda each: (_RULES.index(each.rule), each.line or 0))


def check_persons(facts: pl.DataFrame, layout: Layout, *, file: str, mode: str) -> list[Finding]:
    """V05 and V09: one latest row a person, and it has the greatest history number.

    In a differential the latest row may be all that is sent, but never two of them.
    """
    persons = facts.group_by("person").agg(
        latest_rows=pl.col("latest").sum(), newest=pl.col("history").max()
    )
    wrong = pl.col("latest_rows") > 1
    if mode == "full":
        wrong = wrong | (pl.col("latest_rows") == 0)
    facts = facts.select("line", "person", "latest", "history")
    doubled = facts.join(persons.filter(wrong).select("person"), on="person", how="semi")
    behind = facts.join(persons, on="person", how="left").filter(
        pl.col("latest") & (pl.col("history") < pl.col("newest")) & (pl.col("latest_rows") == 1)
    )
    return [
        *_findings(
            doubled, layout, file, column="latest", rule="V05", code="LINKAGE_LATEST_DUPLICATE"
        ),
        *_findings(
            behind, layout, file, column="history_number", rule="V09",
            code="LINKAGE_HISTORY_ORDER",
        ),
    ]  # fmt: skip


def check_households(facts: pl.DataFrame, layout: Layout, *, file: str, mode: str) -> list[Finding]:
    """V01-V04 and V10: one head, orders 1..n, the head's name, one address, nobody left out.

    A household whose persons all say that the head is unknown (続柄 01) needs no head.
    In a differential a household with gaps was not sent whole (V10); whether persons are
    missing who changed nothing is judged against the state, in the resident store.
    """
    members = facts.filter(pl.col("resident"))
    households = members.group_by("household").agg(
        size=pl.len(),
        heads=pl.col("head").sum(),
        unknown=pl.col("head_unknown").sum(),
        orders=pl.col("order").n_unique(),
        first=pl.col("order").min(),
        last=pl.col("order").max(),
        addresses=pl.col("address").n_unique(),
    )
    bad_head = (pl.col("heads") > 1) | ((pl.col("heads") == 0) & (pl.col("unknown") == 0))
    bad_order = (
        (pl.col("orders") != pl.col("size"))
        | (pl.col("first") != 1)
        | (pl.col("last") != pl.col("size"))
        | pl.col("first").is_null()
    )

    places = members.select("line", "household")

    def lines_of(condition: pl.Expr) -> pl.DataFrame:
        return places.join(households.filter(condition), on="household", how="semi")

    result: list[Finding] = []
    if mode == "differential":
        open_household = bad_order & (pl.col("last") > pl.col("size"))
        result += _findings(
            lines_of(open_household), layout, file, column="household_number", rule="V10",
            code="LINKAGE_HOUSEHOLD_OPEN",
        )  # fmt: skip
        bad_order, bad_head = bad_order & ~open_household, bad_head & ~open_household
    result += _findings(
        lines_of(bad_head), layout, file, column="relationship_code_1", rule="V01",
        code="LINKAGE_HOUSEHOLD_HEAD",
    )  # fmt: skip
    result += _findings(
        lines_of(bad_order), layout, file, column="entry_order", rule="V02",
        code="LINKAGE_HOUSEHOLD_ORDER",
    )  # fmt: skip
    result += _findings(
        _differing_head_names(members), layout, file, column="head_of_household_name",
        rule="V03", code="LINKAGE_HOUSEHOLD_HEAD_NAME",
    )  # fmt: skip
    return result + _findings(
        lines_of(pl.col("addresses") > 1), layout, file, column="address_town", rule="V04",
        code="LINKAGE_HOUSEHOLD_ADDRESS", severity=WARNING,
    )  # fmt: skip


def _differing_head_names(members: pl.DataFrame) -> pl.DataFrame:
    """Rows whose head-of-household name is none of the names of the household's one head."""
    names = [name for name in members.columns if name.startswith("name_")]
    heads = members.filter(pl.col("head")).unique("household", keep="none")
    heads = heads.select("household", *[pl.col(name).alias(f"head_{name}") for name in names])
    joined = members.join(heads, on="household", how="inner")
    same = pl.any_horizontal(
        [pl.col("head_name").eq_missing(pl.col(f"head_{name}")) for name in names]
    )
    return joined.filter(pl.col("head_name").is_not_null() & ~same)
