"""Well-known upstream servers: providers.toml, and which one a host is."""

import os
import tomllib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import groupby
from typing import Any, Final


@dataclass(frozen=True, slots=True)
class Provider:
    """One row of the table."""

    group: str
    name: str
    host: str
    port: int
    tls: str
    hint: str  # what user name and password it wants

    @property
    def values(self) -> Mapping[str, Any]:
        """The settings that it means."""
        return {"smtp.host": self.host, "smtp.port": self.port, "smtp.tls": self.tls}


def _read() -> tuple[Provider, ...]:
    with open(os.path.join(os.path.dirname(__file__), "providers.toml"), "rb") as file:
        return tuple(Provider(**row) for row in tomllib.load(file)["provider"])


# Read when this is imported: with the rights of root, where the user of the server could not come here.
PROVIDERS: Final = _read()
_BY_NAME: Final = {each.name: each for each in PROVIDERS}
_BY_HOST: Final = {each.host: each for each in PROVIDERS}


def groups() -> Sequence[tuple[str, Sequence[Provider]]]:
    """For a drop-down."""
    return [(name, list(rows)) for name, rows in groupby(PROVIDERS, lambda each: each.group)]


def find(name: str) -> Provider | None:
    """By its name in the drop-down."""
    return _BY_NAME.get(name)


def of_host(host: str) -> Provider | None:
    """Whose server it is; None too for one on this machine, which may be anybody's."""
    if _is_here(host):
        return None
    return _BY_HOST.get(host.lower().removesuffix("."))


def oddity(port: int, tls: str, host: str, username: str) -> str:
    """What is unusual about a port together with the way of encryption; "" for nothing."""
    if port == 465 and tls != "implicit":
        return "Port 465 expects TLS from the first byte: choose that, or port 587."
    if port in (25, 587, 2525) and tls == "implicit":
        return f"Port {port} greets in the clear: choose STARTTLS for it, or port 465."
    found = [unverified(tls, host, username)]
    if port == 25 and username:
        found.append("Log-ins are usual at port 587 or 465; many Internet providers block port 25.")
    return " ".join(filter(None, found))


def unverified(tls: str, host: str, username: str) -> str:
    """Of a password that anybody in between could be given (a log-in page of a hotel); "" for nothing."""
    if not username or tls not in ("none", "opportunistic") or _is_here(host):
        return ""
    shown = ", and unencrypted it is sent by CRAM-MD5 or SCRAM alone" if tls == "none" else ""
    return (
        f"The password goes to a server that is not verified{shown}: choose STARTTLS, always, or TLS from the"
        " first byte."
    )


def _is_here(host: str) -> bool:
    return host in ("localhost", "::1") or host.startswith("127.")
