"""Protocols as machines without I/O: bytes in, events and reply bytes out."""
