"""CMail Server: a mail server for people who are not on line all the time."""

__version__ = "0.1.0"
