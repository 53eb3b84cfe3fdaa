"""The API against requests that schemathesis makes out of its description: in process, within bounds."""

import os
import tempfile
from dataclasses import replace
from pathlib import Path
from typing import Any, Final

import hypothesis
import schemathesis
from schemathesis.core.parameters import ParameterLocation
from schemathesis.specs.openapi.checks import (
    content_type_conformance,
    negative_data_rejection,
    response_schema_conformance,
    status_code_conformance,
)

from cmail.net.control import ControlError
from cmail.web.application import guarded
from tests.support.fake_web import FakeProcesses, fake_context
from tests.unit.web.test_api import ENVELOPE, ROW

IS_SEARCH: Final = bool(os.environ.get("CMAIL_FUZZ"))
EXAMPLES: Final = 100 if IS_SEARCH else 12  # of each operation: 20 s in all
ENDLESS: Final = "/log/stream"  # it would wait for the end


def answers(processes: FakeProcesses) -> None:
    """What workers and link say; nothing here reaches a network."""

    def inject(asked: dict[str, Any]) -> dict[str, Any]:
        return {"id": ENVELOPE["id"], "size": 1}

    def show(asked: dict[str, Any]) -> list[dict[str, Any]]:
        if asked["id"] != ENVELOPE["id"]:
            raise ControlError("it is not in the queue", 67)
        return [{"envelope": ENVELOPE}, {"recipient": ROW}, {"content": "QTogYg0K"}]

    processes.answers |= {
        ("worker", "queue.list"): [ROW],
        ("worker", "queue.show"): show,
        ("worker", "queue.change"): {"recipients": 1},
        ("worker", "queue.bounce"): {"recipients": 1},
        ("worker", "messages.inject"): inject,
        ("link", "link.up"): {},
        ("link", "link.down"): {},
        ("link", "link.status"): {"is_down": True, "changed_wall_ms": 1000, "last_kick": ""},
    }


FOLDER: Final = tempfile.TemporaryDirectory(prefix="cmail-api-")
CONTEXT, PROCESSES = fake_context(Path(FOLDER.name))
answers(PROCESSES)


@schemathesis.serializer("message/rfc822")
def whole_message(_: object, value: Any) -> bytes:
    """Text as it is; of all else its print."""
    text = value if isinstance(value, str | bytes) else str(value)
    return text if isinstance(text, bytes) else text.encode("utf-8", "surrogatepass")


# One token of a name that nothing guesses: tokens can be deleted.
TOKEN: Final = {"authorization": f"Bearer {CONTEXT.keys.add_token('k3-of-this-test', 'admin')}"}
SCHEMA: Final = schemathesis.openapi.from_asgi(
    "/api/v1/openapi.json", guarded(replace(CONTEXT, hosts=frozenset(["testserver"]))), headers=TOKEN
).exclude(path=ENDLESS)


@SCHEMA.parametrize()
@hypothesis.settings(
    max_examples=EXAMPLES,
    deadline=None,
    suppress_health_check=list(hypothesis.HealthCheck),
    derandomize=not IS_SEARCH,
)
def test_no_request_is_too_much(case: schemathesis.Case) -> None:
    """Whatever is asked, the answer is one of those that are described, in the form that is described; what
    the description forbids is refused; nothing is ever a mistake of ours."""
    response = case.call(headers=TOKEN)
    assert response.status_code != 500, response.text
    checks = [status_code_conformance, content_type_conformance, response_schema_conformance]
    if is_judged(case):
        checks.append(negative_data_rejection)
    case.validate_response(response, checks=checks)


def is_judged(case: schemathesis.Case) -> bool:
    """Whether what is wrong with it can be seen here: any octets can be a message, until a worker reads it;
    and the token that it lacks perhaps is the one that we give it."""
    parts = case.meta.components if case.meta else {}
    header = parts.get(ParameterLocation.HEADER)
    return case.media_type != "message/rfc822" and (header is None or header.mode.is_positive)
