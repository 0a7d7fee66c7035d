"""What a session remembers: its conversation as far as it was heard, in the model's context and on disk."""

from __future__ import annotations

import asyncio
import time
from collections import deque

from riposte.conversation import Conversation, Exchange
from riposte.errors import ClientError
from riposte.history import History
from riposte.history_db import Kind, SessionRow, Stored, StoredTurn
from riposte.interfaces import Llm, Message
from riposte.settings import Settings, chosen
from riposte.turn.clock import WALL, Clock
from riposte.turn.playback import Playback
from riposte.turn.spec import TurnEnd

PLAYED_AFTER_DONE_S = 5.0  # a report of what was heard may come this long after `done`


class Memory:
    """The conversation of one session. `kind` and `name` say under what a client finds it again.

    `history` None: nothing of it goes to disk. `stored`: what it begins with.
    """

    def __init__(
        self,
        session_id: str,
        llm: Llm,
        *,
        kind: Kind = "native",
        name: str = "",
        history: History | None = None,
        stored: Stored | None = None,
        clock: Clock = WALL,
    ) -> None:
        self._id = session_id
        self._kind: Kind = kind
        self._name = name
        self._llm = llm
        self._history = history
        self._clock = clock
        self._conversation = Conversation([] if stored is None else stored.exchanges())
        self._created_at = time.time() if stored is None else stored.session.created_at
        self.turn = 0 if stored is None else stored.session.turn  # the last number it was given before
        self.settings = {} if stored is None else stored.session.settings  # those that its client had chosen
        # Turns that may still be told what was heard of them: number, exchange, player, until when.
        self._late: deque[tuple[int, Exchange, Playback, float]] = deque(maxlen=8)

    @property
    def refusal(self) -> ClientError | None:
        """Return why a turn could not be kept, if so."""
        return None if self._history is None else self._history.refusal

    def prompt(self, settings: Settings, user: str | None = None) -> list[Message]:
        """Return the conversation as the model reads it, with these words of the user at its end."""
        return self._conversation.prompt(settings.instructions, user)

    def add(self, end: TurnEnd) -> Exchange | None:
        """Take what a finished turn leaves; None when that is nothing."""
        reason = end.done.reason
        # A turn that failed before it said anything was not had: its words would weigh on the next one.
        if not end.user or (reason == "error" and not (end.heard or end.steps)):
            return None
        exchange = Exchange(end.done.turn, end.user, end.heard, end.steps)
        self._conversation.add(exchange)
        # A reply that was finished is known to have been heard, whatever a late report says.
        if end.playback is not None and reason not in ("stop", "length"):
            until = self._clock.now() + PLAYED_AFTER_DONE_S
            self._late.append((end.done.turn, exchange, end.playback, until))
        return exchange

    def played(self, turn: int, ms: int) -> Exchange | None:
        """Believe a report that came after the turn's `done`; return the exchange if that changes it.

        However many reports come, it is written as often as it changes, and no more.
        """
        now = self._clock.now()
        for number, exchange, playback, until in self._late:
            if number == turn and now < until:
                playback.played(ms)
                before, exchange.reply = exchange.reply, playback.heard_text(playback.heard_ms(now))
                return exchange if exchange.reply != before else None
        return None

    def forget(self, turn: int) -> bool:
        """Take a turn out of the conversation; False when it is not in it."""
        return self._conversation.remove(turn)

    def keep(
        self,
        settings: Settings,
        defaults: Settings,
        turn: int,
        exchange: Exchange | None,
        forgotten: int | None = None,
    ) -> asyncio.Future[ClientError | None] | None:
        """Have the session as it stands written to disk, `turn` its last number, with this turn of it."""
        if self._history is None:
            return None
        row = self._row(settings, defaults, turn)
        return self._history.keep(row, exchange, forgotten)

    def stored(self, settings: Settings, defaults: Settings, turn: int) -> Stored:
        """Return the session as it stands, as the disk would hold it."""
        now = time.time()
        turns = [
            StoredTurn(exchange.turn, now, exchange.user, exchange.reply, exchange.steps)
            for exchange in self._conversation.exchanges
        ]
        return Stored(self._row(settings, defaults, turn), turns)

    def _row(self, settings: Settings, defaults: Settings, turn: int) -> SessionRow:
        exchanges = self._conversation.exchanges
        return SessionRow(
            id=self._id,
            kind=self._kind,
            name=self._name,
            settings=chosen(settings, defaults),
            turn=turn,
            prompt_from=min((exchange.turn for exchange in exchanges), default=turn + 1),
            created_at=self._created_at,
            used_at=time.time(),
        )

    def keep_nothing(self) -> None:
        """Write nothing more to disk."""
        self._history = None

    def shorten(self, settings: Settings, own: list[Message]) -> bool:
        """Forget the oldest half for a turn's own messages; False when they alone are too long."""
        alone = [*Conversation().prompt(settings.instructions), *own]
        if self._llm.count_tokens(alone, settings.tools) >= self._llm.context_tokens:
            return False  # nothing is gained, so nothing is lost
        return self._conversation.drop_oldest_half()

    def make_room(self, settings: Settings, filled_tokens: int) -> bool:
        """Forget the oldest half where the conversation nearly fills the model's context."""
        reserve = min(settings.max_tokens, self._llm.context_tokens // 2)
        if filled_tokens + reserve <= self._llm.context_tokens:
            return False
        return self._conversation.drop_oldest_half()
