"""What was said in a session, as its next prompt needs it. In memory; history keeps it on disk."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from riposte.interfaces import Message


@dataclass(slots=True)
class Exchange:
    """One turn of a conversation. `reply` is what the user heard of it.

    `steps` stand between the two: what the model asked of tools, and what they answered.
    """

    turn: int
    user: str
    reply: str
    steps: tuple[Message, ...] = ()


class Conversation:
    """The exchanges of one session, oldest first."""

    def __init__(self, exchanges: Iterable[Exchange] = ()) -> None:
        self.exchanges = list(exchanges)

    def add(self, exchange: Exchange) -> None:
        """Keep a finished turn."""
        self.exchanges.append(exchange)

    def remove(self, turn: int) -> bool:
        """Forget one turn; False when it is not there."""
        before = len(self.exchanges)
        self.exchanges = [exchange for exchange in self.exchanges if exchange.turn != turn]
        return len(self.exchanges) < before

    def prompt(self, instructions: str, user: str | None = None) -> list[Message]:
        """Return the conversation, with these words of the user at its end."""
        messages = [Message("system", instructions)] if instructions else []
        for exchange in self.exchanges:
            messages.append(Message("user", exchange.user))
            messages.extend(exchange.steps)
            if exchange.reply:
                messages.append(Message("assistant", exchange.reply))
        if user is not None:
            messages.append(Message("user", user))
        return messages

    def drop_oldest_half(self) -> bool:
        """Forget the older half of the exchanges, by whole turns; False when there is none to forget.

        Half at once, so that the model's cached prefix is rebuilt once and not at each turn.
        """
        if not self.exchanges:
            return False
        del self.exchanges[: (len(self.exchanges) + 1) // 2]
        return True
