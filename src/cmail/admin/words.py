"""Codes into words: one table of what can stand in the way of a message, what it means and what to do.

The first row that recognises a reason is it. Its words are looked at first: they are more exact than numbers,
which many servers give at will; then its enhanced status (RFC 3463, and IANA's list of them); then its reply
code, with the stage at which it came (RFC 5321 §4.2). A row stands before those that it is more exact than.
What servers really say of each row stands in tests/unit/admin/test_words.py."""

from collections.abc import Sequence
from dataclasses import dataclass
from enum import Enum
from functools import lru_cache
from typing import Final

from cmail.admin.said import Said, has_phrase, read_reason


class Whose(Enum):
    """Whose trouble it is."""

    OURS = "ours"
    THEIRS = "theirs"
    LINE = "the line's"
    RECIPIENT = "the recipient's"
    MESSAGE = "the message's"
    NOBODY = "nobody's"  # it is as somebody wanted it


@dataclass(frozen=True, slots=True)
class Row:
    """One thing that can stand in the way."""

    name: str
    whose: Whose
    sentence: str
    advice: str  # for who looks at the page; "" when there is nothing to do but wait
    path: str = ""  # the page where it is done
    command: str = ""  # the advice for who sits at a command line, where that is another one; {id}
    phrases: Sequence[str] = ()  # parts of what is said, small letters; * is a gap
    statuses: Sequence[str] = ()  # "5.1.1"; x.1.1: of either class
    replies: Sequence[str] = ()  # "535", "5@log-in": the beginning of the code, and the stage

    def advice_for(self, *, is_page: bool) -> str:
        """What to do, there or here."""
        return self.advice if is_page else self.command or self.advice


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
NEW: Final = Row("new", Whose.NOBODY, "It is new and has not been tried yet.", "Nothing: it goes by itself.")

TABLE: Final[Sequence[Row]] = (
    SERVER_DOWN,
    ON_HOLD,
    BATCH,
    KEPT,
    TOO_LARGE_EVER,
    SITE_AWAY,
    NEW,
    # What we say ourselves.
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
    # Log-in and encryption.
    Row(
        "too many log-ins",
        Whose.THEIRS,
        "Their server has had too many log-ins from us and wants a pause.",
        "Wait. Other devices that use the same account with an old password are a common cause.",
        phrases=("too many login attempts", "too many auth", "too many failed login",
                 "login rate limit exceeded"),
    ),
    Row(
        "log-in another way",
        Whose.OURS,
        "Their server does not let programs log in with this password: the provider wants a password made for"
        " programs, or log-in by SMTP switched on.",
        "In the account at the provider make an app password (or switch on SMTP log-in), type it in SMTP"
        " Configuration, and save.",
        _SMTP,
        f"Make an app password at the provider (or switch on SMTP log-in there), put it into password_file of"
        f" [smtp], {_FLUSH}",
        ("application-specific password", "app password", "web browser", "less secure app",
         "smtpclientauthentication is disabled", "basic authentication is disabled"),
        ("x.7.9", "x.7.12"),
        ("534", "432"),
    ),
    Row(
        "log-in switched off",
        Whose.OURS,
        "The account with which we log in is switched off at the provider.",
        "Ask the provider, or use another account in SMTP Configuration.",
        _SMTP,
        f"Ask the provider, or use another username in [smtp], {_FLUSH}",
        statuses=("x.7.13",),
    ),
    Row(
        "log-in not offered",
        Whose.OURS,
        "A user name is set, and their server offers no log-in that can be used here.",
        "In SMTP Configuration choose STARTTLS with port 587 or TLS with port 465; or take the user name away"
        " if that server wants none.",
        _SMTP,
        f'In [smtp] set tls = "required" and port = 587, or take username away, {_FLUSH}',
        ("the server offers no log-in", "the password is not sent",
         "the server did not prove that it knows us"),
        replies=("50@log-in",),
    ),
    Row(
        "their encryption missing",
        Whose.THEIRS,
        "Their server does not offer encryption, and our settings demand it.",
        "Check the port (587 has STARTTLS, 465 TLS) in SMTP Configuration; without encryption everything can"
        " be read on the way.",
        _SMTP,
        f"Check port and tls in [smtp], {_FLUSH}",
        ("the server does not offer starttls",),
    ),
    Row(
        "they want encryption",
        Whose.OURS,
        "Their server takes mail on encrypted connections only.",
        "In SMTP Configuration set Security to STARTTLS or TLS, and save.",
        _SMTP,
        f'Set tls = "required" in [smtp], {_FLUSH}',
        ("must issue a starttls", "starttls command first", "starttls is required", "starttls required",
         "tls required", "tls is required", "tls encryption", "encryption required",
         "encryption is required",
         "encryption needed", "session encryption", "without encryption", "connection not encrypted",
         "use tls", "requires tls"),
        ("x.7.10", "x.7.11", "x.7.30"),
        ("538", "523"),
    ),
    Row(
        "they want a log-in",
        Whose.OURS,
        "Their server wants a log-in before it takes mail from us.",
        "Set user name and password in SMTP Configuration, and save.",
        _SMTP,
        f"Set username and password_file in [smtp], {_FLUSH}",
        ("authentication required", "authentication is required", "authentication needed",
         "smtp auth is required", "client was not authenticated", "client not authenticated",
         "must authenticate", "must be authenticated", "please authenticate", "auth first",
         "not authenticated", "log in first", "please login", "requires authentication"),
        (),
        ("530",),
    ),
    Row(
        "our password is wrong",
        Whose.OURS,
        "Their server does not accept our log-in: user name or password are wrong.",
        "Set user name and password in SMTP Configuration, and save. Nothing is lost meanwhile.",
        _SMTP,
        f"Check username and password_file in [smtp], {_FLUSH}",
        ("authentication failed", "authentication unsuccessful", "username and password not accepted",
         "incorrect authentication data", "invalid login", "invalid credentials",
         "bad username or password",
         "invalid user or password", "authentication credentials invalid", "login failed",
         "the server does not know our password",
         "character that no log-in may have"),
        ("x.7.8",),
        ("535", "5@log-in"),
    ),
    Row(
        "log-in in trouble",
        Whose.THEIRS,
        "Their server cannot check log-ins just now.",
        "",
        phrases=("temporary authentication failure", "the server asks for more than", "scram:",
                 "the server's challenge"),
        replies=("4@log-in",),
    ),
    Row(
        "certificate expired",
        Whose.THEIRS,
        "The certificate of their server has expired, so we do not trust it.",
        "Its owner has to renew it. Is our clock right? Checks shows it.",
        "/checks",
        "Its owner has to renew it. Is our clock right (date)?",
        ("certificate has expired", "certificate is not yet valid"),
    ),
    Row(
        "certificate mismatch",
        Whose.THEIRS,
        "The certificate of their server is for another name than the one in our settings.",
        "In SMTP Configuration use the name that the provider tells (not an address, not an old name).",
        _SMTP,
        f"Check host in [smtp]: it must be a name of the certificate, {_FLUSH}",
        ("hostname mismatch", "ip address mismatch", "certificate is not valid for", "doesn't match"),
    ),
    Row(
        "certificate unknown issuer",
        Whose.THEIRS,
        "The certificate of their server comes from nobody that we know (or is signed by itself).",
        "If that server is your own, name its authority (Trusted authorities, ca_file in [tls] of the file).",
        "",
        f"If that server is your own, set ca_file in [tls], {_FLUSH}",
        ("self-signed certificate", "self signed certificate", "unable to get local issuer",
         "unable to get issuer", "unable to verify the first certificate", "unknown ca"),
    ),
    Row(
        "certificate bad",
        Whose.THEIRS,
        "The certificate of their server is not good.",
        "Its owner has to see to it; the raw words say what is wrong.",
        phrases=("the certificate is not good", "certificate verify failed"),
    ),
    Row(
        "wrong kind of encryption",
        Whose.OURS,
        "The port and the kind of encryption do not belong together.",
        "In SMTP Configuration: STARTTLS goes with port 587 (or 25), TLS from the first byte with port 465.",
        _SMTP,
        f'In [smtp]: tls = "required" goes with port 587 or 25, "implicit" with 465, {_FLUSH}',
        ("wrong version number", "record layer failure", "packet length too long", "http request"),
    ),
    Row(
        "encryption failed",
        Whose.THEIRS,
        "The encrypted connection to their server did not come about.",
        "If it stays so, tell whoever runs that server; the raw words help there.",
        phrases=("the handshake failed", "tls handshake", "tls not available", "tls currently unavailable"),
        statuses=("x.7.4", "x.7.5", "x.7.6"),
        replies=("4@starttls", "5@starttls"),
    ),
    # What they think of the one who sends.
    Row(
        "greylisting",
        Whose.THEIRS,
        "Their server wants every new sender to wait a little (greylisting); it takes the message at a later"
        " attempt.",
        "",
        phrases=("greylist", "graylist", "grey list", "gray list", "grey-list", "gray-list", "postgrey",
                 "first-time sender", "first time sender", "please retry in * seconds"),
    ),
    Row(
        "rate limited",
        Whose.THEIRS,
        "We have sent too much at once for their server, or for the account that we log in with.",
        "If it goes on, send less at a time, or ask the provider for a higher limit.",
        phrases=("rate limit", "unusual rate", "throttl", "too many messages", "too many connections",
                 "too many concurrent", "too many simultaneous", "too many sessions", "too many emails",
                 "sending quota", "sending limit", "daily * limit", "hourly * limit", "per hour", "per day",
                 "too fast", "slow down", "exceeded the * rate", "tss0", "due to user complaints",
                 "unexpected volume", "mail flood", "ratelimit", "message rate", "submission quota",
                 "maximum number of * connections"),
        statuses=("x.7.28", "5.4.5"),
    ),
    Row(
        "sender not proved",
        Whose.OURS,
        "Their server cannot verify that we may send for this sender (SPF, DKIM or DMARC).",
        "Checks shows the records that your domain needs; whoever runs its DNS enters them.",
        "/checks",
        "Your domain needs an SPF and a DKIM record that name whoever sends for it.",
        ("spf", "dkim", "dmarc", "sender policy framework", "unauthenticated email",
         "unauthenticated sender",
         "authentication checks"),
        ("x.7.20", "x.7.21", "x.7.22", "x.7.23", "x.7.24", "x.7.26", "x.7.29"),
    ),
    Row(
        "our name in the DNS",
        Whose.OURS,
        "Their server does not like our name: our address has no reverse name in the DNS, or another.",
        "Checks shows what is missing; whoever gave you the address sets its reverse name. Or send through an"
        " upstream server.",
        "/checks",
        "Whoever gave you the address sets its reverse name (PTR). Or send through an upstream server.",
        ("reverse dns", "reverse hostname", "reverse lookup", "cannot find your hostname", "ptr record",
         "no ptr", "rdns", "helo command rejected", "invalid helo", "bad helo", "ehlo command rejected"),
        ("x.7.25",),
    ),
    Row(
        "blocklisted",
        Whose.OURS,
        "Their server does not take mail from our address on the Internet: it stands on a block list, or has"
        " a bad name.",
        "The raw words say which list; most have a page where one asks to be taken off. Until then send"
        " through an upstream server (SMTP Configuration).",
        _SMTP,
        'The reason says which list; most have a page where one asks to be taken off. Until then: delivery ='
        ' "smarthost" in [smtp]',
        ("blocklist", "block list", "block-list", "blacklist", "black list", "black-list", "blocked using",
         "spamhaus", "spamcop", "barracuda", "sorbs", "dnsbl", "rbl", "listed at", "is listed in",
         "listed on",
         "poor reputation", "low reputation", "bad reputation", "reputation of", "banned sending ip",
         "client host * blocked", "your ip * blocked", "dynamic ip", "dynamic address", "residential",
         "ip address * denied", "ip name lookup failed", "network is on our", "due to our policy * ip"),
        ("5.7.511", "5.7.606", "5.7.513", "4.7.650"),
    ),
    Row(
        "sender refused",
        Whose.MESSAGE,
        "Their server does not take mail from this sender address.",
        "Is the sender's address right, and may the account that we log in with send for it?",
        "",
        "",
        ("sender address rejected", "sender rejected", "sender verify failed", "sender denied",
         "sender address * not * exist", "envelope sender", "sender domain", "domain of sender",
         "not owned by user", "sendasdenied", "send as this sender", "sender is not allowed",
         "not allowed to send as", "from address is not", "from address not"),
        ("x.1.7", "x.1.8", "x.7.27", "5.7.60"),
    ),
    Row(
        "relaying denied",
        Whose.OURS,
        "Their server does not pass mail on for us: it does not know us, or is not responsible for the"
        " recipient's domain.",
        "If it is your upstream server, set user name and password in SMTP Configuration; else the MX record"
        " of the recipient's domain leads to the wrong server.",
        _SMTP,
        f"If it is your upstream server, set username and password_file in [smtp], {_FLUSH}",
        ("relay access denied", "relaying denied", "unable to relay", "relay not permitted", "relay denied",
         "relaying not allowed", "relaying not permitted", "not permitted to relay", "we do not relay",
         "relay not allowed", "no relay", "not a relay", "rcpthosts", "relaying prohibited", "not relay"),
        ("5.7.54", "5.7.64"),
    ),
    # The message.
    Row(
        "virus",
        Whose.MESSAGE,
        "Their server takes it for dangerous (a virus or malware).",
        "Look at the message and at the machine that it came from.",
        phrases=("virus", "malware", "infected", "malicious", "phishing"),
    ),
    Row(
        "attachment refused",
        Whose.MESSAGE,
        "Their server does not take this kind of attachment.",
        "Send the file in another form, or as a link.",
        phrases=("attachment", "file type", "file extension", "potential security issue", "executable"),
        statuses=("x.6.1",),
    ),
    Row(
        "spam",
        Whose.MESSAGE,
        "Their server takes the message for spam.",
        "If it is none: write it in other words, with fewer links, and ask the recipient to allow you. Checks"
        " shows whether your domain is set up as large servers expect it.",
        "/checks",
        "If it is none: write it in other words, with fewer links, and ask the recipient to allow you.",
        ("spam", "unsolicited", "junk", "bulk mail", "content rejected", "message content rejected",
         "high probability of", "content filter"),
    ),
    Row(
        "too large",
        Whose.MESSAGE,
        "The message is too large for their server.",
        "Send large files as a link, or in several messages.",
        phrases=("message size exceeds", "message too large", "message is too large",
                 "message file too big",
                 "message too big", "message is too big", "exceeds size limit", "exceeds maximum size",
                 "exceeds the maximum message", "exceeds the maximum size", "size limit",
                 "maximum message size", "message length exceeds",
                 "the message has * octets and * takes", "message size"),
        statuses=("x.3.4", "x.2.3", "x.7.16"),
        replies=("552@content", "552@mail", "552@data"),
    ),
    Row(
        "letters not taken",
        Whose.MESSAGE,
        "The message has letters (in an address or its header) that their server cannot take (8-bit,"
        " SMTPUTF8).",
        "Use addresses in plain letters a to z, or another way to reach the recipient.",
        phrases=("smtputf8", "8bitmime", "8-bit", "8bit", "non-ascii", "internationalized"),
        statuses=("x.6.3", "x.6.5", "x.6.7", "x.6.8", "x.6.9", "x.6.10"),
    ),
    Row(
        "loop",
        Whose.THEIRS,
        "The message goes round in circles between servers.",
        "Look at forwards and aliases of the recipient, here and there, and at the MX record of the domain.",
        "/users",
        "",
        ("too many hops", "hop count", "mail loop", "mail forwarding loop", "routing loop", "loops back",
         "its aliases lead through", "too many received", "possible loop"),
        ("x.4.6",),
    ),
    # The recipient.
    Row(
        "null MX",
        Whose.RECIPIENT,
        "The recipient's domain takes no mail at all, and says so.",
        "The address is wrong, or the domain is not used for mail: ask the recipient.",
        phrases=("(null mx)", "null mx", "nullmx", "does not accept mail", "does not accept email"),
        statuses=("x.1.10",),
        replies=("556", "521@rcpt"),
    ),
    Row(
        "no such domain",
        Whose.RECIPIENT,
        "The recipient's domain does not exist.",
        "Check what stands behind the @ of the address; most often it is misspelt.",
        phrases=("the domain * does not exist", "has neither a mail host nor an address",
                 "domain not found",
                 "unrouteable address", "unrouteable mail domain", "unroutable address", "no such domain",
                 "host not found", "host or domain name not found", "domain does not exist",
                 "type=mx: host not found", "domain is not hosted"),
        statuses=("x.1.2",),
    ),
    Row(
        "DNS trouble",
        Whose.THEIRS,
        "The mail server of the recipient's domain could not be looked up in the DNS.",
        "If that happens with all domains, check the name servers and the line (Checks); else it is theirs.",
        "/checks",
        "If that happens with all domains, check the line and servers in [dns]; else it is theirs.",
        ("no answer from the dns", "servfail", "does not exist (dns)", "has no address (dns)",
         "no mail host of", "dns error", "dns failure", "dns lookup", "name service error",
         "temporary lookup failure",
         "lookup failed", "temporarily unable to resolve", "cannot resolve"),
        ("x.4.3", "x.4.4"),
    ),
    Row(
        "too many recipients",
        Whose.THEIRS,
        "Their server takes fewer recipients at a time; the others go in a further round.",
        "",
        phrases=("too many recipients", "recipient limit"),
        statuses=("x.5.3",),
    ),
    Row(
        "mailbox full",
        Whose.RECIPIENT,
        "The recipient's mailbox is full.",
        "The recipient has to delete something: tell them another way.",
        phrases=("mailbox full", "mailbox is full", "mailbox * full", "over quota", "overquota",
                 "over its quota", "quota exceeded", "exceeded * quota", "exceeds * quota",
                 "quota is exceeded", "quota full",
                 "out of storage space", "exceeded storage", "exceeded * storage", "inbox is full",
                 "not enough space in mailbox", "mail box full", "quota violation"),
        statuses=("x.2.2",),
        replies=("552",),
    ),
    Row(
        "mailbox disabled",
        Whose.RECIPIENT,
        "The recipient's mailbox is there, but switched off.",
        "Ask the recipient another way.",
        phrases=("mailbox disabled", "mailbox is disabled", "account disabled", "account is disabled",
                 "mailbox inactive", "inactive mailbox", "inactive user", "is inactive",
                 "account has been suspended", "account suspended", "mailbox is locked", "mailbox locked",
                 "user suspended", "recipient disabled", "that you tried to reach is disabled"),
        statuses=("x.2.1",),
    ),
    Row(
        "no such user",
        Whose.RECIPIENT,
        "There is no such mailbox: the recipient's address is wrong, or not used any more.",
        "Check the spelling of what stands before the @, or ask the recipient.",
        phrases=("user unknown", "unknown user", "no such user", "no such recipient", "no such mailbox",
                 "no such address", "no such person", "there is no mailbox", "no mailbox here",
                 "not our customer", "recipient not found", "recipientnotfound", "invalid recipient",
                 "invalid mailbox",
                 "unknown recipient", "recipient unknown", "unknown mailbox", "mailbox not found",
                 "mailbox unavailable", "mailbox does not exist", "address does not exist",
                 "does not exist",
                 "doesn't exist", "user doesn't have a", "not a valid mailbox", "user not found",
                 "no longer * valid", "recipient address rejected: access denied",
                 "unknown or illegal alias",
                 "nosuchuser", "nonexistent user", "account not found", "not listed in", "isn't a valid"),
        statuses=("x.1.1", "x.1.6", "5.4.1", "5.1.0"),
        replies=("550@rcpt", "551@rcpt"),
    ),
    Row(
        "address misspelt",
        Whose.RECIPIENT,
        "Their server cannot make sense of the recipient's address.",
        "Check the address for blanks, commas and letters that do not belong there.",
        phrases=("bad address syntax", "invalid address", "malformed address", "address syntax"),
        statuses=("x.1.3", "x.1.4"),
        replies=("501@rcpt", "553@rcpt"),
    ),
    # Their server, the way there.
    Row(
        "connection refused",
        Whose.THEIRS,
        "Their server does not take connections: it is switched off, or something in between refuses them.",
        "If it goes on, ask whoever runs it, check the port in SMTP Configuration, and that no firewall"
        " stands in the way.",
        _SMTP,
        "If it goes on, ask whoever runs it, check port in [smtp], and that a firewall lets us out.",
        ("connection refused", "there is no such socket", "no such file or directory"),
    ),
    Row(
        "no answer",
        Whose.THEIRS,
        "Their server did not answer.",
        "If it goes on: is the line slow (Socket Timeout in Advanced SMTP Configuration)? Does the provider"
        " or a firewall let port 25 out? Checks looks.",
        "/checks",
        "If it goes on: is the line slow ([smtp.advanced] timeout)? Does a firewall let us out?",
        ("timed out", "no reply in time", "did not answer", "no answer from host", "time-out", "timeout"),
        ("x.4.1",),
    ),
    Row(
        "no mail server there",
        Whose.THEIRS,
        "What answers there is no mail server, or one that does not keep to the rules.",
        "Check name and port in SMTP Configuration. If they are right, tell whoever runs that server.",
        _SMTP,
        "Check host and port in [smtp]. If they are right, tell whoever runs that server.",
        ("this is no smtp reply", "reply that is none", "the server said more than it was asked",
         "a reply to nothing", "out of order", "octets behind the reply", "before its end"),
    ),
    Row(
        "their disk full",
        Whose.THEIRS,
        "Their server has no room for mail just now.",
        "If it goes on, tell whoever runs that server.",
        phrases=("insufficient system storage", "insufficient storage", "insufficient disk", "disk full",
                 "disk is full", "out of disk", "insufficient space", "not enough disk",
                 "mail system full"),
        statuses=("x.3.1",),
        replies=("452",),
    ),
    Row(
        "hung up",
        Whose.THEIRS,
        "Their server hung up in the middle.",
        "If it goes on, tell whoever runs that server.",
        phrases=("closed the connection", "connection was lost", "connection reset", "broken pipe",
                 "connection ended", "connections end before", "connection closed", "connection dropped",
                 "lost connection", "hung up", "reset by peer"),
        statuses=("x.4.2",),
    ),
    Row(
        "busy",
        Whose.THEIRS,
        "Their server is busy, or closed for a while.",
        "",
        phrases=("server busy", "system busy", "too busy", "service not available", "service unavailable",
                 "service temporarily unavailable", "closing transmission channel", "not accepting",
                 "load average", "overload", "maintenance", "shutting down", "insufficient resources",
                 "resources temporarily unavailable", "out of resources", "resources unavailable"),
        statuses=("x.3.2", "x.4.5", "4.7.500"),
        replies=("421",),
    ),
    Row(
        "their trouble",
        Whose.THEIRS,
        "Something is wrong in their server.",
        "If it goes on, tell whoever runs that server.",
        phrases=("local error", "internal error", "configuration error", "local problem",
                 "configuration problem", "internal server error", "system problem",
                 "queue file write error",
                 "local configuration"),
        statuses=("x.3.0", "x.3.3", "x.3.5"),
    ),
    Row(
        "not understood",
        Whose.THEIRS,
        "Their server did not understand what we said, or does not do what was asked.",
        "If it stays so, please report it with the raw words.",
        phrases=("command not implemented", "command unrecognized", "unrecognized command", "bad sequence"),
        statuses=("x.5.0", "x.5.1", "x.5.2", "x.5.4", "x.5.5", "x.5.6"),
        replies=("500", "501", "502", "503", "504", "555"),
    ),
    # What is left: only numbers.
    Row(
        "policy",
        Whose.THEIRS,
        "Their server does not want this message, by a rule of theirs.",
        "The raw words may say which rule. Checks shows whether your domain is set up as others expect it.",
        "/checks",
        "The reason may say which rule. Ask whoever runs that server.",
        ("policy", "not authorized", "access denied", "prohibited", "message refused",
         "transaction failed"),
        ("5.7.0", "5.7.1"),
        ("554", "5@the greeting"),
    ),
    Row(
        "temporary refusal",
        Whose.THEIRS,
        "Their server does not take it just now, and says so for now only.",
        "",
        phrases=("try again later", "temporarily", "temporary"),
        replies=("4",),
    ),
    Row(
        "refused",
        Whose.THEIRS,
        "Their server has refused it for good.",
        "The raw words may say why; ask the recipient another way.",
        replies=("5",),
    ),
)  # fmt: skip

# Nobody knows these words.
UNKNOWN: Final = Row(
    "unknown",
    Whose.THEIRS,
    "It did not work, and we cannot say it in plainer words.",
    "The raw words may help.",
)


# A page has a hundred rows: all phrases stand in one row, each with what `in` finds quickly.
_PHRASES: Final = [(phrase.partition("*")[0], phrase, row) for row in TABLE for phrase in row.phrases]


@lru_cache(maxsize=1024)  # many wait for the same reason
def of_reason(reason: str) -> Row:
    """The row of a reason, as it stands in queue and log."""
    said = read_reason(reason)
    return _by_words(said) or _by_status(said) or _by_code(said) or UNKNOWN


def _by_words(said: Said) -> Row | None:
    text = said.text
    for beginning, phrase, row in _PHRASES:
        if beginning in text and has_phrase(text, phrase) and not _is_beside(row, said):
            return row
    return None


def _is_beside(row: Row, said: Said) -> bool:
    """What is said of a log-in is not said of a recipient or a message; and the last rows say so little that
    a number beside their words says more."""
    if _is_log_in(said) and row.whose in (Whose.RECIPIENT, Whose.MESSAGE):
        return True
    return row.name in ("policy", "temporary refusal") and bool(said.status or said.code)


def _by_status(said: Said) -> Row | None:
    """At a log-in only what is ours to see to; of anything else there the code says more (530 5.7.0)."""
    if not said.status:
        return None
    either = {said.status, f"x{said.status[1:]}"}
    for row in TABLE:
        if not either.isdisjoint(row.statuses) and (row.whose is Whose.OURS or not _is_log_in(said)):
            return row
    return None


def _is_log_in(said: Said) -> bool:
    """Whether it is said of a log-in: RFC 4954 §6."""
    return said.stage == "log-in" or said.code in ("530", "534", "535", "538")


def _by_code(said: Said) -> Row | None:
    if not said.code:
        return None
    return next((row for row in TABLE if any(_is_reply(each, said) for each in row.replies)), None)


def _is_reply(each: str, said: Said) -> bool:
    code, _, stage = each.partition("@")
    return said.code.startswith(code) and stage in ("", said.stage)
