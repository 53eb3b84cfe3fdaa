"""The mail that is moved: 95 text messages as an office writes them, the same octets in every run.

Sixty plain texts, twenty-five HTML mails of five threads that quote what came before, ten copies of a notice;
2-8 KiB most of them. No octet depends on the machine or on the version of Python."""

import random
import re
import textwrap
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

FIELD = "X-Bench-Number"
SENDING, RECEIVING = "ship.example", "office.example"
FIRST_DATE = 1_790_000_000
SEED = 50
THREADS = 5
PLAIN_OCTETS, HTML_OCTETS = (1600, 7300), (400, 1500)  # of the text, before the last paragraph goes beyond it

_PEOPLE = [
    f"{name}.{family}"
    for name in ("anna", "bob", "chen", "dita", "emre", "fay")
    for family in ("moss", "okoro", "silva", "tanaka")
]
_WORDS = (
    "the of and to in a is that for it as was with be by on not he his but at are this have from or "
    "had an they which one you were all her she there would their we him been has when who will no "
    "more if out so said what up its about than into them can only other time new some could these "
    "two may first then do any like my now over such our man me even most made after also well did "
    "many before must through back years where much your way down should because long each just those "
    "people how too little good world still own see work men day get here between life being under "
    "three never know same last another while us off might great go come since against right came "
    "take used himself few house use place during high without again cargo harbour engine crew "
    "weather arrival schedule report spare parts pump invoice delivery office port customs fuel tank "
    "bunker anchor pilot berth container manifest survey certificate maintenance bridge watch radio "
    "satellite antenna generator bearing filter valve pressure temperature reading inspection "
    "provision "
).split()
_STYLE = "margin:0cm;font-size:11.0pt;font-family:&quot;Calibri&quot;,sans-serif"
_HTML = (
    '<html xmlns:o="urn:schemas-microsoft-com:office:office"><head><meta http-equiv=Content-Type '
    'content="text/html; charset=utf-8"><style><!--\r\n'
    "@font-face {font-family:Calibri;panose-1:2 15 5 2 2 2 4 3 2 4;}\r\n"
    'p.MsoNormal {margin:0cm;font-size:11.0pt;font-family:"Calibri",sans-serif;}\r\n'
    '--></style></head><body lang=EN-GB link="#0563C1">\r\n'
)


@dataclass(frozen=True)
class Mail:
    """One message; its number stands in its header, so that it is known where it arrives."""

    number: int
    reverse_path: str
    forward_path: str
    octets: bytes


def text_mail() -> list[Mail]:
    """The 95 messages, 645 KB."""
    return list(_Writer().all())


def numbered(mails: list[Mail], count: int) -> list[Mail]:
    """So many messages: these again and again, each with a number of its own."""
    found = []
    for number in range(count):
        mail = mails[number % len(mails)]
        was, now = f"{FIELD}: {mail.number:05d}".encode(), f"{FIELD}: {number:05d}".encode()
        found.append(Mail(number, mail.reverse_path, mail.forward_path, mail.octets.replace(was, now, 1)))
    return found


class _Chance:
    """random.Random, by the one method whose numbers are the same in all versions."""

    def __init__(self, seed: int) -> None:
        self._random = random.Random(seed).random

    def number(self, least: int, most: int) -> int:
        """From least to most, both included."""
        return least + int(self._random() * (most - least + 1))

    def one_of(self, things: Sequence[str]) -> str:
        """Any of them."""
        return things[self.number(0, len(things) - 1)]


class _Writer:
    def __init__(self) -> None:
        self._chance = _Chance(SEED)
        self._threads: dict[int, str] = {}

    def all(self) -> Iterator[Mail]:
        """Ten copies stand in the middle; the others take turns, five of seventeen in HTML."""
        number = 0
        for turn in range(85):
            yield self._html(number) if turn * 5 % 17 < 5 else self._plain(number)
            number += 1
            if number == 40:
                yield from self._copies(number, 10)
                number += 10

    def _text(self, octets: int) -> list[str]:
        found, size = [], 0
        while size < octets:
            found.append(self._paragraph(self._chance.number(80, 700)))
            size += len(found[-1]) + 2
        return found

    def _paragraph(self, octets: int) -> str:
        """Sentences of five to twenty words."""
        sentences, size = [], 0
        while size < octets:
            words = [self._chance.one_of(_WORDS) for _ in range(self._chance.number(5, 20))]
            sentences.append(" ".join(words).capitalize() + ".")
            size += len(sentences[-1]) + 1
        return " ".join(sentences)

    def _header(self, number: int, sender: str, to: str, subject: str, kind: str) -> str:
        chance, date = self._chance, FIRST_DATE + number * 137
        client, address = (f"[192.168.1.{chance.number(2, 250)}]" for _ in range(2))
        name = sender.title().replace(".", " ")
        return (
            f"Received: from {client} (unknown {address})\r\n\tby mail.{SENDING} with ESMTPSA id "
            f"{chance.number(0, 1 << 40):010X};\r\n\t{_date(date + 1)}\r\n"
            f"{FIELD}: {number:05d}\r\nDate: {_date(date)}\r\n"
            f"From: {name} <{sender}@{SENDING}>\r\nTo: {to}@{RECEIVING}\r\nSubject: {subject}\r\n"
            f"Message-ID: <{chance.number(0, 1 << 50):016x}.{number}@{SENDING}>\r\nMIME-Version: 1.0\r\n"
            f"User-Agent: Mozilla Thunderbird\r\n{kind}\r\n"
        )

    def _plain(self, number: int) -> Mail:
        sender, to = self._chance.one_of(_PEOPLE), self._chance.one_of(_PEOPLE)
        paragraphs = self._text(self._chance.number(*PLAIN_OCTETS))
        return self._mail(number, sender, to, paragraphs[0][:48], paragraphs)

    def _copies(self, first: int, count: int) -> Iterator[Mail]:
        sender, paragraphs = self._chance.one_of(_PEOPLE), self._text(4000)
        for number in range(first, first + count):
            yield self._mail(number, sender, _PEOPLE[number % len(_PEOPLE)], "Weekly notice", paragraphs)

    def _mail(self, number: int, sender: str, to: str, subject: str, paragraphs: list[str]) -> Mail:
        kind = "Content-Transfer-Encoding: 8bit\r\nContent-Type: text/plain; charset=UTF-8\r\n"
        body = "\r\n\r\n".join("\r\n".join(textwrap.wrap(each, 72)) for each in paragraphs)
        octets = (self._header(number, sender, to, subject, kind) + body + "\r\n").encode()
        return Mail(number, f"{sender}@{SENDING}", f"{to}@{RECEIVING}", octets)

    def _html(self, number: int) -> Mail:
        thread = number % THREADS
        sender, to = self._chance.one_of(_PEOPLE), self._chance.one_of(_PEOPLE)
        paragraphs = self._text(self._chance.number(*HTML_OCTETS))
        answer = "".join(
            f'<p class=MsoNormal style="{_STYLE}"><span lang=EN-GB>{each.replace("<", "&lt;")}</span></p>\r\n'
            for each in paragraphs
        )
        html = answer + self._signature(sender) + self._quoted(thread, sender, number)
        self._threads[thread] = html
        boundary = f"_{self._chance.number(0, 1 << 48):012x}_"
        kind = f'Content-Type: multipart/alternative;\r\n boundary="{boundary}"\r\n'
        part = (
            f"--{boundary}\r\nContent-Type: text/%s; charset=utf-8\r\nContent-Transfer-Encoding: 8bit\r\n\r\n"
        )
        plain = "\r\n".join(
            "\r\n".join(textwrap.wrap(line, 72)) for line in re.sub(r"<[^>]+>", "", html).split("\r\n")
        )
        content = _short_lines(_HTML + html + "</body></html>\r\n")
        body = f"{part % 'plain'}{plain}\r\n{part % 'html'}{content}\r\n--{boundary}--\r\n"
        octets = (self._header(number, sender, to, f"RE: thread {thread}", kind) + body).encode()
        return Mail(number, f"{sender}@{SENDING}", f"{to}@{RECEIVING}", octets)

    def _signature(self, sender: str) -> str:
        return (
            '<p class=MsoNormal><span style="font-size:9.0pt;color:#1F497D">'
            f"{sender.title()}<br>Field logistics, MV Example<br>"
            f"Tel +00 000 {self._chance.number(1000, 9999)}</span></p>\r\n"
        )

    def _quoted(self, thread: int, sender: str, number: int) -> str:
        before = self._threads.get(thread)
        if before is None:
            return ""
        date = _date(FIRST_DATE + number * 100)
        return (
            '<div style="border:none;border-top:solid #E1E1E1 1.0pt;padding:3.0pt 0cm 0cm 0cm">'
            f"<p class=MsoNormal><b>From:</b> {sender}@{RECEIVING}<br><b>Sent:</b> {date}<br>"
            f"<b>Subject:</b> RE: thread {thread}</p></div>\r\n<blockquote>{before}</blockquote>\r\n"
        )


def _date(seconds: int) -> str:
    return time.strftime("%a, %d %b %Y %H:%M:%S +0000", time.gmtime(seconds))


def _short_lines(text: str) -> str:
    """Lines below the 998 octets of RFC 5322 §2.1.1."""
    found = []
    for line in text.split("\r\n"):
        while len(line) > 900:
            cut = max(line.rfind(" ", 0, 900), 0) or 900
            found.append(line[:cut])
            line = line[cut:]
        found.append(line)
    return "\r\n".join(found)
