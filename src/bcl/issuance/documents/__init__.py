"""Certificates as pure functions: compose, lint, render, read back (no database, no clock)."""
