"""`sendmail`, `mailq` and `newaliases`, as programs have called them for thirty years."""

import os
import sys
import time
from typing import Final

from cmail.cli.address_list import ADDRESSES_MAX, parse_list, qualify
from cmail.cli.exits import Exit, Refusal, code_of, words_of
from cmail.cli.leave import leave
from cmail.cli.place import Place, find_place
from cmail.cli.sendmail_options import Options, parse_options
from cmail.cli.submission import Submission, read_from, read_submission
from cmail.mail.address import Address, AddressSyntaxError
from cmail.mail.date import print_date
from cmail.mail.envelope import Envelope, Recipient
from cmail.mail.limits import RECEIVED_FIELDS_MAX

_ADDRESSED: Final = (b"to", b"cc", b"bcc")
_RESENT: Final = (b"resent-to", b"resent-cc", b"resent-bcc")


def main() -> None:
    """sendmail; also under the names mailq and newaliases."""
    name = os.path.basename(sys.argv[0])
    mode = {"mailq": "p", "newaliases": "i"}.get(name, "")
    _exit(sys.argv[1:], mode)


def mailq() -> None:
    """mailq: what waits."""
    _exit(sys.argv[1:], "p")


def newaliases() -> None:
    """newaliases: nothing to do here, and says so."""
    _exit(sys.argv[1:], "i")


def _exit(arguments: list[str], mode: str) -> None:
    try:
        code = run(arguments, mode)
        sys.stdout.flush()
    except Refusal as refusal:
        print(f"sendmail: {refusal}", file=sys.stderr)
        code = refusal.code
    except AddressSyntaxError as error:
        print(f"sendmail: {error}", file=sys.stderr)
        code = Exit.DATA
    except KeyboardInterrupt:
        code = Exit.INTERRUPTED
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
        code = Exit.OK if mode == "p" else Exit.TEMPORARY
    except OSError as error:
        print(f"sendmail: {words_of(error)}", file=sys.stderr)
        code = Exit.TEMPORARY if code_of(error) != Exit.NO_PERMISSION else Exit.NO_PERMISSION
    sys.exit(code)


def run(arguments: list[str], mode: str = "") -> int:
    """Do what the command line says; the exit code."""
    options = parse_options(arguments)
    match mode or options.mode:
        case "m":
            return _send(options)
        case "i":
            print("Nothing to do: aliases take effect at once (cmail alias add, list, delete).")
            return Exit.OK
        case "s":
            return _converse(options)
        case "p":
            return _list(options)
        case "q":
            return _flush(options)
        case "d" | "D":
            raise Refusal("this sendmail is no server; start it: cmail serve", Exit.USAGE)
    raise Refusal(f"-b{options.mode} is not done by this sendmail", Exit.USAGE)


def _converse(options: Options) -> int:
    """-bs."""
    from cmail.cli.sendmail_smtp import converse  # the machine: only who needs it waits for it

    place = find_place(options.config)
    return converse(place, lambda message, sender: _missing_fields(options, message, sender, place))


def _list(options: Options) -> int:
    """-bp and mailq."""
    from cmail.cli.sendmail_queue import print_queue

    return print_queue(find_place(options.config))


def _flush(options: Options) -> int:
    """-q, and -qR, -qS, -qI with a part of recipient, sender or id."""
    from cmail.cli.sendmail_queue import flush_queue

    return flush_queue(find_place(options.config), options.flush)


def _send(options: Options) -> int:
    """Read a message from standard input and leave it for the server."""
    place = find_place(options.config)
    submission = read_submission(read_from(0), ends_at_dot=not options.ignores_dot)
    if sum(f.name == b"received" for f in submission.fields) > RECEIVED_FIELDS_MAX:
        raise Refusal("the message has been here before: too many Received fields (a loop)", Exit.DATA)
    recipients = _recipients(options, submission, place)
    sender = _sender(options, place)
    addresses = [a for a in (sender, *recipients) if a is not None]
    envelope = Envelope(
        sender,
        tuple(Recipient(a, notify=options.notify) for a in recipients),
        ret=options.ret,
        envid=options.envid if options.envid.isprintable() else "",
        is_smtputf8=not all(a.is_ascii for a in addresses),
    )
    added = _missing_fields(options, submission, sender, place)
    leave(place.data_dir, envelope, submission.pieces(added), place.message_size_max)
    if options.is_verbose:
        print(f"left for the server: {len(recipients)} recipient(s) in {place.data_dir}/drop")
    return Exit.OK


def _recipients(options: Options, submission: Submission, place: Place) -> list[Address]:
    """From the command line, and with -t from the header section; each once."""
    found = [a for text in options.recipients for a in parse_list(text, place.bare_name_domain)]
    if options.is_from_header:
        names = _RESENT if any(f.name in _RESENT for f in submission.fields) else _ADDRESSED
        for field in submission.fields:
            if field.name in names:
                found += parse_list(field.value, place.bare_name_domain)
    if not found:
        how = "in To, Cc or Bcc" if options.is_from_header else "on the command line (or use -t)"
        raise Refusal(f"no recipient {how}", Exit.USAGE)
    if len(found) > ADDRESSES_MAX:
        raise Refusal(f"more than {ADDRESSES_MAX} recipients", Exit.DATA)
    return list(dict.fromkeys(found))


def _sender(options: Options, place: Place) -> Address | None:
    """-f, or whoever calls; None is the null reverse-path (-f '' and -f '<>')."""
    if options.sender is None:
        return qualify(_user_name(), place.hostname)
    if not options.sender:
        return None
    found = parse_list(options.sender, place.bare_name_domain)
    if len(found) != 1:
        raise Refusal(f"-f {options.sender}: one address is wanted", Exit.USAGE)
    return found[0]


def _user_name() -> str:
    import pwd

    try:
        return pwd.getpwuid(os.getuid()).pw_name
    except KeyError:
        return f"uid{os.getuid()}"


def _missing_fields(options: Options, message: Submission, sender: Address | None, place: Place) -> bytes:
    """From, Date and Message-ID where they are missing (RFC 6409 §8.1-8.3)."""
    now, lines = time.time(), []
    if not message.has(b"message-id"):
        unique = f"{int(now * 1000):x}.{os.urandom(8).hex()}"
        lines.append(f"Message-ID: <{unique}@{place.hostname}>")
    if not message.has(b"date"):
        lines.append(f"Date: {print_date(int(now * 1000))}")
    if not message.has(b"from"):
        author = sender or qualify("MAILER-DAEMON", place.hostname)
        lines.append(f"From: {_display_name(options.full_name)}<{author}>")
    return "".join(line + "\n" for line in lines).encode("utf-8", "replace")


def _display_name(name: str) -> str:
    """A phrase in front of <address>: as it is, quoted, or as an encoded word (RFC 2047 §5)."""
    name = " ".join(name.split())[:100]
    if not name:
        return ""
    if not name.isascii():
        import base64

        words = [name[at : at + 12].encode("utf-8", "replace") for at in range(0, len(name), 12)]
        return " ".join(f"=?UTF-8?B?{base64.b64encode(w).decode()}?=" for w in words) + " "
    clean = "".join(c for c in name if c.isprintable())
    if all(c.isalnum() or c in " -_'!#$%&*+/=?^`{|}~" for c in clean):
        return f"{clean} "
    return '"' + clean.replace("\\", "\\\\").replace('"', '\\"') + '" '
