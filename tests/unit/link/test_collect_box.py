"""What POP3 and IMAP have in common: at which port a server of either listens."""

import pytest

from cmail.link.collect.box import port_of


@pytest.mark.parametrize(
    ("protocol", "port", "tls", "listens_at"),
    [
        ("pop3", 0, "implicit", 995),
        ("pop3", 0, "required", 110),
        ("pop3", 0, "none", 110),
        ("imap", 0, "implicit", 993),
        ("imap", 0, "required", 143),
        ("imap", 0, "none", 143),
        ("imap", 1143, "implicit", 1143),
    ],
)
def test_the_usual_port_where_none_is_set(protocol: str, port: int, tls: str, listens_at: int) -> None:
    """Its own port only where TLS begins with the first byte: STARTTLS is at the other."""
    assert port_of(protocol, port, tls) == listens_at
