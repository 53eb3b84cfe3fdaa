"""What answers about settings look like."""

from typing import Any, Final

from cmail.web.api.schema import fields, list_of, moment, one_of, told, whole

_ANY: Final[dict[str, Any]] = {"description": "Text, a number, true or false, or a list, as in cmail.toml."}
_SETTING: Final = fields(
    {
        "key": told("Dotted, as in the manual."),
        "pointer": told("The same as a JSON pointer into `values`."),
        "value": _ANY,
        "default": {"description": "null: the file has to say it."},
        "kind": one_of("switch", "choice", "number", "decimal", "text", "duration", "size", "list", "tables"),
        "choices": list_of(told()),
        "unit": told(),
        "sentence": told("What it is."),
        "is_in_file": {"type": "boolean"},
        "is_changed": {"type": "boolean", "description": "Somebody has drafted another value on the page."},
        "at_restart": {"type": "boolean", "description": "Takes effect when the server is started again."},
        "file_only": {"type": "boolean", "description": "Names a path or a program: not set here."},
    },
    {"draft": {"description": "That other value."}},
)
SETTINGS: Final = fields(
    {
        "values": {
            "type": "object",
            "description": "Tables as in cmail.toml; defaults where it says nothing.",
        },
        "settings": list_of(_SETTING),
    }
)
SETTINGS_EXAMPLE: Final = {
    "values": {"smtp": {"port": 587}},
    "settings": [
        {
            "key": "smtp.port",
            "pointer": "/smtp/port",
            "value": 587,
            "default": 25,
            "kind": "number",
            "choices": [],
            "unit": "",
            "sentence": "Port Number of the upstream server.",
            "is_in_file": True,
            "is_changed": False,
            "at_restart": False,
            "file_only": False,
        }
    ],
}
_CHANGE: Final = fields(
    {"key": told(), "old": told("As it stood in the file; empty: not at all."), "new": told()}
)
_NOTES: Final = list_of(told(), words="What takes effect later, or did not yet.")
PATCHED: Final = fields(
    {
        "changes": list_of(_CHANGE),
        "notes": _NOTES,
        "is_applied": {"type": "boolean", "description": "The running server has taken it over."},
    }
)
PATCHED_EXAMPLE: Final = {
    "changes": [{"key": "smtp.port", "old": "25", "new": "587"}],
    "notes": [],
    "is_applied": True,
}
VERSIONS: Final = fields(
    {
        "versions": list_of(
            fields({"number": whole(), "saved": moment(), "by": told(), "changes": list_of(_CHANGE)})
        )
    }
)
VERSIONS_EXAMPLE: Final = {
    "versions": [
        {
            "number": 2,
            "saved": "2026-01-31T08:15:00Z",
            "by": "token setup",
            "changes": [{"key": "smtp.port", "old": "25", "new": "587"}],
        }
    ]
}
BROUGHT: Final = fields({"notes": _NOTES})
