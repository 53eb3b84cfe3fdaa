"""A file that is written beside what goes on."""

import asyncio

from cmail.link.saving import Saving


def test_one_write_at_a_time_and_the_last_is_the_latest() -> None:
    """What changes while it is written is written again, once; close() is the end of all of it."""

    async def test() -> None:
        value, written, under_way, most = 0, [], 0, 0
        goes_on = asyncio.Event()

        async def write() -> None:
            nonlocal under_way, most
            now = value
            under_way += 1
            most = max(most, under_way)
            await goes_on.wait()
            under_way -= 1
            written.append(now)

        saving = Saving("a file", write)
        await saving.close()
        for value in range(1, 6):  # noqa: B007 - write() reads it
            saving.soon()
            await asyncio.sleep(0)
        closing = asyncio.create_task(saving.close())
        await asyncio.sleep(0)
        assert not closing.done()
        goes_on.set()
        await closing
        assert written == [1, 5] and most == 1
        saving.soon()
        await saving.close()
        assert written == [1, 5, 5]

    asyncio.run(test())
