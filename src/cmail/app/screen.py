"""The start screen: a few friendly lines that say what listens where and what to do next."""

import os
import shutil
import sys
from collections.abc import Iterable
from typing import Final

from cmail import __version__
from cmail.app import config
from cmail.app.config_accounts import account_notes
from cmail.app.ports import Port
from cmail.app.settings import Settings

_SPOKEN: Final = {
    "smtp": "mail from other servers (SMTP)",
    "submission": "mail from mail programs (submission)",
    "submissions": "mail from mail programs (submission, TLS from the start)",
    "lmtp": "mail from other servers (LMTP)",
    "odmr": "sites that take their mail (ODMR: ATRN)",
    "finger": "sites that ask for their mail (finger)",
    "admin": "the page in a browser; /metrics for Prometheus",
}


def start_screen(
    settings: Settings, path: str, ports: Iterable[Port], first_user: tuple[str, str] | None, key: str = ""
) -> str:
    """What `cmail serve` prints when it is ready. `key` opens the page as long as it has no password."""
    ports = list(ports)
    lines = ["", f"CMail {__version__} is ready. Settings: {_short(path)}", ""]
    for port in ports:
        lines.append(f"  {port.endpoint!s:<22} {_SPOKEN.get(port.kind, port.kind)}")
    lines += ["", *_where(settings)]
    if first_user is not None:
        name, password_file = first_user
        lines.append(f"  log in as              {name}, password in {_short(password_file)}")
    lines += [line for port in ports if port.kind == "admin" for line in _page(port, key)]
    lines += ["", *(f"  Note: {note}" for note in [*config.notes(settings), *account_notes(settings)])]
    if settings.host.domains:
        command = "" if path in _FOUND else f" --config {_short(path)}"
        lines += [
            "",
            "To send a test message, in another terminal:",
            "",
            f"  {_program()} send-test{command} you@{settings.host.domains[0]}",
        ]
    lines += ["", "Ctrl-C ends the server." if os.isatty(0) else "", ""]
    return "\n".join(lines)


_FOUND: Final = (os.path.abspath(config.LOCAL_CONFIG), config.SYSTEM_CONFIG)


def _page(port: Port, key: str) -> list[str]:
    """Where the page is; the first time with a link that works once."""
    scheme = "http" if port.endpoint.host in ("127.0.0.1", "::1", "localhost") else "https"
    if key:
        return [
            "",
            "Set it up in a browser (this link works once):",
            "",
            f"  {scheme}://{port.endpoint}/first?key={key}",
        ]
    return ["", f"Set it up in a browser: {scheme}://{port.endpoint}/"]


def _where(settings: Settings) -> list[str]:
    host, smtp = settings.host, settings.smtp
    through = f"{smtp.host}, port {smtp.port}" if smtp.host else "nobody yet (smtp.host is empty)"
    if smtp.delivery == "mx":
        through = "the servers of each domain (MX)"
    here = ", ".join(host.domains) or host.hostname
    if settings.local.delivery == "lmtp":
        local = f"LMTP, {settings.local.lmtp}"
    else:
        local = _short(os.path.join(host.data_dir, "mail")) + "/DOMAIN/USER"
    return [
        f"  mail for {here:<13} goes into {local}",
        f"  mail for elsewhere     goes through {through}",
        f"  the log                goes to {_short(settings.log.file) or 'this terminal'}",
    ]


def _short(path: str) -> str:
    """A path below where one stands is shown from there."""
    here = os.getcwd().rstrip("/") + "/"
    return path.removeprefix(here)


def _program() -> str:
    """`cmail` as one has to type it here."""
    if os.path.exists(".venv/bin/cmail"):
        return ".venv/bin/cmail"
    beside = os.path.join(os.path.dirname(sys.executable), "cmail")
    return beside if shutil.which("cmail") is None and os.path.exists(beside) else "cmail"
