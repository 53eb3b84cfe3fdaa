"""/messages: mail from programs, as JSON or as a whole message. 202 says what 250 says: we have it."""

from collections.abc import AsyncIterator, Sequence
from typing import Any, Final

from starlette.responses import JSONResponse

from cmail.admin.incoming import Injected
from cmail.mail.address import Address, AddressSyntaxError, parse_address
from cmail.mail.composed import compose
from cmail.mail.envelope import Envelope, Recipient
from cmail.web.api.bodies import pieces
from cmail.web.api.operation import PREFIX, RAW, Call, Operation
from cmail.web.api.problems import ApiError, Fault
from cmail.web.api.schema import fields, list_of, text, told, whole

Fields = dict[str, Any]
RECIPIENTS_MAX: Final = 1000
_ADDRESS_MAX: Final = 1024
_PIECE: Final = 64 * 1024
_NOT_SENT: Final = "Nothing was sent."


async def inject(call: Call) -> JSONResponse:
    """Durable when this answers."""
    place = "parameter" if call.media == RAW else "pointer"
    given = _said(call)
    envelope = _envelope(place, given["from"], given["to"])
    incoming = call.context.incoming
    size_max = call.context.message_size_max()
    content = pieces(call.request, size_max) if call.media == RAW else _composed(call.body, envelope)
    client = call.request.client.host if call.request.client else ""
    found = await incoming.inject(envelope, content, by=call.by, client=client)
    if found.refused:
        raise _refusal(place, given["to"], envelope, found)
    call.context.overviews.forget()
    answer = {"id": found.queue_id, "size": found.size_bytes, "recipients": len(envelope.recipients)}
    return JSONResponse(answer, 202, {"location": f"{PREFIX}/queue/{found.queue_id}"})


def _said(call: Call) -> Fields:
    """Where from and to are said."""
    if call.media != RAW:
        if call.query:
            raise ApiError(400, "from and to stand in the JSON, not in the address.")
        return dict(call.body)
    faults = [{"parameter": n, "detail": "is missing"} for n in ("from", "to") if n not in call.query]
    if faults:
        raise ApiError(400, "The address must say from and to.", faults)
    return dict(call.query)


def _envelope(place: str, author: str, forward_paths: Sequence[str]) -> Envelope:
    """All that is wrong at once. An empty author is the null reverse-path, of a whole message only."""
    faults: list[Fault] = []

    def parsed(where: str, given: str) -> Address | None:
        try:
            return parse_address(given.encode())
        except AddressSyntaxError as error:
            faults.append({place: where, "detail": f"{given!r:.80} is not an address: {error}"})
            return None

    is_json = place == "pointer"
    reverse_path = parsed("/from" if is_json else "from", author) if author or is_json else None
    found = [
        parsed(f"/to/{number}" if is_json else "to", given) for number, given in enumerate(forward_paths)
    ]
    if faults:
        raise ApiError(422, _NOT_SENT, faults)
    recipients = tuple(Recipient(each) for each in dict.fromkeys(found) if each is not None)
    everybody = [each.forward_path for each in recipients] + [reverse_path] * (reverse_path is not None)
    is_utf8 = not all(each is None or each.is_ascii for each in everybody)
    return Envelope(reverse_path, recipients, is_smtputf8=is_utf8)


async def _composed(body: Fields, envelope: Envelope) -> AsyncIterator[bytes]:
    assert envelope.reverse_path is not None
    recipients = [each.forward_path for each in envelope.recipients]
    octets = compose(envelope.reverse_path, recipients, body.get("subject", ""), body.get("text", ""))
    for at in range(0, len(octets), _PIECE):
        yield octets[at : at + _PIECE]


def _refusal(place: str, given: Sequence[str], envelope: Envelope, found: Injected) -> ApiError:
    """Each of those that were named whom nobody here is."""
    is_json = place == "pointer"
    words = {envelope.recipients[number].forward_path: words for number, words in found.refused.items()}
    faults = [
        {place: f"/to/{number}" if is_json else "to", "detail": f"{text}: {words[address]}."}
        for number, text in enumerate(given)
        if (address := parse_address(text.encode())) in words
    ]
    return ApiError(422, _NOT_SENT, faults)


_ADDRESS: Final = text(most=_ADDRESS_MAX, example="anna@example.org")
_TEXT: Final = {
    "type": "string",
    "pattern": "^[^\\u0000]*$",
    "description": "Plain text; lines end in LF or CRLF.",
}
_QUERY: Final = {
    "from": text("For message/rfc822: the reverse-path; empty: the null one.", most=_ADDRESS_MAX),
    "to": list_of(
        _ADDRESS, least=1, most=RECIPIENTS_MAX, words="For message/rfc822: a recipient; once for each."
    ),
}

OPERATIONS: Final = (
    Operation(
        "POST",
        "/messages",
        "send",
        "Send a message",
        inject,
        "202 says that we have it for good, as 250 does in SMTP; GET /queue/{id} shows it until it is"
        " delivered. As JSON a message is composed (From, To, Subject, Date, Message-ID, plain text). As"
        " message/rfc822 it is taken as it is: `from` and `to` in the address say where it goes, whatever its"
        " header says; lines may end in LF; Date and Message-ID are added when they are missing, Bcc is taken"
        " out.",
        query=_QUERY,
        body=fields(
            {"from": _ADDRESS, "to": list_of(_ADDRESS, least=1, most=RECIPIENTS_MAX)},
            {"subject": text(most=500, example="Your order"), "text": _TEXT},
        ),
        example={
            "from": "shop@example.org",
            "to": ["anna@example.org"],
            "subject": "Your order",
            "text": "It is on its way.\n",
        },
        is_raw_taken=True,
        status=202,
        result=fields({"id": told("The queue id."), "size": whole("Octets."), "recipients": whole()}),
        result_example={"id": "1Q3F8ZK2M0T40", "size": 512, "recipients": 1},
        refusals={413: "It is larger than smtp.advanced.max_message_size."},
    ),
)
