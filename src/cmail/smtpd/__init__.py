"""Intake: from the client's first byte to the spool."""
