"""Where mail went last: bounded, over restarts, and nothing of this machine."""

import json

import pytest

from cmail.link.known import KEPT_MAX, Known


def test_the_latest_first_and_not_too_many() -> None:
    """What is said again moves to the front and is no news; the oldest goes."""
    known = Known()
    for n in range(KEPT_MAX + 2):
        assert known.note([f"d{n}.example"], [[f"192.0.2.{n}", 25]])
    assert "d1.example" not in known.names
    assert not known.note(["d2.example"], [])
    assert list(known.names) == ["d2.example", "d5.example", "d4.example", "d3.example"]
    assert [str(address) for address, _ in known.hosts] == [f"192.0.2.{n}" for n in (5, 4, 3, 2)]
    again = Known()
    again.resume(json.loads(json.dumps(known.record())))
    assert (again.names, again.hosts) == (known.names, known.hosts)


@pytest.mark.parametrize(
    "record",
    [
        None,
        [],
        {"names": 3, "hosts": "x"},
        {"names": [1, "", "x" * 300], "hosts": [1, ["a", 25], ["192.0.2.1", 0]]},
    ],
)
def test_what_makes_no_sense_is_left_out(record: object) -> None:
    """From a file that somebody wrote in."""
    known = Known()
    known.resume(record)
    assert not known.names and not known.hosts


def test_who_is_on_this_machine_says_nothing_of_the_internet() -> None:
    """It answers whatever the line does."""
    known = Known()
    known.note([], [["127.0.0.1", 25], ["::1", 25]])
    assert not known.hosts
