"""/history: figures of the last 24 hours, in steps of five minutes."""

from typing import Any, Final

from cmail.admin.history import Counts
from cmail.admin.rows import rfc3339
from cmail.web.api.operation import Call, Operation
from cmail.web.api.problems import ApiError
from cmail.web.api.schema import fields, list_of, moment, whole

Fields = dict[str, Any]


async def history(call: Call) -> Fields:
    """Today, and the steps; null where nobody counted."""
    found = call.context.history
    if found is None:
        raise ApiError(503, "Nobody counts.")
    await found.refresh()
    chart = found.chart()
    names = ("in", "out", "refused", "waiting")
    steps = [
        {"time": rfc3339((chart["time"][at] or 0) * 1000), **{name: chart[name][at] for name in names}}
        for at in range(len(chart["time"]))
    ]
    most, when_ms = found.peak()
    peak = {"accepted": most, "time": rfc3339(when_ms)}
    return {"today": _shown(found.today()), "peak": peak, "steps": steps}


def _shown(counts: Counts) -> Fields:
    names = ("accepted", "delivered", "refused", "bounced", "waiting")
    return {name: int(getattr(counts, name)) for name in names}


_NUMBER: Final = {"type": ["integer", "null"]}
_STEP: Final = fields(
    {"time": moment("When it began."), "in": _NUMBER, "out": _NUMBER, "refused": _NUMBER, "waiting": _NUMBER}
)
_TODAY: Final = fields(
    {
        "accepted": whole("Messages."),
        "delivered": whole("Recipients."),
        "refused": whole(),
        "bounced": whole("Recipients, with those that expired."),
        "waiting": whole("The most that waited at once."),
    }
)

OPERATIONS: Final = (
    Operation(
        "GET",
        "/history",
        "read",
        "Figures of today and of the last 24 hours",
        history,
        result=fields(
            {
                "today": _TODAY,
                "peak": fields({"accepted": whole("The most messages in one minute."), "time": moment()}),
                "steps": list_of(_STEP, words="Of five minutes each; null: nobody counted."),
            }
        ),
        result_example={
            "today": {"accepted": 120, "delivered": 140, "refused": 3, "bounced": 1, "waiting": 9},
            "peak": {"accepted": 14, "time": "2026-01-31T08:15:00Z"},
            "steps": [{"time": "2026-01-31T08:15:00Z", "in": 4, "out": 5, "refused": 0, "waiting": 2}],
        },
    ),
)
