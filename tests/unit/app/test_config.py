"""The settings file: every mistake is named with its line and with what would be right."""

import time
from datetime import timedelta
from pathlib import Path

import pytest

from cmail.app import config
from cmail.app.config_lines import find_lines
from cmail.app.starter import starter_text
from cmail.settings import SettingError

# name: (text, line, what is said, what would be right)
MISTAKES = {
    "no TOML": ("[host\n", 1, "this is not TOML", "key ="),
    "text for a number": ('[smtp]\nport = "25"\n', 2, "smtp.port: must be a whole number", "port = 25"),
    "number for text": ("[smtp]\nhost = 3\n", 2, "smtp.host: must be text in quotes", "smtp.isp.example"),
    "true for a number": ("[host]\nworkers = true\n", 2, "host.workers: must be a whole", "workers = 0"),
    "text for a list": ('[host]\ndomains = "a.example"\n', 2, "host.domains: must be a list", 'domains = ["'),
    "number in a list": ("[host]\ndomains = [1]\n", 2, "host.domains", 'domains = ["'),
    "one of some": ('[smtp]\ntls = "starttls"\n', 2, 'smtp.tls: must be "none" | "opp', 'tls = "opp'),
    "a date": ("[smtp]\nhost = 2020-01-01\n", 2, "smtp.host: must be text", "host ="),
    "unknown key": ('[host]\nhost_name = "a"\n', 2, "did you mean hostname?", ""),
    "unknown table": ("[relayy]\n", 1, "relayy: there is no such table; did you mean relay?", ""),
    "table as value": ("relay = 3\n", 1, "relay: is a table", "[relay]"),
    "array as table": ('[listener]\nkind = "smtp"\n', 1, "listener: is written as tables", "[[listener]]"),
    "duration without unit": ("[queue]\nlifetime = 5\n", 2, "queue.lifetime: must be a duration", '"5d"'),
    "duration beyond reason": ('[queue]\nlifetime = "99999d"\n', 2, "queue.lifetime", '"5d"'),
    "one bad wait": (
        '[queue]\nretry = ["5m",\n "soon"]\n',
        2,
        "queue.retry: must be a duration",
        "retry = [",
    ),
    "no waits": ("[queue]\nretry = []\n", 2, "queue.retry: must have at least one", "retry = ["),
    "size in MB": ('[smtp.advanced]\nmax_message_size = "5MB"\n', 2, "must be a size like", '"50MiB"'),
    "size too small": ("[smtp.advanced]\nmax_message_size = 100\n", 2, "at least 65536", "50MiB"),
    "negative size": ("[limits]\nfree_space = -1\n", 2, "limits.free_space", "64MiB"),
    "no timeout": ('[smtp.advanced]\ntimeout = "0s"\n', 2, "timeout: must be at least 1s", '"30s"'),
    "port beyond 65535": ("[smtp]\nport = 70000\n", 2, "smtp.port: must be a port", "port = 25"),
    "CR and LF": ('[smtp]\nhost = "a\\r\\nb"\n', 2, "smtp.host: has a control character", "host ="),
    "NUL": ('[host]\ndomains = ["a\\u0000"]\n', 2, "host.domains: has a control character", "domains"),
    "host name": ('[host]\nhostname = "a..b"\n', 2, '"a..b" is not a domain name', "hostname ="),
    "host name is an address": ('[host]\nhostname = "192.0.2.1"\n', 2, "is an IP address", "hostname ="),
    "domain is a literal": ('[host]\ndomains = ["[192.0.2.1]"]\n', 2, "an address literal", "domains ="),
    "domain twice": ('[host]\ndomains = ["a.example", "A.example"]\n', 2, "stands there twice", "domains ="),
    "too many workers": ("[host]\nworkers = 1000\n", 2, "must be 0 (one a core) to 64", "workers = 0"),
    "listener without kind": ('[[listener]]\naddress = "a:1"\n', 1, "listener[1].kind: is missing", "smtp"),
    "listener kind": (
        '[[listener]]\nkind = "ftp"\naddress = "a:1"\n',
        2,
        "listener[1].kind: must be",
        "smtp",
    ),
    "listener not there yet": (
        '[[listener]]\nkind = "imap"\naddress = "a:1"\n',
        2,
        'listeners of kind "imap" are not there yet',
        "smtp",
    ),
    "address without port": (
        '[[listener]]\nkind = "smtp"\naddress = "127.0.0.1"\n',
        3,
        '"127.0.0.1": the port is missing',
        '"127.0.0.1:2525"',
    ),
    "address of four numbers": (
        '[[listener]]\nkind = "smtp"\naddress = "1.2.3.400:25"\n',
        3,
        "is not an IP",
        "",
    ),
    "IPv6 without brackets": ('[[listener]]\nkind = "smtp"\naddress = "::1:25"\n', 3, "[address]:port", ""),
    "SMTP on a Unix socket": (
        '[[listener]]\nkind = "smtp"\naddress = "unix:/run/x"\n',
        3,
        "only lmtp can listen on a Unix socket",
        "",
    ),
    "address twice": (
        '[[listener]]\nkind = "smtp"\naddress = "a:25"\n[[listener]]\nkind = "lmtp"\naddress = "a:25"\n',
        6,
        "listener[2].address: a:25 is the address of [[listener]] number 1 already",
        "",
    ),
    "page on a listener": (
        '[[listener]]\nkind = "smtp"\naddress = "a:25"\n[admin]\naddress = "a:25"\n',
        5,
        "admin.address: a:25 is the address of a [[listener]] already",
        "",
    ),
    "network with host bits": (
        '[relay]\nnetworks = ["10.0.0.1/8"]\n',
        2,
        "the network itself is 10.0.0.0/8",
        "127.0.0.0/8",
    ),
    "open relay": ('[relay]\nnetworks = ["0.0.0.0/0"]\n', 2, "an open relay", "127.0.0.0/8"),
    "resolver by name": ('[dns]\nservers = ["dns.example"]\n', 2, "must be an IP address", "127.0.0.1:5353"),
    "SMTP host with port": ('[smtp]\nhost = "a.example:587"\n', 2, "its port stands in smtp.port", "host ="),
    "SMTP host": ('[smtp]\nhost = "a_b..example"\n', 2, "is not a domain name", "host ="),
    "password without name": ('[smtp]\npassword_file = "/dev/null"\n', 1, "smtp.username: is empty", "anna"),
    "lmtp nowhere": ('[local]\ndelivery = "lmtp"\n', 1, "local.lmtp: must name the LMTP server", "unix:"),
    "separator": ('[local]\nseparator = "ab"\n', 2, "must be one sign", 'separator = "+"'),
    "certificate without key": (
        '[tls]\ncertificate_file = "/x"\n',
        1,
        "tls.key_file: is missing",
        "key_file =",
    ),
    "file that is not there": (
        '[tls]\nca_file = "/none"\n',
        2,
        "/none cannot be read: no such file",
        "ca_file",
    ),
    "network that is none": ('[relay]\nnetworks = ["any"]\n', 2, "neither a network nor an address", ""),
    "SMTP host with the usual port": (
        '[smtp]\nhost = "a.example:25"\n',
        2,
        "its port stands in smtp.port",
        "",
    ),
    "table twice": ("[link]\n[exchange]\n[link]\n", 3, "the table link stands there already", ""),
    "inner table twice": (
        "[smtp.advanced]\n[smtp.advanced]\n",
        2,
        "table smtp.advanced stands there already",
        "",
    ),
    "key twice": ("[smtp]\nport = 1\nport = 2\n", 3, "this stands there already", ""),
    "size without quotes": ("[link]\nsmall = 5MiB\n", 2, "text stands in quotes, and so do sizes", ""),
    "times without quotes": ("[exchange]\nat = [08:00]\n", 2, "text stands in quotes", ""),
    "no span": ('[exchange]\nevery = "1 hour"\n', 2, "must be a duration like", 'every = "1h"'),
    "no size": (
        '[[link.via]]\nname = "a"\nlargest = "5MB"\n',
        3,
        "must be a size like",
        'largest = "500KiB"',
    ),
    "exchange": ('[exchange]\nevery = "1s"\n', 2, "exchange.every: must be at least 1m", ""),
    "link.via": ("[[link.via]]\n", 1, "link.via[1].name: is missing", 'name = "fibre"'),
    "link.kick": ("[[link.kick]]\n", 1, "link.kick[1].method: is missing", 'method = "etrn"'),
    "collect": ("[[collect]]\n", 1, "collect[1].name: is missing", 'name = "anna"'),
    "site": ("[[site]]\n", 1, "site[1].name: is missing", 'name = "ship"'),
}


@pytest.mark.parametrize("name", MISTAKES)
def test_mistake(name: str) -> None:
    """A mistake is refused with its place, what is wrong, and what would be right."""
    text, line, words, right = MISTAKES[name]
    with pytest.raises(SettingError) as refused:
        config.load_text(text, "/etc/cmail/cmail.toml")
    said = [s for s in str(refused.value).splitlines() if words in s]
    assert said, str(refused.value)
    assert said[0].startswith(f"/etc/cmail/cmail.toml:{line}: "), said
    assert right in said[0]


def test_all_mistakes_at_once() -> None:
    """Mistakes of every kind are reported together, in the order of the file, each once."""
    text = (
        '[host]\nhostname = "a..b"\ndomain = 1\nworkers = "x"\n'
        '[[listener]]\nkind = "pop3"\naddress = "a"\n'
        '[smtp]\nport = 0\ntls = 1\n[smtp.advanced]\ntimeout = "1"\n[site]\n'
    )
    with pytest.raises(SettingError) as refused:
        config.load_text(text)
    assert [(p.line, p.key) for p in refused.value.problems] == [
        (2, "host.hostname"),
        (3, "host.domain"),
        (4, "host.workers"),
        (6, "listener[1].kind"),
        (7, "listener[1].address"),
        (9, "smtp.port"),
        (10, "smtp.tls"),
        (12, "smtp.advanced.timeout"),
        (13, "site"),
    ]


def test_starter_file_is_right() -> None:
    """What `cmail config init` writes validates, owns example.org and listens on this machine alone."""
    settings = config.load_text(starter_text("data"), "/srv/x/cmail.toml", is_machine_checked=False)
    assert settings.host.domains == ("example.org",)
    assert settings.host.data_dir == "/srv/x/data"
    assert [(listener.kind, listener.address) for listener in settings.listener] == [
        ("smtp", "127.0.0.1:2525"),
        ("submission", "127.0.0.1:2587"),
    ]
    assert any("smtp.host is empty" in note for note in config.notes(settings))


def test_values_with_units() -> None:
    """Durations and sizes are read in every unit that the manual names."""
    text = (
        '[queue]\nlifetime = "1.5d"\nretry = ["90s", "2m", "3h"]\ndelay_notice = "0s"\n'
        '[smtp.advanced]\nmax_message_size = "1GiB"\n[limits]\nfree_space = 70000\n'
    )
    settings = config.load_text(text)
    assert settings.queue.lifetime == timedelta(hours=36)
    assert settings.queue.retry == (timedelta(seconds=90), timedelta(minutes=2), timedelta(hours=3))
    assert settings.smtp.advanced.max_message_size == 2**30
    assert settings.limits.free_space == 70000


def test_password_file_that_others_can_read(tmp_path: Path) -> None:
    """A password that everybody on the machine can read is refused; one for the owner is fine."""
    secret = tmp_path / "secret"
    secret.write_text("x")
    text = f'[smtp]\nusername = "a"\npassword_file = "{secret}"\n[host]\nuser = "nobody"\n'
    secret.chmod(0o644)
    with pytest.raises(SettingError, match="can be read by everybody: chmod 600"):
        config.load_text(text)
    secret.chmod(0o600)
    config.load_text(text)


@pytest.mark.needs("root")
def test_user_that_does_not_exist() -> None:
    """Root must name a user that exists, and not itself."""
    for user, words in (("nosuchuser", "there is no user nosuchuser"), ("root", "must not be root")):
        with pytest.raises(SettingError, match=words):
            config.load_text(f'[host]\nuser = "{user}"\n')


FILES = {
    "not there": (None, "there is no such file; make one: cmail config init"),
    "not text": (b"[host]\n\xff", "is not UTF-8 text"),
    "endless": (b"#" * (config.FILE_OCTETS_MAX + 1), "is longer than"),
}


@pytest.mark.parametrize("name", FILES)
def test_file_that_cannot_be_read(tmp_path: Path, name: str) -> None:
    """A file that is no settings file at all is refused in words."""
    octets, words = FILES[name]
    path = tmp_path / "cmail.toml"
    if octets is not None:
        path.write_bytes(octets)
    with pytest.raises(SettingError, match=words):
        config.load(str(path))


def test_find_config(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """--config wins over $CMAIL_CONFIG, that over ./var/cmail.toml."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "var").mkdir()
    (tmp_path / "var" / "cmail.toml").touch()
    assert config.find_config("a", {"CMAIL_CONFIG": "b"}) == "a"
    assert config.find_config(None, {"CMAIL_CONFIG": "b"}) == "b"
    assert config.find_config(None, {}) == "var/cmail.toml"


def test_lines_of_keys() -> None:
    """Keys keep their lines behind multi-line values, comments and quoted names."""
    text = (
        'a = """\n[x]\nb = 1\n"""\n'
        "[t] # [no]\n"
        'list = [ # "]"\n  "x = 1",\n  2,\n]\n'
        '"quoted.key" = 1\n'
        "inline = { x = [\n1] }\n"
        "sub.key = 2\n"
        "[[r]]\n[[r]]\n  k = '''\nk = 2'''\n"
        "[r.s]\nz = 1\n"
    )
    assert find_lines(text) == {
        "a": 1,
        "t": 5,
        "t.list": 6,
        "t.quoted.key": 10,
        "t.inline": 11,
        "t.sub.key": 13,
        "r[1]": 14,
        "r[2]": 15,
        "r[2].k": 16,
        "r[2].s": 18,
        "r[2].s.z": 19,
    }


def test_loading_is_quick() -> None:
    """A reload validates in a moment: it happens while mail goes on."""
    config.load_text(starter_text("data"), is_machine_checked=False)
    started = time.process_time()
    config.load_text(starter_text("data"), is_machine_checked=False)
    assert time.process_time() - started < 0.15
