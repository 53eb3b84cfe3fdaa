"""`cmail serve`: hands over to app.serve."""

import click

from cmail.cli.command import Command, config_option


@click.command(cls=Command)
def command() -> int:
    """Run the server in the foreground; Ctrl-C ends it in order, SIGHUP reads the settings anew."""
    from cmail.app.serve import serve

    return int(serve(config_option() or None))
