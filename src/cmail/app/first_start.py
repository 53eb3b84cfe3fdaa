"""The first start of the starter settings: the user `you`, so that a stranger can log in at once.

Only where the data folder has no accounts yet and example.org is ours, which nobody's real mail is. The
password is made by chance, shown on the start screen by the name of its file, and kept there (0600)
until the administrator removes it."""

import os
import secrets
from typing import Final

from cmail.app.settings import Settings
from cmail.observe import maillog
from cmail.storage import durable
from cmail.storage.account_book import FILE_NAME, AccountBook

DOMAIN: Final = "example.org"
USER: Final = "you"
PASSWORD_FILE: Final = os.path.join("secrets", f"{USER}@{DOMAIN}")


def first_user(settings: Settings) -> tuple[str, str] | None:
    """The user and the file with its password, as long as that file is there; made at the first start.
    Blocks, and runs with the rights of the owner of the data folder."""
    host = settings.host
    name = f"{USER}@{DOMAIN}"
    path = os.path.join(host.data_dir, PASSWORD_FILE)
    is_new = not os.path.exists(os.path.join(host.data_dir, FILE_NAME))
    if is_new and os.listdir(os.path.join(host.data_dir, "mail")):
        words = f"{host.data_dir} has mailboxes and no {FILE_NAME}: accounts begin anew, without users"
        maillog.warned(words)
    password = secrets.token_urlsafe(12) if is_new and DOMAIN in host.domains else ""
    if password:
        durable.write_durably(path, f"{password}\n".encode())
    with AccountBook(host.data_dir, domains=host.domains, hostname=host.hostname) as book:
        if password:
            book.add_user(name, password)
    if DOMAIN not in host.domains:
        return None
    return (name, path) if os.path.exists(path) else None
