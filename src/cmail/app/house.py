"""Composition root: which processes there are, and what each is made of. No logic."""

import importlib
import os
from collections.abc import Callable, Sequence
from typing import Final

from cmail.app import process
from cmail.app.admin_process import AdminProcess
from cmail.app.child import Role, Tether
from cmail.app.estate import Estate
from cmail.app.link_process import LinkProcess
from cmail.app.process import Part
from cmail.app.rights import Owner
from cmail.app.starter import blocked_at
from cmail.app.worker import Worker
from cmail.observe import metrics

# What is imported late elsewhere to save memory, because not everybody needs it. Where the user that
# root becomes cannot read our modules (a clone below /root), it has to be there before.
_LATE: Final = (
    "uvloop",
    "pydantic",
    "dns.asyncresolver",
    "dns.nameserver",
    "dns.rdtypes.ANY.CNAME",
    "dns.rdtypes.ANY.MX",
    "dns.rdtypes.ANY.PTR",
    "dns.rdtypes.ANY.SOA",
    "dns.rdtypes.ANY.TXT",
    "dns.rdtypes.ANY.OPT",
    "dns.rdtypes.IN.A",
    "dns.rdtypes.IN.AAAA",
    "idna",
    "encodings.idna",
    "cryptography.x509",
    "email.message",
    "cmail.admin.checks.attention",
    "cmail.admin.checks.reach",
    "cmail.admin.link_attention",
    "cmail.app.checks",
    "cmail.app.desk",
    "cmail.web.application",
    "cmail.web.server",
    "python_multipart.multipart",
    "jinja2.debug",
    "argon2",
    "uvicorn.lifespan.off",
    "uvicorn.loops.auto",
    "uvicorn.protocols.http.h11_impl",
    "anyio._backends._asyncio",
)
_ALWAYS: Final = ("uvloop",)


def roles(estate: Estate) -> Sequence[tuple[str, Role]]:
    """Name and work of each process; workers first, their places are their numbers."""
    found = [_role(estate, f"worker-{n}", _worker(estate, n)) for n in range(estate.workers_count)]
    found.append(_role(estate, "link", lambda: LinkProcess(estate)))
    if estate.admin_port is not None:
        found.append(_role(estate, "admin", lambda: AdminProcess(estate)))
    return found


def _worker(estate: Estate, number: int) -> Callable[[], Part]:
    return lambda: Worker(estate, number)


def _role(estate: Estate, name: str, compose: Callable[[], Part]) -> tuple[str, Role]:
    def live(tether: Tether) -> int:
        metrics.forget()  # the figures of who forked us are not ours
        return process.run(name, compose(), tether, estate.run_folder)

    return name, live


def import_parts(owner: Owner) -> None:
    """Import what the processes share before they are forked, and all of it where they could not
    import it any more: after the rights of root are gone."""
    is_readable = owner.is_us or not any(
        blocked_at(os.path.dirname(path), owner.uid, set(owner.gids))
        for path in (__file__, importlib.__file__)
    )
    for name in _ALWAYS if is_readable else _LATE:
        try:
            importlib.import_module(name)
        except ImportError:
            continue  # a library has moved it, or it is not installed: whoever needs it says so
