"""中間DB: the resident store. Others come in through `bcl.resident_store.api`."""
