"""Sealed files: whatever happens to a file, what is read is what was written, or nothing is."""

import os
import random
import stat
import zipfile
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bcl_contract.sealed_file import (
    SEGMENT_BYTES,
    SealedFileBusy,
    SealedFileError,
    SealedReader,
    SealedWriter,
)

KEY = bytes(range(32))
OTHER_KEY = bytes(range(1, 33))
CONTEXT = b"999997/bundle-1"
HEADER = 24
SEGMENT_OVERHEAD = 4 + 12 + 16


def sealed(path: Path, *parts: bytes, context: bytes = CONTEXT) -> Path:
    """Write each part as segments of its own."""
    with SealedWriter(path, KEY, context=context) as writer:
        for part in parts:
            writer.write(part)
            writer.flush_segment_and_fsync()
    return path


def clear(path: Path, key: bytes = KEY, context: bytes = CONTEXT) -> bytes:
    with SealedReader(path, key, context=context) as reader:
        return reader.read()


def segment_bounds(*lengths: int) -> list[tuple[int, int]]:
    bounds, at = [], HEADER
    for length in lengths:
        bounds.append((at, at + length + SEGMENT_OVERHEAD))
        at = bounds[-1][1]
    return bounds


act = st.one_of(
    st.tuples(st.just("write"), st.integers(0, 3 * SEGMENT_BYTES // 2)),
    st.tuples(st.just("small"), st.integers(0, 40)),
    st.tuples(st.just("flush"), st.just(0)),
    st.tuples(st.just("reopen"), st.just(0)),
    st.tuples(st.just("crash"), st.integers(0, 10_000_000)),
    st.tuples(st.just("cut"), st.integers(0, 10_000_000)),
    st.tuples(st.just("over"), st.integers(0, 10_000_000)),
)


@pytest.mark.requirement("R-041")
@pytest.mark.requirement("R-017")
@settings(max_examples=60, deadline=None)
@given(acts=st.lists(act, max_size=14), seed=st.integers(0, 1 << 30))
def test_sealed_file__any_history_of_writes_and_crashes__reads_as_the_clear_stream(
    tmp_path_factory: pytest.TempPathFactory, acts: list[tuple[str, int]], seed: int
) -> None:
    path = tmp_path_factory.mktemp("sealed") / "spool"
    rng = random.Random(seed)
    stream, durable = b"", 0
    writer = SealedWriter(path, KEY, context=CONTEXT)
    for name, number in acts:
        if name in ("write", "small"):
            data = rng.randbytes(number)
            assert writer.write(data) == number
            stream += data
        elif name == "flush":
            writer.flush_segment_and_fsync()
            durable = len(stream)
        elif name == "reopen":
            writer.close()
            writer = SealedWriter(path, KEY, context=CONTEXT, resume=True)
            durable = len(stream)
        elif name == "over":
            at = number % (len(stream) + 1)
            data = rng.randbytes(number % (SEGMENT_BYTES + 9))
            writer.seek(at)
            assert writer.write(data) == len(data)
            assert writer.tell() == at + len(data)
            writer.seek(0, os.SEEK_END)
            stream = stream[:at] + data + stream[at + len(data) :]
            # Only appended bytes survive a crash in any state: overwriting is for fresh files.
            writer.flush_segment_and_fsync()
            durable = len(stream)
        elif name == "cut":
            size = number % (len(stream) + 1)
            writer.truncate(size)
            stream = stream[:size]
            # What a cut keeps of a segment waits in memory until the next flush.
            writer.flush_segment_and_fsync()
            durable = len(stream)
        else:
            # The process dies; of what was not forced to disk any number of bytes may be there.
            writer.abandon()
            flushed_size = HEADER + sum(
                size + SEGMENT_OVERHEAD for size in flushed_segments(path, durable)
            )
            size = path.stat().st_size
            os.truncate(path, flushed_size + number % (size - flushed_size + 1))
            writer = SealedWriter(path, KEY, context=CONTEXT, resume=True, acknowledged=durable)
            assert durable <= writer.clear_size <= len(stream)
            stream = stream[: writer.clear_size]
        assert writer.clear_size == len(stream)
    writer.close()

    with SealedReader(path, KEY, context=CONTEXT, expected_size=len(stream)) as reader:
        for _ in range(12):
            at, size = rng.randrange(len(stream) + 2), rng.randrange(2 * SEGMENT_BYTES)
            reader.seek(at)
            assert reader.read(size) == stream[at : at + size]
            assert reader.tell() == max(at, min(at + size, len(stream)))
        reader.seek(0)
        assert reader.read() == stream


def flushed_segments(path: Path, durable: int) -> list[int]:
    """Clear lengths of the segments that hold the first `durable` clear bytes."""
    lengths: list[int] = []
    raw = path.read_bytes()
    at = HEADER
    while sum(lengths) < durable:
        lengths.append(int.from_bytes(raw[at : at + 4], "big"))
        at += lengths[-1] + SEGMENT_OVERHEAD
    return lengths


@pytest.mark.requirement("R-041")
def test_sealed_file__on_disk__is_private_and_holds_nothing_in_clear(tmp_path: Path) -> None:
    canary = "見本　花子".encode() * 400
    path = sealed(tmp_path / "spool", canary)
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert "花子".encode() not in path.read_bytes()
    assert clear(path) == canary


@pytest.mark.requirement("R-041")
def test_sealed_file__every_single_altered_byte__does_not_open(tmp_path: Path) -> None:
    path = sealed(tmp_path / "spool", b"first segment", b"second", b"third one")
    original = path.read_bytes()
    for at in range(len(original)):
        damaged = bytearray(original)
        damaged[at] ^= 0x01
        path.write_bytes(damaged)
        with pytest.raises(SealedFileError):
            clear(path)


@pytest.mark.requirement("R-041")
@pytest.mark.parametrize("order", [(1, 0, 2), (0, 2, 1), (0, 0, 1), (0, 2), (1, 2), (0, 1, 1)])
def test_sealed_file__segments_moved_doubled_or_left_out__do_not_open(
    tmp_path: Path, order: tuple[int, ...]
) -> None:
    path = sealed(tmp_path / "spool", b"a" * 50, b"b" * 50, b"c" * 50)
    raw, bounds = path.read_bytes(), segment_bounds(50, 50, 50)
    path.write_bytes(raw[:HEADER] + b"".join(raw[slice(*bounds[i])] for i in order))
    with pytest.raises(SealedFileError):
        clear(path)


@pytest.mark.requirement("R-041")
def test_sealed_file__segment_of_another_file_of_the_same_place__does_not_open(
    tmp_path: Path,
) -> None:
    one = sealed(tmp_path / "one", b"a" * 50, b"b" * 50)
    two = sealed(tmp_path / "two", b"a" * 50, b"x" * 50)
    first, second = segment_bounds(50, 50)
    mixed = one.read_bytes()[: first[1]] + two.read_bytes()[slice(*second)]
    one.write_bytes(mixed)
    with pytest.raises(SealedFileError, match="segment 1"):
        clear(one)


@pytest.mark.requirement("R-041")
def test_sealed_file__truncated_in_the_middle_of_a_segment__refuses_at_opening(
    tmp_path: Path,
) -> None:
    path = sealed(tmp_path / "spool", b"a" * 50, b"b" * 50)
    raw = path.read_bytes()
    whole = {HEADER, segment_bounds(50)[0][1], len(raw)}
    for size in range(len(raw)):
        path.write_bytes(raw[:size])
        if size in whole:
            # Cut between segments is a legal, shorter file: the length on record tells.
            with pytest.raises(SealedFileError, match="not 100"):
                SealedReader(path, KEY, context=CONTEXT, expected_size=100)
        else:
            with pytest.raises(SealedFileError):
                SealedReader(path, KEY, context=CONTEXT)


@pytest.mark.requirement("R-041")
@pytest.mark.parametrize(
    ("key", "context"), [(OTHER_KEY, CONTEXT), (KEY, b"999989/bundle-1"), (KEY, CONTEXT + b"0")]
)
def test_sealed_file__wrong_key_or_context__neither_reads_nor_resumes_nor_destroys(
    tmp_path: Path, key: bytes, context: bytes
) -> None:
    path = sealed(tmp_path / "spool", b"a" * 50, b"b" * 50)
    raw = path.read_bytes()
    with pytest.raises(SealedFileError):
        clear(path, key, context)
    with pytest.raises(SealedFileError):
        SealedWriter(path, key, context=context, resume=True)
    assert path.read_bytes() == raw


def test_sealed_writer__acknowledged_bytes_gone__is_a_fault_not_a_torn_end(tmp_path: Path) -> None:
    path = sealed(tmp_path / "spool", b"a" * 50, b"b" * 50)
    os.truncate(path, segment_bounds(50)[0][1] + 7)
    with pytest.raises(SealedFileError, match="50 of 100"):
        SealedWriter(path, KEY, context=CONTEXT, resume=True, acknowledged=100)


def test_sealed_writer__zeroed_end_after_power_cut__cuts_it_and_goes_on(tmp_path: Path) -> None:
    path = sealed(tmp_path / "spool", b"a" * 50, b"b" * 50)
    start, end = segment_bounds(50, 50)[1]
    raw = bytearray(path.read_bytes())
    raw[start + 20 : end] = bytes(end - start - 20)
    path.write_bytes(raw)
    with SealedWriter(path, KEY, context=CONTEXT, resume=True, acknowledged=50) as writer:
        assert writer.clear_size == 50
        writer.write(b"c" * 10)
    assert clear(path) == b"a" * 50 + b"c" * 10


def test_sealed_writer__second_writer__is_busy_and_existing_file_is_kept(tmp_path: Path) -> None:
    path = tmp_path / "spool"
    with SealedWriter(path, KEY, context=CONTEXT) as writer:
        writer.write(b"kept")
        with pytest.raises(SealedFileBusy):
            SealedWriter(path, KEY, context=CONTEXT, resume=True)
        with pytest.raises(FileExistsError):
            SealedWriter(path, KEY, context=CONTEXT)
    assert clear(path) == b"kept"


def test_sealed_writer__symbolic_link_in_its_place__is_not_followed(tmp_path: Path) -> None:
    (tmp_path / "elsewhere").write_bytes(b"x")
    (tmp_path / "spool").symlink_to(tmp_path / "elsewhere")
    with pytest.raises(OSError, match="symbolic"):
        SealedWriter(tmp_path / "spool", KEY, context=CONTEXT, resume=True)


def test_sealed_file__zipfile_writes_and_reads_through_it(tmp_path: Path) -> None:
    content = random.Random(1).randbytes(3 * SEGMENT_BYTES)
    path = tmp_path / "spool"
    with SealedWriter(path, KEY, context=CONTEXT) as writer, zipfile.ZipFile(writer, "w") as bundle:
        bundle.writestr("big.bin", content)
        bundle.writestr("small.txt", "小さい")
    with SealedReader(path, KEY, context=CONTEXT) as reader, zipfile.ZipFile(reader) as bundle:
        assert bundle.testzip() is None
        assert bundle.read("big.bin") == content
        assert bundle.read("small.txt").decode() == "小さい"
