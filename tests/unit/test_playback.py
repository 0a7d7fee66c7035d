"""Pacing and what was heard, with a clock in the test's hand."""

import pytest

from riposte.turn.playback import Playback

RATE_HZ = 16_000
FRAME = 640  # 40 ms


def filled(frames: int, now: float = 0.0) -> Playback:
    playback = Playback(RATE_HZ, ahead_ms=300)
    for _ in range(frames):
        playback.sent(FRAME, now)
    return playback


def test_sound_runs_at_most_300_ms_ahead():
    playback, now, sent_at = Playback(RATE_HZ, ahead_ms=300), 10.0, []
    for _ in range(20):
        now += playback.wait_s(FRAME, now)
        sent_at.append(round((now - 10.0) * 1000))
        playback.sent(FRAME, now)
    assert sent_at[:8] == [0] * 7 + [20]  # 7 frames are 280 ms; the eighth waits for room
    assert sent_at[-1] == 20 * 40 - 300
    assert playback.remaining_s(now) == pytest.approx(0.3)


def test_heard_follows_the_clock_and_stops_at_what_was_sent():
    playback = filled(5)
    assert [playback.heard_ms(now) for now in (0.0, 0.05, 0.2, 9.0)] == [0, 50, 200, 200]


def test_a_late_frame_begins_when_it_comes():
    playback = filled(1)
    playback.sent(FRAME, 1.0)
    assert playback.heard_ms(1.0) == 40
    assert playback.heard_ms(1.02) == 60


def test_time_without_sound_in_the_middle_of_a_reply_is_counted():
    playback = filled(1, now=5.0)  # whatever came before the first sample is no gap
    playback.sent(FRAME, 5.04)
    assert playback.starved_s == 0
    playback.sent(FRAME, 5.2)  # the sound before it ended at 5.08
    playback.sent(FRAME, 5.2)
    assert playback.starved_s == pytest.approx(0.12)
    playback.nothing_due(9.0)
    playback.sent(FRAME, 9.05)
    assert playback.starved_s == pytest.approx(0.17)


def test_a_report_is_believed_within_what_was_sent():
    playback = filled(5)
    playback.played(120)
    assert playback.heard_ms(9.0) == 120
    playback.played(80)
    assert playback.heard_ms(9.0) == 120
    playback.played(10_000)
    assert playback.heard_ms(9.0) == 200


def test_heard_text_is_whole_words():
    playback = Playback(RATE_HZ, ahead_ms=300)
    assert playback.clause("Okay, I will.") == 0
    playback.sent(RATE_HZ, 0.0)
    assert playback.clause("The kitchen lights are on.") == 1_000
    playback.sent(RATE_HZ, 1.0)
    assert playback.heard_text(0) == ""
    assert playback.heard_text(1_000) == "Okay, I will."
    assert playback.heard_text(1_500) == "Okay, I will. The kitchen"
    assert playback.heard_text(2_000) == "Okay, I will. The kitchen lights are on."
    assert playback.heard_clauses(1_500) == ["Okay, I will.", "The kitchen"]


def test_a_clause_of_which_little_was_sent_was_heard_as_far_as_it_was_made():
    playback = Playback(RATE_HZ, ahead_ms=300)
    for _ in range(2):
        playback.making()
        playback.made(RATE_HZ, whole=True)
    playback.clause("The kitchen lights are on.")
    assert playback.heard_clauses(0) == [""], "begun, and nothing of it sent"
    playback.sent(RATE_HZ // 2, 0.0)
    assert playback.heard_clauses(500) == ["The kitchen"]
    playback.sent(RATE_HZ // 2, 0.5)
    playback.clause("And now")
    assert playback.heard_clauses(1_000) == ["The kitchen lights are on.", ""]


def test_a_clause_that_is_still_being_made_is_taken_to_last_as_long_as_its_letters():
    playback = Playback(RATE_HZ, ahead_ms=300)
    playback.clause("The kitchen lights are on.")  # 26 letters, 1,560 ms
    playback.making()
    playback.made(FRAME)
    playback.sent(FRAME, 0.0)
    assert playback.heard_clauses(40) == [""]
    playback.made(15 * FRAME)
    playback.sent(15 * FRAME, 0.0)
    assert playback.heard_clauses(640) == ["The kitchen"]
    playback.made(0, whole=True)
    assert playback.heard_clauses(640) == ["The kitchen lights are on."]


def test_words_before_tools_were_used_are_no_part_of_the_reply():
    playback = Playback(RATE_HZ, ahead_ms=300)
    for clause in ("Let me see.", "It is", "on now."):
        playback.clause(clause)
        playback.sent(RATE_HZ, 0.0)
    playback.reply_from = 1
    assert playback.heard_text(900) == ""
    assert playback.heard_text(3_000) == "It is on now."
