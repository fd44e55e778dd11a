"""The provider that keeps key-encryption keys in a PKCS#11 token (R-027; proved with SoftHSM).

KEKs are AES-256 token objects, sensitive and never extractable: wrapping and unwrapping
(CKM_AES_GCM, the context as associated data) happen inside the token. The PIN comes from a file of
mode 0600 or from systemd's credential directory, never from an argument or a variable.

One session a process behind a lock: clear town keys are cached above, so the token is asked
rarely. A process that was forked loads the module anew (PKCS#11 forbids the parent's session); a
session that broke (token pulled, HSM restarted) is opened once more.
"""

from __future__ import annotations

import os
import re
import secrets
import stat
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TypeVar

import pkcs11
from pkcs11 import Attribute, GCMParams, KeyType, Mechanism, ObjectClass

from bcl.foundation.key_provider import (
    NONCE_BYTES,
    TAG_BYTES,
    KeyFault,
    KeyLost,
    KeyProviderAway,
    Token,
    new_kek_id,
    owner_of,
)

PREFIX = "pkcs11"
_ID = re.compile(r"pkcs11-([0-9]{6}|agency)-[0-9a-f]{16}\Z")
_Result = TypeVar("_Result")
_loaded_by: dict[Path, int] = {}
"""Which process loaded a module: after a fork it must be loaded again."""

_BROKEN_SESSION = (
    pkcs11.exceptions.SessionHandleInvalid,
    pkcs11.exceptions.SessionClosed,
    pkcs11.exceptions.DeviceRemoved,
    pkcs11.exceptions.DeviceError,
    pkcs11.exceptions.UserNotLoggedIn,
    pkcs11.exceptions.TokenNotPresent,
)


class Pkcs11KeyProvider:
    """Keeps each KEK as an object of a PKCS#11 token."""

    name = "pkcs11"

    def __init__(self, token: Token) -> None:
        self._token = token
        self._lock = threading.RLock()
        self._session: Any = None
        self._process = 0
        # A fork while another thread holds the lock would leave it locked in the child for ever.
        os.register_at_fork(after_in_child=self._after_fork)

    def _after_fork(self) -> None:
        self._lock, self._session = threading.RLock(), None

    def check(self) -> None:
        def look(session: Any) -> None:
            if Mechanism.AES_GCM not in session.token.slot.get_mechanisms():
                raise KeyProviderAway("この鍵装置は AES-GCM に対応していません。")

        self._with_session(look)

    def describe(self) -> dict[str, str]:
        def look(session: Any) -> dict[str, str]:
            token = session.token
            return {
                "トークン": self._token.label,
                "製造者": str(token.manufacturer_id).strip(),
                "型": str(token.model).strip(),
                "番号": bytes(token.serial).decode("ascii", "replace").strip(),
            }

        return self._with_session(look)

    def create_kek(self, owner: str) -> str:
        kek_id = new_kek_id(PREFIX, owner)
        self._with_session(lambda session: self._generate(session, kek_id))
        return kek_id

    def _generate(self, session: Any, kek_id: str) -> None:
        key = session.generate_key(
            KeyType.AES,
            256,
            id=kek_id.encode(),
            label=f"{self._token.key_label} {owner_of(kek_id)}",
            store=True,
            template={
                Attribute.PRIVATE: True,
                Attribute.SENSITIVE: True,
                Attribute.EXTRACTABLE: False,
                Attribute.MODIFIABLE: False,
                Attribute.ENCRYPT: True,
                Attribute.DECRYPT: True,
                Attribute.WRAP: False,
                Attribute.UNWRAP: False,
                Attribute.SIGN: False,
                Attribute.VERIFY: False,
            },
        )
        if not (key[Attribute.ALWAYS_SENSITIVE] and key[Attribute.NEVER_EXTRACTABLE]):
            key.destroy()
            raise KeyProviderAway("鍵装置が、取り出せない鍵を作れません。")

    def kek_ids(self, owner: str | None = None) -> list[str]:
        def look(session: Any) -> list[str]:
            keys = session.get_objects({Attribute.CLASS: ObjectClass.SECRET_KEY})
            return [bytes(key.id).decode("ascii", "replace") for key in keys]

        found = sorted(each for each in self._with_session(look) if _ID.match(each))
        return [each for each in found if owner is None or owner_of(each) == owner]

    def wrap(self, kek_id: str, clear_key: bytes, *, context: bytes) -> bytes:
        nonce = secrets.token_bytes(NONCE_BYTES)
        parameters = GCMParams(nonce, context, TAG_BYTES * 8)

        def work(session: Any) -> bytes:
            return self._kek(session, kek_id).encrypt(
                clear_key, mechanism=Mechanism.AES_GCM, mechanism_param=parameters
            )

        return nonce + self._with_session(work)

    def unwrap(self, kek_id: str, wrapped: bytes, *, context: bytes) -> bytes:
        parameters = GCMParams(wrapped[:NONCE_BYTES], context, TAG_BYTES * 8)

        def work(session: Any) -> bytes:
            key = self._kek(session, kek_id)
            try:
                return key.decrypt(
                    wrapped[NONCE_BYTES:],
                    mechanism=Mechanism.AES_GCM,
                    mechanism_param=parameters,
                )
            except _BROKEN_SESSION:
                raise
            except (pkcs11.exceptions.PKCS11Error, ValueError):
                # Modules tell a wrong tag by different codes: all of them mean the same here.
                raise KeyFault("a wrapped key does not open: wrong key, place or bytes") from None

        if len(wrapped) <= NONCE_BYTES + TAG_BYTES:
            raise KeyFault("a wrapped key is too short")
        return self._with_session(work)

    def destroy_kek(self, kek_id: str) -> bool:
        def work(session: Any) -> bool:
            try:
                self._kek(session, kek_id).destroy()
            except KeyFault:
                return False
            return True

        _check_id(kek_id)
        return self._with_session(work)

    def _kek(self, session: Any, kek_id: str) -> Any:
        _check_id(kek_id)
        try:
            return session.get_key(object_class=ObjectClass.SECRET_KEY, id=kek_id.encode())
        except pkcs11.exceptions.NoSuchKey:
            raise KeyLost("この団体の鍵が、鍵装置にありません。") from None

    # -- session -------------------------------------------------------------------------------

    def _with_session(self, work: Callable[[Any], _Result]) -> _Result:
        """Run `work` with this process's session; once more with a new one if it had broken."""
        with self._lock, _told_in_japanese():
            try:
                return work(self._open_session())
            except _BROKEN_SESSION:
                self._close()
                return work(self._open_session())

    def _open_session(self) -> Any:
        if self._session is not None and self._process == os.getpid():
            return self._session
        library = pkcs11.lib(str(self._token.module))
        if _loaded_by.setdefault(self._token.module, os.getpid()) != os.getpid():
            library.reinitialize()  # after a fork the parent's state means nothing here
            _loaded_by[self._token.module] = os.getpid()
        self._process, self._session = os.getpid(), None
        token = library.get_token(token_label=self._token.label)
        try:
            self._session = token.open(rw=True, user_pin=read_pin(self._token.pin_file))
        except pkcs11.exceptions.UserAlreadyLoggedIn:
            self._session = token.open(rw=True)  # another provider of this process logged in
        return self._session

    def _close(self) -> None:
        session, self._session = self._session, None
        try:
            if session is not None:
                session.close()
        except pkcs11.exceptions.PKCS11Error:
            pass  # it had broken; that is why it is closed


def _check_id(kek_id: str) -> None:
    if not _ID.match(kek_id):
        raise KeyFault("この鍵は鍵装置の中にありません。")


def read_pin(pin_file: Path | None) -> str:
    """The PIN from its file (mode 0600). KeyProviderAway if that can't be done."""
    path = pin_file
    if path is None:
        raise KeyProviderAway("鍵装置の暗証番号のファイル（BCL_PKCS11_PIN_FILE）がありません。")
    try:
        mode = stat.S_IMODE(path.stat().st_mode)
        pin = path.read_text().strip()
    except (OSError, UnicodeDecodeError):
        raise KeyProviderAway(f"鍵装置の暗証番号のファイル {path} を読めません。") from None
    if mode & 0o077:
        raise KeyProviderAway(f"暗証番号のファイル {path} をほかの利用者が読める状態です。")
    if not pin:
        raise KeyProviderAway(f"暗証番号のファイル {path} が空です。")
    return pin


@contextmanager
def _told_in_japanese() -> Iterator[None]:
    """What goes wrong in the token, as one sentence for the operator; never with the PIN."""
    try:
        yield
    except pkcs11.exceptions.NoSuchToken:
        raise KeyProviderAway("設定された名前の鍵装置（トークン）が見つかりません。") from None
    except (pkcs11.exceptions.PinIncorrect, pkcs11.exceptions.PinInvalid):
        raise KeyProviderAway(
            "鍵装置の暗証番号が違います。何度も試すと装置が使えなくなります。"
        ) from None
    except pkcs11.exceptions.PinLocked:
        raise KeyProviderAway("鍵装置の暗証番号がロックされています。") from None
    except pkcs11.exceptions.PKCS11Error as fault:
        kind = type(fault).__name__
        raise KeyProviderAway(f"鍵装置を使えません（{kind}）。") from None
