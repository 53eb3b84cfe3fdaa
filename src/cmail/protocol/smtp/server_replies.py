"""What the server machine answers by itself, as octets for the wire (RFC 5321 §4.2, RFC 3463)."""

from typing import Final

OK: Final = b"250 2.0.0 Ok\r\n"
SENDER_OK: Final = b"250 2.1.0 Ok\r\n"
RECIPIENT_OK: Final = b"250 2.1.5 Ok\r\n"
GO_AHEAD: Final = b"354 End data with <CR><LF>.<CR><LF>\r\n"
BYE: Final = b"221 2.0.0 Bye\r\n"
READY_FOR_TLS: Final = b"220 2.0.0 Ready to start TLS\r\n"
CANNOT_VERIFY: Final = b"252 2.5.0 Send some mail, I'll try my best\r\n"  # RFC 5321 §3.5.3
NO_EXPN: Final = b"502 5.5.1 EXPN is not for everybody\r\n"
HELP: Final = b"214 2.0.0 EHLO MAIL RCPT DATA BDAT RSET NOOP VRFY STARTTLS AUTH QUIT: RFC 5321\r\n"

UNKNOWN_COMMAND: Final = b"500 5.5.1 That command is not known here\r\n"
LINE_TOO_LONG: Final = b"500 5.5.2 The line is too long\r\n"
BARE_LF: Final = b"500 5.5.2 A line must end in CR LF, not in LF alone\r\n"
TLS_NOT_HERE: Final = b"500 5.5.1 This port begins without TLS: choose STARTTLS, or the port for TLS\r\n"
NOT_ASCII: Final = b"500 5.5.2 A command with octets beyond ASCII\r\n"
NO_ARGUMENT: Final = b"501 5.5.4 That command takes no argument\r\n"
NEEDS_NAME: Final = b"501 5.5.4 A host name or an address literal must follow\r\n"
HELO_FIRST: Final = b"503 5.5.1 Say EHLO first\r\n"
LHLO_ONLY: Final = b"500 5.5.1 This is LMTP: say LHLO\r\n"  # RFC 2033 §4.1
NOT_LMTP: Final = b"500 5.5.1 This is not LMTP: say EHLO\r\n"
NESTED_MAIL: Final = b"503 5.5.1 A message is under way: RSET first\r\n"
MAIL_FIRST: Final = b"503 5.5.1 Say MAIL first\r\n"
NO_RECIPIENTS: Final = b"503 5.5.1 No valid recipients\r\n"
IN_CHUNKS: Final = b"503 5.5.1 BDAT has begun: go on with it, or RSET\r\n"
TOO_MANY_RECIPIENTS: Final = b"452 4.5.3 Too many recipients: send it to the others separately\r\n"
TOO_LARGE: Final = b"552 5.3.4 The message is larger than we take\r\n"
BAD_OCTETS: Final = b"550 5.6.0 The message has a bare CR, a bare LF or a NUL in it\r\n"

NO_TLS: Final = b"502 5.5.1 STARTTLS is not available\r\n"
TLS_ALREADY: Final = b"503 5.5.1 TLS is active already\r\n"
NO_AUTH: Final = b"502 5.5.1 AUTH is not available\r\n"
AUTH_NEEDS_TLS: Final = b"538 5.7.11 Say STARTTLS first: a password is not for everybody on the way\r\n"
AUTH_ALREADY: Final = b"503 5.5.1 Logged in already\r\n"
AUTH_CANCELLED: Final = b"501 5.0.0 Log-in cancelled\r\n"  # RFC 4954 §4
AUTH_LINE_TOO_LONG: Final = b"500 5.5.6 The line is too long\r\n"
UNKNOWN_MECHANISM: Final = b"504 5.5.4 That mechanism is not known here\r\n"
AUTH_DONE: Final = b"235 2.7.0 Logged in\r\n"
AUTH_FAILED: Final = b"535 5.7.8 User name or password is wrong\r\n"

TOO_MANY_ERRORS: Final = b"421 4.7.0 Too many errors\r\n"
TOO_MANY_COMMANDS: Final = b"421 4.7.0 Too many commands without a message\r\n"
EARLY_OCTETS: Final = b"421 4.7.0 Octets behind STARTTLS before TLS began\r\n"  # command injection
TIMED_OUT: Final = b"421 4.4.2 You were silent for too long\r\n"  # RFC 5321 §4.5.3.2.7
SHUTTING_DOWN: Final = b"421 4.3.2 The server is going down\r\n"
LOCAL_ERROR: Final = b"451 4.3.0 Something went wrong here; try again later\r\n"
