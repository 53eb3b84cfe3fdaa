"""Every number of RFC 5321 §4.5.3 and every cap of our own, with its reason."""

from typing import Final

# RFC 5321 §4.5.3.1: least sizes that must be taken; ours are these or larger.
LOCAL_PART_OCTETS_MAX: Final = 64  # §4.5.3.1.1; longer ones are taken when they are not ours
DOMAIN_OCTETS_MAX: Final = 255  # §4.5.3.1.2
PATH_OCTETS_MAX: Final = 1024  # §4.5.3.1.3 says 256; SRS and VERP local parts are longer
COMMAND_LINE_OCTETS_MAX: Final = 2048  # §4.5.3.1.4 says 512, and each extension may add to it
AUTH_LINE_OCTETS_MAX: Final = 12288  # RFC 4954 §4: the longest line of an AUTH exchange
RECIPIENTS_MAX: Final = 1000  # §4.5.3.1.8 says at least 100; a newsletter of a small office fits
RECIPIENTS_PER_TRANSACTION: Final = 100  # what we send: every server takes 100 (§4.5.3.1.8)
RECEIVED_FIELDS_MAX: Final = 100  # §6.3 asks for at least 100 before calling it a loop

# Sessions: what no honest client needs more of.
ERRORS_MAX: Final = 20  # without a message between them, then 421: somebody is guessing
IDLE_COMMANDS_MAX: Final = 100  # commands other than RCPT without a message: somebody is playing
RECIPIENTS_OVER_MAX: Final = 1000  # refused for being too many (452), then 421: it does not listen
CHUNK_OCTETS_MIN: Final = 512  # BDAT chunks below it count as idle commands: they cost more than they carry
LINES_A_TURN: Final = 200  # pipelined commands answered in one go (1-2 ms); then the others come first
OUTSTANDING_REPLIES_MAX: Final = 1000  # pipelined commands whose replies wait (back-pressure after)
OUTSTANDING_MESSAGES_MAX: Final = 10  # messages of one session that wait for the disk at once
OUTSTANDING_OCTETS_MAX: Final = 4 * 2**20  # of content that waits for the disk, a session

# Content.
CONTENT_IN_MEMORY_MAX: Final = 128 * 1024  # beyond it: to a file as it arrives (a row is faster up to here)
CONTENT_MEMORY_BUDGET: Final = 64 * 2**20  # all sessions of a worker together; beyond it: file
HEADER_OCTETS_MAX: Final = 256 * 1024  # a header section beyond it is refused, 552

# RFC 5321 §4.5.3.2: time-outs. Server side waits 5 minutes for the next command (§4.5.3.2.7).
SERVER_COMMAND_TIMEOUT_S: Final = 300.0
SERVER_DATA_TIMEOUT_S: Final = 180.0  # between two pieces of content
SERVER_SESSION_MAX_S: Final = 24 * 3600.0
TLS_HANDSHAKE_TIMEOUT_S: Final = 60.0
CROWDED_COMMAND_TIMEOUT_S: Final = 10.0  # less than §4.5.3.2.7 wants, of strangers, where room is short
CROWDED_DATA_TIMEOUT_S: Final = 30.0
CROWDED_HANDSHAKE_TIMEOUT_S: Final = 10.0
CLIENT_GREETING_TIMEOUT_S: Final = 300.0  # §4.5.3.2.1
CLIENT_MAIL_TIMEOUT_S: Final = 300.0  # §4.5.3.2.2
CLIENT_RCPT_TIMEOUT_S: Final = 300.0  # §4.5.3.2.3
CLIENT_DATA_TIMEOUT_S: Final = 120.0  # §4.5.3.2.4
CLIENT_BLOCK_TIMEOUT_S: Final = 180.0  # §4.5.3.2.5
CLIENT_DOT_TIMEOUT_S: Final = 600.0  # §4.5.3.2.6
# Octets a second: a line that carries no more takes no mail; satellites carry 300.
CLIENT_RATE_MIN: Final = 100
CLIENT_QUIT_TIMEOUT_S: Final = 5.0  # nothing depends on the reply

# As a client.
REPLY_LINE_OCTETS_MAX: Final = 2048  # §4.5.3.1.5 says 512
REPLY_LINES_MAX: Final = 200
REPLY_KEPT_OCTETS_MAX: Final = 4096  # of a reply, for people: it goes into log, memory and spool, a recipient
ALIAS_DEPTH_MAX: Final = 20  # expansions of one address before it is called a loop
ALIAS_TARGETS_MAX: Final = 1000
