"""An audit of regular expressions: no two repeats in one that can share out the same text in many ways.

It walks over the tree that Python itself makes of an expression. Red is a repeat whose body can end in a
repeat of the same letters or can be empty, a repeat behind another one of the same letters, and a search for
something that begins with a repeat and does not end there. It would rather be red once too often."""

import ast
import importlib
import re
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

with warnings.catch_warnings():
    warnings.simplefilter("ignore")  # where it lives has changed its name
    import sre_parse
    from sre_constants import (
        ASSERT,
        ASSERT_NOT,
        AT,
        BRANCH,
        CATEGORY,
        IN,
        LITERAL,
        MAX_REPEAT,
        MIN_REPEAT,
        NEGATE,
        NOT_LITERAL,
        RANGE,
        SUBPATTERN,
    )

Letters = frozenset[int]
ALL: Final = frozenset([*range(256), 0x661, 0x2028, 0x4E00])  # and some that stand for the rest
_CATEGORIES: Final = {
    "DIGIT": r"\d", "NOT_DIGIT": r"\D", "SPACE": r"\s", "NOT_SPACE": r"\S", "WORD": r"\w", "NOT_WORD": r"\W",
}  # fmt: skip
_FEW: Final = 32  # so many ways a repeat may end and still be a constant
_SEARCHES: Final = frozenset({"search", "findall", "finditer", "split", "sub", "subn"})


def faults(pattern: str | bytes, is_searched: bool = False) -> list[str]:
    """What is wrong with an expression; nothing, one hopes."""
    parse: Any = sre_parse.parse
    tree = list(parse(pattern))
    found = list(_sequence_faults(tree))
    if is_searched and tree and _leads(tree):
        found.append("a search that begins with a repeat")
    return found


def _is_repeat(node: Any) -> bool:
    op, argument = node
    return op in (MAX_REPEAT, MIN_REPEAT) and argument[1] - argument[0] > _FEW


def _parts(node: Any) -> list[list[Any]]:
    """The sequences within a node."""
    op, argument = node
    if op in (MAX_REPEAT, MIN_REPEAT):
        return [list(argument[2])]
    if op is SUBPATTERN:
        return [list(argument[3])]
    if op is BRANCH:
        return [list(one) for one in argument[1]]
    return []


def _sequence_faults(nodes: list[Any]) -> Iterator[str]:
    for at, node in enumerate(nodes):
        for part in _parts(node):
            yield from _sequence_faults(part)
        if _is_repeat(node):
            (body,) = _parts(node)
            if all(_is_nullable(one) for one in body):
                yield "a repeat of what may be empty"
            if any(_overlap(tail, node) for tail in _tails(body)):
                yield "a repeat in a repeat, of the same letters"
        for tail in _tails([node]):
            for following in nodes[at + 1 :]:
                if any(_overlap(tail, head) for head in _heads([following])):
                    yield "two repeats of the same letters, one behind the other"
                if not _is_nullable(following):
                    break


def _tails(nodes: list[Any]) -> list[Any]:
    """The repeats in which a sequence may end."""
    found = []
    for node in reversed(nodes):
        if _is_repeat(node):
            found.append(node)
        found += [tail for part in _parts(node) for tail in _tails(part)]
        if not _is_nullable(node):
            break
    return found


def _heads(nodes: list[Any]) -> list[Any]:
    """The repeats with which it may begin."""
    found = []
    for node in nodes:
        if _is_repeat(node):
            found.append(node)
        found += [head for part in _parts(node) for head in _heads(part)]
        if not _is_nullable(node):
            break
    return found


def _leads(nodes: list[Any]) -> bool:
    """Whether a repeat stands in front of something that must follow."""
    for at, node in enumerate(nodes):
        if _heads([node]) and not all(_is_nullable(one) for one in nodes[at + 1 :]):
            return True
        if not _is_nullable(node):
            break
    return any(_leads(part) for part in (_parts(nodes[0]) if len(nodes) == 1 else []))


def _overlap(one: Any, other: Any) -> bool:
    """Whether both can match the same text: nothing that the one demands is foreign to the other."""
    ours, theirs = _letters([one]), _letters([other])
    return all(m & theirs for m in _demanded(one)) and all(m & ours for m in _demanded(other))


def _demanded(repeat: Any) -> list[Letters]:
    (body,) = _parts(repeat)
    return [_letters([node]) for node in body if not _is_nullable(node)]


def _is_nullable(node: Any) -> bool:
    op, argument = node
    if op in (AT, ASSERT, ASSERT_NOT):
        return True
    if op in (MAX_REPEAT, MIN_REPEAT) and argument[0] == 0:
        return True
    parts = _parts(node)
    return bool(parts) and any(all(_is_nullable(one) for one in part) for part in parts)


def _letters(nodes: list[Any]) -> Letters:
    """All letters that can stand in what a sequence matches."""
    found: set[int] = set()
    for op, argument in nodes:
        if op is LITERAL:
            found.add(argument)
        elif op is NOT_LITERAL:
            found |= ALL - {argument}
        elif op is IN:
            found |= _in(argument)
        elif op not in (AT, ASSERT, ASSERT_NOT):
            parts = _parts((op, argument))
            found |= set().union(*map(_letters, parts)) if parts else ALL  # ANY, and what is not known here
    return frozenset(found)


def _in(items: list[Any]) -> Letters:
    found: set[int] = set()
    for op, argument in items:
        if op is LITERAL:
            found.add(argument)
        elif op is RANGE:
            found |= {c for c in ALL if argument[0] <= c <= argument[1]}
        elif op is CATEGORY:
            found |= {
                c for c in ALL if re.match(_CATEGORIES[str(argument).removeprefix("CATEGORY_")], chr(c))
            }
    return ALL - found if items[0][0] is NEGATE else frozenset(found)


# Those of the product


def expressions(root: Path, package: str) -> Iterator[tuple[str, str | bytes, bool]]:
    """Place, expression, whether it is searched for: of each re.something(...) below a folder."""
    for path in sorted(root.rglob("*.py")):
        tree = ast.parse(path.read_text())
        calls = [node for node in ast.walk(tree) if isinstance(node, ast.Call) and _is_re(node.func)]
        if not calls:
            continue
        name = ".".join([package, *path.relative_to(root).with_suffix("").parts])
        names = dict(vars(importlib.import_module(name)))
        searched = {
            ast.unparse(node.value)
            for node in ast.walk(tree)
            if isinstance(node, ast.Attribute) and node.attr in _SEARCHES
        }
        bound = {
            id(node.value): ast.unparse(target)
            for node in ast.walk(tree)
            if isinstance(node, ast.Assign | ast.AnnAssign) and node.value is not None
            for target in (node.targets if isinstance(node, ast.Assign) else [node.target])
        }
        for call in calls:
            assert isinstance(call.func, ast.Attribute)
            pattern = _value(call.args[0], names)
            is_searched = call.func.attr in _SEARCHES or bound.get(id(call), "") in searched
            yield f"{name}:{call.lineno}", pattern, is_searched


def _value(expression: ast.expr, names: dict[str, Any]) -> str | bytes:
    """What is handed over; for a name that only a function knows stands a letter."""
    code = compile(ast.Expression(expression), "<expression>", "eval")
    while True:
        try:
            value: str | bytes = eval(code, names)
            return value
        except NameError as error:
            names[str(error.name)] = "x"


def _is_re(function: ast.expr) -> bool:
    return (
        isinstance(function, ast.Attribute)
        and isinstance(function.value, ast.Name)
        and function.value.id == "re"
        and function.attr in {"compile", "match", "fullmatch", *_SEARCHES}
    )


def uses_others(root: Path) -> list[str]:
    """Modules that have expressions by another way than re.compile() and its like."""
    text = {path: path.read_text() for path in root.rglob("*.py")}
    return [
        str(path)
        for path, code in text.items()
        if re.search(r"^(from re import|import (regex|fnmatch))", code, re.M)
    ]
