"""A sample subscriber: keeps its own copy of what a town's subscription gives, in a SQLite file.

Run it as often as you like (see README.md); it takes what is new and ends. One page and the number
of that page are stored in one transaction, so a page that comes twice changes nothing and one that
was stored is never lost. Needs Python 3.11 and the package `cryptography`.
"""

import argparse
import base64
import http.client
import json
import sqlite3
import ssl
import sys
import time

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

TABLES = """
CREATE TABLE IF NOT EXISTS position (epoch INTEGER, page INTEGER NOT NULL);
CREATE TABLE IF NOT EXISTS record (
    record TEXT PRIMARY KEY, file TEXT NOT NULL, household TEXT NOT NULL, columns TEXT NOT NULL
);
INSERT INTO position SELECT NULL, 0 WHERE NOT EXISTS (SELECT 1 FROM position);
"""


class Refused(Exception):
    """BCL said no: `code` and what goes with it."""

    def __init__(self, answer):
        self.code, self.detail = answer["code"], answer.get("detail", {})
        super().__init__(f"{self.code}: {answer.get('text', '')} {answer.get('how', '')}")


class Door:
    """BCL's door for subscribers: mutual TLS out, signed answers back."""

    def __init__(self, options):
        context = ssl.create_default_context(cafile=options.ca)
        context.minimum_version = ssl.TLSVersion.TLSv1_3
        context.load_cert_chain(options.certificate, options.key)
        self._connection = http.client.HTTPSConnection(
            options.host, options.port, context=context, timeout=60
        )
        self._signer = Ed25519PublicKey.from_public_bytes(bytes.fromhex(options.signing_key))
        self._common = {
            "municipality_code": options.municipality,
            "subscription": options.subscription,
        }

    def ask(self, path, **fields):
        body = json.dumps({"message": path, **self._common, **fields}).encode()
        headers = {"Content-Type": "application/json"}
        self._connection.request("POST", f"/wire/subscriptions/{path}", body, headers)
        answer = self._connection.getresponse()
        content = answer.read()
        if answer.status != 200:
            raise Refused(json.loads(content))
        # Raises InvalidSignature: an answer that BCL did not sign is not looked at.
        self._signer.verify(base64.b64decode(answer.headers["X-BCL-Signature"]), content)
        return json.loads(content)


def follow(door, copy):
    """Take every page that is ready; gives how many."""
    taken = 0
    while True:
        epoch, page = copy.execute("SELECT epoch, page FROM position").fetchone()
        answer = door.ask("changes", epoch=epoch, after=page)
        if answer["page"] == 0:
            return taken
        with copy:  # the page and its number, or neither
            for item in answer["items"]:
                store(copy, item)
            here = (answer["epoch"], answer["page"])
            copy.execute("UPDATE position SET epoch = ?, page = ?", here)
        taken += 1


def store(copy, item):
    """One record as it is now. A withheld value comes as null and takes the older one's place."""
    if item["columns"] is None:
        copy.execute("DELETE FROM record WHERE record = ?", (item["record"],))
        return
    columns = json.dumps(item["columns"], ensure_ascii=False)
    copy.execute(
        "INSERT OR REPLACE INTO record VALUES (?, ?, ?, ?)",
        (item["record"], item["file"], item["household"], columns),
    )


def begin_again(copy, epoch):
    """BCL has begun a new epoch: what we hold may be of a state that no longer is."""
    with copy:
        copy.execute("DELETE FROM record")
        copy.execute("UPDATE position SET epoch = ?, page = 0", (epoch,))


def read_options():
    options = argparse.ArgumentParser(description=__doc__)
    for name in ("host", "municipality", "subscription", "ca", "certificate", "key", "signing-key"):
        options.add_argument(f"--{name}", required=True)
    options.add_argument("--port", type=int, default=443)
    options.add_argument("--copy", default="copy.sqlite3")
    options.add_argument("--restart", action="store_true", help="手元の写しを失ったとき")
    options.add_argument("--every", type=int, metavar="SECONDS", help="この間隔で続ける")
    return options.parse_args()


def main():
    options = read_options()
    copy = sqlite3.connect(options.copy)
    copy.executescript(TABLES)
    door = Door(options)
    if options.restart:
        begin_again(copy, door.ask("restart")["epoch"])
    while True:
        try:
            taken = follow(door, copy)
            (held,) = copy.execute("SELECT count(*) FROM record").fetchone()
            print(f"{taken} 頁を受け取りました。手元の記録は {held} 件です。")
        except Refused as refused:
            if refused.code != "SUBSCRIPTION_EPOCH_CHANGED":
                print(refused, file=sys.stderr)
                return 3
            begin_again(copy, refused.detail["epoch"])
            continue
        if options.every is None:
            return 0
        time.sleep(options.every)


if __name__ == "__main__":
    sys.exit(main())
