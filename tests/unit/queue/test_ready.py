"""Ready: the smallest rank goes first, in a rank who came first; nothing is lost on the way."""

import random

from cmail.delivery.agent import Transaction
from cmail.policy.order import is_large, rank_of
from cmail.queue.ready import Ready
from tests.support.memory_work import transaction

ORDINARY, URGENT, LARGE, LOW = rank_of(0, 0, 1), rank_of(4, 0, 1), rank_of(0, 0, 9 << 20), rank_of(-4, 0, 1)


def of(rank: int, number: int = 1) -> Transaction:
    found = transaction(number)
    found.recipients[0].rank, found.is_large = rank, is_large(rank)
    return found


def names(ready: Ready) -> list[int]:
    return [each.message.queue_id for each in ready]


def test_urgent_goes_first_and_a_rank_in_its_order() -> None:
    """Whatever came first; and what comes back goes before its own rank alone."""
    ready = Ready()
    for number, rank in enumerate((ORDINARY, LARGE, URGENT, ORDINARY, LOW, URGENT)):
        ready.append(of(rank, number))
    ready.appendleft(of(ORDINARY, 9))
    assert names(ready) == [2, 5, 9, 0, 3, 1, 4]
    assert [ready.popleft().message.queue_id for _ in range(7)] == [2, 5, 9, 0, 3, 1, 4]
    assert not ready and ready.last_rank == -1


def test_what_holds_up_nobody_can_be_taken_alone() -> None:
    """Large mail stands aside: small mail behind it, of a lower priority too, is found."""
    ready = Ready()
    for number, rank in enumerate((LARGE, LARGE, LOW)):
        ready.append(of(rank, number))
    assert ready.is_large_first and ready.small_count() == 1
    small = ready.pop_small()
    assert small is not None and small.message.queue_id == 2
    assert ready.pop_small() is None and len(ready) == 2 and ready.small_count() == 0
    ready.append(of(ORDINARY, 7))
    assert not ready.is_large_first and ready.small_count() == 1


def test_a_rank_may_have_both() -> None:
    """On a thin link what is large hangs on the rate: the small one behind it in its own rank is found."""
    ready = Ready()
    for number in range(3):
        one = of(ORDINARY, number)
        one.is_large = not number
        ready.append(one)
    assert ready.is_large_first and ready.small_count() == 2
    assert [found.message.queue_id for _ in range(2) if (found := ready.pop_small())] == [1, 2]
    assert ready.pop_small() is None and names(ready) == [0]


def test_it_is_what_a_sorted_list_would_be() -> None:
    """A thousand steps at random: the same as a list that is sorted each time."""
    chance, ready = random.Random(5), Ready()
    expected: list[tuple[int, int]] = []
    back = 0
    for number in range(1, 3000):
        rank = chance.choice((ORDINARY, URGENT, LARGE, LOW, rank_of(0, chance.randrange(5), 1)))
        match chance.randrange(6):
            case 0 | 1 | 2:
                ready.append(of(rank, number))
                expected.append((rank, number))
            case 3:
                back -= 1
                ready.appendleft(of(rank, number))
                same = [i for i, (r, _) in enumerate(expected) if r == rank]
                expected.insert(same[0] if same else len(expected), (rank, number))
            case 4 if expected:
                expected.sort(key=lambda pair: pair[0])
                if chance.randrange(2):
                    assert ready.popleft().message.queue_id == expected.pop(0)[1]
                else:
                    assert ready.pop_last().message.queue_id == expected.pop()[1]
            case 5:
                expected.sort(key=lambda pair: pair[0])
                found = ready.pop_small()
                small = next((pair for pair in expected if not is_large(pair[0])), None)
                assert (found.message.queue_id if found else None) == (small[1] if small else None)
                if small is not None:
                    expected.remove(small)
        assert len(ready) == len(expected)
        if expected:
            assert ready.last_rank == max(rank for rank, _ in expected)
    expected.sort(key=lambda pair: pair[0])
    assert names(ready) == [number for _, number in expected]
    removed = ready.remove_if(lambda each: each.message.queue_id % 3 == 0)
    assert {each.message.queue_id for each in removed} == {n for _, n in expected if n % 3 == 0}
    assert names(ready) == [n for _, n in expected if n % 3]
