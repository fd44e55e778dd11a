"""A SoftHSM token of the test session: a real PKCS#11 module, keys in a temporary directory."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

import pytest

_MODULES = (
    Path("/usr/lib/softhsm/libsofthsm2.so"),
    Path("/usr/lib/x86_64-linux-gnu/softhsm/libsofthsm2.so"),
    Path("/usr/lib/aarch64-linux-gnu/softhsm/libsofthsm2.so"),
)
PIN = "4817-canary-pin"


@pytest.fixture(scope="session")
def token(tmp_path_factory):
    """A fresh token `bcl-test`, as the settings would describe it."""
    module = next((path for path in _MODULES if path.exists()), None)
    if module is None or shutil.which("softhsm2-util") is None:
        pytest.skip("SoftHSM is not installed (Debian package softhsm2)")
    from bcl.foundation.key_provider import Token

    folder = tmp_path_factory.mktemp("softhsm")
    (folder / "tokens").mkdir()
    settings = folder / "softhsm2.conf"
    settings.write_text(
        f"directories.tokendir = {folder / 'tokens'}\nobjectstore.backend = file\n"
        "log.level = ERROR\n"
    )
    os.environ["SOFTHSM2_CONF"] = str(settings)  # read by the module when it is first loaded
    subprocess.run(
        [
            *("softhsm2-util", "--init-token", "--free", "--label", "bcl-test"),
            *("--so-pin", "so-pin-0000", "--pin", PIN),
        ],
        check=True,
        capture_output=True,
    )
    pin_file = folder / "pin"
    pin_file.write_text(PIN + "\n")
    pin_file.chmod(0o600)
    return Token(module, "bcl-test", "bcl-kek", pin_file)
