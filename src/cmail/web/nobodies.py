"""Accounts that sites and mailboxes elsewhere need and that are not there: for lists and the API."""

import asyncio
from collections.abc import Mapping
from typing import Any

from cmail.admin.nobodies import COLLECT, SITE, Here, Nobody, nobodies
from cmail.admin.nobodies import words_by_name as words_by_name
from cmail.storage.account_book import AccountError
from cmail.web.context import WebContext
from cmail.web.desk import DraftError, SettingView


async def find_nobodies(
    context: WebContext, settings: Mapping[str, SettingView], *, is_saved: bool
) -> list[Nobody]:
    """By the settings as they are saved, or as they are drafted; none where who is there cannot be read."""

    def value(key: str) -> Any:
        return settings[key].saved if is_saved else settings[key].value

    here = Here(
        context.data_dir,
        tuple(str(domain).lower().removesuffix(".") for domain in value("host.domains")),
        str(value("host.hostname")).lower().removesuffix("."),
        str(value("local.separator")),
        not value("smtp.advanced.refuse_unknown_users"),
    )
    try:
        return await asyncio.to_thread(nobodies, _rows(value(SITE)), _rows(value(COLLECT)), here)
    except AccountError:
        return []


async def saved_warnings(context: WebContext, table: str) -> dict[str, str]:
    """Of the rows of a table as they are saved, by their names; none while the file cannot be read."""
    try:
        return words_by_name(await find_nobodies(context, context.desk.settings(), is_saved=True), table)
    except DraftError:
        return {}


def _rows(value: Any) -> list[Any]:
    return list(value) if isinstance(value, list | tuple) else []
