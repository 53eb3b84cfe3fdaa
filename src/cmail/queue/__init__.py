"""Outgo: what is due, where to, how it ended, who is told."""
