"""The validator of the linkage interface: the same rules at the town hall and in the cloud.

Owns: the door to all checks of one chunk (`check_chunk`), one table (`check_file`) and one
transmission (`validate_path`, `TransmissionRules`).
Promises: every finding names file, line, column and rule, never a value; no database and no
network are needed (R-010).
"""

from bcl_contract.linkage.cross_rules import TransmissionRules
from bcl_contract.linkage.findings import (
    FATAL,
    HOUSEHOLD,
    ROW,
    WARNING,
    Finding,
    TableFault,
)
from bcl_contract.linkage.table_check import CheckContext, FileReport, check_chunk, check_file
from bcl_contract.linkage.transmission_check import Report, validate_path

__all__ = [
    "FATAL",
    "HOUSEHOLD",
    "ROW",
    "WARNING",
    "CheckContext",
    "FileReport",
    "Finding",
    "Report",
    "TableFault",
    "TransmissionRules",
    "check_chunk",
    "check_file",
    "validate_path",
]
