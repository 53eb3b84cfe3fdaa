"""[link], [[link.via]] and [exchange] in the file: what is read, and what is refused with words."""

from datetime import timedelta

import pytest

from cmail.app import config
from cmail.app.config_checks import notes
from cmail.settings import SettingError

RIGHT = """
[link]
probe = "192.0.2.1:443"
probe_every = "30s"
small = "50KiB"

[[link.via]]
name = "fibre"
device = ["eth0"]

[[link.via]]
name = "satellite"
device = ["ppp0", "wwan*"]
use = "small"
rate = 256
cost = 2.5
largest = "1MiB"
budget = "20MiB"
window_budget = "5MiB"
window = ["22:00-06:00", "Sat,Sun 00:00-24:00"]

[exchange]
every = "1h"
at = ["08:00", "Mon-Fri 12:30", "22:00-06:00"]
messages = 20
oldest = "30m"
urgent = false
longest = "10m"
"""


def test_all_of_it_is_read() -> None:
    """Each key comes to its setting."""
    settings = config.load_text(RIGHT, is_machine_checked=False)
    fibre, satellite = settings.link.via
    assert (fibre.name, fibre.device, fibre.use, fibre.cost) == ("fibre", ("eth0",), "all", 0.0)
    assert (satellite.use, satellite.rate, satellite.cost) == ("small", 256, 2.5)
    assert (satellite.largest, satellite.budget, settings.link.small) == (2**20, 20 * 2**20, 50 * 1024)
    assert satellite.window_budget == 5 * 2**20
    assert settings.exchange.is_set and settings.exchange.longest == timedelta(minutes=10)
    assert not config.load_text("", is_machine_checked=False).exchange.is_set


@pytest.mark.parametrize(
    ("text", "key", "words"),
    [
        ('[link]\nprobe = "nowhere"', "link.probe", "the port is missing"),
        ('[link]\nprobe = "unix:/x"', "link.probe", "must be host:port"),
        ('[link]\nprobe = "http://a.example:80"', "link.probe", "it is host:port alone"),
        ('[[link.via]]\nname = "line"', "link.via[1].name", "take another"),
        ('[link]\nprobe_every = "1s"', "link.probe_every", "at least 5s"),
        ("[link]\nsmall = 0", "link.small", "at least 1"),
        ('[[link.via]]\nname = ""', "link.via[1].name", "letters, digits"),
        ('[[link.via]]\nname = "a b"', "link.via[1].name", "letters, digits"),
        ('[[link.via]]\nname = "--json"', "link.via[1].name", "letters, digits"),
        ('[[link.via]]\nname = "a"\n[[link.via]]\nname = "a"', "link.via[2].name", "already"),
        ('[[link.via]]\nname = "a"\ndevice = ["lo"]', "link.via[1].device", "leads nowhere"),
        ('[[link.via]]\nname = "a"\ndevice = ["eth0/1"]', "link.via[1].device", "no name of a network"),
        ('[[link.via]]\nname = "a"\ndevice = ["abcdefghijklmnop"]', "link.via[1].device", "no name of"),
        (
            '[[link.via]]\nname = "a"\ndevice = ["eth0"]\n[[link.via]]\nname = "b"\ndevice = ["eth0"]',
            "link.via[2].device",
            "of [[link.via]] number 1 already",
        ),
        ('[[link.via]]\nname = "a"\nuse = "some"', "link.via[1].use", 'must be "all"'),
        ('[[link.via]]\nname = "a"\nrate = -1', "link.via[1].rate", "kbit/s"),
        ('[[link.via]]\nname = "a"\ncost = -0.5', "link.via[1].cost", "0 or more"),
        ('[[link.via]]\nname = "a"\ncost = nan', "link.via[1].cost", ""),
        ('[[link.via]]\nname = "a"\nwindow = ["08:00"]', "link.via[1].window", "without an end"),
        ('[[link.via]]\nname = "a"\nwindow = ["8-9"]', "link.via[1].window", '"8" is no time'),
        (
            '[[link.via]]\nname = "a"\nwindow_budget = "5MiB"',
            "link.via[1].window_budget",
            "set `window` of this link, or [exchange], or queue.batch; octets a day are `budget`",
        ),
        (
            '[[link.via]]\nname = "a"\nwindow_budget = "5MiB"\nwindow = ["00:00-12:00", "12:00-24:00"]',
            "link.via[1].window_budget",
            "`window` is open all the time",
        ),
        (
            '[[link.via]]\nname = "a"\nwindow_budget = "5MiB"\n[exchange]\nat = ["00:00-24:00"]',
            "link.via[1].window_budget",
            "exchange.at is open all the time",
        ),
        ('[exchange]\nat = ["Mo 08:00"]', "exchange.at", '"Mo" is no day'),
        ('[exchange]\nat = ["soon"]', "exchange.at", "is no time"),
        ('[exchange]\nevery = "30s"', "exchange.every", "at least 1m"),
        ('[exchange]\noldest = "30s"', "exchange.oldest", "at least 1m"),
        ('[exchange]\nlongest = "0s"', "exchange.longest", "at least 1m"),
        ("[exchange]\nmessages = -1", "exchange.messages", "0 or more"),
        ("[exchange]\nat = [" + '"08:00",' * 51 + "]", "exchange.at", "50 at most"),
        ('[[link.via]]\nname = "a"\n' * 1 + "".join(f'[[link.via]]\nname = "v{n}"\n' for n in range(32)), "link.via", "32 at most"),
    ],
)  # fmt: skip
def test_what_is_refused(text: str, key: str, words: str) -> None:
    """One problem, at its key, in words."""
    with pytest.raises(SettingError) as refused:
        config.load_text(text, is_machine_checked=False)
    assert [problem.key for problem in refused.value.problems] == [key]
    assert words in refused.value.problems[0].reason


@pytest.mark.parametrize(
    "more",
    [
        'window = ["22:00-06:00"]',
        '[exchange]\nevery = "1h"',
        '[exchange]\nat = ["22:00-06:00"]',
        "[queue]\nbatch = true",
    ],
)
def test_what_a_budget_of_a_window_is_counted_for(more: str) -> None:
    """A window of the link, exchanges, batched mail: each of them will do."""
    text = f'[[link.via]]\nname = "a"\nwindow_budget = "5MiB"\n{more}'
    [via] = config.load_text(text, is_machine_checked=False).link.via
    assert via.window_budget == 5 * 2**20


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ('[[link.via]]\nname = "a"\nuse = "nothing"', "waits for ever"),
        ('[[link.via]]\nname = "a"\nuse = "urgent"', "ordinary mail"),
        (
            '[[link.via]]\nname = "a"\nbudget = "5MiB"\nwindow_budget = "5MiB"\n[queue]\nbatch = true',
            "changes nothing",
        ),
        (
            '[[link.via]]\nname = "a"\ndevice = ["*"]\n[[link.via]]\nname = "b"\ndevice = ["sat0"]',
            "[[link.via]] b never counts",
        ),
        ('[exchange]\nlongest = "20m"', "says nothing of when"),
        ('[smtp]\ndelivery = "mx"\nkick = true', "nobody to kick"),
        ('[queue]\nbatch = true\n[exchange]\nevery = "1h"', "send what is batched"),
    ],
)
def test_what_is_worth_a_word(text: str, words: str) -> None:
    """Allowed, and yet perhaps not what was meant."""
    assert any(words in note for note in notes(config.load_text(text, is_machine_checked=False)))
