"""Validation: what is wrong with a message, by one table of rules; octets in, defects out."""
