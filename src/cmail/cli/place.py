"""Place: where the settings and the data folder are, read without checking all of the settings.

`cmail queue list` and `sendmail` need four values and a quick start; app.config checks the whole file
and costs ten times as long. What is written here about the file is only where to look."""

import os
import tomllib
from collections.abc import Mapping
from types import MappingProxyType
from typing import Any, Final, NamedTuple

from cmail.cli.exits import Exit, Refusal

_LOCAL: Final = os.path.join("var", "cmail.toml")
_SYSTEM: Final = "/etc/cmail/cmail.toml"
_UNITS: Final = {"": 1, "B": 1, "KiB": 2**10, "MiB": 2**20, "GiB": 2**30}
_SIZE_DEFAULT: Final = 50 * 2**20
_DIGITS_MAX: Final = 20


class Place(NamedTuple):
    """One installation, as much of it as a quick command needs. (A dataclass costs 5 ms to import.)"""

    config: str  # the settings file
    data_dir: str  # absolute
    hostname: str = "localhost"
    domains: tuple[str, ...] = ()
    message_size_max: int = _SIZE_DEFAULT
    tables: Mapping[str, Any] = MappingProxyType({})  # the file as it stands

    @property
    def bare_name_domain(self) -> str:
        """What stands behind @ when somebody names a user alone."""
        return self.domains[0] if self.domains else self.hostname

    def run(self, name: str) -> str:
        """The control socket of a process."""
        return os.path.join(self.data_dir, "run", f"{name}.sock")


def find_config(named: str = "") -> str:
    """The settings file: --config, $CMAIL_CONFIG, ./var/cmail.toml, /etc/cmail/cmail.toml."""
    named = named or os.environ.get("CMAIL_CONFIG", "")
    if named:
        return named
    for path in (_LOCAL, _SYSTEM):
        if os.path.exists(path):
            return path
    raise Refusal(
        f"no settings file: there is neither ./{_LOCAL} nor {_SYSTEM}; name one with --config or"
        " $CMAIL_CONFIG, or make one: cmail config init",
        Exit.CONFIG,
    )


class NotTomlError(Refusal):
    """The settings file is broken, as while somebody is at it in an editor. `octets`: what stands there."""

    def __init__(self, path: str, octets: bytes, why: object) -> None:
        super().__init__(f"{path}: not TOML: {why} (see: cmail config check)", Exit.CONFIG)
        self.path, self.octets = path, octets


def find_running(named: str = "") -> tuple[Place, str]:
    """Where a server runs that is to be told something, though the file cannot be used now: it goes on with
    its settings of before, and a link that comes up waits for no editor. And what is wrong, in words."""
    try:
        return find_place(named), ""
    except NotTomlError as error:
        place = _place(error.path, {"host": _host_of(error.octets)})
        if not os.path.exists(place.run("link")):
            raise
        return place, str(error)


def _host_of(octets: bytes) -> dict[str, Any]:
    """What can be read of [host] where the file as a whole cannot: data_dir, on a line of its own."""
    is_host, found = False, {}
    for line in octets.decode("utf-8", "replace").splitlines():
        text = line.strip()
        if text.startswith("["):
            is_host = text[1:].partition("]")[0].strip() == "host"
        elif is_host and text.startswith("data_dir"):
            try:
                found = tomllib.loads(text)
            except ValueError:
                continue
    return found


def find_place(named: str = "") -> Place:
    """Read where things are; Refusal with words when the file is not there or not readable."""
    path = find_config(named)
    try:
        with open(path, "rb") as file:
            octets = file.read()
    except FileNotFoundError:
        raise Refusal(
            f"{path}: there is no such settings file (make one: cmail config init --config {path})",
            Exit.CONFIG,
        ) from None
    except PermissionError:
        raise Refusal(
            f"{path}: you may not read the settings; they hold no secrets, so its owner may say"
            f" `chmod a+r {path}`",
            Exit.CONFIG,
        ) from None
    try:
        return _place(path, tomllib.loads(octets.decode()))
    except (ValueError, RecursionError) as error:  # not UTF-8, not TOML, or too deep or long for it
        raise NotTomlError(path, octets, error) from None


def _place(path: str, tables: dict[str, Any]) -> Place:
    host = _table(tables, "host")
    if not isinstance(host.get("data_dir", ""), str):  # another folder than the server's must not be taken
        raise Refusal(f"{path}: host.data_dir must be text in quotes (see: cmail config check)", Exit.CONFIG)
    data_dir = _of_host(host, "data_dir")
    return Place(
        config=path,
        data_dir=os.path.normpath(os.path.join(os.path.dirname(os.path.abspath(path)), data_dir)),
        hostname=_of_host(host, "hostname").lower(),
        domains=_texts(host, "domains"),
        message_size_max=_size(_table(_table(tables, "smtp"), "advanced").get("max_message_size")),
        tables=tables,
    )


def _table(tables: dict[str, Any], name: str) -> dict[str, Any]:
    found = tables.get(name, {})
    return found if isinstance(found, dict) else {}


def _of_host(host: Mapping[str, Any], key: str) -> str:
    found = host.get(key)
    if isinstance(found, str):
        return found
    from cmail.settings import HostSettings  # most files say both, and do not wait for it

    return str(getattr(HostSettings(), key))


def _texts(table: dict[str, Any], key: str) -> tuple[str, ...]:
    found = table.get(key)
    return tuple(text.lower() for text in found if isinstance(text, str)) if isinstance(found, list) else ()


def _size(value: object) -> int:
    """50MiB, 64KiB, 1000; what is none of these is for `cmail config check` to say."""
    if isinstance(value, int) and value >= 0:
        return value
    text = value.strip() if isinstance(value, str) else ""
    digits = text.rstrip("BKMGi ")
    unit = _UNITS.get(text[len(digits) :].strip())
    is_number = digits.isascii() and digits.replace(".", "", 1).isdigit() and len(digits) < _DIGITS_MAX
    return int(float(digits) * unit) if unit and is_number else _SIZE_DEFAULT


def become_owner(place: Place, *, needs_groups: bool = True) -> None:
    """A command that root runs becomes the owner of the data folder first, so that nothing in there
    ends up belonging to root. Which groups that user is in may be for a server on the network to say, and
    who speaks of the network does not wait for that."""
    if os.geteuid() != 0:
        return
    try:
        owner = os.stat(place.data_dir)
    except OSError:
        return  # not there yet: who makes it says so
    if owner.st_uid == 0:
        return
    os.setgroups([owner.st_gid])
    if needs_groups:
        _join_groups(owner.st_uid, owner.st_gid)
    os.setresgid(owner.st_gid, owner.st_gid, owner.st_gid)
    os.setresuid(owner.st_uid, owner.st_uid, owner.st_uid)


def _join_groups(uid: int, gid: int) -> None:
    import contextlib
    import pwd

    with contextlib.suppress(KeyError):
        os.initgroups(pwd.getpwuid(uid).pw_name, gid)
