"""Settings: the whole tree of cmail.toml, built from the parts' own settings."""

from dataclasses import dataclass, field

from cmail.admin.checks.settings import CheckSettings
from cmail.delivery.settings import ForwardSettings, LocalSettings, SmtpSettings
from cmail.delivery.site_settings import SiteSettings
from cmail.link.settings import CollectSettings, ExchangeSettings, LinkSettings
from cmail.net.settings import DnsSettings, TlsSettings
from cmail.observe.settings import LogSettings
from cmail.queue.settings import QueueSettings
from cmail.settings import HostSettings
from cmail.smtpd.settings import IntakeSettings, ListenerSettings, RelaySettings
from cmail.web.settings import AdminSettings


@dataclass(frozen=True, slots=True)
class Settings:
    """cmail.toml, checked. Nobody below app imports it: each part is given its own."""

    host: HostSettings = field(default_factory=HostSettings)
    listener: tuple[ListenerSettings, ...] = ()
    relay: RelaySettings = field(default_factory=RelaySettings)
    limits: IntakeSettings = field(default_factory=IntakeSettings)
    smtp: SmtpSettings = field(default_factory=SmtpSettings)
    queue: QueueSettings = field(default_factory=QueueSettings)
    local: LocalSettings = field(default_factory=LocalSettings)
    forward: tuple[ForwardSettings, ...] = ()
    site: tuple[SiteSettings, ...] = ()
    link: LinkSettings = field(default_factory=LinkSettings)
    exchange: ExchangeSettings = field(default_factory=ExchangeSettings)
    collect: tuple[CollectSettings, ...] = ()
    tls: TlsSettings = field(default_factory=TlsSettings)
    dns: DnsSettings = field(default_factory=DnsSettings)
    log: LogSettings = field(default_factory=LogSettings)
    admin: AdminSettings = field(default_factory=AdminSettings)
    checks: CheckSettings = field(default_factory=CheckSettings)
