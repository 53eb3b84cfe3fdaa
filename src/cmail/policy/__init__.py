"""Decisions without I/O: where to, when again, may it come in."""
