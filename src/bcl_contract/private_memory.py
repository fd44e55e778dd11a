"""Processes that hold keys or clear text leave no image of their memory behind (R-176, R-026).

    keep_out_of_dumps()      # at the start of such a process; its forks inherit it
"""

from __future__ import annotations

import ctypes
import resource

_PR_SET_DUMPABLE = 4


def keep_out_of_dumps() -> None:
    """No core file, no dump through a pipe (`core_pattern` with `|` ignores the limit), and no
    other process of the same user may read this one's memory. Raises OSError when refused."""
    _, highest = resource.getrlimit(resource.RLIMIT_CORE)
    resource.setrlimit(resource.RLIMIT_CORE, (0, highest))
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.prctl(_PR_SET_DUMPABLE, 0, 0, 0, 0):
        raise OSError(ctypes.get_errno(), "prctl(PR_SET_DUMPABLE)")
