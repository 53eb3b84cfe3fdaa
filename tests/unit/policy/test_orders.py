"""Orders: what they let through, and that they come whole over a socket."""

from dataclasses import replace

import pytest

from cmail.policy.orders import FREE, NO_LIMIT, NOTHING, Orders, parse_orders


@pytest.mark.parametrize(
    ("orders", "size", "priority", "may"),
    [
        (FREE, 1 << 40, 0, True),
        (Orders(size_max=1000), 1000, 0, True),
        (Orders(size_max=1000), 1001, 0, False),
        (Orders(size_max=1000), 1001, 1, True),
        (Orders(size_max=NOTHING), 0, 0, False),
        (Orders(size_max=NOTHING, urgent_size_max=500), 501, 4, False),
        (Orders(is_exchange_open=False), 1, 9, False),
    ],
)
def test_what_may_go(orders: Orders, size: int, priority: int, may: bool) -> None:
    """By size, by urgency, and only while an exchange is open where they are planned."""
    assert orders.admits(size, priority) is may


def test_they_go_over_a_socket_and_back() -> None:
    """fields() and parse_orders() are each other's inverse."""
    orders = Orders(5, 9, False, 256, 7000, "satellite: small mail")
    assert parse_orders(orders.fields()) == orders
    assert parse_orders(FREE.fields()) == FREE


def test_those_of_an_older_link_process_are_read() -> None:
    """What came later has its default."""
    fields = FREE.fields()
    del fields["size_ever"], fields["words"]
    assert parse_orders(fields) == replace(FREE, size_ever=NO_LIMIT, words="")


@pytest.mark.parametrize(
    "change",
    [
        {"size_max": "1"},
        {"is_exchange_open": 1},
        {"rate": None},
        {"size_ever": True},
        {"words": 3},
    ],
)
def test_what_is_none_is_refused(change: dict[str, object]) -> None:
    """ValueError, and nothing half read."""
    with pytest.raises(ValueError):
        parse_orders({**FREE.fields(), **change})
