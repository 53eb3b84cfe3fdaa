"""A real Dovecot in a folder of its own: LMTP, IMAP and POP3 on loopback, users from a file."""

import os
import pwd
import shutil
import subprocess
import tempfile
import time
from pathlib import Path

from tests.support.ports import free_port, wait_for_port

_CONFIG = """
base_dir = {d}/run
state_dir = {d}/run
log_path = {d}/log
protocols = lmtp imap pop3
listen = 127.0.0.1
{ssl}
disable_plaintext_auth = no
default_login_user = {login}
default_internal_user = {internal}
default_internal_group = {internal_group}
first_valid_uid = 1
mail_location = maildir:{mail}/%d/%n
mail_uid = {uid}
mail_gid = {gid}
postmaster_address = postmaster@example.org
hostname = dovecot.example.org
auth_mechanisms = {mechanisms}
auth_failure_delay = 0
passdb {{
  driver = passwd-file
  args = scheme=PLAIN username_format=%u {d}/users
}}
userdb {{
  driver = static
  args = uid={uid} gid={gid} home={mail}/%d/%n allow_all_users={allow_all}
}}
service lmtp {{
  inet_listener lmtp {{
    address = 127.0.0.1
    port = {lmtp_port}
  }}
  unix_listener {d}/lmtp.sock {{
    mode = 0666
  }}
}}
service auth {{
  unix_listener {d}/auth.sock {{
    mode = 0666
  }}
}}
service imap-login {{
  chroot =
  inet_listener imap {{
    address = 127.0.0.1
    port = {imap_port}
  }}
  inet_listener imaps {{
    port = {imaps_port}
    ssl = yes
  }}
}}
service pop3-login {{
  chroot =
  inet_listener pop3 {{
    address = 127.0.0.1
    port = {pop3_port}
  }}
  inet_listener pop3s {{
    port = {pop3s_port}
    ssl = yes
  }}
}}
service anvil {{
  chroot =
}}
service stats {{
  chroot =
}}
"""


class DovecotServer:
    """Runs as long as the with-block; needs root. `mail` may be a mail folder that CMail writes. Who wants
    Dovecot's log-in for another server finds it at auth_socket."""

    def __init__(
        self,
        users: dict[str, str],
        mail: Path | None = None,
        owner: str = "mail",
        mechanisms: str = "plain",
        certificate: tuple[Path, Path] | None = None,
        more: str = "",
    ) -> None:
        """`certificate`: its file and that of its key; with it STARTTLS, imaps and pop3s are there. `more` is
        appended to its settings."""
        self.folder = Path(tempfile.mkdtemp(prefix="dovecot-", dir="/var/tmp"))
        self.mail = mail or self.folder / "mail"
        self.lmtp_port, self.imap_port, self.pop3_port = free_port(), free_port(), free_port()
        self.imaps_port = free_port() if certificate else 0
        self.pop3s_port = free_port() if certificate else 0
        self._certificate, self._more = certificate, more
        self.lmtp_socket = self.folder / "lmtp.sock"
        self.auth_socket = self.folder / "auth.sock"
        self._users, self._owner, self._mechanisms = users, pwd.getpwnam(owner), mechanisms

    def __enter__(self) -> "DovecotServer":
        self.folder.chmod(0o755)
        self.mail.mkdir(exist_ok=True)
        if self.mail.parent == self.folder:
            os.chown(self.mail, self._owner.pw_uid, self._owner.pw_gid)
        users = "".join(f"{name}:{password}::::::\n" for name, password in self._users.items())
        (self.folder / "users").write_text(users)
        (self.folder / "dovecot.conf").write_text(
            _CONFIG.format(
                d=self.folder,
                mail=self.mail,
                login="dovenull",
                internal="dovecot",
                internal_group="dovecot",
                uid=self._owner.pw_uid,
                gid=self._owner.pw_gid,
                allow_all="no",
                mechanisms=self._mechanisms,
                lmtp_port=self.lmtp_port,
                imap_port=self.imap_port,
                imaps_port=self.imaps_port,
                pop3_port=self.pop3_port,
                pop3s_port=self.pop3s_port,
                ssl=self._ssl(),
            )
            + self._more
        )
        self._process = subprocess.Popen(["/usr/sbin/dovecot", "-F", "-c", str(self.folder / "dovecot.conf")])
        try:
            wait_for_port(self.lmtp_port)
            wait_for_port(self.imap_port)
            wait_for_port(self.pop3_port)
        except TimeoutError as error:
            self.__exit__()
            raise TimeoutError(f"{error}\n{self.log}") from None
        return self

    def __exit__(self, *_: object) -> None:
        self._process.terminate()
        try:
            self._process.wait(30)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        shutil.rmtree(self.folder, ignore_errors=True)

    def _ssl(self) -> str:
        if self._certificate is None:
            return "ssl = no"
        return "ssl = yes\nssl_cert = <{}\nssl_key = <{}".format(*self._certificate)

    @property
    def log(self) -> str:
        """What it has logged so far."""
        path = self.folder / "log"
        return path.read_text(errors="replace") if path.exists() else ""

    def messages(self, user: str) -> list[bytes]:
        """What lies in a user's new and cur."""
        name, _, domain = user.partition("@")
        home = self.mail / domain / name
        files = sorted((*home.glob("new/*"), *home.glob("cur/*")))
        return [path.read_bytes() for path in files]

    def wait_for(self, user: str, count: int, seconds: float = 60) -> list[bytes]:
        """The user's messages once there are `count`; TimeoutError with the log when never."""
        end = time.monotonic() + seconds
        while time.monotonic() < end:
            if len(found := self.messages(user)) >= count:
                return found
            time.sleep(0.05)
        raise TimeoutError(f"{user} has {len(self.messages(user))} of {count}:\n{self.log[-3000:]}")
