"""What goes wrong with disk or accounts when it is asked for: an answer in words, no mistake of ours."""

from collections.abc import AsyncIterator
from typing import Final

from cmail.net.control import EX_TEMPFAIL, Answered, AnswerFunction, ControlError, Fields
from cmail.storage.account_book import AccountError
from cmail.storage.quarantine import NotThereError, QuarantineError
from cmail.storage.spool import SpoolError

EX_NOUSER: Final = 67


def in_words(function: AnswerFunction) -> AnswerFunction:
    """The same function; its rows may end with such an answer too."""

    async def answer(request: Fields) -> Answered:
        try:
            answered = await function(request)
        except QuarantineError as error:
            code = EX_NOUSER if isinstance(error, NotThereError) else EX_TEMPFAIL
            raise ControlError(str(error), code) from None
        except (SpoolError, AccountError) as error:
            raise ControlError(str(error), EX_TEMPFAIL) from None
        return answered if isinstance(answered, dict) else _rows(answered)

    return answer


async def _rows(found: AsyncIterator[Fields]) -> AsyncIterator[Fields]:
    try:
        async for row in found:
            yield row
    except SpoolError as error:
        raise ControlError(str(error), EX_TEMPFAIL) from None
