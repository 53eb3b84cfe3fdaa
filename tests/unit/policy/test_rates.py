"""Buckets: so many at once, so many a minute, never more keys than there is room for."""

from cmail.policy.rates import Buckets


def test_a_bucket_empties_and_fills() -> None:
    """The burst goes at once; then one comes back each so many seconds."""
    buckets = Buckets(burst=3, per_minute=6)
    assert [buckets.take("a", 0) for _ in range(4)] == [True, True, True, False]
    assert buckets.wait_s("a", 0) == 10
    assert not buckets.take("a", 9.9)
    assert buckets.take("a", 10)
    assert not buckets.has_token("a", 10)
    assert [buckets.take("a", 10_000) for _ in range(4)] == [True, True, True, False]


def test_keys_do_not_touch_each_other() -> None:
    """What one client used up another still has."""
    buckets = Buckets(burst=1, per_minute=1)
    assert buckets.take("a", 0)
    assert not buckets.has_token("a", 0)
    assert buckets.has_token("b", 0)
    buckets.forget("a")
    assert buckets.take("a", 0)


def test_a_clock_that_goes_back_gives_and_takes_nothing() -> None:
    """Tokens depend on time that passed, and none did."""
    buckets = Buckets(burst=2, per_minute=60)
    assert buckets.take("a", 100)
    assert buckets.take("a", 50)
    assert not buckets.take("a", 50)


def test_keys_are_bounded() -> None:
    """The key that rested longest is forgotten first."""
    buckets = Buckets(burst=1, per_minute=1, keys_max=2)
    assert buckets.take("a", 0)
    assert buckets.take("b", 0)
    assert not buckets.take("a", 1)  # used again
    assert buckets.take("c", 1)
    assert not buckets.has_token("a", 1)
    assert buckets.has_token("b", 1)
