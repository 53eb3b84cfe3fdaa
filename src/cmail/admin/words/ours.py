"""What is so before anybody was asked, and what we say ourselves."""

from collections.abc import Sequence
from typing import Final

from cmail.admin.words.row import Row, Whose

_SMTP: Final = "/smtp"
_FLUSH: Final = "then: cmail queue flush"

# What is so before anybody was asked: admin/why.py knows when.
SERVER_DOWN: Final = Row(
    "server down", Whose.OURS, "The server is not running, so nothing is sent.", "Start the server.",
    command="Start it: cmail serve",
)  # fmt: skip
ON_HOLD: Final = Row(
    "on hold",
    Whose.NOBODY,
    "It is on hold: somebody (or a rule) stopped it, and it stays until it is released.",
    "Release lets it go; Delete or Return to sender ends it.",
    command="cmail queue release {id}   (or: cmail queue delete {id})",
)
OFF_LINE: Final = Row(
    "off line",
    Whose.LINE,
    "We are off line. While we are, nothing is tried, and the message does not get older.",
    "It goes by itself as soon as the line is up. Is it up already? Then press On line on Home.",
    "/",
    "It goes by itself as soon as the link is up (cmail link status shows it).",
    phrases=("network unreachable", "no route to the host", "the network is down",
             "no dns server can be asked"),
)  # fmt: skip
BATCH: Final = Row(
    "batch",
    Whose.NOBODY,
    "Mail for the Internet is collected here and goes at the next exchange.",
    "Send now does not wait for it. Advanced SMTP Configuration has the switch (Batch Mail for Delivery).",
    "/advanced",
    "It is collected because of queue.batch. To send now: cmail queue flush",
)
KEPT: Final = Row(
    "not over this link",
    Whose.NOBODY,
    "It may not go over the links that are up now, or waits for the next exchange.",
    "It goes by itself when it may. What may go over which link is set with the links, when it goes with"
    " the exchanges.",
    command="It goes by itself when it may: [[link.via]] and [exchange] say so. To begin an exchange now:"
    " cmail link exchange",
)
FOR_LATER: Final = Row(
    "for later",
    Whose.NOBODY,
    "Its sender wants it sent later.",
    "It goes by itself then. Release sends it now; Delete ends it.",
    command="It goes by itself then. To send it now: cmail queue release {id}",
    phrases=("its sender wants it sent on",),
)
TOO_LARGE_EVER: Final = Row(
    "fits no link",
    Whose.MESSAGE,
    "It is on hold: it is larger than what any link could ever carry.",
    "Release lets it be tried all the same; Delete or Return to sender ends it.",
    command="cmail queue release {id}   lets it be tried all the same   (or: cmail queue delete {id})",
)
SITE_AWAY: Final = Row(
    "site away",
    Whose.NOBODY,
    "It is for a site that comes and goes, and goes when that comes for it.",
    "Nothing: the site comes for its mail by itself.",
    command="The site comes for its mail by itself. When it was here last: cmail site list",
)
BEING_SENT: Final = Row(
    "being sent",
    Whose.NOBODY,
    "It is being sent now.",
    "Nothing: it leaves the queue when the other side has taken it.",
)
NEW: Final = Row("new", Whose.NOBODY, "It is new and has not been tried yet.", "Nothing: it goes by itself.")

# In the order in which they are looked at.
BEFORE: Final[Sequence[Row]] = (
    SERVER_DOWN,
    ON_HOLD,
    BATCH,
    KEPT,
    FOR_LATER,
    TOO_LARGE_EVER,
    SITE_AWAY,
    BEING_SENT,
    NEW,
)

# What we say ourselves.
OURS: Final[Sequence[Row]] = (
    Row(
        "returned by administrator",
        Whose.NOBODY,
        "The administrator gave it back to its sender.",
        "Its sender was told.",
        phrases=("returned by the administrator",),
    ),
    Row(
        "expired",
        Whose.THEIRS,
        "It could not be delivered in time.",
        "Its sender was told. How long is tried: Lifetime, in Advanced SMTP Configuration.",
        "/advanced",
        "Its sender was told. How long is tried: [queue] lifetime",
        ("not delivered in time", "could not be delivered in time", "retry timeout exceeded",
         "message expired", "delivery time expired"),
        ("x.4.7",),
    ),
    Row(
        "possible duplicate",
        Whose.THEIRS,
        "Their server had all of the message and did not say what became of it. It is sent again, rather than"
        " lost, so whoever it is for may get it twice.",
        "If it must not come twice, put it on hold and ask there whether it has arrived.",
        command="If it must not come twice, stop it (cmail queue hold {id}) and ask there whether it has"
        " arrived.",
        phrases=("it may have arrived",),
    ),
    Row(
        "no upstream server",
        Whose.OURS,
        "No upstream server is named, so mail for the Internet cannot leave.",
        "Name it (SMTP Host) in SMTP Configuration, or choose MX resolution there, and save.",
        _SMTP,
        f'Set host in [smtp], or delivery = "mx", {_FLUSH}',
        ("no smtp host", "no host named"),
    ),
    Row(
        "upstream name wrong",
        Whose.OURS,
        "The upstream server that is named in the settings cannot be found: its name does not exist.",
        "Check the spelling of SMTP Host in SMTP Configuration, and save.",
        _SMTP,
        f"Check host in [smtp], {_FLUSH}",
        ("of the settings does not exist", "of the settings has no address"),
    ),
    Row(
        "password unreadable",
        Whose.OURS,
        "The password for the upstream server cannot be read from its file.",
        "Type it again in SMTP Configuration, and save.",
        _SMTP,
        f"Check password_file in [smtp], and who may read it, {_FLUSH}",
        ("the password for * cannot be read",),
    ),
    Row(
        "mailbox quota here",
        Whose.RECIPIENT,
        "The mailbox here is full (over its quota).",
        "Its owner has to delete something, or you give it more room.",
        phrases=("the mailbox * is over its quota",),
    ),
    Row(
        "our disk",
        Whose.OURS,
        "Our disk does not take it, or does not give it back: it is full or in trouble.",
        "Make room on the disk, or see to it; Home and the log say more. Nothing is lost.",
        "/log",
        "Make room on the disk, or see to it; cmail status and the log say more. Nothing is lost.",
        ("no space on the disk", "no space left on device", "the mailbox * cannot be written",
         "mail cannot be delivered here", "the content of the message cannot be read",
         "the content of the message has"),
    ),
    Row(
        "our settings",
        Whose.OURS,
        "Something in our settings does not fit, so it cannot be sent this way.",
        "The raw words name the setting. Put it right, and save.",
        "/save",
        f"The reason names the setting: put it right (cmail config check), {_FLUSH}",
        ("tls.ca_file", "local.lmtp", "nothing in the settings delivers this way"),
    ),
    Row(
        "our program",
        Whose.OURS,
        "Something went wrong in this program. The message is safe.",
        "The log has the details: please report them.",
        "/log",
        "The log has the details: please report them.",
        ("a mistake in this program", "a mistake of this program", "a mistake of ours", "an error of ours"),
    ),
    Row(
        "domain of ours not set",
        Whose.OURS,
        "Mail for this domain is sent to this server, and this server does not take mail for it.",
        "If the domain is yours, add it to Domains in Host Configuration, and save.",
        "/host",
        f"If the domain is yours, add it to domains in [host], {_FLUSH}",
        ("is this server, which does not take mail for it",),
    ),
    Row(
        "stopped",
        Whose.NOBODY,
        "It was stopped in between: the line went down or the server was stopped.",
        "Nothing: it goes by itself.",
        phrases=("the delivery was stopped", "it was not its turn"),
    ),
    OFF_LINE,
    Row(
        "closed list",
        Whose.RECIPIENT,
        "The recipient is a list or a group that does not take mail from everybody.",
        "Ask the owner of the list to allow the sender.",
        phrases=("sendernotauthenticatedforgroup", "restrictedrecipient", "resolver.rst",
                 "not authorized to send to", "only members", "members only", "subscribers only",
                 "not permitted to send to", "not allowed to send to", "notauthorized"),
        statuses=("x.7.2", "x.2.4", "5.7.133", "5.7.124", "5.7.129"),
    ),
)  # fmt: skip
