"""The one straight line, step by step, as a person would walk it; for the demo and the tests."""

from __future__ import annotations

import shutil
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import Any

from bcl_cli.world import gateway_config
from bcl_cli.world.registry import (
    RECEIVER,
    receiver_key_path,
    staff_key_path,
)
from bcl_cli.world.walk import Walk, WalkFault, wait_until
from bcl_cli.world.world import World
from bcl_contract import clock
from bcl_contract.delivery_center import Scope
from bcl_contract.refusals import Refusal
from bcl_sim.core_system.town import ExportResult, Town
from bcl_sim.jpki.card import SoftwareCard
from bcl_sim.jpki.card_list import find_listed_card, issue_listed_card
from bcl_sim.kiosk import Choice, IssuedPaper, connect
from bcl_sim.kiosk import issue as issue_at_kiosk

PIN = "4649"
LAND_SECONDS = 900.0
LISTED_HOUSEHOLDS = 40


@dataclass
class Line:
    """One town walking the line in one world. `town` is made by `make_the_town`."""

    world: World
    walk: Walk
    code: str
    town: Town | None = None

    def close(self) -> None:
        """Let the town's state go."""
        if self.town is not None:
            self.town.close()

    def _the_town(self) -> Town:
        if self.town is None:
            raise WalkFault("町がまだありません。")
        return self.town

    # -- backup ----------------------------------------------------------------------------------

    def make_the_town(self, residents: int, *, with_tax: bool = True) -> None:
        """A synthetic town with the cards that this world's JPKI can issue."""
        from bcl_contract.jpki import issuer_key_of

        with self.walk.step("架空の町を作る") as step:
            issuer_key = issuer_key_of(self.world.authority.ca_cert().subject)
            self.town = Town.generate(
                self.world.places.town(self.code, "core") / "town",
                municipality_code=self.code,
                residents=residents,
                with_tax=with_tax,
                # The day that is lived ends today: no data from the future.
                start_on=clock.today() - timedelta(days=1),
                issuer_key=issuer_key,
            )
            counts = self.town.counts()
            step.count, step.result = f"{counts['住民']:,} 人", f"{counts['世帯']:,} 世帯"
        self._note_counts()

    def send_everything(self) -> None:
        """The first full transmission: out of the town hall, into the resident store."""
        with self.walk.step("全件を書き出し、送り、中間DBへ反映") as step:
            result = self.export("full")
            self.wait_landed(1)
            step.count, step.result = f"{sum(result.rows.values()):,} 件", "全件が反映済み"
        with self.walk.step("証明発行へ必要な項目だけを配る") as step:
            self.wait_fed()
            step.result = "中間DBと同じ版"

    def live_a_day(self) -> None:
        """A day of births, deaths, moves and notifications, sent as a differential transmission."""
        with self.walk.step("一日分の異動を送り、反映") as step:
            events = self._the_town().advance(1, at_least_one_of_each=True)
            result = self.export("differential")
            self.wait_landed(2)
            self.wait_fed()
            rows = sum(result.rows.values())
            step.count, step.result = f"{rows:,} 件", f"異動 {sum(events.values()):,} 件"

    def compare_everything(self) -> None:
        """Core system, resident store and issuing's records: every key, every field."""
        from bcl.issuance import api as issuance
        from bcl.resident_store import api as store
        from bcl_cli.reconcile import opened_export

        with self.walk.step("住民情報システム・中間DB・証明発行を照合") as step:
            result = self._the_town().export(self.world.places.folder("compare"), mode="full")
            with opened_export(result.folder, self.code) as files:
                found = store.reconcile(self.code, files, at=clock.now())
            shutil.rmtree(result.folder)
            if not found.equal or not found.files:
                raise WalkFault("中間DBに住民情報システムとの差があります。")
            projected = issuance.compare_with_store(self.code)
            if not projected.equal:
                raise WalkFault(f"証明発行に中間DBとの差が {projected.total} 件あります。")
            rows = sum(file.core_rows for file in found.files)
            step.count, step.result = f"{rows:,} 件", "差は 0 件"

    # -- certificate -----------------------------------------------------------------------------

    def issue_to_a_family(self) -> None:
        """One 住民票の写し of a whole family, by card, at a kiosk, through the center."""
        with self.walk.step("家族の住民票の写しをキオスクで発行") as step:
            choice = Choice(show=("head", "domicile"))
            paper = self._printed("certificate", self.case("family_of_five"), choice)
            step.count = "1 通"
            step.result = f"{paper.pages} ページ、{paper.fee_yen} 円、{paper.transaction_number}"
        self.walk.link("発行した住民票の写し（PDF）", self.walk.notes["certificate"])

    def issue_seal_and_tax(self) -> None:
        """The other two kinds, each for the holder of the card alone."""
        seal = Choice(certificate_kind="SEAL_REGISTRATION", scope=Scope.SELF)
        year = self._tax_year()
        tax = Choice(certificate_kind="TAX", scope=Scope.SELF, tax_year=year)
        wishes = (
            ("seal_certificate", "印鑑登録証明書", "seal_largest", seal),
            ("tax_certificate", "所得・課税証明書", "tax_taxed", tax),
        )
        for note, title, case_id, choice in wishes:
            with self.walk.step(f"{title}をキオスクで発行") as step:
                paper = self._printed(note, self.case(case_id), choice)
                step.count = "1 通"
                step.result = f"{paper.fee_yen} 円、{paper.transaction_number}"
            self.walk.link(f"発行した{title}（PDF）", self.walk.notes[note])
        with self.walk.step("廃止した印鑑と未申告の税は発行しない") as step:
            for case_id, choice in (("seal_abolished", seal), ("tax_unreported", tax)):
                answer = self.visit_kiosk(self.case(case_id), choice)
                if not isinstance(answer, Refusal):
                    raise WalkFault(f"{case_id} に証明書が出ました。")
                step.result = f"窓口へ案内（{answer.code}）"
            step.count = "0 通"

    def _tax_year(self) -> int:
        """The tax year the town certifies now."""
        from bcl.issuance import api as issuance

        return issuance.tax_years(self.code, at=clock.now())[0]

    def _printed(self, note: str, addressee_number: str, choice: Choice) -> IssuedPaper:
        """Have a certificate printed and keep the PDF beside the results."""
        paper = expect(self.visit_kiosk(addressee_number, choice))
        name = f"{note.replace('_', '-')}-{paper.transaction_number}.pdf"
        shutil.copyfile(paper.pdf_path, self.walk.results / name)
        paper.pdf_path.unlink()
        self.walk.notes[note] = name
        return paper

    def refuse_a_protected_household(self) -> None:
        """The other outcome: a household under a protective measure gets no paper and no reason."""
        with self.walk.step("支援措置のある世帯には発行しない") as step:
            paper = self.visit_kiosk(self.case("measure_in_one_household"), Choice())
            if not isinstance(paper, Refusal):
                raise WalkFault("支援措置のある世帯に証明書が出ました。")
            step.count, step.result = "0 通", f"窓口へ案内（{paper.code}）"

    def visit_kiosk(self, addressee_number: str, choice: Choice) -> IssuedPaper | Refusal:
        """Give the person a card and walk to the kiosk with it."""
        card = self.card_of(addressee_number)
        pki = self.world.pki
        with connect(
            self.world.center_url,
            cert=pki.kiosk(1).cert_path,
            key=pki.kiosk(1).key_path,
            center_authorities=pki.center_ca.cert_path,
        ) as center:
            return issue_at_kiosk(
                center,
                card,
                pin=PIN,
                municipality_code=self.code,
                choice=choice,
                out=self.world.places.prints,
            )

    def card_of(self, addressee_number: str) -> SoftwareCard:
        """The person's card, made by the simulated JPKI under the number the town knows."""
        path = self.world.places.folder("cards") / f"{addressee_number}.card"
        if path.is_file():
            return SoftwareCard(path)
        listed = find_listed_card(
            self._the_town().state / "cards.jsonl", addressee_number=addressee_number
        )
        return issue_listed_card(self.world.authority, listed, path, pin=PIN, at=clock.now())

    # -- recovery --------------------------------------------------------------------------------

    def recover(self) -> None:
        """Two persons, one package, opened without BCL, equal to the original."""
        with self.walk.step("リカバリデータを二人で申請・承認し、書き出す") as step:
            paths = self.make_package()
            package = next(path for path in paths if path.name.endswith(".age"))
            step.count = f"{package.stat().st_size / 1_000_000:.1f} MB"
            step.result = "受領者の鍵で暗号化"
        self.walk.notes["package"] = package.name
        with self.walk.step("BCL なしで開き、元の町と比べる") as step:
            opened = self.open_package(package)
            comparison = self._the_town().compare_recovery(opened)
            opened.unlink()
            if not comparison.equal:
                raise WalkFault("リカバリデータが元の町と一致しません。")
            records = sum(file.found for file in comparison.files)
            step.count, step.result = f"{records:,} 件", "元とすべて一致"
        self.walk.notes["restored_residents"] = self._the_town().counts()["住民"]
        self.walk.link("リカバリデータから読んだ住民票の一覧", "recovery-listing.txt")

    def make_package(self) -> list[Path]:
        """Request by one member of staff, approval by another, build, release."""
        from bcl.recovery import api as recovery
        from bcl.resident_store import api as store

        as_of = recovery.AsOf(sequence=store.applied_position(self.code).main_sequence)
        wish: dict[str, Any] = {
            "as_of": as_of,
            "reason": "デモ: 庁舎のデータが失われたため",
            "incident_id": "DEMO-1",
            "receiver_id": RECEIVER,
        }
        signed = self.sign("staff-a", "request_export", recovery.request_content(**wish))
        export = expect(recovery.request_export(self.code, **wish, signed=signed, at=clock.now()))
        content = recovery.approval_content(export.pk, export.request_sha256)
        signed = self.sign("staff-b", "approve_export", content)
        expect(recovery.approve_export(self.code, export.pk, signed=signed, at=clock.now()))
        wait_until("リカバリデータの作成", LAND_SECONDS, lambda: self._built(export.pk) is not None)
        built = self._built(export.pk)
        content = recovery.release_content(built.pk, built.package_sha256)
        signed = self.sign("staff-a", "release_export", content)
        return expect(
            recovery.release_export(
                self.code, built.pk, to=self.walk.results, signed=signed, at=clock.now()
            )
        )

    def open_package(self, package: Path) -> Path:
        """What the substitute environment does: read with the stand-alone reader, decrypt, load."""
        import subprocess
        import sys

        import pyrage

        key = receiver_key_path(self.world.places, self.code)
        reader = self.walk.results / "reader.py"
        arguments = [sys.executable, "-I", str(reader), str(package), "--key", str(key)]
        listed = subprocess.run(
            [*arguments, "--check", "--list", str(LISTED_HOUSEHOLDS)],
            capture_output=True, text=True, check=False,
        )  # fmt: skip
        if listed.returncode != 0:
            raise WalkFault(f"読取りツールが差を見つけました: {listed.stderr.strip()[-300:]}")
        (self.walk.results / "recovery-listing.txt").write_text(listed.stdout, encoding="utf-8")
        opened = self.world.places.folder("substitute") / "opened.zip"
        identity = pyrage.x25519.Identity.from_str(key.read_text(encoding="utf-8").strip())
        opened.touch(mode=0o600)
        pyrage.decrypt_file(str(package), str(opened), [identity])
        return opened

    def _built(self, export_id: int) -> Any:
        from bcl.recovery import api as recovery

        export = recovery.find_export(self.code, export_id)
        if export is None or export.state == "FAILED":
            raise WalkFault("リカバリデータの作成に失敗しました。")
        return export if export.state == "BUILT" else None

    def sign(self, staff_id: str, act: str, content: dict[str, Any]) -> Any:
        """A staff member's signature over an act (decision D31)."""
        from bcl_cli.staff_acts import sign

        return sign(
            act,
            municipality_code=self.code,
            staff_id=staff_id,
            key_file=staff_key_path(self.world.places, self.code, staff_id),
            content=content,
        )

    # -- waiting and noting ----------------------------------------------------------------------

    def export(self, mode: str) -> ExportResult:
        """Have the core system write an export into the gateway's folder."""
        drop = gateway_config.drop_folder(self.world, self.code)
        result = self._the_town().export(drop, mode=mode)
        self._note_counts()
        return result

    def _note_counts(self) -> None:
        town = self._the_town()
        counts = town.counts()
        self.walk.notes |= {
            "residents": counts["住民"],
            "households": counts["世帯"],
            "exports": len(town.exports()),
        }
        self.walk.write()

    def wait_landed(self, sequence: int) -> None:
        """Wait until a number of the main lane is in the resident store."""
        from bcl.linkage import api as linkage

        def landed() -> bool:
            status = linkage.get_status(self.code, at=clock.now())
            if status.held or status.rejected:
                raise WalkFault(f"反映されません: {dict(status.held_by_code) or 'お断り'}")
            return status.lanes.get("main", 0) >= sequence

        wait_until("中間DBへの反映", LAND_SECONDS, landed)

    def wait_fed(self) -> None:
        """Wait until issuing has taken every load of the store."""
        from bcl.foundation import tenancy
        from bcl.issuance import api as issuance

        def fed() -> bool:
            with tenancy.scope(self.code):
                freshness = issuance.find_freshness(self.code)
            return freshness.projection_load == freshness.store_load > 0

        wait_until("証明発行への配信", LAND_SECONDS, fed)

    def case(self, case_id: str) -> str:
        """Addressee number of the first person of a planted edge case."""
        case = next(case for case in self._the_town().cases() if case["id"] == case_id)
        numbers: Any = case["addressee_numbers"]
        return str(numbers[0])


def expect(result: Any) -> Any:
    """Give an act's result back; a refusal ends the walk with its words."""
    if isinstance(result, Refusal):
        raise WalkFault(f"{result.code}: {result.text.text_ja}")
    return result
