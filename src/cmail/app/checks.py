"""The settings that hold, as Checks need them."""

from cmail.admin.checks.inquiry import Subject
from cmail.app.settings import Settings


def subject_of(settings: Settings, smtp_password: str = "") -> Subject:
    """Whose checks they are."""
    return Subject(
        hostname=settings.host.hostname,
        domains=settings.host.domains,
        data_dir=settings.host.data_dir,
        free_min=settings.limits.free_space,
        smtp=settings.smtp,
        smtp_password=smtp_password,
        tls=settings.tls,
        dns=settings.dns,
        checks=settings.checks,
    )
