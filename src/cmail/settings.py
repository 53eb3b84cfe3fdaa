"""SettingError: the one way a setting is refused, with key, reason and example."""

from dataclasses import dataclass
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_network
from typing import Annotated, NewType, Protocol


@dataclass(frozen=True, slots=True)
class SettingProblem:
    """One thing wrong in the settings: its key, what is wrong and what would be right."""

    key: str  # dotted, as in the file: "smtp.port", "listener[1].kind"
    reason: str  # what is wrong, in words
    example: str = ""  # what would be right: 'port = 25'
    line: int = 0  # in the file, from 1; 0 when it has none (a key that is missing)

    def __str__(self) -> str:
        """key: reason (for example: ...)"""
        return f"{self.key}: {self.reason}" + (f" (for example: {self.example})" if self.example else "")


class SettingError(ValueError):
    """Settings that cannot be used; carries every problem at once."""

    def __init__(self, problems: tuple[SettingProblem, ...], path: str = "") -> None:
        self.problems = problems
        self.path = path
        super().__init__("\n".join(self.lines()))

    def lines(self) -> list[str]:
        """One line a problem: file:line: key: reason (for example: ...)."""
        where = [
            f"{self.path}:{p.line}: " if self.path and p.line else f"{self.path}: " * bool(self.path)
            for p in self.problems
        ]
        return [w + str(p) for w, p in zip(where, self.problems, strict=True)]


class Say(Protocol):
    """How a check tells of what is wrong: key, reason, and what would be right where the example that the
    key has would not be ("": nothing to be copied)."""

    def __call__(self, key: str, reason: str, right: str | None = None) -> None: ...


ByteSize = NewType("ByteSize", int)  # in the file: 50MiB, 64KiB, 1000 (octets)


@dataclass(frozen=True, slots=True)
class Endpoint:
    """Where to listen or connect: a host and a port, or the path of a Unix socket."""

    host: str = ""  # a name or an IP address without brackets
    port: int = 0
    path: str = ""

    def __str__(self) -> str:
        """As in the file: host:port, [ipv6]:port, unix:/path."""
        if self.path:
            return f"unix:{self.path}"
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"


def parse_endpoint(text: str, default_port: int | None = None) -> Endpoint:
    """host:port, [ipv6]:port or unix:/path; ValueError says what is wrong in words. With a default
    port the port may be left out (an IPv6 address then needs no brackets)."""
    if text.startswith("unix:"):
        path = text[5:]
        if not path.startswith("/"):
            raise ValueError("the path of a Unix socket begins with /")
        return Endpoint(path=path)
    host, bracket, port = _split(text, default_port)
    if bracket or ":" in host:
        host = str(_ip(host, IPv6Address))
    elif host.replace(".", "").isdigit():
        host = str(_ip(host, IPv4Address))
    if not host or any(c.isspace() for c in host):
        raise ValueError("there is no host in it" if not host else "a space in the host")
    return Endpoint(host, _port(port, default_port))


def has_port(text: str) -> bool:
    """Whether a port stands behind a host that is to be named alone; ::1 has none."""
    return text.count(":") == 1 or "]:" in text


def parse_network(text: str) -> IPv4Network | IPv6Network:
    """192.0.2.0/28, or one address; ValueError says what is wrong in words."""
    try:
        return ip_network(text)
    except ValueError:
        pass
    try:
        whole = ip_network(text, strict=False)
    except ValueError:
        raise ValueError("it is neither a network nor an address") from None
    raise ValueError(f"that is one address of a network; the network itself is {whole}")


def _split(text: str, default_port: int | None) -> tuple[str, bool, str]:
    if text.startswith("["):
        host, bracket, rest = text[1:].partition("]")
        if not bracket or (rest and not rest.startswith(":")):
            raise ValueError("an IPv6 address with a port is written [address]:port")
        return host, True, rest[1:]
    if text.count(":") > 1:
        if default_port is None:
            raise ValueError("an IPv6 address with a port is written [address]:port")
        return text, False, ""
    host, _, port = text.partition(":")
    return host, False, port


def _ip(text: str, kind: type[IPv4Address] | type[IPv6Address]) -> IPv4Address | IPv6Address:
    try:
        return kind(text)
    except ValueError:
        raise ValueError(f"{text!r} is not an IP address") from None


def _port(text: str, default_port: int | None) -> int:
    if not text and default_port is not None:
        return default_port
    if not (text.isascii() and text.isdigit()) or int(text) > 65535:
        raise ValueError("the port is missing" if not text else f"{text!r} is not a port (0 to 65535)")
    return int(text)


@dataclass(frozen=True, slots=True)
class HostSettings:
    """[host] Host Configuration."""

    hostname: Annotated[
        str,
        "The name of this server as others see it, in greetings and in the header of mail. Mail for it"
        " is ours.",
    ] = "localhost"
    domains: Annotated[
        tuple[str, ...], "Mail for these domains is for people here. A name without a domain gets the first."
    ] = ()
    data_dir: Annotated[str, "The folder of queue, mailboxes and accounts."] = "/var/lib/cmail"
    user: Annotated[str, "The user that it runs as when root has started it; data_dir is theirs."] = "cmail"
    workers: Annotated[int, "Processes that share the work; 0 is one for each core."] = 0
