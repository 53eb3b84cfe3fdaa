"""The upstream server: whether it answers, encrypts and takes our log-in, as [Test connection] tries it."""

from cmail.admin.checks.finding import Finding, State
from cmail.admin.checks.inquiry import Inquiry
from cmail.admin.upstream_steps import LOG_IN, Step
from cmail.admin.upstream_test import Upstream, test_upstream
from cmail.policy.routing import is_near

REFUSED = "Our log-in is refused."


async def check_upstream(inquiry: Inquiry) -> Finding:
    """All steps of the test; the first that failed is told."""
    subject = inquiry.subject
    smtp = subject.smtp
    if not is_near(smtp.host):
        inquiry.need_line()
    domain = subject.domains[0] if subject.domains else subject.hostname
    upstream = Upstream(
        hostname=subject.hostname,
        sender=f"postmaster@{domain}",
        host=smtp.host,
        port=smtp.port,
        tls=smtp.tls,
        username=smtp.username,
        password=subject.smtp_password,
        ca_file=subject.tls.ca_file,
    )
    return judge(await test_upstream(upstream, inquiry.reach.dns), f"{smtp.host}:{smtp.port}")


def judge(steps: list[Step], where: str) -> Finding:
    """What is to be said of them."""
    expected = "It answers, encrypts and takes our log-in."
    failed = next((step for step in steps if step.state == "failed"), None)
    raw = [f"{step.name}: {step.words}" for step in steps if step.state != "not tried"]
    if failed is not None:
        words = f"{REFUSED} {failed.words}" if failed.name == LOG_IN else f"{failed.name}: {failed.words}"
        return Finding(State.WRONG, words, expected, failed.advice, raw=[*raw, *failed.raw])
    odd = next((step for step in steps if step.state == "note"), None)
    if odd is not None:
        return Finding(State.LOOK, odd.words, expected, odd.advice, raw=raw)
    return Finding(State.GOOD, f"{where} is ready to take our mail.", expected, raw=raw)
