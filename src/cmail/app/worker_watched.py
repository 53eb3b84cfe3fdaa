"""The delivery agents of what goes over the Internet, watched: what their connections show is told, and what
they say of others is looked at before it is believed."""

from collections.abc import Callable, Mapping
from typing import Final

from cmail.app.worker_belief import WorkerBelief
from cmail.app.worker_confirm import WorkerConfirm
from cmail.app.worker_reached import WorkerReached
from cmail.app.worker_sight import WorkerSight
from cmail.delivery.agent import DeliveryAgent, Ending, HostTrouble, Work
from cmail.mail.outcome import NotNow, TemporaryFailure
from cmail.queue.lane import Lane

BEHIND_A_PAGE: Final = TemporaryFailure("we are not on line, as a probe says", NotNow.OFFLINE)
_FAR_KINDS: Final = frozenset({"relay", "mx", "host"})


class Watcher:
    """What watched agents of a worker have in common."""

    def __init__(
        self,
        needs_link: Callable[[str], bool],
        confirm: WorkerConfirm,
        belief: WorkerBelief,
        reached: WorkerReached,
        sight: WorkerSight,
    ) -> None:
        self.needs_link = needs_link
        self.confirm, self.belief = confirm, belief
        self.reached, self.sight = reached, sight

    def watched(self, agents: Mapping[str, DeliveryAgent]) -> dict[str, DeliveryAgent]:
        """The same agents by their kinds of routes; those for people here as they are."""
        return {
            kind: _Watched(agent, self) if kind in _FAR_KINDS else agent for kind, agent in agents.items()
        }


class _Watched:
    """A DeliveryAgent."""

    def __init__(self, agent: DeliveryAgent, watcher: Watcher) -> None:
        self._agent, self._watcher = agent, watcher

    async def run(self, route: str, work: Work) -> Ending:
        """See DeliveryAgent."""
        watcher = self._watcher
        if await watcher.confirm.must_wait(route):
            return HostTrouble(BEHIND_A_PAGE)
        try:
            ending = await self._agent.run(route, work)
        finally:
            if isinstance(work, Lane) and work.has_delivered and work.route.needs_link:
                watcher.reached.delivered(route)
        if watcher.needs_link(route):
            ending = await watcher.belief.believed(ending, route)
            watcher.sight.ended(route, ending)
        return ending
