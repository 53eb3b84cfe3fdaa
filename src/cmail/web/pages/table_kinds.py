"""The arrays of tables that the generic editor knows: [[link.via]], [[link.kick]], [[collect]], [[site]]."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Final

from cmail.web.pages.dialog import Group
from cmail.web.row_words import Row, collect_words, kick_words, site_words, via_words

PASSWORD: Final = "password_file"  # a row that has it has a password, which is typed and never shown
PROGRAM: Final = "command"  # a row that has it is the file's alone


@dataclass(frozen=True, slots=True)
class TableKind:
    """One of them, and its page."""

    path: str
    key: str
    title: str
    words: str
    empty: str
    noun: str  # "a mailbox"
    sentence: Callable[[Row], str]
    groups: tuple[Group, ...]  # their keys: columns
    start: Mapping[str, Any] = field(default_factory=dict)  # of a new row, where the default would not do
    help: Mapping[str, str] = field(
        default_factory=dict
    )  # sentences for the page, where the file's are for files
    is_ordered: bool = False
    is_tested: bool = False
    links: tuple[tuple[str, str], ...] = ()  # path and words: where to go from here

    @property
    def columns(self) -> list[str]:
        """All that are on its page."""
        return [column for group in self.groups for column in group.keys]


_NOW: Final = ("/link", "The Link: how it is now, what has been, and what can be done at once")
VIA: Final = TableKind(
    "/links",
    "link.via",
    "Links to the Internet",
    "Ways to the Internet with names of their own, and what may use each. Without any, all mail may use"
    " whatever"
    " connection the machine has.",
    "None. All mail may use whatever connection the machine has; that suits most places.",
    "a link",
    via_words,
    (
        Group("The link", "", ("name", "device")),
        Group(
            "Its limits",
            "Mail that may not use any link waits, and nobody's mail is given up for that.",
            ("use", "largest", "budget", "window_budget", "window"),
        ),
        Group("How it is", "", ("rate", "cost")),
    ),
    help={
        "use": "Small is what is smaller than Advanced SMTP Configuration says under The line.",
        "cost": "In your money; for the history.",
        "device": "Such as ppp0 or wwan*. Empty: its state is told by hooks, or by hand with cmail link up"
        " NAME.",
    },
    links=(
        _NOW,
        ("/kicks", "Kicks: who is asked to send what waits there for us"),
        (
            "/advanced#timed-operations",
            "Advanced SMTP Configuration: Timed Operations, and how it is seen whether the line is there",
        ),
    ),
)
KICK: Final = TableKind(
    "/kicks",
    "link.kick",
    "Kicks",
    "A provider that keeps your mail until you are there wants to be told. At each link-up, in each"
    " exchange and on"
    " demand these steps are done in their order, until mail comes. To try them: Save Settings, then Kick"
    " now on The Link.",
    "None.",
    "a step",
    kick_words,
    (
        Group("Who is asked, and how", "", ("method", "host", "port", "text")),
        Group("Log-in", "For etrn and atrn alone.", ("tls", "username", PASSWORD)),
        Group("If no mail comes", "", ("wait", "repeat")),
    ),
    start={"method": "etrn"},
    help={
        "method": "Your provider says which of them it knows. A step that runs a program can be set in"
        " cmail.toml only.",
        "host": "Empty: the SMTP Host.",
        "port": "0: the usual one (the Trigger Port; 25, else 587 for etrn; 366, else 25 for atrn).",
        "text": "Empty: our first domain. For etrn a domain, @domain or #queue; for atrn domains with"
        " commas between,"
        r" or * for all that is kept for the log-in. For string the text, in which \r, \n, \t and \\ stand"
        r" for what"
        " they usually do.",
        "tls": "",
        "username": "Empty: no log-in. atrn needs one.",
    },
    is_ordered=True,
    links=(
        _NOW,
        ("/smtp", "SMTP Configuration: the kick of the SMTP Host, and the Trigger Port"),
    ),
)
COLLECT: Final = TableKind(
    "/collect",
    "collect",
    "Mailboxes elsewhere",
    "Mail that waits in mailboxes at a provider is fetched and delivered here: at each link-up, while we"
    " are on line,"
    " and in exchanges. No message comes twice, and none is deleted there before it is safe here.",
    "None. Mail comes by SMTP alone.",
    "a mailbox",
    collect_words,
    (
        Group("The mailbox", "", ("name", "protocol", "host", "tls", "port", "username", PASSWORD, "folder")),
        Group("Its mail", "", ("to", "keep", "largest")),
        Group("When", "", ("every", "idle")),
    ),
    start={"protocol": "imap"},
    help={
        "name": "What you call it.",
        "protocol": "IMAP where there is both: new mail comes at once.",
        "host": "Your provider tells it on its web page, under POP3 or IMAP.",
        "username": "Often the whole address.",
        "to": "An address here; or @ and a domain, for a mailbox with the mail of all people there. It is"
        " sorted by what its server wrote on it (Delivered-To and the like); postmaster gets what is for"
        " nobody here.",
        "keep": "None is fetched twice.",
        "every": "While we are on line; 0s: at link-up and in exchanges alone.",
        "idle": "By IMAP, while we are on line: stay connected (IDLE).",
        "tls": "",
        "port": "0: the usual one (995 and 993 with TLS from the first byte, else 110 and 143).",
    },
    is_tested=True,
    links=(_NOW,),
)
SITE: Final = TableKind(
    "/sites",
    "site",
    "Sites",
    "Servers that come and go, such as a ship or a branch office. Their mail comes here, is kept however"
    " long they are"
    " away, and goes to them the moment they ask.",
    "None.",
    "a site",
    site_words,
    (
        Group("The site", "", ("name", "domains")),
        Group(
            "How it asks for its mail",
            "By a log-in, or from addresses that are its own. One of them is needed.",
            ("user", PASSWORD, "networks", "stays"),
        ),
        Group(
            "Where its mail is sent",
            "After ATRN over the same connection; these two are for the other ways.",
            ("host", "tls"),
        ),
        Group("How much waits", "", ("largest", "messages", "size")),
    ),
    help={
        PASSWORD: "Needed only where the site takes its mail by ATRN with software that knows CRAM-MD5 alone,"
        " such as fetchmail; all others log in with the password of the account.",
        "tls": "",
    },
    links=(
        _NOW,
        (
            "/host",
            "Host Configuration: a place where sites ask (odmr, finger) is a line of Where mail comes in",
        ),
        ("/users", "Users and Aliases: the account with which a site logs in"),
    ),
)
KINDS: Final = (VIA, KICK, COLLECT, SITE)
