"""Composes a message of plain text from its parts; Date and Message-ID are what submission adds."""

from base64 import b64encode
from collections.abc import Iterator, Sequence
from typing import Final

from cmail.mail.address import Address
from cmail.mail.dsn import quoted_printable

TEXT_LINE_MAX: Final = 998  # RFC 5322 §2.1.1
_WORD_OCTETS: Final = 42  # of text in an encoded word: 56 of base64, at most 75 in all (RFC 2047 §2)
_SUBJECT_LINE: Final = 900


def compose(author: Address, recipients: Sequence[Address], subject: str, text: str) -> bytes:
    """CRLF lines. The subject is one line; the text has lines that end in LF or CRLF."""
    body = text.replace("\r\n", "\n").replace("\r", "\n").replace("\n", "\r\n").encode()
    if body and not body.endswith(b"\r\n"):
        body += b"\r\n"
    encoding, encoded = ("7bit", body) if _is_plain(body) else ("quoted-printable", quoted_printable(body))
    fields = (
        f"From: {author}\r\n"
        + "To: "
        + ",\r\n ".join(map(str, recipients))
        + f"\r\nSubject: {_subject(subject)}\r\n"
        + "MIME-Version: 1.0\r\n"
        + "Content-Type: text/plain; charset=utf-8\r\n"
        + f"Content-Transfer-Encoding: {encoding}\r\n\r\n"
    )
    return fields.encode() + encoded


def _is_plain(body: bytes) -> bool:
    """Whether it may travel as it is: ASCII, lines that are not too long, nothing that does not print."""
    longest = max(map(len, body.split(b"\r\n")), default=0)
    return longest <= TEXT_LINE_MAX and not body.translate(None, _PRINTING)


_PRINTING: Final = bytes([9, 10, 13, *range(32, 127)])


def _subject(subject: str) -> str:
    """As it is, or in encoded words (RFC 2047), one a line."""
    subject = subject.strip()
    if subject.isascii() and subject.isprintable() and "=?" not in subject and len(subject) <= _SUBJECT_LINE:
        return subject
    return "\r\n ".join(f"=?utf-8?B?{b64encode(word).decode()}?=" for word in _words(subject))


def _words(subject: str) -> Iterator[bytes]:
    """Parts that an encoded word has room for; a letter is never cut (RFC 2047 §5)."""
    word = b""
    for letter in subject:
        octets = letter.encode()
        if len(word) + len(octets) > _WORD_OCTETS:
            yield word
            word = b""
        word += octets
    yield word
