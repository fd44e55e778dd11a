"""Rules of seal registrations and their images (S01, S02 and the members `seal/*.png`).

A registration and its image travel together: an image left behind would print an old seal
(the accident of a re-registration half applied). Only the PNG header is read here; pixels are
never decoded by a check.
"""

from __future__ import annotations

import hashlib
import struct
from collections.abc import Callable, Iterable
from dataclasses import dataclass

from bcl_contract.linkage.findings import ROW, WARNING, Finding
from bcl_contract.linkage.layouts import Layout
from bcl_contract.linkage.manifest import seal_image_name
from bcl_contract.linkage.table import Chunk

MAX_IMAGE_BYTES = 1 << 20
MAX_IMAGE_SIDE_PIXELS = 4096
_MILLIMETRES_PER_INCH = 25.4
_SMALLEST_SIDE_MM, _LARGEST_SIDE_MM = 8.0, 25.0
_PNG_SIGNATURE = b"\x89PNG\r\n\x1a\n"
_GREYSCALE = 0


@dataclass(frozen=True, slots=True)
class _ImageRow:
    line: int
    registration: str
    number: str
    name: str
    sha256: str
    width: str
    height: str
    dots_per_inch: str


@dataclass(frozen=True)
class PngHeader:
    """What the first chunk of a PNG says: pixels, bits a sample, colour type."""

    width: int
    height: int
    bit_depth: int
    colour_type: int


def read_png_header(data: bytes) -> PngHeader | None:
    """Read signature and IHDR of a PNG; None when it isn't one or exceeds our limits."""
    if len(data) < 33 or data[:8] != _PNG_SIGNATURE or data[8:16] != b"\0\0\0\x0dIHDR":
        return None
    width, height, depth, colour, compression, filtering, interlace = struct.unpack(
        ">2I5B", data[16:29]
    )
    if (compression, filtering) != (0, 0) or interlace > 1 or not data.endswith(b"IEND\xaeB`\x82"):
        return None
    if not (0 < width <= MAX_IMAGE_SIDE_PIXELS and 0 < height <= MAX_IMAGE_SIDE_PIXELS):
        return None
    return PngHeader(width, height, depth, colour)


class SealRules:
    """Gathers rows of S01 and S02 and judges them with the images of the transmission."""

    def __init__(self, *, mode: str, lane: str) -> None:
        self._mode = mode
        self._lane = lane
        self._files: dict[str, str] = {}
        self._layouts: dict[str, Layout] = {}
        self._registrations: list[tuple[int, str, str, bool]] = []
        self._images: list[_ImageRow] = []
        self._members: dict[str, Callable[[], bytes]] | None = None

    def open_table(self, layout: Layout, *, file: str) -> None:
        """Say that a table is present."""
        if layout.file_id in ("S01", "S02"):
            self._files[layout.file_id] = file
            self._layouts[layout.file_id] = layout

    def offer_images(self, names: Iterable[str], read: Callable[[str], bytes]) -> None:
        """Say which images travel along and how to read one (at most `MAX_IMAGE_BYTES`)."""
        self._members = {name: (lambda name=name: read(name)) for name in names}

    def see(self, layout: Layout, chunk: Chunk) -> None:
        """Take what is needed of a chunk of S01 or S02."""
        if layout.file_id == "S01":
            names = ("seal_registration_number", "seal_image_number", "latest", "deleted")
            rows = chunk.frame(names).select(names).rows()
            for row, (registration, number, latest, deleted) in enumerate(rows):
                current = latest == "1" and deleted != "1"
                line = chunk.line(row)
                self._registrations.append((line, registration or "", number or "", current))
        elif layout.file_id == "S02":
            self._see_images(chunk)

    def _see_images(self, chunk: Chunk) -> None:
        names = (
            "seal_registration_number", "seal_image_number", "image_file_name", "image_sha256",
            "image_width_pixels", "image_height_pixels", "image_dots_per_inch", "deleted",
        )  # fmt: skip
        for row, values in enumerate(chunk.frame(names).select(names).rows()):
            *texts, deleted = (value or "" for value in values)
            if deleted != "1":
                self._images.append(_ImageRow(chunk.line(row), *texts))

    def finish(self) -> dict[str, list[Finding]]:
        """Judge everything seen; gives findings by file id."""
        result: dict[str, list[Finding]] = {"S01": [], "S02": []}
        if "S02" in self._files:
            self._judge_images(result["S02"])
            self._judge_registrations(result)
        elif self._members:
            # Images without any row of S02 belong to nobody.
            result["S02"].append(
                Finding("S02", None, None, "IMAGE_UNLISTED", ROW, "LINKAGE_SEAL_IMAGE_UNLISTED")
            )
        return {file_id: findings for file_id, findings in result.items() if findings}

    def _finding(self, line: int | None, column: str, rule: str, code: str) -> Finding:
        title = self._layouts["S02"].column(column).title_ja
        return Finding(self._files["S02"], line, title, rule, ROW, code)

    def _judge_images(self, out: list[Finding]) -> None:
        listed: set[str] = set()
        for image in self._images:
            try:
                name = seal_image_name(image.registration, image.number)
            except ValueError:
                name = ""
            if image.name != name:
                out.append(self._finding(
                    image.line, "image_file_name", "IMAGE_NAME", "LINKAGE_SEAL_IMAGE_NAME"
                ))  # fmt: skip
                continue
            listed.add(name)
            if self._members is not None:
                self._judge_image(image, out)
        for _ in set(self._members or {}) - listed:
            out.append(self._finding(
                None, "image_file_name", "IMAGE_UNLISTED", "LINKAGE_SEAL_IMAGE_UNLISTED"
            ))  # fmt: skip

    def _judge_image(self, image: _ImageRow, out: list[Finding]) -> None:
        """Judge one image against its row: presence, digest, form, pixels, millimetres."""
        read = (self._members or {}).get(image.name)
        if read is None:
            out.append(self._finding(
                image.line, "image_file_name", "IMAGE_MISSING", "LINKAGE_SEAL_IMAGE_MISSING"
            ))  # fmt: skip
            return
        data = read()
        if hashlib.sha256(data).hexdigest() != image.sha256:
            out.append(self._finding(
                image.line, "image_sha256", "IMAGE_DIGEST", "LINKAGE_SEAL_IMAGE_DIGEST"
            ))  # fmt: skip
            return
        header = read_png_header(data)
        if header is None or header.colour_type != _GREYSCALE or header.bit_depth not in (1, 8):
            out.append(self._finding(
                image.line, "image_format", "IMAGE_FORMAT", "LINKAGE_SEAL_IMAGE_FORMAT"
            ))  # fmt: skip
            return
        if not _size_agrees(image, header):
            out.append(self._finding(
                image.line, "image_width_pixels", "IMAGE_SIZE", "LINKAGE_SEAL_IMAGE_SIZE"
            ))  # fmt: skip

    def _judge_registrations(self, result: dict[str, list[Finding]]) -> None:
        """A current registration needs its image's row; an urgent image needs its registration."""
        images = {(image.registration, image.number) for image in self._images}
        if self._mode == "full" and "S01" in self._files:
            title = self._layouts["S01"].column("seal_image_number").title_ja
            for line, registration, number, current in self._registrations:
                if current and (registration, number) not in images:
                    result["S01"].append(Finding(
                        self._files["S01"], line, title, "IMAGE_ROW_MISSING", WARNING,
                        "LINKAGE_SEAL_IMAGE_ROW_MISSING",
                    ))  # fmt: skip
        if self._lane == "urgent":
            registered = {registration for _, registration, _, _ in self._registrations}
            result["S02"] += [
                self._finding(
                    image.line, "seal_registration_number", "URGENT_SEAL_IMAGE",
                    "LINKAGE_URGENT_SEAL_IMAGE",
                )
                for image in self._images
                if image.registration not in registered
            ]  # fmt: skip


def _size_agrees(image: _ImageRow, header: PngHeader) -> bool:
    """Whether pixels agree with the row and the side is above 8 mm and at most 25 mm.

    A side of exactly 25 mm rarely is a whole number of pixels: one pixel more is accepted.
    """
    if (str(header.width), str(header.height)) != (image.width, image.height):
        return False
    if not image.dots_per_inch.isdigit() or not int(image.dots_per_inch):
        return False
    pixel = _MILLIMETRES_PER_INCH / int(image.dots_per_inch)
    sides = (header.width * pixel, header.height * pixel)
    return all(_SMALLEST_SIDE_MM < side <= _LARGEST_SIDE_MM + pixel for side in sides)
