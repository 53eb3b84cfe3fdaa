"""What a worker answers about kicks: how much mail came (link.arrivals), and a connection that turns round
(kick.atrn)."""

from collections.abc import Callable, Mapping
from ipaddress import ip_address

from cmail.app.settings import Settings
from cmail.link.kicks.target import Target
from cmail.net.control import AnswerFunction, ControlError, Fields
from cmail.protocol.sasl_client import Credentials
from cmail.smtpd.intake import Intake
from cmail.smtpd.turned import turn_round


def kick_answers(
    intake: Callable[[], Intake], settings: Callable[[], Settings]
) -> Mapping[str, AnswerFunction]:
    """The questions of the link process about kicks."""

    async def arrivals(request: Fields) -> Fields:
        addresses = request.get("addresses", [])
        if not isinstance(addresses, list):
            raise ControlError("not a list of addresses")
        found = intake().guests.arrivals
        found.watch(str(address) for address in addresses)
        return {"messages": found.count, "own": found.own_count}

    async def atrn(request: Fields) -> Fields:
        result = await turn_round(intake(), target_of(request, settings()))
        return {"verdict": result.verdict.value, "words": result.words}

    return {"link.arrivals": arrivals, "kick.atrn": atrn}


def target_of(request: Fields, settings: Settings) -> Target:
    """The target of kick.atrn; ControlError when that is none."""
    try:
        credentials = None
        if request["username"]:
            credentials = Credentials(str(request["username"]), str(request["password"]))
        return Target(
            "atrn",
            str(request["host"]),
            tuple(ip_address(address) for address in request["addresses"]),
            tuple(int(port) for port in request["ports"]),
            str(request["text"]),
            settings.host.hostname,
            settings.smtp.advanced.timeout.total_seconds(),
            request["tls"],
            credentials,
            settings.tls.ca_file,
        )
    except (KeyError, TypeError, ValueError):
        raise ControlError("not a target of a kick") from None
