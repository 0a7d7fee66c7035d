"""What a session remembers of a turn, and what a late report of the client changes in it."""

from __future__ import annotations

from riposte.backends.fake import FakeLlm
from riposte.memory import Memory
from riposte.settings import Settings
from riposte.turn.playback import Playback
from riposte.turn.spec import TurnEnd
from riposte.wire.frames import Done, EndReason, Timing, Usage

SETTINGS = Settings(audio_out_hz=16_000, voice="low", instructions="", max_tokens=100, temperature=0.0)


def ended(reason: EndReason, heard: str, turn: int = 1) -> TurnEnd:
    """A turn whose reply has four words of a quarter of a second each."""
    playback = Playback(16_000, ahead_ms=300)
    playback.clause("ab cd ef gh")
    playback.sent(16_000, 0.0)
    done = Done(turn, reason, 1000, Usage(), Timing("text"))
    return TurnEnd("hello", (), "ab cd ef gh", heard, 0, {}, done, playback, False)


def test_a_late_report_changes_what_was_heard_once_for_each_change():
    memory = Memory("session", FakeLlm())
    memory.add(ended("interrupted", "ab cd ef gh"))
    changes = [memory.played(1, ms) for ms in (0, 0, 0, 300, 310, 1000, 1000)]
    assert [change is not None for change in changes] == [True, False, False, True, False, True, False]


def test_a_reply_that_came_to_its_end_stays_whole_whatever_is_reported():
    memory = Memory("session", FakeLlm())
    exchange = memory.add(ended("stop", "ab cd ef gh"))
    assert exchange is not None
    assert memory.played(1, 0) is None
    assert exchange.reply == "ab cd ef gh"


def users(memory: Memory) -> list[int]:
    return [turn.turn for turn in memory.stored(SETTINGS, SETTINGS, 9).exchanges()]


def test_a_turn_that_is_forgotten_is_in_no_prompt_and_in_nothing_that_is_kept():
    memory = Memory("session", FakeLlm())
    for turn in (1, 2, 3):
        memory.add(ended("stop", "ab cd ef gh", turn))
    assert memory.forget(2)
    assert users(memory) == [1, 3]
    assert len(memory.prompt(SETTINGS)) == 4
    assert not memory.forget(2)


def test_a_turn_that_ended_after_a_later_one_is_kept_too():
    memory = Memory("session", FakeLlm())
    for turn in (2, 1, 3):
        memory.add(ended("stop", "ab cd ef gh", turn))
    assert sorted(users(memory)) == [1, 2, 3]
    assert memory.stored(SETTINGS, SETTINGS, 3).session.prompt_from == 1


def test_with_every_turn_forgotten_the_next_one_begins_the_prompt():
    memory = Memory("session", FakeLlm())
    memory.add(ended("stop", "ab cd ef gh"))
    memory.forget(1)
    assert memory.stored(SETTINGS, SETTINGS, 1).session.prompt_from == 2
