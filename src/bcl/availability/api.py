"""Is a service open? Hours as dated data, suspensions by municipality, service and reason.

    from bcl.availability import api as availability
    verdict = availability.is_open("999997", availability.Service.ISSUANCE, clock.now())
    if isinstance(verdict, Refusal): ...

This app knows facts only. Who handles an incident, and how, is decided above it.
"""

from bcl.availability.actions import resume, set_service_hours, suspend
from bcl.availability.queries import is_open, list_suspensions
from bcl.availability.rules import Service

__all__ = ["Service", "is_open", "list_suspensions", "resume", "set_service_hours", "suspend"]
