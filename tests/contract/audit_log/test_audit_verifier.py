"""The stand-alone verifier of the audit log: against RFC 6962, the cloud's own tree, and mutators.

The outside vectors lie in ``$BCL_VECTORS/merkle_rfc6962`` (transparency-dev/merkle, Apache-2.0);
without the folder that one test is skipped. The known roots below are those of RFC 6962's own
reference tests (certificate-transparency).
"""

from __future__ import annotations

import ast
import base64
import copy
import json
import os
import random
import subprocess
import sys
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from hypothesis import given, settings
from hypothesis import strategies as st

from bcl.foundation import audit_tree
from bcl_contract import audit_verifier as verifier

pytestmark = pytest.mark.requirement("R-171")
VECTORS = Path(os.environ.get("BCL_VECTORS", "/nonexistent")) / "merkle_rfc6962" / "testdata"
LEAVES = [bytes.fromhex(each) for each in (
    "", "00", "10", "2021", "3031", "40414243", "5051525354555657",
    "606162636465666768696a6b6c6d6e6f",
)]  # fmt: skip
ROOTS = {
    0: "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855",
    1: "6e340b9cffb37a989ca544e6bb780a2c78901d3fb33738768511a30617afa01d",
    2: "fac54203e7cc696cf0dfcb42c92a1d9dbaf70ad9e621f4bd8d98662f00e3c125",
    8: "5dc9da79a70659a9ad559cb701ded9a2ab9d823aad2f4960cfe370eff4604328",
}


def root_of(leaves: list[bytes]) -> bytes:
    """The definition of RFC 6962 §2.1, written as it stands there."""
    if len(leaves) < 2:
        return leaves[0] if leaves else audit_tree.EMPTY_ROOT
    split = 1
    while split * 2 < len(leaves):
        split *= 2
    return audit_tree.node_hash(root_of(leaves[:split]), root_of(leaves[split:]))


@pytest.mark.parametrize("size", ROOTS)
def test_roots__of_the_reference_leaves__are_the_known_ones(size):
    hashes = [audit_tree.leaf_hash(each) for each in LEAVES[:size]]
    tree = verifier.Tree6962()
    for each in LEAVES[:size]:
        tree.add(verifier.leaf_hash(each))
    assert audit_tree.Frontier().add_all(hashes).root.hex() == ROOTS[size]
    assert tree.root().hex() == ROOTS[size]
    assert root_of(hashes).hex() == ROOTS[size]


@pytest.mark.skipif(not VECTORS.is_dir(), reason="BCL_VECTORS has no merkle_rfc6962")
def test_outside_vectors__are_judged_alike():
    count = 0
    for file in sorted(VECTORS.rglob("*.json")):
        case = json.loads(file.read_text(encoding="utf-8"))
        proof = [base64.b64decode(each) for each in case.get("proof") or []]
        raw = {name: base64.b64decode(case[name] or "")
               for name in ("root", "leafHash", "root1", "root2") if name in case}
        if file.is_relative_to(VECTORS / "inclusion"):
            tree = case["treeSize"], raw["root"]
            held = verifier.is_included(raw["leafHash"], case["leafIdx"], tree, proof)
        elif file.is_relative_to(VECTORS / "consistency"):
            first, second = (case["size1"], raw["root1"]), (case["size2"], raw["root2"])
            held = verifier.is_consistent(first, second, proof)
        else:
            continue
        assert held != case["wantErr"], file
        count += 1
    assert count == 196


@given(st.integers(1, 70), st.data())
@settings(max_examples=150, deadline=None)
def test_proofs_of_the_cloud__hold_with_the_verifier_and_no_other_do(size, data):
    leaves = [audit_tree.leaf_hash(bytes([each])) for each in range(size)]
    root = root_of(leaves)
    assert audit_tree.Frontier().add_all(leaves).root == root

    def read(low: int, high: int) -> list[bytes]:
        return leaves[low:high]

    number = data.draw(st.integers(0, size - 1))
    path = audit_tree.roots_of(audit_tree.inclusion_ranges(number, size), read)
    assert verifier.is_included(leaves[number], number, (size, root), path)
    other = data.draw(st.integers(0, size - 1).filter(lambda each: each != number or size == 1))
    if other != number:
        assert not verifier.is_included(leaves[other], number, (size, root), path)
        assert not verifier.is_included(leaves[number], other, (size, root), path)
    first = data.draw(st.integers(1, size))
    earlier = audit_tree.Frontier().add_all(leaves[:first])
    ranges = audit_tree.consistency_ranges(first, size)
    proof = audit_tree.roots_of(ranges, read, known=earlier)
    assert proof == audit_tree.roots_of(ranges, read)
    assert verifier.is_consistent((first, earlier.root), (size, root), proof)
    if first < size:
        assert not verifier.is_consistent((first, leaves[0][::-1]), (size, root), proof)
        assert not verifier.is_consistent((first, earlier.root), (size, root), proof[:-1])
        assert not verifier.is_consistent((first, earlier.root), (size, root), [*proof, root])


# -- exports ---------------------------------------------------------------------------------------

KEY = Ed25519PrivateKey.from_private_bytes(b"k" * 32)


def sign_head(content: dict, key: Ed25519PrivateKey = KEY) -> dict:
    return {
        "content": content,
        "key_id": "agency-test",
        "public_key": key.public_key().public_bytes_raw().hex(),
        "signature": base64.b64encode(key.sign(verifier.canonical(content))).decode(),
    }


def make_export(batches: tuple[int, ...] = (3, 1, 6, 2)) -> tuple[list[dict], list[dict]]:
    """Lines of an export and its heads."""
    tree, heads, former = audit_tree.Frontier(), [], {"sha256": "", "size": 0}
    lines: list[dict] = [{
        "format": "bcl-audit-export-1", "log": "999997", "tree_size": sum(batches),
        "exported_at": "2026-11-23T10:00:00+09:00",
    }]  # fmt: skip
    for number, rows in enumerate(batches, start=1):
        for _ in range(rows):
            row = {"format": "bcl-audit-row-1", "log": "999997", "id": 100 + tree.size,
                   "act": "view_resident", "at": "2026-11-23T00:00:00.000000Z", "detail": {}}
            digest = audit_tree.leaf_hash(verifier.canonical(row))
            lines.append({"leaf": tree.size, "hash": digest.hex(), "row": row})
            tree.add(digest)
        content = {
            "format": "bcl-audit-head-1", "log": "999997", "number": number, "epoch": 1,
            "former_size": former["size"], "former_sha256": former["sha256"],
            "tree_size": tree.size, "root_sha256": tree.root.hex(),
            "sealed_at": f"2026-11-23T09:{number:02}:00+09:00",
        }  # fmt: skip
        head = sign_head(content)
        former = {"sha256": verifier.Head(head).digest, "size": tree.size}
        heads.append(head)
        lines.append({"head": head})
    return [*lines, {"end": {"rows": tree.size, "heads": len(heads)}}], heads


LINES, HEADS = make_export()


def check(lines: list[dict], heads: list[dict] = HEADS) -> list[str]:
    run = verifier.Check([verifier.Head(each) for each in heads])
    run.run(json.dumps(each) for each in lines)
    return run.problems


def test_untouched_export__has_no_problem():
    assert check(LINES) == []
    run = verifier.Check([verifier.Head(each) for each in HEADS])
    run.run(json.dumps(each) for each in LINES)
    assert run.later == 0 and run.expected == 12


def alter_row(lines: list[dict], place: random.Random) -> int:
    line = place.choice([each for each in lines if "row" in each])
    line["row"]["act"] = "other_act"
    return line["leaf"]


def alter_row_and_hash(lines: list[dict], place: random.Random) -> int:
    line = place.choice([each for each in lines if "row" in each])
    line["row"]["act"] = "other_act"
    line["hash"] = verifier.leaf_hash(verifier.canonical(line["row"])).hex()
    return line["leaf"]


def delete_row(lines: list[dict], place: random.Random) -> int:
    line = place.choice([each for each in lines if "row" in each])
    lines.remove(line)
    return line["leaf"]


def insert_row(lines: list[dict], place: random.Random) -> int:
    at = place.choice([at for at, each in enumerate(lines) if "row" in each])
    false = copy.deepcopy(lines[at])
    false["row"]["id"] = 4711
    false["hash"] = verifier.leaf_hash(verifier.canonical(false["row"])).hex()
    lines.insert(at, false)
    return false["leaf"]


def insert_and_renumber(lines: list[dict], place: random.Random) -> int:
    number = insert_row(lines, place)
    for leaf, line in enumerate(each for each in lines if "row" in each):
        line["leaf"] = leaf
    lines[-1]["end"]["rows"] += 1
    return number


def swap_rows(lines: list[dict], place: random.Random) -> int:
    rows = [each for each in lines if "row" in each]
    first, second = sorted(place.sample(range(len(rows)), 2))
    rows[first]["row"], rows[second]["row"] = rows[second]["row"], rows[first]["row"]
    rows[first]["hash"], rows[second]["hash"] = rows[second]["hash"], rows[first]["hash"]
    return first


def drop_head(lines: list[dict], place: random.Random) -> int:
    line = place.choice([each for each in lines if "head" in each])
    lines.remove(line)
    lines[-1]["end"]["heads"] -= 1
    return line["head"]["content"]["tree_size"]


def forge_head(lines: list[dict], place: random.Random) -> int:
    line = place.choice([each for each in lines if "head" in each])
    line["head"] = sign_head(line["head"]["content"] | {"root_sha256": "0" * 64},
                             Ed25519PrivateKey.from_private_bytes(b"x" * 32))
    return line["head"]["content"]["tree_size"]


def cut_off(lines: list[dict], place: random.Random) -> int:
    """Shorten to an earlier head, with a fitting end: only the outside heads tell."""
    heads = [at for at, each in enumerate(lines) if "head" in each][:-1]
    kept = place.randrange(len(heads))
    del lines[heads[kept] + 1 :]
    size = lines[-1]["head"]["content"]["tree_size"]
    lines.append({"end": {"rows": size, "heads": kept + 1}})
    return size


MUTATORS = (
    alter_row, alter_row_and_hash, delete_row, insert_row, insert_and_renumber, swap_rows,
    drop_head, forge_head, cut_off,
)  # fmt: skip


@given(st.sampled_from(MUTATORS), st.randoms(use_true_random=False))
@settings(max_examples=400, deadline=None)
def test_any_change__is_found(mutate, place):
    lines = copy.deepcopy(LINES)
    mutate(lines, place)
    assert check(lines) != []


@pytest.mark.parametrize("seed", range(6))
def test_altered_and_deleted_row__are_named_first(seed):
    for mutate, word in ((alter_row, "書換え"), (delete_row, "削除")):
        lines = copy.deepcopy(LINES)
        number = mutate(lines, random.Random(seed))
        first = check(lines)[0]
        assert first.startswith(word) and f"通し番号 {number}" in first


def fork() -> list[dict]:
    """The whole log written anew without one row, signed by the true key."""
    return make_export((2, 1, 6, 2))[0]


def test_log_written_anew_with_the_true_key__differs_from_the_outside_heads():
    assert check(fork(), fork_heads := [each["head"] for each in fork() if "head" in each]) == []
    assert fork_heads != HEADS
    assert any("外部の" in each for each in check(fork()))


def test_older_export__leaves_newer_heads_unjudged():
    lines = copy.deepcopy(LINES)
    cut_off(lines, random.Random(1))
    lines[0]["exported_at"] = "2026-11-23T09:00:30+09:00"
    run = verifier.Check([verifier.Head(each) for each in HEADS])
    run.run(json.dumps(each) for each in lines)
    assert run.problems == [] and run.later > 0


def test_export_after_a_restore__names_the_lost_rows():
    lines, _ = make_export((3, 1))
    last = verifier.Head(lines[-2]["head"])
    rows = [bytes.fromhex(each["hash"]) for each in lines if "row" in each]
    content = {**lines[-2]["head"]["content"], "number": 3, "epoch": 2, "former_size": last.size,
               "former_sha256": last.digest, "tree_size": 5}
    row = {**lines[1]["row"], "id": 900}
    digest = audit_tree.leaf_hash(verifier.canonical(row))
    content["root_sha256"] = root_of([*rows, digest]).hex()
    lines[-1:] = [{"leaf": 4, "hash": digest.hex(), "row": row}, {"head": sign_head(content)},
                  {"end": {"rows": 5, "heads": 3}}]
    (problem,) = check(lines)
    assert problem.startswith("巻戻し: 通し番号 4～9")


def test_pinned_key__refuses_heads_of_another(tmp_path):
    run = verifier.Check([verifier.Head(each) for each in HEADS], [b"\0" * 32])
    run.run(json.dumps(each) for each in LINES)
    assert "偽の署名" in run.problems[0]


# -- alone -----------------------------------------------------------------------------------------


def run_alone(folder: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    tool = folder / "audit_verifier.py"
    tool.write_bytes(Path(verifier.__file__).read_bytes())
    return subprocess.run(
        [sys.executable, "-I", tool.name, *arguments],
        cwd=folder, capture_output=True, text=True, check=False, timeout=60,
    )


def write_lines(path: Path, lines: list[dict]) -> str:
    path.write_text("".join(json.dumps(each) + "\n" for each in lines), encoding="utf-8")
    return path.name


def test_tool__copied_alone__tells_by_words_and_exit_code(tmp_path):
    good = write_lines(tmp_path / "log.jsonl", LINES)
    heads = write_lines(tmp_path / "heads.jsonl", HEADS)
    done = run_alone(tmp_path, good, "--heads", heads)
    assert done.returncode == 0 and "外部の先頭値 4 個とすべて合いました" in done.stdout
    broken = copy.deepcopy(LINES)
    broken[-4]["row"]["act"] = "other_act"
    bad = write_lines(tmp_path / "bad.jsonl", broken)
    done = run_alone(tmp_path, bad, "--heads", heads)
    assert done.returncode == 3 and "書換え" in done.stdout and "記録 110" in done.stdout
    assert run_alone(tmp_path, good).returncode == 2
    assert run_alone(tmp_path, "missing.jsonl", "--heads", heads).returncode == 1
    assert run_alone(tmp_path, heads, "--heads", heads).returncode == 1
    other = write_lines(tmp_path / "other.jsonl", [])
    assert run_alone(tmp_path, good, "--heads", other).returncode == 3
    assert run_alone(tmp_path, good, "--heads", heads, "--key", "zz").returncode == 2


@given(st.binary(max_size=300))
@settings(max_examples=100, deadline=None)
def test_garbage__is_unreadable_and_nothing_worse(tmp_path_factory, content):
    file = tmp_path_factory.mktemp("garbage") / "log.jsonl"
    file.write_bytes(content)
    with pytest.raises(verifier.Unreadable):
        verifier.check_export(str(file), [])


def test_tool__imports_only_the_standard_library_and_cryptography():
    tree = ast.parse(Path(verifier.__file__).read_text(encoding="utf-8"))
    names = {
        name.split(".")[0]
        for node in ast.walk(tree)
        for name in (
            [alias.name for alias in node.names] if isinstance(node, ast.Import)
            else [node.module or ""] if isinstance(node, ast.ImportFrom) else []
        )
    }
    assert names - set(sys.stdlib_module_names) == {"cryptography"}
    assert not names & {"socket", "urllib", "http", "ssl", "subprocess"}
