"""Every parser of the product on octets of any kind: it reads, or refuses as it says, and nothing else."""

import os
from collections.abc import Sequence
from typing import Final

import pytest
from hypothesis import HealthCheck, given, settings

from tests.fuzz.corpus import inputs
from tests.fuzz.parser import FRAGMENTS
from tests.fuzz.parsers import PARSERS, fuzz

EXAMPLES: Final = 5000 if os.environ.get("CMAIL_FUZZ") else 60
QUICK_S: Final = 2.0

# What broke a parser once.
FOUND: Final[Sequence[tuple[str, bytes]]] = (
    ("settings", b"[limits]\nsessions = " + b"9" * 5000),
    ("settings", b"[limits]\nsessions = 0x" + b"f" * 5000),
    ("settings", b"[host]\ndomains = [1979-05-27]"),
    ("settings", b"[host]\nhostname = [1979-05-27]"),
    ("settings", b'[smtp.advanced]\nmax_message_size = "' + b"9" * 400 + b'MiB"'),
    ("settings", b'[smtp.advanced]\nmax_message_size = "' + b"9" * 5000 + b'"'),
    ("settings", b"[host]\ndomains = 5"),
    ("sizes and durations", "²".encode()),
    ("sizes and durations", "²d".encode()),
    ("sizes and durations", "²MiB".encode()),
    ("sizes and durations", b"9" * 400 + b"d"),
    ("control line", b'{"\\ud800":""}'),
    ("control questions", b'{"ask":"Q0","filter":{"\\ud800":1}}\n'),
    ("control questions", b'{"ask":"Q0","filter":{},"limit":null}\n'),
    ("control questions", b'{"ask":"Q0","filter":{},"limit":1e999}\n'),
    ("control questions", b'{"ask":"Q0","filter":{},"after":5}\n'),
    ("control questions", b'{"ask":"Q0","filter":{"ids":5}}\n'),
    ("control questions", b'{"ask":"Q0","filter":{"ids":[5]}}\n'),
    ("control questions", b'{"ask":"Q0","filter":{"states":[[]]}}\n'),
    ("control questions", b'{"ask":"Q0","filter":{"states":null}}\n'),
    ("control questions", b'{"ask":"Q0","filter":{"older_than_ms":[]}}\n'),
    ("questions to the real spool", b'{"ask":"Q0","filter":{"to":"\\ud800"}}\n'),
    ("questions to the real spool", b'{"ask":"Q0","filter":{"older_than_ms":' + b"9" * 40 + b"}}\n"),
    ("questions to the real spool", b'{"ask":"Q0","filter":{},"after":[' + b"9" * 40 + b",0]}\n"),
    ("names of accounts", b"@\xff"),
    ("mailbox name", b"\xff" * 300),
    ("control answer", b'{"ok":":"}'),
    ("control answer", b'{"error":1,"code":[]}'),
    ("settings", b'[""]'),
    ("report, written", b"\x06\r8bit\n"),
    ("link.json", b'{"is_down":false,"down_ms":-' + b"9" * 30 + b',"periods":1,"changed_wall_ms":0}'),
    ("link.json", b'{"is_down":true,"down_ms":0,"periods":1,"changed_wall_ms":' + b"9" * 30 + b"}"),
    ("exchange history", b'{"exchanges":[{"begin_ms":' + b"9" * 400 + b',"why":""}]}'),
    ("exchange history", b'{"exchanges":[{"begin_ms":1,"why":"","cost":NaN}]}'),
    ("clock.json", b"[" * 4096),
    ("clock.json", b'{"lived_ms":' + b"9" * 30 + b',"wall_ms":0}'),
    ("sites.json", b'{"ship":{"seen_ms":1e999,"how":""}}'),
    ("sites.json", b"[" * 60_000),
    ("ledger row", b"null"),
    ("orders", b'{"size_max":1,"urgent_size_max":' + b"9" * 30 + b',"rate":3,"is_exchange_open":true}'),
)  # fmt: skip


@pytest.mark.parametrize("name", PARSERS)
def test_seeds_are_read(name: str) -> None:
    """What the table calls valid is: it is near these that the looking begins."""
    for seed in PARSERS[name].seeds:
        assert PARSERS[name].feed(seed), seed


@pytest.mark.parametrize("name", PARSERS)
def test_what_hurts(name: str) -> None:
    """Each fragment, once and again and again, in each frame and in the middle of each seed."""
    parser = PARSERS[name]
    for fragment in [*FRAGMENTS, *parser.fragments]:
        for count in (1, 2, 40):
            for head, tail in parser.frames:
                parser.feed(head + fragment * count + tail)
            for seed in parser.seeds[: 4 if count == 1 else 0]:
                parser.feed(seed[: len(seed) // 2] + fragment + seed[len(seed) // 2 :])


@pytest.mark.parametrize("name", PARSERS)
def test_any_octets(name: str) -> None:
    """No exception gets out but those by which it refuses, and what it promises holds."""
    parser = PARSERS[name]

    @settings(max_examples=EXAMPLES, suppress_health_check=list(HealthCheck))
    @given(inputs(parser))
    def reads(octets: bytes) -> None:
        parser.feed(octets)

    reads()


@pytest.mark.parametrize("number", range(len(FOUND)))
def test_what_was_found(number: int) -> None:
    """What broke one once does not again."""
    name, octets = FOUND[number]
    PARSERS[name].feed(octets)


def test_every_parser_has_its_row() -> None:
    """A table with fewer rows than yesterday is a mistake."""
    assert len(PARSERS) >= 91


@pytest.mark.needs("atheris")
def test_atheris_finds_what_is_planted() -> None:
    """An exception that is none of the refusals is seen, with the input that brings it out."""
    ended = fuzz(["trips", "reads"], QUICK_S, "tests.fuzz.planted:PLANTED")
    assert "IndexError" in ended["trips"][1] and "b'<@" in ended["trips"][1]
    runs, broken = ended["reads"]
    assert runs and not broken
