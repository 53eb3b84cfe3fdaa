"""The queue of a data folder as a command sees it: through the running server, or, when it is down,
the shards themselves."""

from collections.abc import Callable, Iterator, Mapping
from typing import Any, Protocol

from cmail.admin.asking import CHANGE_S, Server
from cmail.admin.going import add_going
from cmail.admin.rows import Row
from cmail.net.control_client import BlockingControlClient, ControlError, NotRunningError

Fields = dict[str, Any]


class Queue(Protocol):
    """What can be asked of all shards together."""

    is_running: bool
    silent: list[str]  # parts that did not answer

    def rows(self, what: Mapping[str, Any], limit: int = 0) -> Iterator[Row]:
        """The recipients of a filter, oldest first."""
        ...

    def show(self, queue_id: str, *, has_content: bool) -> Iterator[Fields]:
        """One message, in parts; ControlError 67 when it is not there."""
        ...

    def change(self, change: str, what: Mapping[str, Any], **more: str) -> Fields:
        """Do it to the whole filter: {recipients}, and what admin.going has words for."""
        ...

    def figures(self) -> Fields:
        """Counts."""
        ...


def open_queue(data_dir: str, become_owner: Callable[[], None] = lambda: None) -> Queue:
    """The queue, through the server when it runs. Otherwise the shards are opened, which only their
    owner may do: what is needed is imported first, because he may not be able to read it."""
    if Server(data_dir).is_running():
        return RunningQueue(data_dir)
    from cmail.admin.queue_offline import OfflineQueue

    become_owner()
    return OfflineQueue(data_dir)


class RunningQueue:
    """Through the workers."""

    is_running = True

    def __init__(self, data_dir: str) -> None:
        self._server = Server(data_dir)
        self._folder = self._server.folder
        self.silent = self._server.silent

    def rows(self, what: Mapping[str, Any], limit: int = 0) -> Iterator[Row]:
        """The recipients of a filter, oldest first."""
        return self._server.rows(what, limit)

    def show(self, queue_id: str, *, has_content: bool) -> Iterator[Fields]:
        """Whoever has it answers."""
        arguments = {"id": queue_id, "content": has_content}
        missing = ControlError(f"{queue_id} is not in the queue", 67)
        for name in self._server.workers():
            try:
                yield from BlockingControlClient(self._folder, name).ask("queue.show", arguments).rows
                return
            except NotRunningError:
                self.silent.append(name)
            except ControlError as error:
                if error.code != 67:
                    raise
        raise missing

    def change(self, change: str, what: Mapping[str, Any], **more: str) -> Fields:
        """In every worker."""
        question = "queue.bounce" if change == "bounce" else "queue.change"
        answers = self._server.ask_workers(question, CHANGE_S, change=change, filter=dict(what), **more)
        return add_going(answer.ok for answer in answers)

    def figures(self) -> Fields:
        """Of all workers together."""
        return sum_figures(answer.ok for answer in self._server.ask_workers("queue.figures"))


def sum_figures(answers: Any) -> Fields:
    """The figures of some workers as one."""
    total: Fields = {"messages": 0, "recipients": {}, "oldest_ms": 0}
    for one in answers:
        total["messages"] += one["messages"]
        for state, count in one["recipients"].items():
            total["recipients"][state] = total["recipients"].get(state, 0) + count
        oldest = one["oldest_ms"]
        total["oldest_ms"] = min(total["oldest_ms"] or oldest, oldest or total["oldest_ms"])
        for name in ("is_link_down", "is_batch"):
            total[name] = bool(total.get(name) or one.get(name))
    return total
