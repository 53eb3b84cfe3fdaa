"""Rows of [[link.via]], [[link.kick]], [[collect]] and [[site]] in plain words: what each of them says."""

import re
from collections.abc import Mapping, Sequence
from typing import Any, Final

Row = Mapping[str, Any]  # as the file has it, defaults where it says nothing

_SPAN: Final = re.compile(r"(\d+(?:\.\d+)?)\s*(ms|s|m|h|d|w)\Z")
_UNITS: Final = {"ms": "millisecond", "s": "second", "m": "minute", "h": "hour", "d": "day", "w": "week"}
_SIZE: Final = re.compile(r"(\d+(?:\.\d+)?)\s*(B|KiB|MiB|GiB|TiB)?\Z")
_TLS: Final = {
    "none": "unencrypted",
    "opportunistic": "encrypted where the server can",
    "required": "encrypted",
    "implicit": "encrypted",
}
_USE: Final = {
    "all": "All mail may use it",
    "small": "Small and urgent mail may use it",
    "urgent": "Urgent mail alone may use it",
    "nothing": "No mail may use it",
}


def span(value: Any) -> str:
    """15m: 15 minutes; what is no duration stays as it is."""
    found = _SPAN.match(str(value).strip())
    return f"{found[1]} {_UNITS[found[2]]}{'' if found[1] == '1' else 's'}" if found else str(value)


def octets(value: Any) -> str:
    """2MiB: 2 MiB."""
    found = _SIZE.match(str(value).strip())
    return f"{found[1]} {found[2] or 'octets'}" if found else str(value)


def is_set(value: Any) -> bool:
    """Whether a number, a duration or a size is not 0."""
    return not re.fullmatch(r"[0.]+\s*[a-zA-Z]*", str(value).strip())


def via_words(row: Row) -> str:
    """One link."""
    said = [_USE.get(str(row["use"]), str(row["use"]))]
    said += [f"at {row['rate']} kbit/s"] if is_set(row["rate"]) else []
    said += [f"messages up to {octets(row['largest'])}"] if is_set(row["largest"]) else []
    said += [f"at most {octets(row['budget'])} a day"] if is_set(row["budget"]) else []
    if is_set(row["window_budget"]):
        kind = "one of its windows" if row["window"] else "an exchange"
        said += [f"at most {octets(row['window_budget'])} in {kind}"]
    said += [f"only {_several(row['window'])}"] if row["window"] else []
    said += [f"a MiB costs {row['cost']:g}"] if is_set(row["cost"]) else []
    devices = f" It is there when {_several(row['device'], 'or')} is." if row["device"] else ""
    return f"{', '.join(said)}.{devices or ' Its state is told by hand or by hooks alone.'}"


def kick_words(row: Row) -> str:
    """One step of the plan."""
    method, host = row["method"], row["host"] or "the SMTP Host"
    where = f"{host}, port {row['port']}" if is_set(row["port"]) else host
    what = row["text"]
    ways = {
        "finger": f"Says {what or 'our first domain'} to {where}",
        "connect": f"Opens a connection to {where}",
        "string": f"Says {what!r} to {where}",
        "etrn": f"Asks {where} by ETRN for the mail of {what or 'our first domain'}",
        "atrn": f"Takes the mail of {what or 'our first domain'} from {where} by ATRN",
        "command": f"Runs {' '.join(map(str, row['command']))}",
    }
    said = ways.get(method, str(method))
    said += f", as {row['username']}" if row["username"] else ""
    again = f" Tried again {_times(row['repeat'])}." if is_set(row["repeat"]) else ""
    return f"{said}. Mail has {span(row['wait'])} to come.{again}"


def collect_words(row: Row) -> str:
    """One mailbox elsewhere."""
    to = row["to"]
    whose = f"everybody at {to[1:]}, sorted by its server's notes" if str(to).startswith("@") else to
    how = f"{str(row['protocol']).upper()}, {_TLS.get(row['tls'], row['tls'])}"
    when = [f"every {span(row['every'])}"] if is_set(row["every"]) else []
    when += ["as soon as it comes"] if row["idle"] and row["protocol"] == "imap" else []
    when = when or ["at link-up and in exchanges"]
    kept = "It stays there." if row["keep"] else "What has come is deleted there."
    more = (
        f" Of messages above {octets(row['largest'])} only a preview comes." if is_set(row["largest"]) else ""
    )
    whom = f"Mail of {row['username']} at {row['host']} ({how}) goes to {whose}"
    return f"{whom}, {' and '.join(when)}. {kept}{more}"


def site_words(row: Row) -> str:
    """One site."""
    ways = [f"it logs in as {row['user']}"] if row["user"] else []
    ways += [f"it asks from {_several(row['networks'], 'or')}"] if row["networks"] else []
    where = f", and then sent to {row['host']}" if row["host"] else ""
    said = f"Mail for {_several(row['domains'])} is kept until {' or '.join(ways) or 'it comes'}{where}."
    said += (
        f" Messages above {octets(row['largest'])} wait until it asks for them."
        if is_set(row["largest"])
        else ""
    )
    most = [f"{row['messages']} messages"] if is_set(row["messages"]) else []
    most += [octets(row["size"])] if is_set(row["size"]) else []
    return said + (f" At most {' or '.join(most)} wait." if most else "")


def _several(values: Sequence[Any], word: str = "and") -> str:
    shown = [str(each) for each in values]
    return f" {word} ".join([", ".join(shown[:-1]), shown[-1]]) if len(shown) > 1 else "".join(shown)


def _times(count: Any) -> str:
    return {1: "once", 2: "twice"}.get(count, f"{count} times")
