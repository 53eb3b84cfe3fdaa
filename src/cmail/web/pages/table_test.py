"""[Test] of a mailbox elsewhere, with the row as it is drafted."""

import asyncio
from collections.abc import Mapping
from typing import Any

from cmail.admin.mailbox_test import Tried, test_mailbox
from cmail.link.collect.box import Access, bare_host, port_of
from cmail.net.dns_client import DnsClient
from cmail.net.settings import DnsSettings
from cmail.web.context import WebContext
from cmail.web.pages.table_kinds import PASSWORD
from cmail.web.pages.table_secrets import RowSecrets


class MailboxTest:
    """Of [[collect]]."""

    def __init__(self, context: WebContext, secrets: RowSecrets) -> None:
        self._context, self._secrets = context, secrets

    async def run(self, row: Mapping[str, Any]) -> Tried:
        """Of a row that the desk has taken: its values are of their types."""
        if (await self._context.overviews.get()).is_online is False:
            return Tried(False, "We are off line: the mailbox can be tried when the line is up.")
        settings = self._context.desk.settings()
        protocol, tls = str(row["protocol"]), str(row.get("tls", "implicit"))
        access = Access(
            bare_host(str(row["host"])),
            port_of(protocol, int(row.get("port", 0)), tls),
            tls,
            self._context.ca_file(),
            str(row["username"]),
            str(row.get("folder", "INBOX")) if protocol == "imap" else "",
            await self._password(row),
        )
        return await test_mailbox(
            protocol, access, DnsClient(DnsSettings(tuple(settings["dns.servers"].value)))
        )

    async def _password(self, row: Mapping[str, Any]) -> str:
        """Of a file of somebody's own only the server knows it, since it has started."""
        if self._secrets.is_ours(row):
            return await asyncio.to_thread(self._secrets.read, row)
        return self._context.password_of(str(row.get(PASSWORD, "")))
