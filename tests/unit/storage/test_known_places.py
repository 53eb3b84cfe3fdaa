"""KnownPlaces: what one process adds the others know; bounded."""

import os

from cmail.storage.known_places import KnownPlaces


def test_what_is_added_is_known_by_name_and_place() -> None:
    """The account there, and somebody there; nobody elsewhere and no other account."""
    places = KnownPlaces()
    places.add("anna@example.org", "192.0.2.1")
    assert places.has("anna@example.org", "192.0.2.1")
    assert places.has_anybody("192.0.2.1")
    assert not places.has("bert@example.org", "192.0.2.1")
    assert not places.has("anna@example.org", "192.0.2.2")
    assert not places.has_anybody("192.0.2.2")


def test_other_processes_know_it() -> None:
    """A process that was forked before sees what another one adds."""
    places = KnownPlaces()
    go, went = os.pipe()
    child = os.fork()
    if child == 0:
        os.read(go, 1)
        os._exit(0 if places.has("anna@example.org", "192.0.2.1") else 1)
    places.add("anna@example.org", "192.0.2.1")
    os.write(went, b"x")
    assert os.waitpid(child, 0)[1] == 0
    os.close(go)
    os.close(went)


def test_it_is_bounded() -> None:
    """More than fit push others out, and the newest is always there."""
    places = KnownPlaces(entries=16)
    for n in range(200):
        places.add(f"user{n}", "192.0.2.1")
        assert places.has(f"user{n}", "192.0.2.1")
    assert sum(places.has(f"user{n}", "192.0.2.1") for n in range(200)) <= 16
