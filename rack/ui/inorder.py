"""Keys that come in a burst, as over a slow line, are dealt with one after another.

Textual hands a key to the widget in focus; what is no text for it goes up to the screen and the application and becomes
a command there. The next key does not wait for that: `/` and a word typed at once would be a search that never sees the
word, and a word that is taken for commands.
"""

from __future__ import annotations

import asyncio
from collections import deque
from functools import partial
from time import monotonic

from textual import events
from textual.app import App
from textual.message import Message
from textual.message_pump import MessagePump
from textual.timer import Timer
from textual.widgets import Input

Typed = events.Key | events.Paste
LOST_S = 0.25  # a window that closes takes the mark behind its last key with it
PATIENCE_S = 10.0  # with a widget that is still there: a busy machine is slow to open a page


class Passed(Message):
    """Sent behind a key on the same way: where it arrives, the key has been dealt with."""

    def __init__(self, key: Typed):
        super().__init__()
        self.key = key


class KeysInOrder(App[None]):
    """An application that holds a key back until the one before it, and what it opened, is there."""

    def __init__(self, **settings):
        super().__init__(**settings)
        self._keys: deque[Typed] = deque()  # the first of them is being dealt with
        self._patience: Timer  # until it is given up

    async def on_event(self, event: events.Event) -> None:
        if not isinstance(event, Typed) or event.is_forwarded:
            await super().on_event(event)
            return
        self._keys.append(event)
        if len(self._keys) == 1:
            await self._deal()

    async def _deal(self) -> None:
        """Hand over the first key, and a mark behind it."""
        key, target = self._keys[0], self.focused or self.screen
        self._patience = self.set_interval(LOST_S, partial(self._missed, key, target, monotonic() + PATIENCE_S))
        await super().on_event(key)
        target.post_message(Passed(key))

    def _missed(self, key: Typed, target: MessagePump, end: float) -> None:
        """Give up a key whose mark went with the widget that had it; one that is there gets to it."""
        if not target.is_running or monotonic() > end:
            self.call_later(self._next, key)  # which stops the timer that calls this

    async def on_passed(self, message: Passed) -> None:
        """The next key waits until the screen shows what came of this one: a command can open a window."""
        await asyncio.sleep(0)  # it is there now, if a worker opens it
        key, more = message.key, len(self._keys) > 1
        text = isinstance(self.focused, Input) and (isinstance(key, events.Paste) or key.is_printable)
        if more and not text and name(key) != name(self._keys[1]):
            self.screen.call_after_refresh(self.call_later, self._next, key)
        else:
            await self._next(key)

    async def _next(self, key: Typed) -> None:
        if not self._keys or key is not self._keys[0]:
            return
        self._keys.popleft()
        self._patience.stop()
        if self._keys:
            await self._deal()


def name(event: Typed) -> str:
    """Which key it is."""
    return event.key if isinstance(event, events.Key) else ""
