"""Wiring only: settings read once, URLs, the servers' entry points. No domain logic."""
