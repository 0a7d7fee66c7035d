"""What a session remembers of a turn, and what a late report of the client changes in it."""

from __future__ import annotations

from riposte.backends.fake import FakeLlm
from riposte.memory import Memory
from riposte.turn.playback import Playback
from riposte.turn.spec import TurnEnd
from riposte.wire.frames import Done, EndReason, Timing, Usage


def ended(reason: EndReason, heard: str) -> TurnEnd:
    """A turn whose reply has four words of a quarter of a second each."""
    playback = Playback(16_000, ahead_ms=300)
    playback.clause("ab cd ef gh")
    playback.sent(16_000, 0.0)
    done = Done(1, reason, 1000, Usage(), Timing("text"))
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
