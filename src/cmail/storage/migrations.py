"""Numbered schema steps of a SQLite database; forward only, each in one transaction."""

from collections.abc import Sequence

import apsw


class SchemaTooNewError(Exception):
    """The database was written by a newer CMail than this one (the app exits 78, EX_CONFIG)."""

    def __init__(self, path: str, found: int, known: int) -> None:
        super().__init__(
            f"{path} has schema {found}, this CMail knows schemas up to {known}: "
            "it was used by a newer CMail; start that one again"
        )


def migrate(connection: apsw.Connection, steps: Sequence[str]) -> None:
    """Bring a database from its `user_version` to len(steps); step n makes it version n + 1."""
    version = connection.pragma("user_version")
    assert isinstance(version, int)
    if version > len(steps):
        raise SchemaTooNewError(connection.filename, version, len(steps))
    for number in range(version, len(steps)):
        connection.execute("BEGIN IMMEDIATE")
        try:
            connection.execute(steps[number])
            connection.pragma("user_version", number + 1)
            connection.execute("COMMIT")
        except BaseException:
            connection.execute("ROLLBACK")
            raise
