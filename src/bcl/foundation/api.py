"""What the apps use of the foundation, by module.

    from bcl.foundation import audit, clock, crypto, jobs, keys, log, tenancy

Modules of the foundation are its door: `tenancy.scope(...)` reads better than `api.scope(...)`.
"""

from bcl.foundation import audit, clock, crypto, jobs, keys, log, metrics, tenancy

__all__ = ["audit", "clock", "crypto", "jobs", "keys", "log", "metrics", "tenancy"]
