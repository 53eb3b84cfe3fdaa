"""What senders are told: bounces, delays, successes; expiry; and when nobody is told."""

import pytest

from cmail.mail import dsn
from cmail.mail.content import Content, unstuff
from cmail.mail.envelope import Notify
from cmail.mail.outcome import Delivered, PermanentFailure, TemporaryFailure
from cmail.mail.reply import parse_reply
from cmail.mail.status import BAD_MAILBOX
from cmail.storage.spool import NewMessage
from tests.support.fake_agent import deliver
from tests.unit.queue.house import House, run

NO_USER = PermanentFailure(
    "550 5.1.1 no such user",
    BAD_MAILBOX,
    "mx.example.net[192.0.2.1]:25",
    parse_reply([b"550 5.1.1 no such user"]),
)
LATER = TemporaryFailure("451 4.3.0 try later", reply=parse_reply([b"451 4.3.0 try later"]))


def owed(house: House) -> list[NewMessage]:
    """The reports that were made, in order."""
    return [new for settlement in house.spool.settlements for new in settlement.owed]


def text(new: NewMessage) -> str:
    return unstuff(new.content.wire()).decode()


def parsed(new: NewMessage) -> dsn.ParsedReport:
    return dsn.parse(unstuff(new.content.wire()))


def test_a_failure_bounces_in_the_commit_that_ends_it() -> None:
    """One settlement has the end and the bounce; the bounce has a null reverse-path and goes home."""

    async def test(house: House) -> None:
        house.smtp.outcome = lambda t, q: NO_USER
        await house.send("bob@example.net", "carl@example.net", envid="QQ314159")
        await house.until(lambda: house.local.delivered)
        settlement = house.spool.settlements[0]
        assert len(settlement.finals) == 2 and settlement.is_whole
        (bounce,) = settlement.owed
        assert bounce.envelope.reverse_path is None
        assert house.local.transactions == [["anna@example.org"]]
        report = parsed(bounce)
        assert report.message["original-envelope-id"] == "QQ314159"
        assert [r["final-recipient"] for r in report.recipients] == [
            "rfc822; bob@example.net",
            "rfc822; carl@example.net",
        ]
        assert report.recipients[0]["status"] == "5.1.1"
        assert report.recipients[0]["remote-mta"] == "dns; mx.example.net"
        assert report.recipients[0]["diagnostic-code"] == "smtp; 550 5.1.1 no such user"
        assert b"Subject: hello" in report.original and b"How are you" not in report.original
        assert house.log.reports == [(settlement.queue_id, "failed")]

    run(test)


def test_nothing_is_sent_back_to_the_null_reverse_path() -> None:
    """A bounce that fails is logged and gone."""

    async def test(house: House) -> None:
        house.smtp.outcome = lambda t, q: NO_USER
        await house.send("bob@example.net", sender="")
        await house.until(lambda: not house.waiting())
        assert not owed(house)
        assert any("null reverse-path" in line for line in house.log.texts)

    run(test)


@pytest.mark.parametrize(
    ("notify", "outcome", "told"),
    [
        (Notify.NEVER, NO_USER, []),
        (Notify.SUCCESS, NO_USER, []),
        (Notify.FAILURE, NO_USER, ["failed"]),
        (Notify.UNSPECIFIED, Delivered("a", "250 ok"), []),
        (Notify.SUCCESS, Delivered("a", "250 ok"), ["relayed"]),
        (Notify.SUCCESS, Delivered("a", "250 ok", is_local=True), ["delivered"]),
        (Notify.SUCCESS, Delivered("a", "250 ok", is_dsn_passed_on=True), []),
    ],
)
def test_notify_is_obeyed(notify: Notify, outcome, told: list[str]) -> None:
    """RFC 3461 §4.1: who asks for nothing gets nothing, and success is told only when asked for."""

    async def test(house: House) -> None:
        house.smtp.outcome = lambda t, q: outcome
        await house.send("bob@example.net", notify=notify)
        await house.until(lambda: not house.waiting())
        assert [parsed(new).recipients[0]["action"] for new in owed(house)] == told

    run(test)


def test_ret_full_returns_a_small_message_whole() -> None:
    """RFC 3461 §4.3: only when asked, and the dots are those of the original."""

    async def test(house: House) -> None:
        house.smtp.outcome = lambda t, q: NO_USER
        await house.send("bob@example.net", ret="FULL", plain=b"Subject: x\r\n\r\n.dot\r\nend\r\n")
        await house.until(lambda: owed(house))
        assert parsed(owed(house)[0]).original == b"Subject: x\r\n\r\n.dot\r\nend\r\n"

    run(test)


def test_a_bounce_of_content_in_a_file_has_its_header(tmp_path) -> None:
    """Large content is read from its file, off the event loop, and only its header comes back."""
    path = tmp_path / "content"
    path.write_bytes(b"Subject: large\r\n..dotted: x\r\n\r\n" + b"x" * 70 + b"\r\n")

    async def test(house: House) -> None:
        house.smtp.outcome = lambda t, q: NO_USER
        new = house.message("bob@example.net", ret="FULL")
        content = Content(b"Received: here\r\n", b"", 200_000, str(path), 200_000)
        new = NewMessage(
            new.queue_id, new.envelope, content, new.routes, new.arrived_wall_ms, new.arrived_link_ms
        )
        await house.spool.accept(new)
        await house.until(lambda: owed(house))
        assert parsed(owed(house)[0]).original == b"Received: here\r\nSubject: large\r\n.dotted: x\r\n"

    run(test)


def test_a_delay_is_told_once_and_only_after_four_hours() -> None:
    """After 4 h of trying, one notice; then none until the end."""

    async def test(house: House) -> None:
        house.smtp.outcome = lambda t, q: LATER
        await house.send("bob@example.net")
        for _ in range(23):
            await house.pass_time(minutes=10)
        assert not house.log.reports
        for _ in range(30):
            await house.pass_time(minutes=10)
        assert [kind for _, kind in house.log.reports] == ["delayed"]
        report = parsed(owed(house)[0])
        assert report.recipients[0]["action"] == "delayed"
        assert report.recipients[0]["status"].startswith("4.")
        assert "will-retry-until" in report.recipients[0]
        assert house.waiting() == ["bob@example.net"]

    run(test)


def test_after_its_lifetime_a_message_comes_back_with_the_last_reason() -> None:
    """Five days of trying, then a bounce with 5.4.7 and what was said last."""

    async def test(house: House) -> None:
        house.smtp.outcome = lambda t, q: LATER
        queue_id = await house.send("bob@example.net")
        for _ in range(39):
            await house.pass_time(hours=3)
        assert house.waiting() and not house.log.given_up
        for _ in range(6):
            await house.pass_time(minutes=30)
        assert house.log.given_up == [queue_id]
        bounce = owed(house)[-1]
        assert parsed(bounce).recipients[0]["status"] == "5.4.7"
        assert "451 4.3.0 try later" in text(bounce)

    run(test)


def test_months_off_line_cost_nothing() -> None:
    """Sixty days down, five minutes up each: no bounce and no notice before it had its chances."""

    async def test(house: House) -> None:
        house.clock.link_down()
        house.scheduler.link_changed()
        await house.send("bob@example.net")
        await house.pass_time(days=60)
        await house.scheduler.lookout.sweep()
        assert not house.log.reports and house.waiting()
        house.smtp.outcome = lambda t, q: LATER
        for period in range(1, 11):
            house.clock.link_up()
            house.scheduler.link_changed()
            await house.settle_down()
            house.clock.link_down()
            house.scheduler.link_changed()
            await house.pass_time(days=1)
            await house.scheduler.lookout.sweep()
            kinds = [kind for _, kind in house.log.reports]
            assert kinds == ["delayed"] * (period >= 3) + ["failed"] * (period >= 10), period

    run(test)


def test_what_rests_on_the_disk_expires_too() -> None:
    """The sweep finds what no attempt comes across, and its bounce says the last reason."""

    async def test(house: House) -> None:
        house.smtp.outcome = lambda t, q: LATER
        await house.send("bob@example.net")
        await house.until(lambda: house.log.attempts)
        await house.settle_down()
        house.clock.advance(4 * 3600)
        await house.scheduler.lookout.sweep()
        await house.settle_down()
        await house.scheduler.lookout.sweep()
        await house.settle_down()
        assert [kind for _, kind in house.log.reports] == ["delayed"]
        house.clock.advance(5 * 86400)
        await house.scheduler.lookout.sweep()
        await house.until(lambda: not house.waiting())
        assert "451 4.3.0 try later" in text(owed(house)[-1])
        assert house.smtp.attempts_count == 1

    run(test)


def test_nothing_expires_untried() -> None:
    """A message that was never tried gets its attempt first, however old it is."""

    async def test(house: House) -> None:
        house.scheduler.apply(house.settings.__class__(batch=True), house.router)
        await house.send("bob@example.net")
        await house.pass_time(days=30)
        await house.scheduler.lookout.sweep()
        assert house.waiting() and not house.log.reports
        house.smtp.outcome = deliver
        house.scheduler.apply(house.settings, house.router)
        await house.until(lambda: not house.waiting())

    run(test)


def test_an_alias_is_expanded_in_one_commit() -> None:
    """Targets take its place, each once, and those who get it anyway not again."""

    async def test(house: House) -> None:
        await house.send("sales@example.org", "you@example.org")
        await house.until(lambda: not house.waiting())
        first = next(s for s in house.spool.settlements if s.added)
        assert len(first.finals) == 1 and not first.is_whole
        assert sorted(a for _, a in house.local.delivered) == ["anna@example.org", "you@example.org"]
        assert [a for _, a in house.smtp.delivered] == ["bob@example.net"]
        assert "sales@example.org" in house.log.original_to
        await house.until(lambda: house.log.gone)
        assert len(house.log.gone) == 1

    aliases = {
        "sales@example.org": ("anna@example.org", "team@example.org", "you@example.org"),
        "team@example.org": ("bob@example.net", "sales@example.org"),
    }
    run(test, aliases=aliases)


def test_the_sender_of_an_alias_hears_once() -> None:
    """RFC 3461 §5.2.7: success of an expansion is told as 'expanded', its targets don't tell."""

    async def test(house: House) -> None:
        await house.send("sales@example.org", notify=Notify.SUCCESS | Notify.FAILURE)
        await house.until(lambda: len(house.local.delivered) == 3)
        await house.until(lambda: not house.waiting())
        assert [parsed(new).recipients[0]["action"] for new in owed(house)] == ["expanded"]

    run(test, aliases={"sales@example.org": ("anna@example.org", "you@example.org")})


def test_a_user_who_forwards_and_keeps_gets_both() -> None:
    """A mailbox that is its own alias target is not expanded for ever."""

    async def test(house: House) -> None:
        await house.send("anna@example.org")
        await house.until(lambda: not house.waiting())
        assert [a for _, a in house.local.delivered] == ["anna@example.org"]
        assert [a for _, a in house.smtp.delivered] == ["bob@example.net"]

    run(test, aliases={"anna@example.org": ("anna@example.org", "bob@example.net")})


def test_an_unknown_user_is_a_bounce_not_a_loop() -> None:
    """A local address that nobody has fails with 5.1.1; its bounce to nobody is dropped."""

    async def test(house: House) -> None:
        await house.send("nobody@example.org", sender="ghost@example.org")
        await house.until(lambda: not house.waiting())
        assert [kind for _, kind in house.log.reports] == ["failed"]
        assert not house.local.delivered
        assert parsed(owed(house)[0]).recipients[0]["status"] == "5.1.1"

    run(test)


def test_what_is_being_sent_does_not_expire() -> None:
    """The sweep leaves alone what a connection has in hand: its attempt decides."""

    async def test(house: House) -> None:
        house.smtp.outcome = lambda t, q: LATER
        await house.send("bob@example.net")
        await house.until(lambda: house.log.attempts)
        await house.settle_down()
        house.smtp.gate.clear()
        await house.pass_time(days=6)
        assert house.smtp.open_count == 1
        await house.scheduler.lookout.sweep()
        await house.settle_down()
        assert not house.log.reports and house.waiting()
        house.smtp.outcome = deliver
        house.smtp.gate.set()
        await house.until(lambda: not house.waiting())
        assert not house.log.reports

    run(test)
