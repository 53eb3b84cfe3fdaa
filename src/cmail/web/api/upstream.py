"""/test-upstream: the upstream server, or the mail server of a domain, tried step by step."""

from collections.abc import Mapping, Sequence
from typing import Any, Final

from cmail.admin.upstream_steps import Step
from cmail.admin.upstream_test import Upstream, test_mx, test_upstream
from cmail.mail.address import AddressSyntaxError, parse_domain
from cmail.net.dns_client import DnsClient
from cmail.net.settings import DnsSettings
from cmail.web.api.operation import Call, Operation
from cmail.web.api.problems import ApiError
from cmail.web.api.schema import fields, list_of, one_of, text, told
from cmail.web.desk import SettingView

Fields = dict[str, Any]
AT_ONCE_MAX: Final = 2
_running: Final[list[Call]] = []


async def test(call: Call) -> Fields:
    """By the settings that hold, not by a draft."""
    if len(_running) >= AT_ONCE_MAX:
        raise ApiError(503, "Other tests are running.")
    _running.append(call)
    try:
        steps = await _try(call, (call.body or {}).get("domain", ""))
    finally:
        _running.remove(call)
    is_ok = not any(step.state == "failed" for step in steps)
    return {"is_ok": is_ok, "steps": [_shown(step) for step in steps]}


async def _try(call: Call, domain: str) -> Sequence[Step]:
    settings = call.context.desk.settings()
    resolver = DnsClient(DnsSettings(tuple(settings["dns.servers"].saved)))
    is_offline = (await call.context.overviews.get()).is_online is False
    if domain:
        try:
            parse_domain(domain)
        except AddressSyntaxError as error:
            faults = [{"pointer": "/domain", "detail": str(error)}]
            raise ApiError(422, "The body has errors; nothing was done.", faults) from None
        return await test_mx(domain, _mx(call, settings), resolver, is_offline=is_offline)
    return await test_upstream(_upstream(call, settings), resolver, is_offline=is_offline)


def _upstream(call: Call, settings: Mapping[str, SettingView]) -> Upstream:
    return Upstream(
        str(settings["host.hostname"].saved),
        _sender(settings),
        str(settings["smtp.host"].saved),
        int(settings["smtp.port"].saved),
        settings["smtp.tls"].saved,
        str(settings["smtp.username"].saved),
        call.context.smtp_password(),
        call.context.ca_file(),
    )


def _mx(call: Call, settings: Mapping[str, SettingView]) -> Upstream:
    return Upstream(
        str(settings["host.hostname"].saved),
        _sender(settings),
        port=int(settings["smtp.advanced.outbound_port"].saved),
        tls="none" if settings["smtp.tls"].saved == "none" else "opportunistic",
        ca_file=call.context.ca_file(),
    )


def _sender(settings: Mapping[str, SettingView]) -> str:
    """Whose mail it would be: the upstream server knows its customers."""
    username = str(settings["smtp.username"].saved)
    domains = settings["host.domains"].saved
    host = domains[0] if domains else settings["host.hostname"].saved
    return username if "@" in username else f"postmaster@{host}"


def _shown(step: Step) -> Fields:
    return {
        "name": step.name,
        "state": step.state,
        "words": step.words,
        "advice": step.advice,
        "raw": list(step.raw),
    }


_STEP: Final = fields(
    {
        "name": told(),
        "state": one_of("ok", "note", "failed", "not tried"),
        "words": told("How it went."),
        "advice": told("What to do; empty: nothing."),
        "raw": list_of(told(), words="What was said on the line; no password is in it."),
    }
)

OPERATIONS: Final = (
    Operation(
        "POST",
        "/test-upstream",
        "admin",
        "Try the connection to the upstream server, step by step",
        test,
        "Name, address, port, greeting, encryption, log-in, and whether our mail would be taken; no message"
        " is sent. With `domain`, the mail server of that domain. It may take 90 s.",
        body=fields({}, {"domain": text(least=1, most=255, example="example.net")}),
        is_body_optional=True,
        example={},
        result=fields({"is_ok": {"type": "boolean"}, "steps": list_of(_STEP)}),
        result_example={
            "is_ok": False,
            "steps": [
                {
                    "name": "Name",
                    "state": "failed",
                    "words": "No SMTP Host is set.",
                    "advice": "Ask your provider for it.",
                    "raw": [],
                }
            ],
        },
    ),
)
