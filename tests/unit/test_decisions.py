"""What counts as a decision, and how two talks' decisions are told apart."""

from __future__ import annotations

from riposte.recording import Decided, Entry, Out
from riposte.replay.decisions import decisions, differences
from riposte.wire import frames as wire


def done(turn: int, reason: wire.EndReason = "stop") -> wire.Done:
    return wire.Done(turn, reason, 500, wire.Usage(), wire.Timing("speech"))


def entries(*frames: wire.ServerFrame, at: int = 16_000) -> list[Entry]:
    return [Out(at, 1000.0, frame) for frame in frames]


def lines(made: list[Entry], **options: object) -> list[tuple[str, str]]:
    return [(one.track, one.what) for one in decisions(made, **options)]  # type: ignore[arg-type]


TALK: list[Entry] = [
    *entries(wire.Speech("started", 288)),
    Decided(16_000, 1000.0, "StartTurn", {"turn": 1, "clock": "speech"}),
    *entries(
        wire.Transcript(1, "hel", 0, False),
        wire.Transcript(1, "hello", 5, True),
        wire.Token(1, "well"),
        wire.Token(1, " hello"),
        wire.Clause(1, "well hello", 0),
        wire.AudioOut(1, 0, b""),
        wire.AudioOut(1, 1, b""),
        wire.ToolCall(1, "id-1", "light", "{}"),
        wire.Playback(1, 0.1),
        wire.Mark(7),
        done(1),
        wire.Error("busy", "try again in 3 s"),
    ),
]


def test_a_talk_is_told_in_decisions() -> None:
    assert lines(TALK) == [
        ("voice", "started at 288 ms"),
        ("machine", "StartTurn(turn=1, clock='speech') at sample 16000"),
        ("turn 1", "hears 'hello'"),
        ("turn 1", "begins to speak"),
        ("turn 1", "asks for light {}"),
        ("turn 1", "gain 0.1"),
        ("turn 1", "says 'well hello'"),
        ("turn 1", "ends: stop"),
        ("session", "error busy"),
    ]


def test_words_of_a_reply_count_where_they_are_whole_and_not_drawn_by_lot() -> None:
    cut = entries(wire.Token(1, "well"), done(1, "interrupted"))
    assert lines(cut) == [("turn 1", "ends: interrupted")]
    whole = entries(wire.Token(1, "well"), done(1))
    assert lines(whole, exact_words=False) == [("turn 1", "ends: stop")]


def test_the_same_decisions_do_not_differ_however_their_tracks_interleave() -> None:
    one = entries(wire.Speech("started", 288), done(1), wire.Speech("stopped", 900))
    other = entries(wire.Speech("started", 288), wire.Speech("stopped", 900), done(1))
    assert differences(decisions(one), decisions(other)) == []


def test_differences_are_named_with_their_track_and_time() -> None:
    one = entries(wire.Transcript(1, "hello", 5, True), wire.Playback(1, 0.1), done(1, "interrupted"))
    other = entries(wire.Transcript(1, "hello", 5, True), done(1), wire.Speech("started", 8), at=8_000)
    assert differences(decisions(one), decisions(other)) == [
        "turn 1: only recorded, at 1.000 s: gain 0.1",
        "turn 1: only recorded, at 1.000 s: ends: interrupted",
        "turn 1: only replayed, at 0.500 s: ends: stop",
        "voice: only replayed, at 0.500 s: started at 8 ms",
    ]


def test_the_order_within_a_track_counts() -> None:
    one = entries(wire.Playback(1, 0.1), wire.Playback(1, 1.0))
    other = entries(wire.Playback(1, 1.0), wire.Playback(1, 0.1))
    assert differences(decisions(one), decisions(other))
