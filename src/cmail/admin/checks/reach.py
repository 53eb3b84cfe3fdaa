"""The real outside of checks, for the admin process and for the command."""

from collections.abc import Sequence

from cmail.admin.checks.inquiry import Listener, Reach
from cmail.admin.processes import Processes
from cmail.net.control import ControlError
from cmail.net.dns_client import DnsClient
from cmail.net.settings import DnsSettings

DNS_S = 4.0  # of one question; a check has ten seconds for all of its own
TRY_S = 1.5


def real_reach(processes: Processes, dns: DnsSettings) -> Reach:
    """DNS without /etc/hosts (the world does not read ours), and the processes of the server, if it runs."""

    async def is_down() -> bool:
        try:
            return bool((await processes.ask("link", "link.status")).ok.get("is_down"))
        except ControlError:
            return False

    async def listeners() -> Sequence[Listener]:
        try:
            told = (await processes.ask("supervisor", "status")).ok.get("listeners", ())
        except ControlError:
            return ()
        return [(str(each["kind"]), str(each["address"])) for each in told]

    client = DnsClient(dns, lifetime_s=DNS_S, try_s=TRY_S, hosts_path="/dev/null")
    return Reach(client, is_down, listeners)
