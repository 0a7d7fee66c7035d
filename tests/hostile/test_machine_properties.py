"""The turn machine in any order of events: numbers, one reply at most, each turn ended, none kept quiet."""

from __future__ import annotations

import random

import pytest
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from riposte.turn.machine import (
    DUCKED,
    Action,
    CancelReply,
    DropTurn,
    SetGain,
    StartTurn,
    TurnMachine,
)


class MachineMachine(RuleBasedStateMachine):
    """A session's side: it starts and cancels what it is told, and turns end when they like."""

    @initialize(resumed=st.sampled_from([0, 7]))
    def opened(self, resumed: int) -> None:
        self.machine = TurnMachine(resumed)
        self.resumed = resumed
        self.reply: StartTurn | None = None  # the one that may speak
        self.running: dict[int, StartTurn] = {}  # started and not over, cancelled ones too
        self.cancelled: set[int] = set()
        self.announced: int | None = None
        self.seen: set[int] = set()  # numbers that a client has seen, or will
        self.quiet = False  # the reply is ducked

    def act(self, actions: list[Action]) -> None:
        for action in actions:
            match action:
                case CancelReply(turn):
                    assert self.reply is not None, "nobody speaks"
                    assert turn == self.reply.turn
                    self.reply, self.quiet = None, False
                    self.cancelled.add(turn)
                case SetGain(turn, gain):
                    assert self.reply is not None, "nobody speaks"
                    assert turn == self.reply.turn
                    assert gain == (1.0 if self.quiet else DUCKED), (
                        "it is as quiet or as loud as that already"
                    )
                    self.quiet = not self.quiet
                case StartTurn(turn):
                    assert self.reply is None, "two replies at once"
                    assert turn not in self.running
                    assert (turn == self.announced) == action.announced
                    assert turn > self.resumed
                    if action.announced:
                        self.announced = None
                    else:
                        assert turn not in self.seen, "a number given twice"
                    self.seen.add(turn)
                    self.reply = self.running[turn] = action
                case DropTurn(turn):
                    assert turn == self.announced, "dropped unannounced"
                    self.announced = None

    @rule(text=st.text(max_size=3))
    def text(self, text: str) -> None:
        self.act(self.machine.on_text(text))
        assert self.reply is not None
        assert (self.reply.text, self.reply.clock, self.reply.say) == (text, "text", False)

    @rule(voice=st.none() | st.just("v"))
    def say(self, voice: str | None) -> None:
        self.act(self.machine.on_say("aloud", voice))
        assert self.reply is not None
        assert (self.reply.say, self.reply.voice) == (True, voice)

    @rule()
    def end(self) -> None:
        self.act(self.machine.on_end())
        assert self.reply is not None
        assert self.reply.clock == "end"

    @rule()
    def onset(self) -> None:
        self.act(self.machine.on_onset())
        assert self.quiet == (self.reply is not None)

    @rule()
    def no_barge_in(self) -> None:
        before = self.reply
        self.act(self.machine.on_no_barge_in())
        assert not self.quiet, "a reply is left quiet for good"
        assert self.reply is before

    @rule(continued=st.booleans())
    def barge_in(self, continued: bool) -> None:
        actions = self.machine.on_barge_in(continued=continued)
        assert all(isinstance(one, CancelReply) and one.continued is continued for one in actions)
        self.act(actions)
        assert self.reply is None

    @rule()
    def voice_stopped(self) -> None:
        number = self.machine.next_spoken
        self.act(self.machine.on_voice_stopped())
        assert self.reply is not None
        assert self.reply.turn == number, "what was held ready has another number"
        assert self.reply.clock == "speech"

    @rule()
    def partial(self) -> None:
        turn = self.machine.on_partial()
        if self.announced is None:
            assert turn not in self.seen
            self.announced = turn
            self.seen.add(turn)
        assert turn == self.announced

    @rule()
    def cancel(self) -> None:
        self.act(self.machine.on_cancel())
        assert self.reply is None

    @rule()
    def clear(self) -> None:
        self.act(self.machine.on_clear())
        assert self.announced is None

    @precondition(lambda self: self.running)
    @rule(data=st.data(), noise=st.booleans())
    def turn_ends(self, data: st.DataObject, noise: bool) -> None:
        """A turn is over, in any order; one of noise, that nobody was told of, was never seen."""
        self.over(data.draw(st.sampled_from(sorted(self.running))), noise=noise)

    def over(self, turn: int, *, noise: bool) -> None:
        """End this turn."""
        start = self.running.pop(turn)
        unseen = noise and start.clock == "speech" and not start.announced and turn not in self.cancelled
        if unseen:
            self.seen.discard(turn)
        if self.reply is start:
            self.reply, self.quiet = None, False
        self.cancelled.discard(turn)
        self.machine.on_ended(turn, unseen=unseen)

    @invariant()
    def it_knows_who_speaks_and_what_was_announced(self) -> None:
        assert self.machine.reply == (None if self.reply is None else self.reply.turn)
        assert self.machine.announced == self.announced
        assert self.machine.turn >= max(self.seen, default=self.resumed)

    def teardown(self) -> None:
        if not hasattr(self, "machine"):
            return
        self.cancel()
        self.clear()
        # Nothing is left that nobody will end: every turn was cancelled, or has ended.
        assert set(self.running) == self.cancelled & set(self.running)


TestMachine = MachineMachine.TestCase


def happen(one: MachineMachine, rng: random.Random) -> None:
    """Let one thing happen that may happen."""
    choice = rng.randrange(11)
    match choice:
        case 0:
            one.text("typed")
        case 1:
            one.say(rng.choice([None, "v"]))
        case 2:
            one.barge_in(rng.random() < 0.5)
        case 3 | 4 if one.running:
            one.over(rng.choice(sorted(one.running)), noise=rng.random() < 0.5)
        case _:
            rules = (
                one.end,
                one.onset,
                one.no_barge_in,
                one.voice_stopped,
                one.partial,
                one.cancel,
                one.clear,
            )
            rng.choice(rules)()


@pytest.mark.parametrize("hundred", range(10))
def test_a_thousand_interleavings_of_speech_pauses_and_cancels(hundred: int) -> None:
    """Quicker than what looks for small examples: longer talks, more of them."""
    for seed in range(100 * hundred, 100 * hundred + 100):
        rng = random.Random(seed)
        one = MachineMachine()
        one.opened(resumed=rng.choice([0, 7]))
        for _ in range(60):
            happen(one, rng)
            one.it_knows_who_speaks_and_what_was_announced()
        one.teardown()
