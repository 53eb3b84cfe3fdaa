"""Whose turn it is at a connection that has turned round: own worker first, and nobody behind an unclean one."""

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import pytest

from cmail.app import site_turn
from cmail.app.site_turn import TurnOwner
from cmail.app.site_turned import TurnedHere
from cmail.net.control import ControlError, Fields


class Pipe:
    """As much of a TurnedPipe as is looked at."""

    def __init__(self) -> None:
        self.borrowed_count = 0
        self.is_over = False


class Place:
    """Worker 0 of three."""

    number = 0
    others = ("worker-1", "worker-2")
    run_folder = "run"


class Owner(TurnOwner):
    """Whose workers answer as they are told: clean, unclean, or an error with or without the connection."""

    def __init__(self, answers: dict[str, str], pipe: Pipe) -> None:
        place = Place()
        turned = TurnedHere(place)
        own = lambda request: self._said("own")  # noqa: E731
        super().__init__(place, ["ship"], "x[192.0.2.7]", "hub.example", own, turned)
        self.answers, self.pipe = answers, pipe
        self.asked: list[str] = []

    def _rows(self, name: str, request: Fields) -> AsyncIterator[Fields]:
        return self._said(name)

    async def _said(self, name: str) -> AsyncIterator[Fields]:
        self.asked.append(name)
        answer = self.answers.get(name, "clean")
        self.pipe.borrowed_count += answer != "away"
        yield {"transactions": 1}
        if answer in ("away", "died"):
            raise ControlError("it does not answer")
        yield {"transactions": 2, "is_clean": answer == "clean"}


@pytest.mark.parametrize(
    ("answers", "asked", "is_clean"),
    [
        ({}, ["own", "worker-1", "worker-2"], True),
        ({"own": "unclean"}, ["own"], False),
        ({"worker-1": "unclean"}, ["own", "worker-1"], False),
        ({"worker-1": "died"}, ["own", "worker-1"], False),
        ({"worker-1": "away"}, ["own", "worker-1", "worker-2"], True),
    ],
    ids=["all clean", "own unclean", "another unclean", "died with it", "never had it"],
)
def test_who_has_a_turn(
    answers: dict[str, str], asked: list[str], is_clean: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A worker that is away and never had the connection is passed over, once it was asked again in vain; one that died
    with it, or did not bring it back clean, ends it."""
    monkeypatch.setattr(site_turn, "AGAIN_FOR_S", 0.05)
    monkeypatch.setattr(site_turn, "AGAIN_S", 0.01)
    pipe: Any = Pipe()
    owner = Owner(answers, pipe)
    assert asyncio.run(owner._turns(pipe, {})) == is_clean
    assert list(dict.fromkeys(owner.asked)) == asked
    assert (len(owner.asked) > len(asked)) == ("away" in answers.values())
