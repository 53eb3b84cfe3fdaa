"""`cmail check-upstream`: the way out, step by step, as [Test connection] on the page; no message is sent."""

import asyncio
import os
from collections.abc import Sequence
from typing import Final

import click

from cmail.admin.asking import Server
from cmail.admin.upstream_steps import Step, is_fine
from cmail.admin.upstream_test import Upstream, test_mx, test_upstream
from cmail.app.config import load
from cmail.app.settings import Settings
from cmail.app.snapshot import PASSWORD_OCTETS_MAX, PASSWORD_VARIABLE
from cmail.cli.command import Command, config_option
from cmail.cli.exits import Exit, Refusal, code_of, words_of
from cmail.cli.place import find_config
from cmail.delivery.connections import Tls
from cmail.net.control_client import ControlError
from cmail.net.dns_client import DnsClient
from cmail.web import providers

_COLUMN: Final = 16
_MARKS: Final = {"ok": "ok", "note": "note", "failed": "FAILED", "not tried": "-"}


@click.command(cls=Command)
@click.argument("domain", required=False, default="")
@click.option("--from", "sender", default="", help="The sender to ask for; else postmaster.")
@click.option("--raw", "is_raw", is_flag=True, help="What was said on the line, too.")
def command(domain: str, sender: str, is_raw: bool) -> int:
    """Try the upstream server of the settings, step by step; no message is sent.

    With a DOMAIN: the mail hosts of that domain, as delivery by MX would try them. Ends with 0 when mail
    would be taken, else with 69."""
    settings = load(find_config(config_option()))
    if not domain and settings.smtp.delivery == "mx":
        words = "mail goes out by MX: name a domain to try, such as cmail check-upstream example.net"
        raise Refusal(words, Exit.USAGE)
    steps = asyncio.run(_run(settings, domain, sender))
    for step in steps:
        _print(step, is_raw=is_raw)
    return Exit.OK if is_fine(steps) else Exit.UNAVAILABLE


async def _run(settings: Settings, domain: str, sender: str) -> Sequence[Step]:
    smtp, host = settings.smtp, settings.host
    resolver = DnsClient(settings.dns)
    is_offline = _is_offline(host.data_dir)
    name = sender or f"postmaster@{host.domains[0] if host.domains else host.hostname}"
    ca_file = settings.tls.ca_file
    if domain:
        tls: Tls = "none" if smtp.tls == "none" else "opportunistic"
        way = Upstream(host.hostname, name, port=smtp.advanced.outbound_port, tls=tls, ca_file=ca_file)
        return await test_mx(domain, way, resolver, is_offline=is_offline)
    provider = providers.of_host(smtp.host)
    upstream = Upstream(
        host.hostname,
        name,
        smtp.host,
        smtp.port,
        smtp.tls,
        smtp.username,
        _password(smtp.password_file) if smtp.username else "",
        ca_file,
        provider.hint if provider else "",
    )
    return await test_upstream(upstream, resolver, is_offline=is_offline)


def _password(path: str) -> str:
    if not path:
        return os.environ.get(PASSWORD_VARIABLE, "")
    try:
        with open(path, "rb") as file:
            octets = file.read(PASSWORD_OCTETS_MAX)
    except OSError as error:
        raise Refusal(f"the password cannot be read: {words_of(error)}", code_of(error)) from None
    return octets.decode("utf-8", "replace").removesuffix("\n").removesuffix("\r")


def _is_offline(data_dir: str) -> bool:
    """As the running server knows it; without one nobody does."""
    try:
        return bool(Server(data_dir).ask("link", "link.status").get("is_down"))
    except ControlError:
        return False


def _print(step: Step, *, is_raw: bool) -> None:
    click.echo(f"{_MARKS[step.state]:<7}{step.name:<{_COLUMN}}{step.words}")
    if step.advice:
        click.echo(f"{'':<{7 + _COLUMN}}What to do: {step.advice}")
    if is_raw and step.state == "failed":
        for line in step.raw:
            click.echo(f"{'':<{7 + _COLUMN}}{line}")
