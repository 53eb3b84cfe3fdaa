"""What questions about the queue look like, and their answers."""

from typing import Any, Final

from cmail.web.api.schema import fields, list_of, moment, one_of, text, told, whole

PAGE_MAX: Final = 1000
IDS_MAX: Final = 10_000
UNITS_MS: Final = {"s": 1000, "m": 60_000, "h": 3_600_000, "d": 86_400_000, "w": 604_800_000}
# What can be done, and to whom.
ACTIONS: Final = {
    "flush": "it tries what is queued",
    "hold": "it holds what is queued",
    "release": "it releases what is held",
    "bounce": "it returns what is queued or held and is not being sent just now",
    "delete": "it deletes what is queued or held",
}
ACTION: Final = one_of(*ACTIONS)
BECAUSE: Final = text("What the sender is told (bounce).", most=1000, example="The address is closed.")
CURSOR: Final = text("The `next` of the page before.", most=40)

_STATE: Final = one_of("queued", "held")
_OLDER: Final[dict[str, Any]] = {
    "type": "string",
    "pattern": "^[0-9]{1,9}[smhdw]$",
    "description": "Only what arrived at least so long ago: 30m, 4h, 5d.",
    "examples": ["4h"],
}
QUERY: Final = {
    "from": text("Part of the reverse-path; <> is the null one.", example="anna@"),
    "to": text("Part of the forward-path."),
    "domain": text("The domain of the forward-path, whole.", most=255, example="example.net"),
    "state": _STATE,
    "reason": text("Part of why it waits.", example="greylist"),
    "older_than": _OLDER,
}
FILTER: Final = fields({}, {"ids": list_of(text(most=13), least=1, most=IDS_MAX), **QUERY}, minProperties=1)

_RECIPIENT: Final = fields(
    {
        "id": told("The queue id of its message."),
        "position": whole("Which recipient of the message."),
        "from": told("Reverse-path; empty: the null one."),
        "to": told("Forward-path."),
        "size": whole("Octets."),
        "state": _STATE,
        "attempts": whole(),
        "next_attempt": moment("null: nobody knows, or never by itself."),
        "reason": told("What the last server said, or what else was in the way."),
        "arrived": moment(),
        "why": told("The same in plain words."),
        "advice": told("What to do."),
    }
)
_RECIPIENT_EXAMPLE: Final = {
    "id": "1Q3F8ZK2M0T40",
    "position": 0,
    "from": "anna@example.org",
    "to": "bob@example.net",
    "size": 4711,
    "state": "queued",
    "attempts": 2,
    "next_attempt": "2026-01-31T08:25:00Z",
    "reason": "mx.example.net[192.0.2.9]:25: rcpt: 450 4.7.1 greylisted",
    "arrived": "2026-01-31T08:15:00Z",
    "why": "Their server wants every new sender to wait a little (greylisting). …",
    "advice": "It is tried again by itself.",
}
LIST: Final = fields(
    {
        "recipients": list_of(_RECIPIENT),
        "next": {"type": ["string", "null"], "description": "`after` of the next page; null: that was all."},
    }
)
LIST_EXAMPLE: Final = {"recipients": [_RECIPIENT_EXAMPLE], "next": None}
MESSAGE: Final = fields(
    {
        "id": told(),
        "from": told(),
        "size": whole(),
        "origin": told("How it came in."),
        "envid": told(),
        "ret": told(),
        "arrived": moment(),
        "recipients": list_of(_RECIPIENT, words="Those that wait still."),
        "header": told("The header section as it is, CRLF lines; octets that are no UTF-8 are replaced."),
    }
)
MESSAGE_EXAMPLE: Final = {
    "id": "1Q3F8ZK2M0T40",
    "from": "anna@example.org",
    "size": 4711,
    "origin": "anna@example.org from unknown[192.0.2.7] by ESMTPSA",
    "envid": "",
    "ret": "",
    "arrived": "2026-01-31T08:15:00Z",
    "recipients": [_RECIPIENT_EXAMPLE],
    "header": "Subject: hello\r\n",
}
CHANGED: Final = fields(
    {"recipients": whole("How many recipients it was done to.", 0)},
    {"words": list_of(text(), words="What becomes of them, where exchanges or links keep mail.")},
)
CHANGED_EXAMPLE: Final = {"recipients": 1}
