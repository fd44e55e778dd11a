"""The clock of the cloud: the one of `bcl_contract.clock`, under foundation's roof.

    from bcl.foundation import clock
    clock.now()      # aware, Japan Standard Time

Demo and test worlds shift it for all processes at once with BCL_CLOCK_OFFSET_SECONDS.
"""

from __future__ import annotations

from bcl_contract.clock import JST, Clock, now, today, use

__all__ = ["JST", "Clock", "now", "today", "use"]
