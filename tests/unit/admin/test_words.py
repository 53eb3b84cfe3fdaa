"""Codes into words: every row of the table is reached by what servers really say, and by nothing of its neighbours'."""

from typing import Final

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cmail.admin.said import has_phrase, read_reason
from cmail.admin.words import TABLE, UNKNOWN, Row, Whose, of_reason
from cmail.mail.status import MEANINGS

RELAY: Final = "smtp.isp.example[192.0.2.25]:587: "
# Name of the row -> reasons as they stand in queue and log. A relay= before them, the stage, the reply.
REAL: Final[dict[str, list[str]]] = {
    "returned by administrator": [
        "returned by the administrator",
        "RETURNED by the administrator",
        "returned by the administrator: not ours",
    ],
    "expired": [
        "not delivered in time; the last attempt: mx.example.net[192.0.2.1]:25: connection refused",
        "retry timeout exceeded",
        "RCPT: 550 4.4.7 QUEUE.Expired; message expired",
        "content: 554 5.4.7 [internal] exceeded max time without delivery",
    ],
    "possible duplicate": [
        "the server closed the connection, after all of the message was sent: it may have arrived, and then arrives twice",
        "no reply in time, to the end of the content, after all of the message was sent: it may have arrived, and then arrives twice",
        "421 4.3.2 shutting down, after all of the message was sent: it may have arrived, and then arrives twice",
    ],
    "no upstream server": [
        "no SMTP host is set (smtp.host): mail for the Internet waits",
        "no SMTP host is set",
        "there is no host named in the settings: no host named",
    ],
    "upstream name wrong": [
        "the host smpt.isp.example of the settings does not exist (DNS)",
        "the host smtp.isp.example of the settings has no address (DNS)",
        "the host full.quota.example of the settings does not exist (DNS)",
    ],
    "password unreadable": [
        "the password for smtp.isp.example cannot be read: No such file or directory",
        "the password for smtp.isp.example cannot be read: Permission denied",
        "the password for smtp.isp.example cannot be read: UnicodeDecodeError",
    ],
    "mailbox quota here": [
        "the mailbox anna@example.org is over its quota",
        "the mailbox bob@example.org is over its quota",
        "the mailbox a.b.c@sub.example.org is over its quota",
    ],
    "our disk": [
        "no space on the disk of the mailboxes",
        "the mailbox anna@example.org cannot be written: Read-only file system",
        "the content of the message cannot be read: No such file or directory",
        "the content of the message has 4711 of 70000 octets",
        "mail cannot be delivered here: the folder of the mailboxes is gone",
    ],
    "our settings": [
        f"{RELAY}tls.ca_file /etc/ssl/none.pem cannot be used: No such file or directory",
        "local.lmtp = 'x' is neither unix:/path nor host:port",
        "nothing in the settings delivers this way",
    ],
    "our program": [
        "a mistake in this program (ValueError): see its log",
        "a mistake of this program: KeyError('x')",
        "an error of ours, see the log",
    ],
    "domain of ours not set": [
        "the mail host of example.com is this server, which does not take mail for it: see [host] domains",
        "the mail host of full.example is this server, which does not take mail for it: see [host] domains",
        "the mail host of [192.0.2.1] is this server, which does not take mail for it: see [host] domains",
    ],
    "stopped": [
        "the delivery was stopped",
        "it was not its turn",
        "mx.example.net[192.0.2.1]:25: the delivery was stopped",
    ],
    "off line": [
        "mx.example.net[192.0.2.1]:25: network unreachable",
        "mx.example.net[2001:db8::1]:25: no route to the host",
        "no answer from the DNS for example.net: no DNS server can be asked: [Errno 101]",
        f"{RELAY}the network is down",
    ],
    "too many log-ins": [
        f"{RELAY}the log-in as anna: 454 4.7.0 Too many login attempts, please try again later. For more information, go to",
        f"{RELAY}the log-in as anna: 421 4.7.0 Too many auth failures",
        f"{RELAY}the log-in as anna: 535 5.7.0 Too many failed login attempts, try again later",
    ],
    "log-in another way": [
        f"{RELAY}the log-in as anna: 534 5.7.9 Application-specific password required. For more information, go to https://support.google.com/mail/?p=InvalidSecondFactor",
        f"{RELAY}the log-in as anna: 534 5.7.14 <https://accounts.google.com/signin/continue> Please log in via your web browser and then try again.",
        f"{RELAY}the log-in as anna: 535 5.7.139 Authentication unsuccessful, SmtpClientAuthentication is disabled for the Tenant.",
        f"{RELAY}the log-in as anna: 535 5.7.139 Authentication unsuccessful, basic authentication is disabled.",
        f"{RELAY}the log-in as anna: 432 4.7.12 A password transition is needed",
    ],
    "log-in switched off": [
        f"{RELAY}the log-in as anna: 525 5.7.13 user account disabled",
        f"{RELAY}the log-in as anna: 535 5.7.13 Disabled",
        f"{RELAY}our log-in is not accepted: 535 5.7.13 closed",
    ],
    "log-in not offered": [
        f"{RELAY}a user name is set and the server offers no log-in on a connection without TLS",
        f"{RELAY}the server offers no log-in that we know (GSSAPI NTLM)",
        f"{RELAY}the connection is not encrypted, so the password is not sent (the server offers PLAIN LOGIN)",
        f"{RELAY}the log-in: the server did not prove that it knows us",
    ],
    "their encryption missing": [
        f"{RELAY}TLS is required and the server does not offer STARTTLS",
        "mx.example.net[192.0.2.1]:25: TLS is required and the server does not offer STARTTLS",
        "[192.0.2.1][192.0.2.1]:25: TLS is required and the server does not offer STARTTLS",
    ],
    "they want encryption": [
        f"{RELAY}our log-in is not accepted: 530 5.7.0 Must issue a STARTTLS command first. a1-20020 - gsmtp",
        f"{RELAY}our log-in is not accepted: 538 5.7.11 Encryption required for requested authentication mechanism",
        "MAIL: 550 5.7.10 TLS required",
        "MAIL: 451 5.7.3 STARTTLS is required to send mail",
        "RCPT: 450 4.7.1 Session encryption is required",
    ],
    "they want a log-in": [
        f"{RELAY}our log-in is not accepted: 530 5.7.0 Authentication Required. For more information, go to",
        f"{RELAY}our log-in is not accepted: 530 5.7.57 Client not authenticated to send mail.",
        "RCPT: 550 5.7.1 SMTP AUTH is required",
        "MAIL: 530 5.5.1 Authentication Required. Learn more at",
        "MAIL: 530 5.7.0 go away",
        "RCPT: 503 AUTH first (#5.5.1)",
    ],
    "our password is wrong": [
        f"{RELAY}the log-in as anna: 535 5.7.8 Error: authentication failed: UGFzc3dvcmQ6",
        f"{RELAY}the log-in as anna: 535 5.7.8 Username and Password not accepted. Learn more at https://support.google.com/mail/?p=BadCredentials",
        f"{RELAY}the log-in as anna: 535 5.7.3 Authentication unsuccessful [AM0PR01CA0099]",
        f"{RELAY}the log-in as anna: 535 Incorrect authentication data",
        f"{RELAY}our log-in is not accepted: 535 5.7.8 no",
        f"{RELAY}the log-in as anna: SCRAM: the server does not know our password",
        f"{RELAY}the log-in as anna: 550 no",
    ],
    "log-in in trouble": [
        f"{RELAY}the log-in as anna: 454 4.7.0 Temporary authentication failure: Connection lost to authentication server",
        f"{RELAY}the log-in as anna: 451 4.3.0 later",
        f"{RELAY}the log-in as anna: the server asks for more than PLAIN has to say",
        f"{RELAY}the log-in as anna: SCRAM: the salt is not base64",
    ],
    "certificate expired": [
        f"{RELAY}TLS: the certificate is not good: certificate has expired",
        f"{RELAY}TLS: the certificate is not good: certificate is not yet valid",
        "mx.example.net[192.0.2.1]:25: TLS: the certificate is not good: certificate has expired",
    ],
    "certificate mismatch": [
        f"{RELAY}TLS: the certificate is not good: Hostname mismatch, certificate is not valid for 'smtp.isp.example'.",
        f"{RELAY}TLS: the certificate is not good: IP address mismatch, certificate is not valid for '192.0.2.25'.",
        f"{RELAY}TLS: the certificate is not good: hostname 'a' doesn't match 'b'",
    ],
    "certificate unknown issuer": [
        f"{RELAY}TLS: the certificate is not good: self-signed certificate",
        f"{RELAY}TLS: the certificate is not good: self signed certificate in certificate chain",
        f"{RELAY}TLS: the certificate is not good: unable to get local issuer certificate",
    ],
    "certificate bad": [
        f"{RELAY}TLS: the certificate is not good: EE certificate key too weak",
        f"{RELAY}TLS: the certificate is not good: unsuitable certificate purpose",
        f"{RELAY}TLS: the handshake failed: certificate verify failed",
    ],
    "wrong kind of encryption": [
        f"{RELAY}TLS: the handshake failed: wrong version number",
        f"{RELAY}TLS: the handshake failed: record layer failure",
        f"{RELAY}TLS: the handshake failed: http request",
    ],
    "encryption failed": [
        f"{RELAY}TLS: the handshake failed: unexpected eof while reading",
        f"{RELAY}TLS: the handshake failed: no protocols available",
        f"{RELAY}STARTTLS: 454 4.7.0 TLS not available due to local problem",
        f"{RELAY}STARTTLS: 554 no",
    ],
    "greylisting": [
        "RCPT: 450 4.2.0 <bob@example.net>: Recipient address rejected: Greylisted, see http://postgrey.schweikert.ch/help/example.net.html",
        "RCPT: 451 4.7.1 Greylisting in action, please come back later",
        "RCPT: 450 4.7.1 Graylisted, please retry in 299 seconds",
        "RCPT: 451 Please retry in 300 seconds, first-time sender",
    ],
    "rate limited": [
        "content: 421 4.7.28 Gmail has detected an unusual rate of unsolicited mail originating from your IP address.",
        "MAIL: 421 4.7.0 [TSS04] Messages from 192.0.2.1 temporarily deferred due to user complaints - 4.16.55.1",
        "RCPT: 450 4.2.1 The user you are trying to contact is receiving mail at a rate that; message rate exceeded",
        "content: 550 5.4.5 Daily user sending quota exceeded. For more information, go to",
        f"{RELAY}the greeting: 421 4.7.0 mx.example Error: too many connections from 192.0.2.1",
        "MAIL: 451 4.7.1 rate limit exceeded",
    ],
    "sender not proved": [
        "content: 550 5.7.26 This mail has been blocked because the sender is unauthenticated. Gmail requires all senders to authenticate with either SPF or DKIM.",
        "content: 550 5.7.1 Unauthenticated email from example.org is not accepted due to domain's DMARC policy.",
        "RCPT: 550 5.7.23 <bob@example.net>: Recipient address rejected: Message rejected due to: SPF fail - not authorized.",
        "content: 554 5.7.509 Access denied, sending domain does not pass DMARC verification",
    ],
    "our name in the DNS": [
        "RCPT: 450 4.7.25 Client host rejected: cannot find your hostname, [192.0.2.1]",
        "RCPT: 504 5.5.2 <server>: Helo command rejected: need fully-qualified hostname",
        "content: 550 5.7.25 [192.0.2.1] The IP address sending this message does not have a PTR record setup",
        f"{RELAY}the greeting: 554 IP=192.0.2.1 - no reverse DNS entry",
    ],
    "blocklisted": [
        "RCPT: 554 5.7.1 Service unavailable; Client host [192.0.2.1] blocked using zen.spamhaus.org; https://www.spamhaus.org/query/ip/192.0.2.1",
        "mx.example.net[192.0.2.1]:25: the greeting: 554 Your access to this mail system has been rejected due to the sending MTA's poor reputation.",
        "MAIL: 550 5.7.1 Unfortunately, messages from [192.0.2.1] weren't sent. Please contact your Internet service provider since part of their network is on our block list (S3150).",
        "RCPT: 550 5.7.606 Access denied, banned sending IP [192.0.2.1].",
        "RCPT: 550 Blacklisted at b.barracudacentral.org",
    ],
    "sender refused": [
        "RCPT: 450 4.1.8 <anna@nowhere.invalid>: Sender address rejected: Domain not found",
        "RCPT: 553 5.7.1 <anna@example.org>: Sender address rejected: not owned by user bob",
        "MAIL: 550 5.1.8 no",
        "content: 554 5.2.252 SendAsDenied; anna@example.org not allowed to send as bob@example.org",
        "RCPT: 550 Sender verify failed",
    ],
    "relaying denied": [
        "RCPT: 554 5.7.1 <bob@example.net>: Relay access denied",
        "RCPT: 550 5.7.54 SMTP; Unable to relay recipient in non-accepted domain",
        "RCPT: 550 relay not permitted",
        "RCPT: 553 sorry, that domain isn't in my list of allowed rcpthosts (#5.7.1)",
        "RCPT: 550 5.7.1 Relaying denied",
    ],
    "virus": [
        "content: 554 5.7.1 Message contains a virus: Eicar-Test-Signature",
        "content: 550 This message was detected as containing malware",
        "content: 552 5.7.0 rejected: infected with Win.Test",
    ],
    "attachment refused": [
        "content: 552 5.7.0 This message was blocked because its content presents a potential security issue. Please visit",
        "content: 554 5.6.1 media",
        "content: 550 Attachment name 'x.exe' is not allowed",
    ],
    "spam": [
        "content: 554 5.7.1 Spam message rejected",
        "content: 550 5.7.1 Our system has detected that this message is likely unsolicited mail. To reduce the amount of",
        "content: 550 High probability of Spam",
        "content: 554 5.7.1 Message content rejected, id=1234",
    ],
    "too large": [
        "the message has 52428800 octets and mx.example.net[192.0.2.1]:25 takes 10240000",
        "MAIL: 552 5.3.4 Message size exceeds fixed limit",
        "content: 552 5.3.4 Message too big",
        "content: 552 too much",
        "RCPT: 550 5.2.3 no",
        "content: 554 5.3.4 Your message exceeds the maximum size",
    ],
    "letters not taken": [
        "the message needs SMTPUTF8 and mx.example.net[192.0.2.1]:25 does not offer it",
        "MAIL: 550 5.6.7 x",
        "content: 554 5.6.3 x",
        "RCPT: 553 5.1.3 non-ASCII address not supported",
    ],
    "loop": [
        "content: 554 5.4.0 Error: too many hops",
        "content: 554 5.4.6 Hop count exceeded - possible mail loop",
        "its aliases lead through more than 10 expansions",
        "content: 550 5.4.6 x",
        "RCPT: 550 mail for example.net loops back to myself",
    ],
    "null MX": [
        "example.com takes no mail (null MX)",
        "RCPT: 550 5.1.10 x",
        "RCPT: 556 5.1.10 Recipient address has null MX",
        "RCPT: 521 this host takes none",
    ],
    "no such domain": [
        "the domain exmaple.net does not exist",
        "example.net has neither a mail host nor an address",
        "RCPT: 550 Unrouteable address",
        "RCPT: 450 4.1.2 <bob@x.invalid>: Recipient address rejected: Domain not found",
        "RCPT: 554 5.4.4 Host or domain name not found. Name service error for name=x.invalid type=MX: Host not found",
    ],
    "too many recipients": [
        "RCPT: 452 4.5.3 Too many recipients",
        "too many recipients for one transaction, and the connection ended",
        "RCPT: 550 5.5.3 x",
    ],
    "mailbox full": [
        "RCPT: 452 4.2.2 The email account that you tried to reach is over quota. Please direct the recipient to",
        "RCPT: 552 5.2.2 Mailbox full",
        "RCPT: 552 no",
        "RCPT: 452 4.2.2 The recipient's inbox is out of storage space. Please direct the",
        "content: 554 5.2.2 mailbox full; STOREDRV.Deliver.Exception:QuotaExceededException",
        "RCPT: 422 user has exceeded his quota, bouncing mail",
    ],
    "mailbox disabled": [
        "RCPT: 550 5.2.1 The email account that you tried to reach is disabled. Learn more at",
        "RCPT: 554 5.7.1 mailbox is disabled",
        "RCPT: 450 4.2.1 x",
        "RCPT: 550 This account has been suspended",
    ],
    "closed list": [
        "content: 550 5.7.133 RESOLVER.RST.SenderNotAuthenticatedForGroup; authentication required; Delivery restriction check failed",
        "RCPT: 550 5.7.2 no",
        "RCPT: 550 5.7.1 You are not authorized to send to this list: members only",
    ],
    "no such user": [
        "RCPT: 550 5.1.1 <bob@example.net>: Recipient address rejected: User unknown in virtual mailbox table",
        "RCPT: 550 5.1.1 The email account that you tried to reach does not exist. Please try double-checking the recipient's email address for typos",
        "RCPT: 554 delivery error: dd This user doesn't have a yahoo.com account (bob@yahoo.com) [0]",
        "RCPT: 550 5.5.0 Requested action not taken: mailbox unavailable (S2017062302).",
        "RCPT: 550 5.4.1 Recipient address rejected: Access denied. [AM6EUR05FT006]",
        "RCPT: 550 No Such User Here",
        "RCPT: 550 no",
        "RCPT: 550 5.1.10 RESOLVER.ADR.RecipientNotFound; Recipient not found by SMTP address lookup",
        "there is no mailbox bob@example.org here",
        "no such user here",
        "RCPT: 553 sorry, no mailbox here by that name. (#5.7.17)",
        "RCPT: 550 User bob not listed in public Name & Address Book",
    ],
    "address misspelt": [
        "RCPT: 501 5.1.3 Bad recipient address syntax",
        "RCPT: 553 5.1.3 The recipient address is not a valid RFC-5321 address",
        "RCPT: 501 what",
        "RCPT: 555 5.5.2 Malformed address",
    ],
    "connection refused": [
        "mx.example.net[192.0.2.1]:25: connection refused",
        "localhost[/run/dovecot/lmtp]: there is no such socket",
        "h[192.0.2.1]:25526: connection refused",
        "h[192.0.2.1]:535: connection refused",
    ],
    "no answer": [
        "mx.example.net[192.0.2.1]:25: connection timed out after 30 s",
        "no reply in time, to the end of the content",
        "mx.example.net[192.0.2.1]:25: no reply in time, to the greeting",
        "RCPT: 450 4.4.1 x",
    ],
    "no mail server there": [
        "h[192.0.2.1]:80: the greeting: this is no SMTP reply: 'HTTP/1.1 400 Bad Request'",
        "h[192.0.2.1]:25: the server said more than it was asked: 250 ok",
        "h[192.0.2.1]:25: STARTTLS: octets behind the reply, in clear text",
        "a reply to nothing: 250 ok",
    ],
    "DNS trouble": [
        "no answer from the DNS for example.net: SERVFAIL",
        "no answer from the DNS for example.net: no answer within 10 s",
        "the mail host mx.example.net does not exist (DNS)",
        "no mail host of example.net has an address",
        "RCPT: 451 4.4.3 Temporary server error. Please try again later",
        "RCPT: 451 4.3.0 <bob@example.net>: Temporary lookup failure",
    ],
    "their disk full": [
        "MAIL: 452 4.3.1 Insufficient system storage",
        "MAIL: 452 no",
        "content: 451 4.3.0 disk full",
        "MAIL: 452 4.3.1 Out of disk space for temp file",
    ],
    "hung up": [
        "mx.example.net[192.0.2.1]:25: the server closed the connection, at the greeting",
        "the connection ended at this message, twice: the server closed the connection",
        "mx.example.net[192.0.2.1]:25: the connection was lost (Connection reset by peer), at MAIL",
        "its connections end before anything is sent",
        "content: 421 4.4.2 mx.example.net Error: lost connection",
    ],
    "busy": [
        "mx.example.net[192.0.2.1]:25: the greeting: 421 4.3.2 Service not available, closing transmission channel",
        "MAIL: 451 4.7.500 Server busy. Please try again later from [192.0.2.1]. (S77719)",
        "MAIL: 421 x",
        "content: 452 4.3.1 Insufficient resources",
        "RCPT: 453 4.3.2 You have no mail",
    ],
    "their trouble": [
        "RCPT: 451 4.3.0 Internal error",
        "content: 451 4.3.0 Error: queue file write error",
        "RCPT: 451 Temporary local problem - please try later",
        "RCPT: 451 4.3.5 Server configuration problem",
    ],
    "not understood": [
        "MAIL: 500 5.5.1 x",
        "EHLO: 502 5.5.1 x",
        "RCPT: 503 5.5.1 Bad sequence of commands",
        "MAIL: 555 5.5.4 Unsupported option",
    ],
    "policy": [
        "content: 554 5.7.1 no",
        "RCPT: 550 5.7.1 no",
        "content: 550 5.7.0 no",
        "mx.example.net[192.0.2.1]:25: the greeting: 550 no",
        "DATA: 554 no valid",
    ],
    "temporary refusal": [
        "RCPT: 451 4.7.1 try later",
        "content: 451 4.7.1 later",
        "RCPT: 450 no",
        "MAIL: 441 4.0.0 x",
        "LHLO: 450 4.7.1 x",
    ],
    "refused": [
        "content: 550 no",
        "MAIL: 571 5.0.0 x",
        "MAIL: 550 5.0.0 no",
    ],
}  # fmt: skip
CASES: Final = [(name, reason) for name, some in REAL.items() for reason in some]
# By what is so before anybody was asked: tests/unit/admin/test_why.py.
CIRCUMSTANCES: Final = {
    "for later",
    "server down",
    "on hold",
    "batch",
    "site away",
    "being sent",
    "new",
    "not over this link",
    "fits no link",
}


@pytest.mark.parametrize(("name", "reason"), CASES, ids=[f"{n}: {r[:60]}" for n, r in CASES])
def test_what_servers_say(name: str, reason: str) -> None:
    """A real reason finds its row."""
    assert of_reason(reason).name == name


def test_every_row_is_tried() -> None:
    """Each row has three real texts or more, and each text a row."""
    assert {row.name for row in TABLE} == REAL.keys() | CIRCUMSTANCES
    assert not [name for name, some in REAL.items() if len(some) < 3]


# What a number or a word must not be taken for. Reason, the row that it is not.
NEIGHBOURS: Final = [
    ("a port is no reply code", "h[192.0.2.1]:535: connection refused", "our password is wrong"),
    ("a longer port", "h[192.0.2.1]:25535: connection refused", "our password is wrong"),
    ("seconds are no reply code", "h[192.0.2.1]:25: connection timed out after 530 s", "they want a log-in"),
    ("octets are no reply code", "the message has 552 octets and h[192.0.2.1]:25 takes 535", "our password is wrong"),
    ("an address with a number", "RCPT: 450 4.2.0 <535@example.net> later", "our password is wrong"),
    ("an address that speaks of spam", "RCPT: 550 5.1.1 <spam@example.net> no", "spam"),
    ("a host that speaks of greylisting", "greylist.example.net[192.0.2.1]:25: connection refused", "greylisting"),
    ("a host whose name is full of itself", "mailbox-full.example[192.0.2.1]:25: connection refused", "mailbox full"),
    ("an address of the network is no status", "RCPT: 550 no mail from 5.1.1.4 here", "no such domain"),
    ("a status of another class than its code", "RCPT: 450 5.1.1 no", "no such user"),
    ("552 to content is not the mailbox", "content: 552 too much", "mailbox full"),
    ("a quota for sending is not the mailbox", "content: 550 5.4.5 Daily user sending quota exceeded", "mailbox full"),
    ("Spamhaus is no spam", "RCPT: 554 5.7.1 listed at spamhaus", "spam"),
    ("a sender's domain is not the recipient's", "RCPT: 450 4.1.8 Sender address rejected: Domain not found", "no such domain"),
    ("a word in a word", "RCPT: 450 4.0.0 blackspfield", "sender not proved"),
    ("their certificate is not their log-in", f"{RELAY}TLS: the certificate is not good: x", "our password is wrong"),
]  # fmt: skip


@pytest.mark.parametrize(("reason", "wrong"), [n[1:] for n in NEIGHBOURS], ids=[n[0] for n in NEIGHBOURS])
def test_wrong_neighbours(reason: str, wrong: str) -> None:
    """What looks like a row and is none does not find it."""
    assert of_reason(reason).name != wrong


@pytest.mark.parametrize("reason", ["", "x", "\x00", "5.1.1", "550x", "ÄÖÜ", "9" * 5000])
def test_what_nobody_knows(reason: str) -> None:
    """What says nothing is said to say nothing."""
    assert of_reason(reason) is UNKNOWN


# Subject and detail -> the row, where the reply says nothing more; two where the class matters: 4 and 5.
STATUSES: Final[dict[str, str]] = {
    "0.0": "temporary refusal, refused",
    "1.0": "temporary refusal, no such user",  # Cisco: 550 #5.1.0 Address rejected
    "1.1": "no such user",
    "1.2": "no such domain",
    "1.3": "address misspelt",
    "1.4": "address misspelt",
    "1.5": "temporary refusal, refused",
    "1.6": "no such user",
    "1.7": "sender refused",
    "1.8": "sender refused",
    "1.9": "temporary refusal, refused",
    "1.10": "null MX",
    "2.0": "temporary refusal, refused",
    "2.1": "mailbox disabled",
    "2.2": "mailbox full",
    "2.3": "too large",
    "2.4": "closed list",
    "3.0": "their trouble",
    "3.1": "their disk full",
    "3.2": "busy",
    "3.3": "their trouble",
    "3.4": "too large",
    "3.5": "their trouble",
    "3.6": "temporary refusal, refused",
    "4.0": "temporary refusal, refused",
    "4.1": "no answer, no such user",  # Exchange: 550 5.4.1 Recipient address rejected
    "4.2": "hung up",
    "4.3": "DNS trouble",
    "4.4": "DNS trouble",
    "4.5": "busy, rate limited",  # Gmail: 550 5.4.5 Daily user sending quota exceeded
    "4.6": "loop",
    "4.7": "expired",
    "5.0": "not understood",
    "5.1": "not understood",
    "5.2": "not understood",
    "5.3": "too many recipients",
    "5.4": "not understood",
    "5.5": "not understood",
    "5.6": "not understood",
    "6.0": "temporary refusal, refused",
    "6.1": "attachment refused",
    "6.2": "temporary refusal, refused",
    "6.3": "letters not taken",
    "6.4": "temporary refusal, refused",
    "6.5": "letters not taken",
    "6.6": "temporary refusal, refused",
    "6.7": "letters not taken",
    "6.8": "letters not taken",
    "6.9": "letters not taken",
    "6.10": "letters not taken",
    "7.0": "temporary refusal, policy",
    "7.1": "temporary refusal, policy",
    "7.2": "closed list",
    "7.3": "temporary refusal, refused",
    "7.4": "encryption failed",
    "7.5": "encryption failed",
    "7.6": "encryption failed",
    "7.7": "temporary refusal, refused",
    "7.8": "our password is wrong",
    "7.9": "log-in another way",
    "7.10": "they want encryption",
    "7.11": "they want encryption",
    "7.12": "log-in another way",
    "7.13": "log-in switched off",
    "7.14": "temporary refusal, refused",
    "7.15": "temporary refusal, refused",
    "7.16": "too large",
    "7.17": "temporary refusal, refused",
    "7.18": "temporary refusal, refused",
    "7.19": "temporary refusal, refused",
    "7.20": "sender not proved",
    "7.21": "sender not proved",
    "7.22": "sender not proved",
    "7.23": "sender not proved",
    "7.24": "sender not proved",
    "7.25": "our name in the DNS",
    "7.26": "sender not proved",
    "7.27": "sender refused",
    "7.28": "rate limited",
    "7.29": "sender not proved",
    "7.30": "they want encryption",
}


@pytest.mark.parametrize("status", STATUSES)
def test_a_status_by_itself(status: str) -> None:
    """Each of IANA's list, of both classes, finds the row that is written here."""
    names = STATUSES[status].split(", ")
    assert of_reason(f"content: 450 4.{status} x").name == names[0]
    assert of_reason(f"content: 550 5.{status} x").name == names[-1]


def test_the_list_of_statuses_is_whole() -> None:
    """None of IANA's is left out."""
    assert STATUSES.keys() == {f"{subject}.{detail}" for subject, detail in MEANINGS}


# Stage and code -> the row, where nothing more is said.
REPLIES: Final = {
    "the greeting": {421: "busy", 450: "temporary refusal", 550: "policy", 554: "policy"},
    "EHLO": {421: "busy", 450: "temporary refusal", 502: "not understood", 550: "refused", 554: "policy"},
    "STARTTLS": {454: "encryption failed", 501: "encryption failed", 554: "encryption failed"},
    "the log-in as anna": {
        421: "log-in in trouble", 432: "log-in another way", 454: "log-in in trouble", 501: "log-in not offered",
        504: "log-in not offered", 530: "they want a log-in", 534: "log-in another way", 535: "our password is wrong",
        538: "they want encryption", 550: "our password is wrong", 554: "our password is wrong",
    },
    "MAIL": {
        421: "busy", 450: "temporary refusal", 452: "their disk full", 501: "not understood", 530: "they want a log-in",
        535: "our password is wrong", 538: "they want encryption", 550: "refused", 552: "too large", 554: "policy",
        555: "not understood",
    },
    "RCPT": {
        421: "busy", 450: "temporary refusal", 451: "temporary refusal", 452: "their disk full", 501: "address misspelt",
        503: "not understood", 521: "null MX", 550: "no such user", 551: "no such user", 552: "mailbox full",
        553: "address misspelt", 554: "policy", 556: "null MX",
    },
    "content": {421: "busy", 451: "temporary refusal", 452: "their disk full", 550: "refused", 552: "too large", 554: "policy"},
}  # fmt: skip


@pytest.mark.parametrize("stage", REPLIES)
def test_a_code_by_itself(stage: str) -> None:
    """At each stage a code means what is written here."""
    found = {code: of_reason(f"{stage}: {code} x").name for code in REPLIES[stage]}
    assert found == REPLIES[stage]


@pytest.mark.parametrize("row", [*TABLE, UNKNOWN], ids=lambda row: row.name)
def test_words_of_a_row(row: Row) -> None:
    """Sentences begin large and end; ours have a page or an advice; a command is for the command line only."""
    assert row.sentence[0].isupper() and row.sentence.endswith((".", "?"))
    assert "cmail " not in row.advice and "[smtp]" not in row.advice, "advice for the page names pages"
    assert row.path == "" or row.path.startswith("/")
    assert row.advice or row.whose is Whose.THEIRS
    assert row.advice == "" or row.advice[0].isupper()
    assert "Configuration" not in row.advice_for(is_page=False), "advice for the command names commands"
    for phrase in row.phrases:
        assert phrase == phrase.lower() and "  " not in phrase and phrase.strip("*") == phrase


def test_names_are_their_own() -> None:
    """No two rows have one name."""
    assert len({row.name for row in TABLE}) == len(TABLE)


@given(st.one_of(st.text(), st.text(alphabet="mailbox full@*<>[]:.5012 ")))
def test_any_text_has_a_row(reason: str) -> None:
    """Whatever a server says: a row, and no error."""
    assert isinstance(of_reason(reason), Row)


PARTS: Final = [
    ("RCPT: 550 5.1.1 no", ("rcpt", "550", "5.1.1")),
    ("h[192.0.2.1]:25: the greeting: 421 x", ("the greeting", "421", "")),
    ("h[192.0.2.1]:25: the log-in as anna: 535-5.7.8 x", ("log-in", "535", "5.7.8")),
    ("RCPT: 550 #5.1.0 Address rejected.", ("rcpt", "550", "5.1.0")),
    ("RCPT: 553 sorry (#5.7.1)", ("rcpt", "553", "5.7.1")),
    ("550", ("", "550", "")),
    ("h[192.0.2.1]:535: connection refused", ("", "", "")),
    ("the message has 552 octets", ("", "", "")),
    ("content: 550 5.7.1.2 no", ("content", "550", "")),
]  # fmt: skip


@pytest.mark.parametrize(("reason", "parts"), PARTS, ids=[p[0] for p in PARTS])
def test_a_reason_is_taken_apart(reason: str, parts: tuple[str, str, str]) -> None:
    """Stage, code and enhanced status."""
    said = read_reason(reason)
    assert (said.stage, said.code, said.status) == parts


PHRASES: Final = [
    ("the mailbox is full", "mailbox * full", True),
    ("mailbox full", "mailbox * full", False),
    ("unfull", "full", False),
    ("a full, and full", "full", True),
    ("mailbox " + "x" * 100 + " full", "mailbox * full", False),
    ("fullness", "full", True),
]


@pytest.mark.parametrize(("text", "phrase", "is_there"), PHRASES)
def test_phrases(text: str, phrase: str, is_there: bool) -> None:
    """A phrase begins a word; its gap is short."""
    assert has_phrase(text, phrase) == is_there
