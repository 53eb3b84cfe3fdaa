"""The description of the API: in the repository as it is served, true of the routes, well-formed."""

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

import pytest
import schemathesis

from cmail.web.api.operation import PREFIX
from cmail.web.api.schema import check
from cmail.web.api.v1 import OPERATIONS, routes, text
from cmail.web.page import Pages
from tests.support.fake_web import fake_context
from tests.unit.web.test_api import Api

ROOT: Final = Path(__file__).parents[3]
DOCUMENT: Final = json.loads(text())
DESCRIBED: Final = [
    (path, method, operation)
    for path, methods in DOCUMENT["paths"].items()
    for method, operation in methods.items()
    if method != "parameters"
]


def test_the_file_in_the_repository_is_what_is_served(tmp_path: Path) -> None:
    """To renew it: .venv/bin/python -m cmail.web.api.v1 > docs/openapi.json"""
    api = Api(tmp_path)
    served = api.ask("GET", "/openapi.json", "send").text
    assert served == text() == (ROOT / "docs/openapi.json").read_text()


def references(found: Any) -> Iterator[str]:
    """All that the document refers to."""
    if isinstance(found, dict):
        if isinstance(reference := found.get("$ref"), str):
            yield reference
        found = list(found.values())
    if isinstance(found, list):
        for inner in found:
            yield from references(inner)


def test_it_is_openapi() -> None:
    """As the schema of OpenAPI 3.1 wants it; what it refers to is there."""
    assert DOCUMENT["openapi"].startswith("3.1.")
    schemathesis.openapi.from_dict(DOCUMENT).validate()
    named = {f"#/components/schemas/{name}" for name in DOCUMENT["components"]["schemas"]}
    assert set(references(DOCUMENT)) == named


def test_what_is_not_openapi_is_seen() -> None:
    """The check above is one: a document that is wrong fails it."""
    wrong = json.loads(text())
    wrong["paths"]["/status"]["get"]["responses"] = 5
    with pytest.raises(Exception, match=r"responses|5"):
        schemathesis.openapi.from_dict(wrong).validate()


def test_it_has_every_route_and_no_other(tmp_path: Path) -> None:
    """What is described is there, what is there is described."""
    context, _ = fake_context(tmp_path)
    there = {re.sub(r":path\}", "}", route.path) for route in routes(Pages(context))} - {"/api/{rest}"}
    assert there == {PREFIX + path for path in DOCUMENT["paths"]}
    assert (
        len({operation["operationId"] for _, _, operation in DESCRIBED}) == len(DESCRIBED) == len(OPERATIONS)
    )


@pytest.mark.parametrize("operation", OPERATIONS, ids=lambda each: each.name)
def test_examples_are_what_the_schemas_want(operation: Any) -> None:
    """Who copies an example gets what it promises."""
    if operation.example is not None:
        assert check(operation.body, operation.example) == []
    if operation.result_example is not None:
        assert check(operation.result, operation.result_example) == []
    if operation.result is not None and operation.path != "/openapi.json" and operation.name != "getStatus":
        assert operation.result_example is not None


@pytest.mark.parametrize(
    ("path", "method", "operation"), DESCRIBED, ids=[f"{m} {p}" for p, m, _ in DESCRIBED]
)
def test_each_operation_says_who_may_and_how_it_can_end(path: str, method: str, operation: Any) -> None:
    """Scope, summary, every answer that the frame can give."""
    assert operation["summary"] and operation["x-scope"] in ("read", "send", "admin", "")
    assert {"400", "401", "403", "405", "429", "500", "503"} <= set(operation["responses"])
    assert ("404" in operation["responses"]) == ("{" in path)
    assert ("422" in operation["responses"]) == ("requestBody" in operation)


def test_the_manual_names_every_path() -> None:
    """docs/api.md has each of them."""
    manual = (ROOT / "docs/api.md").read_text()
    missing = [f"{o.method} {o.path}" for o in OPERATIONS if f"`{o.method} {o.path}`" not in manual]
    assert not missing
