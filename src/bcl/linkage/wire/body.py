"""Reading a request body piece by piece, without ever holding it whole."""

from __future__ import annotations

from django.http import HttpRequest


class RequestBody:
    """The body of a request as the intake reads it.

    `declared` is its length in bytes, None when it is chunked. A sender that says nothing for
    `idle_seconds` counts as gone, else a half-open line would hold the upload's lock for ever.
    """

    def __init__(self, request: HttpRequest, *, declared: int | None, idle_seconds: int) -> None:
        self.declared = declared
        self._left = declared
        # Django limits a body to its Content-Length and so reads nothing of a chunked one.
        self._source = request if declared is not None else request.META["wsgi.input"]
        line = request.META.get("gunicorn.socket")
        if line is not None:
            line.settimeout(idle_seconds)

    def read(self, size: int) -> bytes:
        """The next bytes, at most `size`; empty at the end. OSError if the line broke."""
        if self._left is not None:
            size = min(size, self._left)
            if size == 0:
                return b""
        try:
            block: bytes = self._source.read(size)
        except OSError:
            raise
        except Exception as fault:  # the server's own parser errors: bad chunk sizes, early ends
            raise OSError("the body broke off") from fault
        if self._left is not None:
            self._left -= len(block)
        return block
