"""Background work of the intake. Every job may run twice; running it again changes nothing."""

from __future__ import annotations

from bcl.foundation import jobs
from bcl.linkage import settings as intake_settings
from bcl.linkage.actions.folder_intake import watch_folder as watch
from bcl.linkage.actions.freshness import watch_silence as listen
from bcl.linkage.actions.interface_life import remind_of_deadlines
from bcl.linkage.actions.landing import advance_transmission
from bcl.linkage.actions.malware_check import resume_after_engine
from bcl.linkage.actions.upkeep import tidy_intake as tidy
from bcl.linkage.adapters.transfer_folders import TransferFolders
from bcl.municipalities import api as municipalities
from bcl_contract import clock


@jobs.task("linkage.open_transmission", queue="linkage", one_at_a_time=True)
def open_transmission(*, municipality_code: str, transmission_id: str) -> None:
    """Open, judge and land one transmission (steps 6 to 9)."""
    advance_transmission(municipality_code, transmission_id, at=clock.now())


@jobs.task(
    "linkage.open_urgent_transmission", queue="linkage_urgent", one_at_a_time=True, prompt=True
)
def open_urgent_transmission(*, municipality_code: str, transmission_id: str) -> None:
    """The same for the urgent lane, in a queue of its own."""
    advance_transmission(municipality_code, transmission_id, at=clock.now())


# In the urgent lane's own place: what waits there may be a restriction.
@jobs.task("linkage.resume_after_engine", queue="linkage_urgent", cron="*/1 * * * *", prompt=True)
def resume_waiting() -> None:
    """Take up what waited for the malware engine, within a minute of its return."""
    resume_after_engine(at=clock.now())


@jobs.task("linkage.tidy_all_intakes", queue="linkage_upkeep", cron="*/10 * * * *")
def tidy_all_intakes() -> None:
    """One job a town: expire uploads, clear the receive area, take up what was left lying."""
    for municipality_code in municipalities.list_municipality_codes():
        jobs.defer("linkage.tidy_intake", municipality_code=municipality_code)


@jobs.task("linkage.tidy_intake", queue="linkage_upkeep", one_at_a_time=True)
def tidy_intake(*, municipality_code: str) -> None:
    """Tidy the intake of one municipality."""
    tidy(municipality_code, at=clock.now())


@jobs.task("linkage.watch_all_folders", queue="linkage_upkeep", cron="*/1 * * * *")
def watch_all_folders() -> None:
    """One job for each town that an external tool carries for (R-014)."""
    root = intake_settings.folder_transfer_dir()
    if root is None:
        return
    for municipality_code in municipalities.list_municipality_codes():
        if TransferFolders(root, municipality_code).exist():
            jobs.defer("linkage.watch_folder", municipality_code=municipality_code)


@jobs.task("linkage.watch_folder", queue="linkage_carried", one_at_a_time=True)
def watch_folder(*, municipality_code: str) -> None:
    """Take in what the tool brought for one town, and answer."""
    watch(municipality_code, at=clock.now())


@jobs.task("linkage.watch_silence", queue="linkage_upkeep", cron="*/5 * * * *")
def watch_silence() -> None:
    """Measure every town against its own rhythm; alarms open and close as notices (R-035)."""
    for municipality_code in municipalities.list_municipality_codes():
        listen(municipality_code, at=clock.now())


# Every hour, not once a day: the last reminder must not be lost because one night was.
@jobs.task("linkage.remind_of_interface_deadlines", queue="linkage_upkeep", cron="20 * * * *")
def remind_of_interface_deadlines() -> None:
    """Tell every town that still sends a version of the interface which ends (R-037)."""
    for municipality_code in municipalities.list_municipality_codes():
        remind_of_deadlines(municipality_code, at=clock.now())
