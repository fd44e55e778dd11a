"""Where the store keeps sealed values: pages, seal images, blocks of the fragment index."""

from __future__ import annotations

from bcl.foundation.keys import KeyPurpose
from bcl.foundation.sealed_data import SealedCells, SealedData, Step
from bcl.resident_store import database, fragment_index, town_keys
from bcl.resident_store.pages import PagePlace, open_deflated, seal

_PLACE = "file_id, load_number, page_number, key_version, sealed"


class SealedPages:
    """Pages: opened and sealed as they lie (deflated), so their clear content can't change."""

    name = "resident_store_page.sealed"
    purpose = KeyPurpose.PAGES

    def count(self, municipality_code: str, *, other_than: int | None = None) -> int:
        with database.cursor() as db:
            db.execute(
                "SELECT count(*) FROM resident_store_page WHERE municipality_code = %s"
                " AND (%s::int IS NULL OR key_version <> %s::int)",
                [municipality_code, other_than, other_than],
            )
            row = db.fetchone()
        return int(row[0]) if row else 0

    def reseal(self, municipality_code: str, *, version: int, after: str, limit: int) -> Step:
        secret = town_keys.page_secrets(municipality_code)
        with database.cursor() as db:
            # A load that ends records of a page holds its row: that page waits for the next sweep.
            db.execute(
                f"SELECT id, {_PLACE} FROM resident_store_page"  # noqa: S608 - our own names
                " WHERE municipality_code = %s AND id > %s AND key_version <> %s"
                " ORDER BY id LIMIT %s FOR NO KEY UPDATE SKIP LOCKED",
                [municipality_code, int(after or 0), version, limit],
                binary=True,
            )
            pages = db.fetchall()
            fresh = []
            for page_id, file_id, load, number, old, sealed in pages:
                before = PagePlace(municipality_code, file_id, load, number, old)
                place = PagePlace(municipality_code, file_id, load, number, version)
                deflated = open_deflated(secret(old), before, sealed)
                fresh.append((version, seal(secret(version), place, deflated), page_id))
            if fresh:
                db.executemany(
                    "UPDATE resident_store_page SET key_version = %s, sealed = %s WHERE id = %s",
                    fresh,
                )
        return Step(len(pages), str(pages[-1][0]) if len(pages) == limit else None)

    def open_one(self, municipality_code: str) -> bool | None:
        with database.cursor() as db:
            db.execute(
                f"SELECT {_PLACE} FROM resident_store_page"  # noqa: S608 - our own names
                " WHERE municipality_code = %s LIMIT 1",
                [municipality_code],
                binary=True,
            )
            page = db.fetchone()
        if page is None:
            return None
        file_id, load, number, version, sealed = page
        place = PagePlace(municipality_code, file_id, load, number, version)
        open_deflated(town_keys.page_secrets(municipality_code)(version), place, sealed)
        return True


SEALED: list[SealedData] = [
    SealedPages(),
    SealedCells(
        "resident_store_sealimage",
        "sealed",
        place=("image_key",),
        row_id=str,
        purpose=KeyPurpose.SEAL_IMAGES,
    ),
    SealedCells(
        fragment_index.TABLE,
        "sealed",
        place=("segment_id", "first_key"),
        row_id=fragment_index.row_id,
        purpose=KeyPurpose.PAGES,
    ),
]
