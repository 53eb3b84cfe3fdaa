"""What the API says when something is wrong: application/problem+json (RFC 9457), all errors at once."""

import re
from collections.abc import Mapping, Sequence
from http import HTTPStatus
from typing import Any, Final

from starlette.responses import Response

from cmail.admin.keys import KeysError
from cmail.net.control import ControlError
from cmail.observe import maillog
from cmail.storage.account_book import AccountError
from cmail.web.desk import DraftError, Problem
from cmail.web.door import problem

RETRY_S: Final = 5  # of what is away for a moment
FILE_KEY: Final = "settings file"  # what a problem is about that no setting has
_NUMBER: Final = re.compile(r"\[(\d+)\]")
# Sysexits of a control question; all others are 503.
_OF_CODE: Final = {64: 400, 65: 422, 67: 404, 70: 500, 78: 409}
_FAILED: Final = "Something went wrong here; the log has the details. Mail is not touched by it."

Fault = Mapping[str, Any]  # {"pointer" or "parameter", "detail"} and perhaps "example"


class ApiError(Exception):
    """An answer that is a problem."""

    def __init__(
        self,
        status: int,
        detail: str,
        errors: Sequence[Fault] = (),
        headers: Mapping[str, str] | None = None,
    ) -> None:
        super().__init__(detail)
        self.status, self.detail, self.errors = status, detail, errors
        self.headers = dict(headers or {})

    def response(self) -> Response:
        """As it is sent."""
        more = {"errors": list(self.errors)} if self.errors else {}
        answer = problem(self.status, HTTPStatus(self.status).phrase, self.detail, **more)
        if self.status in (429, 503):
            self.headers.setdefault("retry-after", str(RETRY_S))
        answer.headers.update(self.headers)
        return answer


def problem_of(error: Exception, path: str) -> ApiError:
    """What went wrong, as an answer; a mistake of ours is logged with its trace."""
    match error:
        case ApiError():
            return error
        case DraftError():
            return _of_draft(error)
        case ControlError():
            return ApiError(_OF_CODE.get(error.code, 503), sentence(error.words))
        case AccountError():
            return _of_account(str(error))
        case KeysError():
            words = str(error)
            status = 409 if words.startswith("there is a token") else 422
            return ApiError(404 if words.startswith("there is no token") else status, sentence(words))
        case _:
            maillog.failed(f"API {path}")
            return ApiError(500, _FAILED)


def _of_draft(error: DraftError) -> ApiError:
    if error.conflicts:
        words = "The file was changed by hand meanwhile."
        faults = [
            {"pointer": pointer_of(c.key), "detail": f"It was {c.before}, the file has {c.theirs} now."}
            for c in error.conflicts
        ]
        return ApiError(409, words, faults)
    if any(each.key == FILE_KEY for each in error.problems):
        said = (f"{p.key}: {p.reason}" + f" ({p.example})" * bool(p.example) for p in error.problems)
        return ApiError(503, sentence("; ".join(said)))
    wrong = [fault_of(each) for each in error.problems]
    is_forbidden = all(each.is_file_only for each in error.problems)
    words = "This is set in the settings file only." if is_forbidden else "Nothing was changed."
    return ApiError(403 if is_forbidden else 422, words, wrong)


def fault_of(problem: Problem) -> Fault:
    """A problem with a setting."""
    found = {"pointer": pointer_of(problem.key), "detail": problem.reason}
    return {**found, "example": problem.example} if problem.example else found


def _of_account(words: str) -> ApiError:
    if words.startswith("there is no"):
        status = 404
    elif "exists already" in words or "is an alias for" in words or "is a user" in words:
        status = 409
    elif "cannot be opened" in words or "cannot be used" in words or words.startswith("nothing was"):
        status = 503
    else:
        status = 422
    return ApiError(status, sentence(words))


def pointer_of(key: str) -> str:
    """The JSON pointer (RFC 6901 §3) of a dotted key: listener[1].kind is /listener/0/kind."""
    if key.startswith("/"):
        return key
    return "/" + _NUMBER.sub(lambda found: f".{int(found[1]) - 1}", key).replace(".", "/")


def escape(name: str) -> str:
    """A name as a part of a JSON pointer (RFC 6901 §3)."""
    return name.replace("~", "~0").replace("/", "~1")


def sentence(words: str) -> str:
    """With a capital letter and a full stop."""
    return f"{words[:1].upper()}{words[1:]}" + ("" if words.endswith((".", "!", "?")) else ".")
