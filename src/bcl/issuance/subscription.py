"""What issuing subscribes to: files and columns of the linkage interface, nothing more.

Data minimisation as data (R-044): a column that no certificate and no decision needs is not
listed here and therefore never reaches the projection.
"""

from __future__ import annotations

from collections.abc import Mapping

RESIDENTS = "J01"
MEASURES = "J04"
CARD_LINKS = "J05"
BLOCKS = "J06"


def _dated(*names: str) -> tuple[str, ...]:
    return tuple(f"{name}{end}" for name in names for end in ("", "_unknown", "_as_written"))


_ADDRESS_PARTS = ("prefecture", "municipality_name", "town", "lot_as_written", "building")

COLUMNS: Mapping[str, tuple[str, ...]] = {
    RESIDENTS: (
        "addressee_number",
        "latest",
        "household_number",
        "entry_order",
        "resident_kind",
        "resident_state",
        "resident_record_code",
        "full_name",
        "full_name_roman",
        "full_name_kanji",
        "full_name_kana",
        "full_name_kana_confirmation",
        "former_surname",
        "alias",
        "sex_as_written",
        *_dated("born_on"),
        "relationship_code_1",
        "relationship_as_written",
        "head_of_household_name",
        *(f"address_{part}" for part in _ADDRESS_PARTS),
        *_dated("became_resident_on", "address_established_on", "became_foreign_resident_on"),
        "address_established_notified_on",
        *(f"address_before_moving_in_{part}" for part in _ADDRESS_PARTS),
        "address_before_moving_in_country_name",
        "address_before_moving_in_overseas_address",
        *(f"address_before_relocation_{part}" for part in _ADDRESS_PARTS),
        "registered_domicile",
        "family_register_head",
        "moving_out_planned_on",
        "moving_out_confirmed_on",
        "nationality_name",
        "article_30_45_kind",
        "residence_status_name",
        "residence_period_years",
        "residence_period_months",
        "residence_period_days",
        "residence_period_as_written",
        "residence_period_expires_on",
        "residence_card_number",
        "removed_record",
        "resident_record_remarks",
        "change_pending",
        "deleted",
    ),
    MEASURES: (
        "addressee_number",
        "latest",
        "measure_started_on",
        "measure_ended_on",
        "measure_kind",
        "measure_target_kind",
        "deleted",
    ),
    CARD_LINKS: (
        "addressee_number",
        "digital_certificate_kind",
        "serial_number",
        "issuer_key",
        "valid_from_on",
        "expires_on",
        "link_status",
        "revoked_on",
        "deleted",
    ),
    BLOCKS: (
        "block_id",
        "block_scope",
        "addressee_number",
        "household_number",
        "certificate_kind",
        "block_reason",
        "block_starts_at",
        "block_ends_at",
        "deleted",
    ),
}
