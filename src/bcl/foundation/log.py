"""Structured logs without personal data: one JSON object a line, on standard error.

    logger = log.get(__name__)
    logger.info("transmission_landed", municipality_code="999997", rows=1200)

An event is a fixed word; what varies stands in fields. A field is printed only when its name is on
the allow-list and its value looks like an id, a code or a count; otherwise its name alone appears
under `withheld`. Exceptions are printed as types and places, never with their text: the text of a
database or parser error quotes the value that it choked on.
"""

from __future__ import annotations

import json
import logging
import re
import sys
import traceback
from types import TracebackType
from typing import Any

from bcl.foundation import clock

ALLOWED_FIELDS = frozenset(
    {
        "municipality_code",
        "code",
        "state",
        "lane",
        "sequence",
        "mode",
        "rows",
        "bytes",
        "seconds",
        "count",
        "file",
        "file_id",
        "line",
        "column",
        "rule",
        "severity",
        "act",
        "task",
        "queue",
        "attempt",
        "method",
        "path",
        "status",
        "service",
        "reason",
        "role",
        "port",
        "host",
        "version",
        "purpose",
        "kind",
        "environment",
        "signal",
        "load_number",
        "interface_version",
        "error",
        "at",
        "worker",
        "process",
        "threads",
        "capacity",
        "free",
        "lag",
        "position",
        "digest",
        "sha256",
    }
)
ALLOWED_ENDINGS = (
    "_id",
    "_count",
    "_seconds",
    "_ms",
    "_bytes",
    "_rows",
    "_version",
    "_sequence",
    "_code",
    "_mb",
    "_loads",
    "_files",
    "_sha256",
    "_digest",
    "_at",
)
FORBIDDEN_FIELDS = frozenset({"resident_record_code", "postal_code", "address_code", "birth_at"})

_PLAIN_VALUE = re.compile(r"[A-Za-z0-9._:/+=\[\],-]{0,160}\Z")
_UUID = re.compile(r"[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}", re.I)
# Individual numbers have 12 digits, resident record codes 11.
_PERSONAL_NUMBER = re.compile(r"(?<![0-9A-Za-z])[0-9]{11,12}(?![0-9A-Za-z])")
_EVENT = re.compile(r"[a-z][a-z0-9_.]{0,79}\Z")
_FRAMES_SHOWN = 8
_FIELDS_KEY = "bcl_fields"


class Logger:
    """A logger that takes an event word and named fields."""

    def __init__(self, name: str) -> None:
        self._logger = standard_logger(name)

    def debug(self, event: str, **fields: Any) -> None:
        self._log(logging.DEBUG, event, fields)

    def info(self, event: str, **fields: Any) -> None:
        self._log(logging.INFO, event, fields)

    def warning(self, event: str, **fields: Any) -> None:
        self._log(logging.WARNING, event, fields)

    def error(self, event: str, **fields: Any) -> None:
        self._log(logging.ERROR, event, fields)

    def exception(self, event: str, **fields: Any) -> None:
        """Log the exception being handled: its type and place, not its text."""
        self._log(logging.ERROR, event, fields, exc_info=True)

    def _log(
        self, level: int, event: str, fields: dict[str, Any], *, exc_info: bool = False
    ) -> None:
        self._logger.log(level, event, extra={_FIELDS_KEY: fields}, exc_info=exc_info)


def standard_logger(name: str = "") -> logging.Logger:
    """The standard library's logger of that name, for libraries that insist on one."""
    return logging.getLogger(name or None)  # noqa: TID251 - the one place that may


def get(name: str) -> Logger:
    """The logger of a module: `log.get(__name__)`."""
    return Logger(name)


def is_printable(name: str, value: object) -> bool:
    """Whether a field may be printed: an allowed name, and a value that is an id or a number."""
    if name in FORBIDDEN_FIELDS or not (name in ALLOWED_FIELDS or name.endswith(ALLOWED_ENDINGS)):
        return False
    return is_harmless(name, value)


def is_harmless(name: str, value: object) -> bool:
    """Whether a value is an id, a code or a number, and not one that people have.

    Twelve digits are an individual number and eleven a resident record code, so whole numbers of
    that length pass only where the field's name says that they are sizes.
    """
    if value is None or isinstance(value, bool | float):
        return True
    if isinstance(value, int):
        is_size = name == "bytes" or name.endswith(("_bytes", "_ms"))
        return is_size or not 10**10 <= abs(value) < 10**12
    return isinstance(value, str) and is_plain(value)


def is_plain(text: str) -> bool:
    """Whether a text is only an id or a code: ASCII, no blanks, no personal number."""
    return bool(_PLAIN_VALUE.match(text)) and not _PERSONAL_NUMBER.search(_UUID.sub("", text))


def scrub(message: str) -> str:
    """A foreign library's message, shortened, without anything that could be a person's data."""
    text = _PERSONAL_NUMBER.sub("[withheld]", _UUID.sub("[id]", message))
    return re.sub(r"[^\x20-\x7e]+", "[withheld]", text)[:200]


class JsonFormatter(logging.Formatter):
    """Turns a record into one line of JSON, withholding what isn't known to be harmless."""

    def format(self, record: logging.LogRecord) -> str:
        line: dict[str, Any] = {
            "at": clock.now().isoformat(timespec="milliseconds"),
            "level": record.levelname.lower(),
            "logger": record.name,
        }
        # The template only: the arguments of foreign loggers are values we know nothing about.
        message = str(record.msg)
        line["event"] = message if _EVENT.match(message) else scrub(message)
        withheld = []
        for name, value in getattr(record, _FIELDS_KEY, {}).items():
            if is_printable(name, value):
                line[name] = value
            else:
                withheld.append(name)
        if withheld:
            line["withheld"] = sorted(scrub(name) for name in withheld)
        if record.exc_info and record.exc_info[1] is not None:
            line["exceptions"] = describe_exception(record.exc_info[1])
        return json.dumps(line, ensure_ascii=True)


def describe_exception(error: BaseException) -> list[str]:
    """Type and place of an exception and of those that caused it; never their text."""
    described = []
    seen: set[int] = set()
    current: BaseException | None = error
    while current is not None and id(current) not in seen:
        seen.add(id(current))
        kind = f"{type(current).__module__}.{type(current).__qualname__}"
        described.append(f"{kind} at {_places(current.__traceback__)}")
        current = current.__cause__ or (
            None if current.__suppress_context__ else current.__context__
        )
    return described


def _places(trace: TracebackType | None) -> str:
    frames = traceback.extract_tb(trace)[-_FRAMES_SHOWN:]
    return " > ".join(
        f"{'/'.join(frame.filename.split('/')[-3:])}:{frame.lineno}" for frame in frames
    )


class _StandardErrorHandler(logging.Handler):
    """Writes to whatever `sys.stderr` is at that moment."""

    def emit(self, record: logging.LogRecord) -> None:
        try:
            sys.stderr.write(self.format(record) + "\n")
            sys.stderr.flush()
        except Exception:
            sys.stderr.write('{"level": "error", "event": "log_line_failed"}\n')


def configure(config: dict[str, Any]) -> None:
    """Set up logging for the process (Django's LOGGING_CONFIG); `config` has `level`."""
    root = standard_logger()
    for handler in list(root.handlers):
        if isinstance(handler, _StandardErrorHandler):
            root.removeHandler(handler)
    handler = _StandardErrorHandler()
    handler.setFormatter(JsonFormatter())
    root.addHandler(handler)
    root.setLevel(config.get("level", "INFO"))
    # Their routine lines repeat what our own events say, with arguments spelled out.
    for chatty in ("procrastinate", "django", "asyncio", "psycopg", "psycopg.pool", "httpx"):
        standard_logger(chatty).setLevel(logging.WARNING)
