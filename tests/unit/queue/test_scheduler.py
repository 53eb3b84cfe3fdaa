"""The scheduler: what comes goes at once, nothing is sent twice, nothing is forgotten."""

from tests.unit.queue.house import House, run


def test_a_fresh_message_goes_at_once_and_is_gone() -> None:
    """From memory to the agent, settled in one commit, removed."""

    async def test(house: House) -> None:
        queue_id = await house.send("bob@example.net")
        await house.until(lambda: house.log.gone)
        assert house.smtp.delivered == [(queue_id, "bob@example.net")]
        assert house.log.gone == [queue_id]
        assert not house.waiting()
        assert not house.scheduler.active and not house.scheduler.octets

    run(test)
