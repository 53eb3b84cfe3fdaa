"""From TOML values to the values of the types: unknown keys, durations, sizes; then pydantic for the rest.

Problems are gathered, never raised one by one."""

import difflib
import json
import re
from collections.abc import Mapping
from dataclasses import MISSING
from datetime import timedelta
from typing import TYPE_CHECKING, Any, Final

from cmail.app.catalog import (
    NOT_YET,
    Setting,
    Table,
    describe_type,
    element_of,
    print_setting_value,
    read_catalog,
)
from cmail.app.settings import Settings
from cmail.settings import ByteSize, SettingProblem

if TYPE_CHECKING:
    from pydantic import ValidationError

_DURATION: Final = re.compile(r"(\d+(?:\.\d+)?)\s*(ms|s|m|h|d|w)\Z")
_SECONDS: Final = {"ms": 0.001, "s": 1, "m": 60, "h": 3600, "d": 86400, "w": 604800}
_SIZE: Final = re.compile(r"(\d+(?:\.\d+)?)\s*(B|KiB|MiB|GiB|TiB)\Z")
_OCTETS: Final = {"B": 1, "KiB": 2**10, "MiB": 2**20, "GiB": 2**30, "TiB": 2**40}
_CONTROL: Final = re.compile(r"[\x00-\x1f\x7f]")
_DURATION_MAX_S: Final = 10 * 365 * 86400  # what is longer is a slip of the hand
_NUMBER_END: Final = 2**62  # likewise, and nothing that reckons with it runs over
_DIGITS_MAX: Final = 20

# What stands in for a value that is wrong, where the type has no default: so that the rest can be checked.
_PLACEHOLDERS: Final = {"listener.kind": "smtp", "listener.address": "127.0.0.1:0"} | {
    "forward.domain": "domain.invalid",
    "forward.host": "host.invalid",
    "site.name": "site",
    "site.domains": ["domain.invalid"],
    "link.via.name": "link",
    "link.kick.method": "finger",
    "collect.name": "mailbox",
    "collect.protocol": "imap",
    "collect.host": "host.invalid",
    "collect.username": "nobody",
    "collect.to": "postmaster@host.invalid",
}

# What to write where the type has no default to show.
EXAMPLES: Final = {
    "host.hostname": 'hostname = "mail.example.org"',
    "host.domains": 'domains = ["example.org"]',
    "host.data_dir": 'data_dir = "/var/lib/cmail"',
    "listener": '[[listener]] with kind = "smtp" and address = "127.0.0.1:2525"',
    "listener.kind": 'kind = "smtp"',
    "listener.address": 'address = "127.0.0.1:2525"',
    "forward": '[[forward]] with domain = "branch.example.org" and host = "192.168.7.2:25"',
    "forward.domain": 'domain = "branch.example.org"',
    "forward.host": 'host = "192.168.7.2:25"',
    "site": '[[site]] with name = "ship" and domains = ["ship.example.org"]',
    "site.name": 'name = "ship"',
    "site.domains": 'domains = ["ship.example.org"]',
    "site.user": 'user = "ship@example.org"',
    "site.password_file": 'password_file = "/etc/cmail/ship-password"',
    "site.networks": 'networks = ["192.0.2.0/28"]',
    "site.host": 'host = "192.0.2.7:25"',
    "site.largest": 'largest = "2MiB"',
    "site.messages": "messages = 5000",
    "site.size": 'size = "2GiB"',
    "link.via": '[[link.via]] with name = "fibre"',
    "link.via.name": 'name = "fibre"',
    "link.via.device": 'device = ["ppp0", "wwan*"]',
    "link.via.window": 'window = ["22:00-06:00", "Mon-Fri 12:00-13:00"]',
    "link.via.cost": "cost = 0.5",
    "link.via.rate": "rate = 256",
    "link.via.largest": 'largest = "500KiB"',
    "link.via.budget": 'budget = "20MiB"',
    "link.via.window_budget": 'window_budget = "5MiB"',
    "link.probe": 'probe = "smtp.isp.example:587"',
    "exchange.every": 'every = "1h"',
    "exchange.messages": "messages = 20",
    "exchange.oldest": 'oldest = "2h"',
    "exchange.at": 'at = ["08:00", "Mon-Fri 12:30", "22:00-06:00"]',
    "link.kick": '[[link.kick]] with method = "etrn"',
    "link.kick.method": 'method = "etrn"',
    "link.kick.host": 'host = "smtp.isp.example"',
    "link.kick.port": "port = 587",
    "link.kick.text": 'text = "example.org"',
    "link.kick.username": 'username = "anna"',
    "link.kick.password_file": 'password_file = "/etc/cmail/kick-password"',
    "link.kick.command": 'command = ["/usr/local/bin/ask-for-mail", "now"]',
    "collect": "[[collect]] with name, protocol, host, username, password_file and to",
    "collect.name": 'name = "anna"',
    "collect.protocol": 'protocol = "imap"',
    "collect.host": 'host = "imap.isp.example"',
    "collect.port": "port = 993",
    "collect.username": 'username = "anna"',
    "collect.password_file": 'password_file = "/etc/cmail/anna-password"',
    "collect.to": 'to = "anna@example.org"',
    "collect.largest": 'largest = "2MiB"',
    "smtp.host": 'host = "smtp.isp.example"',
    "smtp.username": 'username = "anna"',
    "smtp.password_file": 'password_file = "/etc/cmail/smtp-password"',
    "local.lmtp": 'lmtp = "unix:/run/dovecot/lmtp"',
    "tls.certificate_file": 'certificate_file = "/etc/ssl/mail.pem"',
    "tls.key_file": 'key_file = "/etc/ssl/mail.key"',
    "tls.ca_file": 'ca_file = "/etc/ssl/certs/ca-certificates.crt"',
    "dns.servers": 'servers = ["127.0.0.1:5353"]',
    "log.file": 'file = "/var/log/cmail.log"',
}


def example(key: str, catalog: Table | None = None) -> str:
    """What would be right for a key (numbers of tables do not matter)."""
    key = re.sub(r"\[\d+\]", "", key)
    if key in EXAMPLES:
        return EXAMPLES[key]
    table = catalog or read_catalog(Settings)
    *path, name = key.split(".")
    for part in path:
        if part not in table.tables:
            return ""
        table = table.tables[part]
    setting = table.settings.get(name)
    if setting is None or setting.default is MISSING:
        return ""
    return f"{name} = {print_setting_value(setting, setting.default)}"


class Shape:
    """One reading of a file: its tables in, Settings out, problems on the side."""

    def __init__(self) -> None:
        self.problems: list[SettingProblem] = []
        self._faulty: set[str] = set()

    def settings(self, raw: Mapping[str, Any]) -> Settings:
        """The settings, with the default in the place of whatever is wrong (problems has it then), so
        that everything else can be checked as well."""
        shaped = self._table(read_catalog(Settings), raw, "")
        return self._validate(shaped)

    def say(self, key: str, reason: str, right: str | None = None) -> None:
        """One more problem; what was said of a key by an earlier check is enough."""
        right = example(key) if right is None else right
        problem = SettingProblem(key, reason, right)
        if problem.key not in self._faulty:
            self.problems.append(problem)

    def close_keys(self) -> None:
        """From now on nothing more is said of the keys that have a problem."""
        self._faulty = {problem.key for problem in self.problems}

    def _table(self, table: Table, raw: Mapping[str, Any], place: str) -> dict[str, Any]:
        shaped: dict[str, Any] = {}
        for name, value in raw.items():
            key = f"{place}.{name}" if place else name
            if key in NOT_YET:
                self.say(key, f"{NOT_YET[key]} not there yet; take it out of the file", "")
            elif name in table.tables:
                shaped[name] = self._sub_table(table.tables[name], value, key)
            elif name in table.settings:
                fine, result = self._value(table.settings[name].type, value, key)
                if fine:
                    shaped[name] = result
            else:
                self._unknown(table, name, key)
        for name, setting in table.settings.items():
            if setting.default is MISSING and name not in shaped:
                if name not in raw:
                    self.say(f"{place}.{name}", "is missing")
                shaped[name] = _PLACEHOLDERS[setting.key]
        return shaped

    def _sub_table(self, table: Table, value: Any, key: str) -> Any:
        if table.is_array:
            if not isinstance(value, list) or not all(isinstance(row, dict) for row in value):
                self.say(key, f"is written as tables, each under [[{key}]]")
                return []
            return [self._table(table, row, f"{key}[{n}]") for n, row in enumerate(value, 1)]
        if not isinstance(value, dict):
            self.say(key, f"is a table, written [{key}]", f"[{key}]")
            return {}
        return self._table(table, value, key)

    def _unknown(self, table: Table, name: str, key: str) -> None:
        known = [*table.settings, *table.tables]
        near = difflib.get_close_matches(name.lower(), known, 1, 0.6)
        kind = "table" if not table.key else "key"
        hint = f"did you mean {near[0]}?" if near else "known are: " + ", ".join(known)
        self.say(key, f"there is no such {kind}; {hint}", "")

    def _value(self, type_: Any, value: Any, key: str) -> tuple[bool, Any]:
        """Whether it can be, and the value that pydantic is to check."""
        element = element_of(type_)
        if element is not None and isinstance(value, list):
            shaped = [self._value(element, one, key) for one in value]
            return all(fine for fine, _ in shaped), [result for _, result in shaped]
        if isinstance(value, str) and (found := _CONTROL.search(value)):
            self.say(key, f"has a control character in it ({found[0]!r}), which no value may have")
            return False, None
        if type_ is timedelta:
            seconds = self._known(key, read_duration(value), type_)
            return seconds is not None, f"PT{seconds or 0:.6f}S"  # ISO 8601, as pydantic reads it
        if type_ is ByteSize:
            size_bytes = self._known(key, read_size(value), type_)
            return size_bytes is not None, size_bytes
        if not isinstance(value, str | int | float) or abs(_number(value)) >= _NUMBER_END:
            # A date, a table, a list where none may be, a number that JSON cannot carry on.
            self.say(key, f"must be {describe_type(type_)}")
            return False, None
        return True, value

    def _known(self, key: str, number: float | None, type_: Any) -> float | None:
        if number is None:
            self.say(key, f"must be {describe_type(type_)}")
        return number

    def _validate(self, shaped: dict[str, Any]) -> Settings:
        from pydantic import TypeAdapter, ValidationError  # heavy: the quick commands do without

        adapter = TypeAdapter(Settings)
        try:
            return adapter.validate_json(json.dumps(shaped), strict=True)
        except ValidationError as error:
            self._take_over(error, shaped)
            return adapter.validate_json(json.dumps(shaped), strict=True)

    def _take_over(self, error: "ValidationError", shaped: dict[str, Any]) -> None:
        """Say what pydantic found, and take it out of what was read."""
        catalog = read_catalog(Settings)
        for fault in error.errors(include_url=False, include_input=True):
            key, setting, holder = _locate(catalog, shaped, fault["loc"])
            assert setting is not None, "tables were shaped before"
            if holder.pop(setting.name, None) is not None:
                self.say(key, f"must be {describe_type(setting.type)}, not {_show(fault['input'])}")
            if setting.default is MISSING:
                holder[setting.name] = _PLACEHOLDERS[setting.key]


def _locate(
    catalog: Table, shaped: dict[str, Any], loc: tuple[int | str, ...]
) -> tuple[str, Setting | None, dict[str, Any]]:
    """The dotted key of pydantic's place, the setting there and the table that holds it."""
    key, table = "", catalog
    holder: Any = shaped
    for part in loc:
        if isinstance(part, int):
            key, holder = f"{key}[{part + 1}]", holder[part]
            continue
        key = f"{key}.{part}" if key else part
        if part in table.settings:
            return key, table.settings[part], holder
        table, holder = table.tables[part], holder[part]
    return key, None, holder


def _number(value: object) -> float:
    return value if isinstance(value, int) else 0


def _show(value: Any) -> str:
    text = json.dumps(value, ensure_ascii=False, default=str)
    return text if len(text) <= 60 else text[:57] + "..."


def read_duration(value: Any) -> float | None:
    """Seconds of "30s", "5m", "4h", "5d"; None when it is no duration."""
    found = _DURATION.match(value.strip()) if isinstance(value, str) else None
    if found is None:
        return None
    seconds = float(found[1]) * _SECONDS[found[2]]
    return seconds if seconds <= _DURATION_MAX_S else None


def read_size(value: Any) -> int | None:
    """Octets of "50MiB", "64KiB", 1000; None when it is no size."""
    if isinstance(value, int) and not isinstance(value, bool):
        return value if 0 <= value < _NUMBER_END else None
    plain = value.strip() if isinstance(value, str) else ""
    found = _SIZE.match(plain)
    if found is not None:
        octets = float(found[1]) * _OCTETS[found[2]]
        return int(octets) if octets < _NUMBER_END else None
    return int(plain) if plain.isascii() and plain.isdigit() and len(plain) < _DIGITS_MAX else None
