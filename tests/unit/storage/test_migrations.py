"""migrations: forward, each step whole or not at all, never backward."""

import apsw
import pytest

from cmail.storage.migrations import SchemaTooNewError, migrate

STEPS = ("CREATE TABLE a (x); INSERT INTO a VALUES (1)", "ALTER TABLE a ADD COLUMN y")


def test_steps_are_done_once_and_in_order() -> None:
    """An old database gets what it lacks, a new one all, one that is current nothing."""
    connection = apsw.Connection(":memory:")
    migrate(connection, STEPS[:1])
    migrate(connection, STEPS)
    migrate(connection, STEPS)
    assert connection.pragma("user_version") == 2
    assert connection.execute("SELECT x, y FROM a").fetchall() == [(1, None)]


def test_a_step_that_fails_leaves_the_version_before() -> None:
    """Half a step is none: the next start tries it again from the same place."""
    connection = apsw.Connection(":memory:")
    with pytest.raises(apsw.SQLError):
        migrate(connection, (STEPS[0], "CREATE TABLE b (x); CREATE TABLE a (x)"))
    assert connection.pragma("user_version") == 1
    assert connection.execute("SELECT name FROM sqlite_master").fetchall() == [("a",)]


def test_a_newer_database_is_refused() -> None:
    """We don't know what it means: the person is told to start the newer program again."""
    connection = apsw.Connection(":memory:")
    migrate(connection, STEPS)
    with pytest.raises(SchemaTooNewError, match="newer CMail"):
        migrate(connection, STEPS[:1])
