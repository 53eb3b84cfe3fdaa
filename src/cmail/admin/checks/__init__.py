"""Checks: what must be right around a mail server - DNS, certificate, way out, clock, disk - row by row."""
