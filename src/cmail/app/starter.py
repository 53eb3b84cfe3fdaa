"""The settings file that a new installation starts with: `cmail config init`, `make run`."""

import os
import pwd
from typing import Final

from cmail.app.catalog import print_value

SYSTEM_DATA: Final = "/var/lib/cmail"

_TEXT: Final = """\
# CMail Server: everything that can be set stands in docs/reference/config.md.
# After a change: `cmail config check`, then `cmail config reload`.

[host]
# The name this server greets with. In earnest: the name that your address in the DNS points back to.
hostname = "mail.example.org"
# Mail for these domains is ours and goes into mailboxes here. Put your own in the place of example.org.
domains = ["example.org"]
# Queue, mailboxes and accounts.
data_dir = {data_dir}
# Started by root the server becomes this user before it reads a single byte from the network.
user = "cmail"

# Where mail comes in. 127.0.0.1 is this machine alone; "0.0.0.0:25" is everybody (and needs root or systemd).
[[listener]]
kind = "smtp"
address = "127.0.0.1:2525"

# Where mail programs submit, with user name and password (`cmail user add anna@example.org`).
[[listener]]
kind = "submission"
address = "127.0.0.1:2587"

[relay]
# Who may send to anywhere without a password. Never write more here than your own network.
networks = ["127.0.0.0/8", "::1/128"]

[smtp]
# Mail for the Internet goes through the server of your provider ("smarthost"), or by itself ("mx").
delivery = "smarthost"
# The provider's server. While it is empty, mail for elsewhere waits in the queue; nothing is lost.
host = ""
port = 25
# "required" (STARTTLS, often port 587) and "implicit" (port 465) verify the server's certificate.
tls = "opportunistic"
# If it asks for a password: put that alone into a file that only you can read, and name the file here.
username = ""
password_file = ""
"""


def starter_text(data_dir: str) -> str:
    """A starter file: it works as it stands, on this machine alone, and owns example.org."""
    return _TEXT.format(data_dir=print_value(data_dir))


def starter_data_dir(config: str, user: str = "cmail") -> str:
    """Where a new installation keeps its data: `data` beside its settings; /var/lib/cmail when root
    starts it and the user that it then becomes cannot reach that."""
    beside = os.path.join(os.path.dirname(os.path.abspath(config)), "data")
    if os.geteuid() != 0:
        return beside
    return beside if can_reach(os.path.dirname(beside), user) else SYSTEM_DATA


def hand_over(folder: str, path: str, user: str = "cmail") -> None:
    """What root has just made for settings is the server's user's: else the page could never save."""
    if os.geteuid() != 0:
        return
    try:
        entry = pwd.getpwnam(user)
    except KeyError:
        return  # whoever starts the server is told
    for place in (path, folder):
        os.chown(place, entry.pw_uid, entry.pw_gid, follow_symlinks=False)


def can_reach(folder: str, user: str) -> bool:
    """Whether a user can go through a folder and all above it (one that is not there yet: through
    those that are)."""
    try:
        uid = pwd.getpwnam(user).pw_uid
    except KeyError:
        return True  # whoever starts the server is told that there is no such user
    return blocked_at(folder, uid, set(os.getgrouplist(user, pwd.getpwuid(uid).pw_gid))) is None


def blocked_at(folder: str, uid: int, gids: set[int]) -> str | None:
    """The first folder on the way to `folder` that a user cannot go through; None: he can."""
    parts = os.path.abspath(folder).split(os.sep)
    for end in range(1, len(parts) + 1):
        path = os.sep.join(parts[:end]) or os.sep
        try:
            status = os.stat(path)
        except FileNotFoundError:
            return None
        except OSError:
            return path
        if not _may_enter(status, uid, gids):
            return path
    return None


def _may_enter(status: os.stat_result, uid: int, gids: set[int]) -> bool:
    if uid == 0:
        return True
    if status.st_uid == uid:
        return bool(status.st_mode & 0o100)
    if status.st_gid in gids:
        return bool(status.st_mode & 0o010)
    return bool(status.st_mode & 0o001)
