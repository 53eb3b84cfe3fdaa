"""The ways to kick, one a file: each takes a Target and says in words how it went."""
