"""Looking into a restored database: a process of its own, without a network (`python -m`).

Started by the drill with the throw-away cluster as its database. It prints one line of JSON: the
fingerprints of all municipalities and whether the fence holds. It reads and changes nothing.
"""

from __future__ import annotations

import json
import sys
from datetime import datetime
from typing import Any


def examine(at: datetime) -> dict[str, Any]:
    """What the restored database holds."""
    from bcl.backup import fingerprint
    from bcl.foundation import fencing

    return {
        "fenced": fencing.is_fenced(),
        "towns": {
            code: found.as_json() for code, found in fingerprint.of_every_town(at=at).items()
        },
    }


def main() -> None:
    """Read the moment from the command line, print what is found."""
    import django

    django.setup()
    sys.stdout.write(json.dumps(examine(datetime.fromisoformat(sys.argv[1]))) + "\n")


if __name__ == "__main__":
    main()
