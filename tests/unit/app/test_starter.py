"""What a new installation opens to others: nothing that is not asked for."""

from cmail.app.config import load_text
from cmail.app.settings import Settings
from cmail.app.starter import starter_text


def test_doors_for_sites_are_closed_until_somebody_opens_them() -> None:
    """Neither finger nor ATRN is listened for by default, nor is anything of this machine alone shown to others."""
    assert Settings().listener == ()
    text = starter_text("/var/lib/cmail")
    settings = load_text(text, "/etc/cmail/cmail.toml", is_machine_checked=False)
    assert {each.kind for each in settings.listener} == {"smtp", "submission"}
    assert all(each.address.startswith("127.0.0.1:") for each in settings.listener)
    assert not settings.site and not settings.link.kick and not settings.collect
