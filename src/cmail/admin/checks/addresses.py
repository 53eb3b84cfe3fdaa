"""Addresses of our name and the names of our addresses: A, AAAA, reverse DNS."""

from collections.abc import Sequence
from dataclasses import dataclass

from cmail.admin.checks.finding import Finding, NotKnownError, State, listed, worst
from cmail.admin.checks.inquiry import Inquiry
from cmail.net.own_addresses import is_public
from cmail.policy.routing import is_near
from cmail.world import IPAddress


async def check_addresses(inquiry: Inquiry) -> Finding:
    """Where our host name leads."""
    hostname = inquiry.subject.hostname
    _need_public_name(inquiry)
    expected = f"{hostname} leads to the address that this server is reached by."
    found = await inquiry.addresses(hostname)
    if not found:
        inquiry.doubt()
        state = State.WRONG if inquiry.subject.is_mx else State.LOOK
        records, advice = _wanted(inquiry)
        return Finding(state, f"{hostname} has no address in the DNS.", expected, advice, records)
    words = f"{hostname} is {listed(found)}"
    raw = tuple(f"{hostname}. {'A' if each.version == 4 else 'AAAA'} {each}" for each in found)
    state, more, advice = _judge(inquiry, found)
    return Finding(state, f"{words}: {more}", expected, advice, raw=raw)


def _judge(inquiry: Inquiry, found: Sequence[IPAddress]) -> tuple[State, str, str]:
    if not any(is_public(each) for each in found):
        words = "that can only be reached from your own network."
        return (
            State.LOOK,
            words,
            "Other servers need your public address there, if they shall send mail here.",
        )
    if any(inquiry.reach.is_own(each) for each in found):
        strangers = [each for each in found if not inquiry.reach.is_own(each)]
        if strangers and any(is_public(each) for each in inquiry.reach.outgoing()):
            advice = "Take out what does not lead here."
            return State.LOOK, f"{listed(strangers)} is no address of this machine.", advice
        return State.GOOD, "an address of this machine.", ""
    outgoing = inquiry.reach.outgoing()
    if any(is_public(each) for each in outgoing):
        words = f"that is not this machine, which has {listed(outgoing)}."
        return State.LOOK, words, "Correct the record, or the host name under Host Configuration."
    behind = f" (its own address is {listed(outgoing)})" if outgoing else ""
    words = f"this machine is behind a router{behind}, so it cannot see whether that is its public address."
    advice = (
        "Compare it with the address that your router has outside; the router has to pass port 25 on to here."
    )
    return State.UNKNOWN, words, advice


def _need_public_name(inquiry: Inquiry) -> None:
    """A name that the world cannot know is said before the DNS is asked."""
    hostname = inquiry.subject.hostname
    if "." in hostname and not is_near(hostname):
        return
    found = f"{hostname!r} is no name that the Internet knows."
    expected = "A name of your domain, such as mail.example.org."
    state = State.WRONG if inquiry.subject.is_mx else State.LOOK
    raise NotKnownError(Finding(state, found, expected, "Set the host name under Host Configuration."))


def _wanted(inquiry: Inquiry) -> tuple[Sequence[str], str]:
    hostname = inquiry.subject.hostname
    public = [each for each in inquiry.reach.outgoing() if is_public(each)]
    advice = "Have this record entered where the DNS of your domain is kept."
    if not public:
        return (), f"Have an A record entered for {hostname}, with the public address of your line."
    return [f"{hostname}. 3600 IN {'A' if each.version == 4 else 'AAAA'} {each}" for each in public], advice


@dataclass(frozen=True, slots=True)
class _Name:
    """What the reverse DNS of one address says."""

    address: IPAddress
    names: Sequence[str]
    back: str = ""  # the name that leads back to the address


async def check_reverse(inquiry: Inquiry) -> Finding:
    """PTR of our public addresses, and whether the names lead back (RFC 1912 §2.1 asks for both)."""
    _need_public_name(inquiry)
    hostname = inquiry.subject.hostname
    addresses = await inquiry.public_addresses()
    expected = f"The public address leads to {hostname}, and that leads back to the address."
    if not addresses:
        inquiry.doubt()
        words = "The public address of this server is not known: see the row Addresses."
        return Finding(State.UNKNOWN, words, expected)
    found = [await _name_of(inquiry, address) for address in addresses]
    states = [_state(inquiry, each) for each in found]
    if State.GOOD not in states:
        inquiry.doubt()
    state = worst(states)
    words = " ".join(_words(each) for each in found)
    if not inquiry.subject.is_mx and state is not State.GOOD:
        through = inquiry.subject.smtp.host or "your upstream server"
        words = f"{words} Mail goes out through {through}, so it does not matter."
        return Finding(State.GOOD, words, expected)
    wanted = [
        f"{each.address.reverse_pointer}. 3600 IN PTR {hostname}."
        for each, state in zip(found, states, strict=True)
        if state is not State.GOOD
    ]
    advice = "Who gave you the address can enter it: ask your provider. Many servers refuse mail without."
    return Finding(state, words, expected, advice if wanted else "", wanted)


async def _name_of(inquiry: Inquiry, address: IPAddress) -> _Name:
    names = await inquiry.ask(lambda: inquiry.reach.dns.pointers(address))
    hostname = inquiry.subject.hostname
    for name in sorted(names[:10], key=lambda name: name != hostname):
        if address in await inquiry.addresses(name):
            return _Name(address, names, name)
    return _Name(address, names)


def _state(inquiry: Inquiry, name: _Name) -> State:
    if not name.back:
        return State.WRONG
    return State.GOOD if name.back == inquiry.subject.hostname else State.LOOK


def _words(name: _Name) -> str:
    if not name.names:
        return f"{name.address} has no name."
    if not name.back:
        return f"{name.address} is called {listed(name.names[:3])}, which does not lead back to it."
    return f"{name.address} is called {name.back}, which leads back to it."
