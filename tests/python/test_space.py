"""nostr-sdk for Python against one space through two homes: WARREN_A and WARREN_C (ws://...). It sends to these two only."""

import asyncio
import os
import sys
import unittest
from datetime import timedelta

from nostr_sdk import (
    Client,
    ClientBuilder,
    Event,
    EventBuilder,
    Filter,
    Keys,
    Kind,
    RelayUrl,
    ReqExitPolicy,
    ReqTarget,
    SignerAuthenticator,
    SingleLetterTag,
    Tag,
    UnwrappedGift,
    nip17_make_private_msg,
    uniffi_set_event_loop,
)

A, C = (RelayUrl.parse(os.environ[name]) for name in ("WARREN_A", "WARREN_C"))
# How long anything may take on a busy machine.
PATIENCE = timedelta(seconds=30)
GENERAL = Tag.parse(["h", "general"])


class Person:
    """Somebody with a key and a program that is connected to one home."""

    def __init__(self, home: RelayUrl) -> None:
        self.keys = Keys.generate()
        self.home = home
        self.client: Client = ClientBuilder().authenticator(SignerAuthenticator(self.keys)).build()

    async def connect(self) -> "Person":
        await self.client.add_relay(self.home)
        await self.client.connect(PATIENCE)
        return self

    async def say(self, kind: int, content: str = "", tags: tuple[Tag, ...] = (GENERAL,)) -> Event:
        """Hands an event in; gives it, or fails with the words of the space."""
        event = EventBuilder(Kind(kind), content).tags(list(tags)).finalize(self.keys)
        await self.send(event)
        return event

    async def send(self, event: Event) -> None:
        output = await self.client.send_event(event)
        if output.failed:
            raise PermissionError(str(list(output.failed.values())))

    async def ask(self, wanted: Filter) -> list[Event]:
        return await self.client.fetch_events(ReqTarget.single(self.home, [wanted]), PATIENCE)


def messages(author: Person) -> Filter:
    return (
        Filter()
        .kind(Kind(9))
        .author(author.keys.public_key())
        .custom_tag(SingleLetterTag.from_byte(ord("h")), "general")
    )


class Space(unittest.IsolatedAsyncioTestCase):
    async def asyncSetUp(self) -> None:
        # The library calls back from threads of its own, which a loop that is being debugged complains about.
        loop = asyncio.get_running_loop()
        loop.set_debug(False)
        uniffi_set_event_loop(loop)
        self.ann, self.ben = [await Person(home).connect() for home in (A, C)]
        for person in (self.ann, self.ben):
            await person.say(9021)

    async def asyncTearDown(self) -> None:
        for person in (self.ann, self.ben):
            await person.client.shutdown()

    async def test_a_message_written_through_a_is_heard_at_c_and_stays(self) -> None:
        stream = await self.ben.client.stream_events(
            ReqTarget.single(C, [messages(self.ann)]),
            timeout=PATIENCE,
            policy=ReqExitPolicy.WAIT_FOR_EVENTS_AFTER_EOSE(1),
        )
        said = await self.ann.say(9, "hello from Python")
        heard = await stream.next()
        self.assertEqual(heard.event.as_json(), said.as_json())
        self.assertTrue(heard.event.verify())
        stored = await self.ben.ask(messages(self.ann))
        self.assertEqual([event.id() for event in stored], [said.id()])

    async def test_a_private_message_opens_for_its_recipient(self) -> None:
        wrap = nip17_make_private_msg(self.ann.keys, self.ben.keys.public_key(), "only for you")
        await self.ann.send(wrap)
        mine = Filter().kind(Kind(1059)).pubkey(self.ben.keys.public_key())
        [found] = await self.ben.ask(mine)
        gift = UnwrappedGift.from_gift_wrap(self.ben.keys, found)
        self.assertEqual(gift.rumor().content(), "only for you")
        self.assertEqual(gift.sender(), self.ann.keys.public_key())
        self.assertEqual(await self.ann.ask(Filter().id(wrap.id())), [])

    async def test_who_may_not_is_told_why(self) -> None:
        with self.assertRaisesRegex(PermissionError, "restricted|not|invalid"):
            await self.ann.say(9, "anybody?", (Tag.parse(["h", "no-such-channel"]),))
        stranger = await Person(A).connect()
        with self.assertRaisesRegex(PermissionError, "restricted"):
            await stranger.say(9, "let me write")
        await stranger.client.shutdown()

    async def test_what_a_device_lacks_comes_by_comparing(self) -> None:
        said = [await self.ann.say(9, f"message {n}") for n in range(20)]
        output = await self.ben.client.sync(messages(self.ann), [C])
        self.assertEqual(output.failed, {})
        self.assertEqual(
            {event_id.to_hex() for event_id in output.report.received},
            {event.id().to_hex() for event in said},
        )

    async def test_a_deletion_reaches_the_other_home(self) -> None:
        said = await self.ann.say(9, "not so")
        await self.ann.say(5, "", (Tag.event(said.id()), Tag.parse(["k", "9"])))
        self.assertEqual(await self.ben.ask(Filter().id(said.id())), [])


if __name__ == "__main__":
    outcome = unittest.main(verbosity=2, exit=False).result
    sys.stdout.flush()
    sys.stderr.flush()
    # The library's threads may still call Python while it takes itself down, and crash it: the tests alone decide.
    os._exit(0 if outcome.wasSuccessful() and outcome.testsRun else 1)
