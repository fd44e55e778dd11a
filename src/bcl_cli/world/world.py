"""One world on one machine: database, cloud, gateways and every outside simulator.

    with World(Places.of("trial")) as world:
        ...                                 # built where missing, started; stopped at the end

Used by `bcl world`, by `make demo` and by the journey tests.
"""

from __future__ import annotations

import os
import shutil
import socket
import sys
from collections.abc import Sequence
from datetime import datetime
from functools import cached_property
from pathlib import Path

from bcl_cli.world import gateway_config
from bcl_cli.world.places import DEFAULT_TOWNS, Places
from bcl_cli.world.processes import Program, Supervisor
from bcl_contract import clock
from bcl_sim.delivery_center.configuration import write_configuration
from bcl_sim.jpki.authority import Authority
from bcl_sim.pki import WorldPki, make_world_pki

# The world's day begins here when the real time is outside the service hours (6:30 to 23:00), or so
# late that a demonstration would run into the closing.
MORNING_HOUR = 10
SAFE_HOURS = range(7, 22)


def offset_into_the_day(at: datetime) -> int:
    """Seconds to add to `at` so that a demonstration begins within the service hours; 0 by day."""
    if at.hour in SAFE_HOURS:
        return 0
    morning = at.replace(hour=MORNING_HOUR, minute=0, second=0, microsecond=0)
    return int((morning - at).total_seconds())


class World:
    """A world with its towns. Nothing runs before `start`."""

    def __init__(
        self, places: Places, *, towns: Sequence[str] = DEFAULT_TOWNS, wire_workers: int = 1
    ) -> None:
        self.places = places
        self.towns = tuple(towns)
        self.wire_workers = wire_workers
        self.ports = places.ports()
        self.supervisor = Supervisor(places.state, places.logs)

    def __enter__(self) -> World:
        self.build()
        try:
            self.start()
        except BaseException:
            self.stop()  # one program that doesn't start must not leave the others running
            raise
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    # -- what there is ---------------------------------------------------------------------------

    @cached_property
    def pki(self) -> WorldPki:
        """Certificates of the world's machines."""
        return make_world_pki(self.places.pki, self.towns, clock.now())

    @cached_property
    def authority(self) -> Authority:
        """The simulated JPKI; its certificates point to this world's responder."""
        authority = Authority(self.places.folder("jpki"))
        authority.initialise(clock.now(), ocsp_url=self.ocsp_url)
        return authority

    @property
    def ocsp_url(self) -> str:
        """Where the responder answers."""
        return f"http://127.0.0.1:{self.ports['ocsp']}/ocsp"

    @property
    def wire_url(self) -> str:
        """BCL's machine door."""
        return f"https://localhost:{self.ports['wire']}"

    @property
    def console_url(self) -> str:
        """The staff pages, for registered terminals."""
        return f"https://localhost:{self.ports['console']}"

    @property
    def center_url(self) -> str:
        """The certificate delivery center, for kiosks."""
        return f"https://localhost:{self.ports['center']}"

    @property
    def page_url(self) -> str:
        """The world page."""
        return f"http://127.0.0.1:{self.ports['page']}/"

    @property
    def center_config(self) -> Path:
        """The delivery center's settings."""
        return self.places.folder("center") / "center.toml"

    @property
    def guard_socket(self) -> Path:
        """Where the guard of certificates listens."""
        return self.places.state / "guard.sock"

    def environment(self) -> dict[str, str]:
        """Variables of the cloud's programs in this world."""
        wire = self.pki.wire_server
        return {
            "BCL_WORLD": self.places.name,
            "BCL_STATE_DIR": str(self.places.state),
            "BCL_ENVIRONMENT": "demo",
            clock.OFFSET_VARIABLE: str(int(clock.current().offset.total_seconds())),
            "DJANGO_SETTINGS_MODULE": "bcl.config.settings",
            "BCL_WIRE_PORT": str(self.ports["wire"]),
            "BCL_WIRE_WORKERS": str(self.wire_workers),
            "BCL_WIRE_CERTIFICATE_FILE": str(wire.cert_path),
            "BCL_WIRE_PRIVATE_KEY_FILE": str(wire.key_path),
            "BCL_WIRE_CLIENT_CA_FILE": str(self.pki.wire_clients_path),
            "BCL_CONSOLE_PORT": str(self.ports["console"]),
            "BCL_CONSOLE_CERTIFICATE_FILE": str(self.pki.console_server.cert_path),
            "BCL_CONSOLE_PRIVATE_KEY_FILE": str(self.pki.console_server.key_path),
            "BCL_CONSOLE_CLIENT_CA_FILE": str(self.pki.terminal_ca.cert_path),
            "BCL_GUARD_SOCKET": str(self.guard_socket),
            "BCL_JPKI_OCSP_URL": self.ocsp_url,
            "BCL_JPKI_ROOTS_FILE": str(self.authority.trust_roots_path),
            "BCL_ISSUANCE_SIGNING_KEY_FILE": str(self.pki.bcl_signing.key_path),
        }

    # -- life ------------------------------------------------------------------------------------

    def build(self) -> None:
        """Make what is missing: database, tables, keys, registrations. Loads Django here."""
        from bcl.foundation import migrate

        self.cluster().ensure_running()
        os.environ.update(self.environment())
        self.places.keep_environment(self.environment())
        migrate.run()
        self.load_django()
        from bcl_cli.world import console_people, registry

        registry.register(self.places, self.pki)
        console_people.register_people(self.places, self.pki)
        for code in self.towns:
            gateway_config.write(self, code)
        write_configuration(
            self.center_config,
            world=self.pki,
            state_directory=self.places.folder("center"),
            bind=f"127.0.0.1:{self.ports['center']}",
            jpki_roots=self.authority.trust_roots_path,
            ocsp_url=self.ocsp_url,
            routes=dict.fromkeys(self.towns, self.wire_url),
        )

    def load_django(self) -> None:
        """Load the cloud's code in this process, with this world's settings."""
        import django

        os.environ.update(self.environment())
        django.setup()

    def cluster(self):  # noqa: ANN201 - EmbeddedCluster; imported late
        """The world's own PostgreSQL."""
        from bcl.foundation.postgres import EmbeddedCluster

        return EmbeddedCluster(self.places.state / "postgres")

    def start(self) -> None:
        """Start every program and wait until each answers."""
        for program in self.programs():
            self.supervisor.start(program)

    def stop(self) -> None:
        """Stop every program, then the database."""
        self.supervisor.stop_all()
        self.cluster().stop()

    def destroy(self) -> None:
        """Remove the world with all its data; stops it first."""
        self.supervisor.stop_all()
        self.cluster().destroy()
        shutil.rmtree(self.places.state, ignore_errors=True)

    def programs(self) -> list[Program]:
        """The programs of this world in the order in which they start."""
        jpki = ["-m", "bcl_sim.jpki", "serve", "--state", str(self.authority.directory)]
        jpki += ["--bind", f"127.0.0.1:{self.ports['ocsp']}"]
        center = ["-m", "bcl_sim.delivery_center", "serve", "--config", str(self.center_config)]
        return [
            self._program("jpki", jpki, "ocsp"),
            Program("guard", [sys.executable, "-m", "bcl_cli.main", "serve", "guard"],
                    self.environment(), self.guard_socket.is_socket),
            self._program("wire", ["-m", "bcl_cli.main", "serve", "wire"], "wire"),
            self._program("console", ["-m", "bcl_cli.main", "serve", "console"], "console"),
            self._program("worker", ["-m", "bcl_cli.main", "serve", "worker"], None),
            self._program("center", center, "center"),
            *(self._program(f"gateway-{code}", self._gateway(code), None) for code in self.towns),
            self._program("page", ["-m", "bcl_cli.world.page_server"], "page"),
        ]

    def _gateway(self, municipality_code: str) -> list[str]:
        config = gateway_config.path(self, municipality_code)
        return ["-m", "bcl_gateway.main", "--config", str(config), "run"]

    def _program(self, name: str, arguments: Sequence[str], port: str | None) -> Program:
        def is_ready() -> bool:
            return port is None or listens(self.ports[port])

        return Program(name, [sys.executable, *arguments], self.environment(), is_ready)


def listens(port: int) -> bool:
    """Does anybody accept connections at this port of loopback?"""
    with socket.socket() as probe:
        probe.settimeout(0.5)
        return probe.connect_ex(("127.0.0.1", port)) == 0
