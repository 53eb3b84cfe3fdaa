"""`cmail setup`: the four questions of the first run, in a terminal or over a pipe; as the page."""

import asyncio
import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Final

import click

from cmail.admin import setup
from cmail.admin.asking import Server
from cmail.admin.people import good_password, words_of
from cmail.admin.setup import Answers, Errors
from cmail.admin.upstream_steps import Step
from cmail.cli.accounts import make_folder
from cmail.cli.asking import Asker
from cmail.cli.command import Command, config_option
from cmail.cli.exits import Exit, Refusal
from cmail.cli.place import Place, become_owner, find_config, find_place
from cmail.cli.send_test import send
from cmail.cli.setup_file import SetupFile
from cmail.mail.address import AddressSyntaxError, parse_address
from cmail.net.control_client import BlockingControlClient, ControlError, NotRunningError
from cmail.policy.rewriting import POSTMASTER
from cmail.storage.account_book import AccountError

_START: Final = os.path.join("var", "cmail.toml")
_APPLY_S: Final = 60.0
_FOLLOW_S: Final = 15.0
_SIGNS: Final[Mapping[str, str]] = {"ok": "ok", "note": "note", "failed": "FAILED", "not tried": "-"}


@click.command(cls=Command)
def command() -> int:
    """Set up the server: your domain, how mail goes out, who uses it, how mail comes in.

    It tries them, shows what it changes, saves, and sends a message. Answers may come on standard input, one
    a line: an empty one, or none, is the default."""
    file = SetupFile(_path())
    asker, server = Asker(), Server(file.data_dir)
    supervisor = _supervisor(server)
    answers = _ask(asker, file, supervisor)
    if answers.way_out == "host":
        click.echo(f"\nThe connection to {answers.host} is tried; no message is sent.")
        steps = asyncio.run(setup.try_way_out(answers, file.dns_servers, file.ca_file))
        _tell_steps(steps)
    listeners = setup.listeners_of(answers, file.listeners)
    later = [address for address, _ in setup.port_faults(answers, file.listeners, supervisor)]
    text = file.text_with(answers, [each for each in listeners if each["address"] not in later])
    _tell_changes(file.changes(text))
    click.echo(f"  {answers.address} gets a mailbox and can log in.")
    if not asker.confirm("\nSave?", default=True):
        click.echo("Nothing was changed.")
        return Exit.OK
    make_folder(file.place())
    file.save(text, answers)
    click.echo(f"{file.path} is saved.")
    is_applied = _apply(server)
    if later:
        file.open_later(listeners)
        click.echo(f"{', '.join(later)} is opened when the server is started again, as root or by systemd.")
    become_owner(file.place())
    place = find_place(file.path)
    _make_people(place, answers)
    return _send(asker, place, answers) if is_applied else _not_running(place, answers)


# Questions.


def _ask(asker: Asker, file: SetupFile, supervisor: int) -> Answers:
    answers = setup.answers_of(file.values) if not file.is_new else Answers()
    answers = _until_right(asker, answers, _ask_domain, setup.check_domain)
    answers = _until_right(asker, answers, _ask_way_out, setup.check_way_out)
    answers = _until_right(asker, answers, _ask_user, setup.check_user)

    def check_way_in(given: Answers) -> tuple[Answers, Errors]:
        return setup.check_way_in(given, file.listeners, supervisor)

    return _until_right(asker, answers, _ask_way_in, check_way_in)


def _until_right(
    asker: Asker,
    answers: Answers,
    ask: Callable[[Asker, Answers], Answers],
    check: Callable[[Answers], tuple[Answers, Errors]],
) -> Answers:
    while True:
        answers, errors = check(ask(asker, answers))
        if not errors:
            return answers
        asker.wrong(list(errors.values()))


def _ask_domain(asker: Asker, answers: Answers) -> Answers:
    click.echo("Four questions, then a message goes through. Nothing is changed before the end.\n")
    domain = asker.ask("Your domain, which stands behind the @ of your addresses", answers.domain or None)
    default = answers.hostname or f"mail.{domain.lower()}"
    return replace(answers, domain=domain, hostname=asker.ask("The name of this server", default))


def _ask_way_out(asker: Asker, answers: Answers) -> Answers:
    from cmail.web import providers

    way_out = asker.choose("Mail for elsewhere goes", setup.WAYS_OUT, answers.way_out)
    answers = replace(answers, way_out=way_out)
    if way_out != "host":
        return answers
    host = asker.ask("SMTP Host, or a provider such as Gmail", answers.host or None)
    if known := providers.find(host):
        click.echo(f"  {known.host}, port {known.port}. {known.hint}")
        answers = replace(answers, host=known.host, port=str(known.port), tls=known.tls)
    else:
        port = asker.ask("Port Number", answers.port)
        tls = "implicit" if port == "465" else answers.tls
        answers = replace(answers, host=host, port=port, tls=asker.choose("Security", setup.TLS_WORDS, tls))
    username = asker.ask("User name, if it wants one", answers.username)
    password = asker.secret("Password") if username else ""
    return replace(answers, username=username, smtp_password=password)


def _ask_user(asker: Asker, answers: Answers) -> Answers:
    click.echo()
    user = asker.ask(f"The first user, such as anna for anna@{answers.domain}", answers.user or None)
    password = asker.secret("Password, at least 8 characters; empty: a good one is made")
    return replace(answers, user=user, password=password)


def _ask_way_in(asker: Asker, answers: Answers) -> Answers:
    way_in = asker.choose("Mail comes in", setup.WAYS_IN, answers.way_in)
    answers = replace(answers, way_in=way_in)
    if way_in == "internet":
        answers = replace(answers, port_in=asker.ask("Port for mail from the Internet", answers.port_in))
    words = "May mail programs on other computers send through this server (port 587)?"
    answers = replace(answers, has_network=asker.confirm(words, default=answers.has_network))
    if way_in != "internet" and not answers.has_network:
        return answers
    words = "If a port cannot be opened now: go on, and open it when the server is started again?"
    return replace(answers, is_later=asker.confirm(words, default=False))


# What was found.


def _tell_steps(steps: Sequence[Step]) -> None:
    for step in steps:
        click.echo(f"  {_SIGNS[step.state]:<7}{step.name}: {step.words}")
        if step.advice:
            click.echo(f"         {step.advice}")


def _tell_changes(changes: Sequence[tuple[str, str, str]]) -> None:
    click.echo("\nWhat is changed:" if changes else "\nThe settings are as you want them already.")
    for key, old, new in changes:
        click.echo(f"  {key}: {old or '(default)'} -> {new or '(default)'}")


# Saving.


def _path() -> str:
    """The settings file, which need not be there yet."""
    named = config_option() or os.environ.get("CMAIL_CONFIG", "")
    if named:
        return named
    try:
        return find_config()
    except Refusal:
        return _START


def _supervisor(server: Server) -> int:
    """The process that would open a port; 0: none runs."""
    try:
        return int(server.ask("supervisor", "status")["pid"])
    except NotRunningError:
        return 0


def _apply(server: Server) -> bool:
    """Have the running server take it over; False: none runs."""
    try:
        BlockingControlClient(server.folder, "supervisor", _APPLY_S).ask("reload", {})
    except NotRunningError:
        return False
    except ControlError as error:
        words = f"it is saved, but the running server did not take it over: {error.words}"
        raise Refusal(words, error.code) from None
    return True


def _make_people(place: Place, answers: Answers) -> None:
    password = answers.password or good_password()
    try:
        done = setup.make_people(place.data_dir, answers, password)
    except AccountError as error:
        raise Refusal(f"it is saved, but the user cannot be made: {words_of(error)}", Exit.DATA) from None
    for words in done:
        click.echo(words)
    if not answers.password:
        click.echo(f"The password of {answers.address} is {password} (it is shown this once).")


# A message goes through.


def _send(asker: Asker, place: Place, answers: Answers) -> int:
    sender = parse_address(f"{POSTMASTER}@{answers.domain}".encode())
    code = send(place, parse_address(answers.address.encode()), sender, _FOLLOW_S)
    text = asker.ask("\nAn address elsewhere to send a test to (empty: none)", "")
    if not text:
        return code
    try:
        recipient = parse_address(text.encode())
    except (AddressSyntaxError, UnicodeEncodeError) as error:
        raise Refusal(f"{text!r} is not an address: {error}", Exit.DATA) from None
    return send(place, recipient, sender, _FOLLOW_S) or code


def _not_running(place: Place, answers: Answers) -> int:
    where = f" --config {place.config}"
    click.echo("\nThe server does not run yet. Start it, and send a message in another terminal:\n")
    click.echo(f"  cmail serve{where}\n  cmail send-test{where} {answers.address}")
    return Exit.OK
