"""FakeResolver: the DNS as a table in the process; FakeDnsServer: a real one on UDP and TCP that obeys."""

import asyncio
import struct
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from ipaddress import ip_address

import dns.flags
import dns.message
import dns.rcode
import dns.rdatatype
import dns.rrset

from cmail.world import DnsError, IPAddress, MxRecord, NoSuchDomainError

# What a name may be instead of an answer.
SERVFAIL = "SERVFAIL"
NXDOMAIN = "NXDOMAIN"
HANG = "HANG"
UNREACHABLE = "UNREACHABLE"


@dataclass
class FakeResolver:
    """Resolver. A name that is in no table does not exist. `mx` and `hosts` hold records or a trouble."""

    mx_table: Mapping[str, Sequence[tuple[int, str]] | str] = field(default_factory=dict)
    hosts: Mapping[str, Sequence[str] | str] = field(default_factory=dict)
    names: Mapping[str, str] = field(default_factory=dict)  # address -> host name
    asked: list[str] = field(default_factory=list)

    async def mx(self, domain: str) -> Sequence[MxRecord]:
        self.asked.append(f"MX {domain}")
        found = self.mx_table.get(domain)
        if found is None:
            if domain in self.hosts:
                return []
            raise NoSuchDomainError(domain)
        self._trouble(found, domain)
        assert not isinstance(found, str)
        return [MxRecord(preference, exchange) for preference, exchange in found]

    async def addresses(self, host: str) -> Sequence[IPAddress]:
        self.asked.append(f"A {host}")
        try:
            return [ip_address(host)]
        except ValueError:
            pass
        found = self.hosts.get(host)
        if found is None:
            if host in self.mx_table:
                return []
            raise NoSuchDomainError(host)
        self._trouble(found, host)
        return [ip_address(text) for text in found]

    async def ptr(self, address: IPAddress) -> str:
        return self.names.get(str(address), "")

    @staticmethod
    def _trouble(found: Sequence[object] | str, name: str) -> None:
        if found == NXDOMAIN:
            raise NoSuchDomainError(name)
        if found == SERVFAIL:
            raise DnsError("SERVFAIL")
        if found == UNREACHABLE:
            raise DnsError("no answer within 10 s", is_unreachable=True)


@dataclass
class FakeDnsServer:
    """`async with FakeDnsServer({("example.org", "MX"): ["10 mx.example.org."]}) as server:` then
    server.address is "127.0.0.1:PORT". A name with records of another type has none of this one; one that is
    in no record is denied as by its own zone. A value may be SERVFAIL, NXDOMAIN (denied as by a server that passes
    on what it heard) or HANG. With is_truncated UDP answers say that TCP has the rest."""

    records: dict[tuple[str, str], list[str] | str] = field(default_factory=dict)
    ttl: int = 300
    is_truncated: bool = False
    asked: list[str] = field(default_factory=list)
    port: int = 0
    host: str = "127.0.0.1"

    @property
    def address(self) -> str:
        return f"{self.host}:{self.port}"

    async def __aenter__(self) -> "FakeDnsServer":
        loop = asyncio.get_running_loop()
        self._tcp = await asyncio.start_server(self._serve_tcp, self.host, self.port)
        self.port = self._tcp.sockets[0].getsockname()[1]
        self._udp, _ = await loop.create_datagram_endpoint(
            lambda: _Udp(self), local_addr=(self.host, self.port)
        )
        return self

    async def __aexit__(self, *exc: object) -> None:
        self._udp.close()
        self._tcp.close()

    async def _serve_tcp(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while True:
                (length,) = struct.unpack("!H", await reader.readexactly(2))
                answer = self.answer(await reader.readexactly(length), is_udp=False)
                if answer is not None:
                    writer.write(struct.pack("!H", len(answer)) + answer)
                    await writer.drain()
        except (asyncio.IncompleteReadError, ConnectionError):
            pass
        finally:
            writer.close()

    def answer(self, octets: bytes, *, is_udp: bool) -> bytes | None:
        """The answer to one question; None: silence."""
        query = dns.message.from_wire(octets)
        question = query.question[0]
        name = question.name.to_text(omit_final_dot=True).lower()
        kind = dns.rdatatype.to_text(question.rdtype)
        self.asked.append(f"{kind} {name}")
        response = dns.message.make_response(query)
        response.flags |= dns.flags.RA
        found, is_own = self.records.get((name, kind)), False
        if found is None and not any(known == name for known, _ in self.records):
            found, is_own = NXDOMAIN, True
        if found == HANG:
            return None
        if found == SERVFAIL:
            response.set_rcode(dns.rcode.SERVFAIL)
        elif found == NXDOMAIN:
            response.set_rcode(dns.rcode.NXDOMAIN)
            if is_own:
                _sign(response, name)
        elif self.is_truncated and is_udp:
            response.flags |= dns.flags.TC
        elif found:
            response.answer.append(dns.rrset.from_text(question.name, self.ttl, "IN", kind, *found))
        return response.to_wire()


def _sign(response: dns.message.Message, name: str) -> None:
    """As a server answers for a zone of its own, which has the name's last label."""
    zone = name.rpartition(".")[2] + "."
    response.flags |= dns.flags.AA
    soa = f"ns.{zone} root.{zone} 1 3600 600 86400 60"
    response.authority.append(dns.rrset.from_text(zone, 60, "IN", "SOA", soa))


class _Udp(asyncio.DatagramProtocol):
    def __init__(self, server: FakeDnsServer) -> None:
        self._server = server

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.DatagramTransport) or hasattr(transport, "sendto")
        self._transport = transport

    def datagram_received(self, data: bytes, addr: object) -> None:
        answer = self._server.answer(data, is_udp=True)
        if answer is not None:
            self._transport.sendto(answer, addr)  # type: ignore[attr-defined]
