"""All sub-commands of `cmail`, and how each of their ends becomes an exit code."""

from collections.abc import Sequence
from typing import Final

import click

from cmail import __version__
from cmail.cli.command import LazyGroup
from cmail.cli.ending import end
from cmail.cli.exits import Exit

# name -> (module, what --help says of it)
COMMANDS: Final = {
    "serve": ("cmail.cli.serve", "Run the server in the foreground."),
    "setup": ("cmail.cli.setup", "Four questions, then a message goes through."),
    "status": ("cmail.cli.status", "What runs, what listens, what waits."),
    "send-test": ("cmail.cli.send_test", "Send a message through the server and follow it."),
    "check-upstream": ("cmail.cli.test_upstream", "Try the upstream server step by step."),
    "queue": ("cmail.cli.queue", "See and change what waits: list, show, why, flush, hold, ..."),
    "log": ("cmail.cli.log", "What happened, in sentences; search it, follow it."),
    "quarantine": ("cmail.cli.quarantine", "Mail that failed Validation: list, show, release, repair, ..."),
    "user": ("cmail.cli.user", "Accounts: add, passwd, list, delete."),
    "alias": ("cmail.cli.alias", "Aliases: add, list, delete."),
    "link": ("cmail.cli.link", "The links to the Internet: up, down, status, exchange, plan, ..."),
    "collect": ("cmail.cli.collect", "Mail that waits elsewhere: now, status, list, fetch."),
    "site": ("cmail.cli.site", "Servers that come and go: what waits for them."),
    "checks": ("cmail.cli.checks", "DNS, certificate, way out, clock, disk: is all right?"),
    "backup": ("cmail.cli.backup", "A copy of everything, while mail flows."),
    "restore": ("cmail.cli.restore", "Bring back what backup has copied."),
    "page": ("cmail.cli.page", "The web page: a link or a password to get in."),
    "token": ("cmail.cli.token", "Tokens of the API: add, list, delete."),
    "config": ("cmail.cli.config", "The settings file: check, show, init, versions, return, reload."),
    "version": ("cmail.cli.version", "Which CMail this is, and with what it runs."),
}

command: Final = LazyGroup(
    name="cmail",
    lazy=COMMANDS,
    no_args_is_help=True,
    help="CMail Server. Every command takes --config FILE.",
    epilog="Exit codes are those of sysexits.h: 64 usage, 67 no such user, 69 the server is not there,"
    " 75 try again, 77 not permitted, 78 settings.",
)
click.version_option(__version__, prog_name="cmail", message="%(prog)s %(version)s")(command)


def run(arguments: Sequence[str] | None = None) -> int:
    """Run `cmail`; its exit code."""
    try:
        result = command.main(None if arguments is None else list(arguments), "cmail", standalone_mode=False)
    except click.exceptions.NoArgsIsHelpError as error:
        error.show()
        return Exit.USAGE
    except click.ClickException as error:
        error.show()
        return Exit.USAGE
    except click.Abort:
        return end(KeyboardInterrupt())
    except (Exception, KeyboardInterrupt) as error:
        return end(error)
    return result if isinstance(result, int) else Exit.OK
