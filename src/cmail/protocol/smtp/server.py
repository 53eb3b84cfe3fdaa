"""Server side of SMTP, submission and LMTP: octets in, questions to the house and reply octets out. No I/O.

receive() takes octets in any packets; what the house must decide it is asked through Answers; take_outgoing()
has what is to be written. A reply that waits for the disk is a Slot: input goes on behind it, and the replies
that follow wait in order (RFC 2920 §3.2). What waits for the house itself (a log-in) holds the input.

Its commands are here; what is said and in which order is in server_talk, content in server_data.

This runs once for each command of each message, so lines go through plain functions: no object for a DATA, no
look-up that can be avoided, parsed MAIL and RCPT lines remembered (measured: bench/intake.py).
"""

from typing import Final

from cmail.mail import limits
from cmail.protocol.lines import BARE_LF, NEED_MORE, TOO_LONG, find_line_end, skip_line
from cmail.protocol.smtp import server_replies as replies
from cmail.protocol.smtp import site_commands as sites
from cmail.protocol.smtp.commands import (
    NON_ASCII,
    CommandError,
    check_octets,
    decode_base64,
    parse_auth,
    parse_mail,
    parse_rcpt,
)
from cmail.protocol.smtp.grammar import GrammarError, parse_helo_name
from cmail.protocol.smtp.server_data import DataTalk
from cmail.protocol.smtp.server_states import (
    AUTH_LINE,
    CHUNK,
    CLOSED,
    DATA,
    GREETED,
    LINES,
    MAIL_GIVEN,
    RCPT_GIVEN,
    READY,
    REFUSALS,
    SKIP_LINE,
    TLS,
    TURNED,
    Hold,
)


class SmtpServer(DataTalk):
    """One session. `_mode`: how input is read; `_state`: how far it is. The one reset is _give_up()."""

    __slots__ = ()

    # What the owner of the connection calls.

    def receive(self, data: bytes) -> None:
        """Octets from the client, cut anywhere; b"" goes on with what was held."""
        if self._buffer:
            data = self._buffer + data
            self._buffer = b""
        at, size = 0, len(data)
        lines_left = self.rules.lines_a_turn
        while at < size and not self.holding:
            if self._mode == LINES:
                if not lines_left:
                    self.holding |= Hold.TURN
                    break
                lines_left -= 1
                # find_line_end() is not called for the most: one whole command of a bounded length.
                lf = data.find(b"\n", at)
                if lf > at and data[lf - 1] == 13 and lf - at <= limits.COMMAND_LINE_OCTETS_MAX:
                    line = data[at : lf - 1]
                    at = lf + 1
                    self._command(line)
                else:
                    at = self._read_line(data, at)
            else:
                at = _READERS[self._mode](self, data, at)
            if at < 0:
                at = ~at
                break
        if at < size and self._mode != CLOSED:
            self._buffer = data[at:] if at else data
        if self._mode == TLS:
            self._begin_tls()

    def restart_under_tls(self) -> None:
        """The handshake is done: nothing said before counts (RFC 3207 §4.2)."""
        assert not self._slots
        self._out = []
        self.holding = 0
        if self._buffer:  # came in spite of the hold: not from this side of the handshake
            return self.end(replies.EARLY_OCTETS)
        self._mode = LINES
        self._state = GREETED
        self.is_tls = True

    def challenge(self, octets: bytes) -> None:
        """334, already base64; the next line goes to on_auth_response()."""
        self._mode = AUTH_LINE
        self._reply(b"334 " + octets + b"\r\n")

    def finish_auth(self, reply: bytes) -> None:
        """How the log-in ended."""
        if self._mode == AUTH_LINE:
            self._mode = LINES
        self._reply(reply)

    def finish(self, reply: bytes) -> None:
        """What ETRN or ATRN is answered."""
        self._reply(reply)

    def turn(self) -> bool:
        """ATRN is obeyed: its reply is our last, and what comes then is for somebody else. False: the
        client did not wait for it, and the session ends."""
        if self._buffer or self._slots:
            self.end(sites.EARLY_OCTETS)
            return False
        self._reply(sites.TURNING)
        self._mode = TURNED
        return True

    # Lines.

    def _read_line(self, data: bytes, at: int) -> int:
        end = find_line_end(data, at, limits.COMMAND_LINE_OCTETS_MAX)
        if end >= 0:
            self._command(data[at:end])
            return end + 2
        if data[at] == _TLS_HANDSHAKE and end == NEED_MORE:
            return self._tls_not_here(data, at)
        return self._bad_line(data, at, end, replies.LINE_TOO_LONG)

    def _tls_not_here(self, data: bytes, at: int) -> int:
        """A client that begins with TLS, where that comes by STARTTLS; it would wait for us for minutes."""
        self._refuse(data[at : at + 4], replies.TLS_NOT_HERE)
        self.end(replies.BYE)
        return len(data)

    def _bad_line(self, data: bytes, at: int, end: int, too_long: bytes) -> int:
        """What is no line: wait for more (~at), or throw it away up to its CRLF."""
        if end == NEED_MORE:
            return ~at
        self._refuse(data[at : at + 64], too_long if end == TOO_LONG else replies.BARE_LF)
        if end == BARE_LF:
            self.end(replies.BYE)
            return len(data)
        if self._mode != CLOSED:
            self._mode = SKIP_LINE
        return at

    def _skip_line(self, data: bytes, at: int) -> int:
        start = skip_line(data, at)
        if start == NEED_MORE:
            return ~(len(data) - data.endswith(b"\r"))
        self._mode = LINES
        return start

    def _command(self, line: bytes) -> None:
        verb = line[:4]
        command = _COMMANDS.get(verb) or _COMMANDS.get(verb.upper())
        if command is None:
            self._refuse(line, replies.UNKNOWN_COMMAND if line.isascii() else replies.NOT_ASCII)
            if verb in _OF_BROWSERS:
                self.end(replies.BYE)
        else:
            self.said[verb] = self.said.get(verb, 0) + 1
            command(self, line)
        if self._idle > self.rules.idle_commands_max:
            self.end(replies.TOO_MANY_COMMANDS)

    def _on_mail(self, line: bytes) -> None:
        if self._state != READY:
            return self._refuse(line, REFUSALS["MAIL"][self._state])
        try:
            mail = parse_mail(line, self.rules.default_domain)
        except CommandError as error:
            return self._refuse(line, error.reply)
        if mail.size_bytes > self.rules.size_max:  # RFC 1870 §6.1
            return self._refuse(line, replies.TOO_LARGE)
        self._idle += 1
        reply = self._answers.on_mail(mail)
        if reply[0] == 0x32:
            self._state = MAIL_GIVEN
            self._is_utf8 = mail.is_smtputf8
            self._count = 0
        self._reply(reply)

    def _on_rcpt(self, line: bytes) -> None:
        if self._state != MAIL_GIVEN and self._state != RCPT_GIVEN:
            return self._refuse(line, REFUSALS["RCPT"][self._state])
        try:
            rcpt = parse_rcpt(line, self.rules.default_domain)
        except CommandError as error:
            return self._refuse(line, error.reply)
        if not rcpt.is_ascii and not self._is_utf8:
            return self._refuse(line, NON_ASCII)
        if self._count >= self.rules.recipients_max:
            return self._too_many_recipients(line)
        reply = self._answers.on_rcpt(rcpt)
        if reply[0] == 0x32:
            self._state = RCPT_GIVEN
            self._count += 1
        self._reply(reply)

    def _too_many_recipients(self, line: bytes) -> None:
        """No error: it tries the others next. The log has the first; a flood ends the session."""
        if not self._over:
            self._answers.on_refused(line, replies.TOO_MANY_RECIPIENTS)
        self._over += 1
        self._tell(replies.TOO_MANY_RECIPIENTS)
        if self._over > limits.RECIPIENTS_OVER_MAX:
            self.end(replies.TOO_MANY_COMMANDS)

    def _on_helo(self, line: bytes) -> None:
        verb, _, rest = line.partition(b" ")
        verb = verb.upper()
        if verb not in (b"EHLO", b"HELO", b"LHLO"):
            return self._refuse(line, replies.UNKNOWN_COMMAND)
        if (verb == b"LHLO") != self.rules.is_lmtp:
            return self._refuse(line, replies.LHLO_ONLY if self.rules.is_lmtp else replies.NOT_LMTP)
        try:
            name = parse_helo_name(rest.strip(b" "))
        except GrammarError:
            return self._refuse(line, replies.NEEDS_NAME)
        self._give_up()
        self._idle += 1
        reply = self._answers.on_helo(name, verb.decode())
        if reply[0] == 0x32:
            self._state = READY
        self._reply(reply)

    def _on_rset(self, line: bytes) -> None:
        if self._is_alone(line, b"RSET"):
            self._give_up()
            self._say(replies.OK)

    def _on_noop(self, line: bytes) -> None:
        self._say_to(line, b"NOOP", replies.OK)

    def _on_vrfy(self, line: bytes) -> None:
        self._say_to(line, b"VRFY", replies.CANNOT_VERIFY)

    def _on_expn(self, line: bytes) -> None:
        self._refuse(line, replies.NO_EXPN)

    def _on_help(self, line: bytes) -> None:
        self._say_to(line, b"HELP", sites.HELP if self.rules.kind == "odmr" else replies.HELP)

    def _on_quit(self, line: bytes) -> None:
        if self._is_alone(line, b"QUIT"):
            self.end(replies.BYE)

    def _say_to(self, line: bytes, verb: bytes, reply: bytes) -> None:
        """A command that may have an argument, which says nothing to us."""
        try:
            check_octets(line)
        except CommandError as error:
            return self._refuse(line, error.reply)
        if line[4:5] not in (b"", b" "):
            return self._refuse(line, replies.UNKNOWN_COMMAND)
        self._say(reply)

    # TLS and log-in.

    def _on_starttls(self, line: bytes) -> None:
        if not self._is_alone(line, b"STARTTLS"):
            return
        if self.is_tls:
            return self._refuse(line, replies.TLS_ALREADY)
        if not self.rules.has_tls:
            return self._refuse(line, replies.NO_TLS)
        self._idle += 1
        self._give_up()
        self._mode = TLS

    def _read_before_tls(self, data: bytes, at: int) -> int:
        """Octets behind STARTTLS are somebody's attempt to speak as the client (RFC 3207, rule 7)."""
        self._answers.on_refused(b"STARTTLS", replies.EARLY_OCTETS)
        self.end(replies.EARLY_OCTETS)
        return len(data)

    def _on_auth(self, line: bytes) -> None:
        if line[4:5] not in (b"", b" "):
            return self._refuse(line, replies.UNKNOWN_COMMAND)
        if self._state != READY:
            return self._refuse(line, REFUSALS["AUTH"][self._state])
        try:
            check_octets(line)
            auth = parse_auth(line)
        except CommandError as error:
            return self._refuse(line, error.reply)
        self._idle += 1
        self._answers.on_auth(auth.mechanism, auth.initial)

    def _read_auth_line(self, data: bytes, at: int) -> int:
        end = find_line_end(data, at, limits.AUTH_LINE_OCTETS_MAX)
        if end == NEED_MORE:
            return ~at
        self._mode = LINES
        if end < 0:
            self._answers.on_auth_response(None)
            return self._bad_line(data, at, end, replies.AUTH_LINE_TOO_LONG)
        self._auth_response(data[at:end])
        return end + 2

    def _auth_response(self, line: bytes) -> None:
        if line == b"*":
            self._answers.on_auth_response(None)
            return self._refuse(b"AUTH", replies.AUTH_CANCELLED)
        try:
            response = decode_base64(line)
        except CommandError as error:
            self._answers.on_auth_response(None)
            return self._refuse(b"AUTH", error.reply)
        self._answers.on_auth_response(response)

    # Sites that come and go.

    def _on_etrn(self, line: bytes) -> None:
        if self._state != READY:
            return self._refuse(line, REFUSALS["ETRN"][self._state])
        try:
            etrn = sites.parse_etrn(line)
        except CommandError as error:
            return self._refuse(line, error.reply)
        self._idle += 1
        self._answers.on_etrn(etrn)

    def _on_atrn(self, line: bytes) -> None:
        if self._state != READY:
            return self._refuse(line, REFUSALS["ATRN"][self._state])
        try:
            domains = sites.parse_atrn(line)
        except CommandError as error:
            return self._refuse(line, error.reply)
        self._idle += 1
        self._answers.on_atrn(domains)


_TLS_HANDSHAKE: Final = 22  # the first octet of a TLS record that begins a handshake
# HTTP. A page can have the browser of somebody whom we trust post octets of its choice to us: none of them
# may be read as commands.
_OF_BROWSERS: Final = frozenset((b"GET ", b"HEAD", b"POST", b"PUT ", b"OPTI", b"CONN"))
_COMMANDS: Final = {
    b"MAIL": SmtpServer._on_mail,
    b"RCPT": SmtpServer._on_rcpt,
    b"DATA": SmtpServer._on_data,
    b"BDAT": SmtpServer._on_bdat,
    b"EHLO": SmtpServer._on_helo,
    b"HELO": SmtpServer._on_helo,
    b"LHLO": SmtpServer._on_helo,
    b"RSET": SmtpServer._on_rset,
    b"NOOP": SmtpServer._on_noop,
    b"VRFY": SmtpServer._on_vrfy,
    b"EXPN": SmtpServer._on_expn,
    b"HELP": SmtpServer._on_help,
    b"QUIT": SmtpServer._on_quit,
    b"STAR": SmtpServer._on_starttls,
    b"AUTH": SmtpServer._on_auth,
    b"ETRN": SmtpServer._on_etrn,
    b"ATRN": SmtpServer._on_atrn,
}
_READERS: Final = {
    DATA: SmtpServer._read_data,
    CHUNK: SmtpServer._read_chunk,
    SKIP_LINE: SmtpServer._skip_line,
    AUTH_LINE: SmtpServer._read_auth_line,
    TLS: SmtpServer._read_before_tls,
}
