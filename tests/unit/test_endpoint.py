"""Levels and scores in, events out, in samples. Four hops of 8 ms are a window of the voice detector."""

import pytest

from riposte.turn.endpoint import (
    HOP,
    Due,
    Endpoint,
    EndpointRule,
    Faded,
    Onset,
    Paused,
    Resumed,
    Started,
    Stopped,
    VoiceEvent,
)

RATE_HZ = 16_000
RULE = EndpointRule(min_speech_ms=96, pause_ms=72, silence_min_ms=120, silence_max_ms=1_000, pre_roll_ms=300)
LOUD, QUIET = -20.0, -80.0


def at(ms: int) -> int:
    return ms * RATE_HZ // 1000


def voice(ms: int) -> list[tuple[float, float]]:
    return [(LOUD, 0.9)] * (at(ms) // HOP)


def silence(ms: int, *, late_ms: int = 32) -> list[tuple[float, float]]:
    """Silence; the detector's score falls `late_ms` after the energy does."""
    hops = at(ms) // HOP
    late = min(hops, at(late_ms) // HOP)
    return [(QUIET, 0.9)] * late + [(QUIET, 0.02)] * (hops - late)


def unsure(ms: int) -> list[tuple[float, float]]:
    """A sound of which the detector cannot tell what it is."""
    return [(LOUD, 0.4)] * (at(ms) // HOP)


def run(hops: list[tuple[float, float]], wait_ms: int | None = 200) -> list[VoiceEvent]:
    """Push hops; when it is due, answer that the silence has to be `wait_ms`."""
    endpoint = Endpoint(RULE, rate_hz=RATE_HZ)
    events = []
    for level, score in hops:
        if (event := endpoint.push(level, score)) is None:
            continue
        if isinstance(event, Due):
            endpoint.wait_ms = wait_ms
        events.append(event)
    return events


def test_an_utterance_is_an_onset_a_start_a_pause_and_an_end():
    events = run(silence(320) + voice(480) + silence(400))
    begin, end = at(320) + HOP, at(800)  # one hop alone is a click
    assert events == [Onset(begin), Started(begin), Paused(end), Due(end), Stopped(end)]


@pytest.mark.parametrize(("wait_ms", "ends_ms"), [(128, 128), (200, 200), (640, 640), (None, 1_000)])
def test_the_silence_that_ends_a_turn_is_as_long_as_its_words_ask(wait_ms, ends_ms):
    endpoint = Endpoint(RULE, rate_hz=RATE_HZ)
    for level, score in voice(480):
        endpoint.push(level, score)
    silent = 0
    for level, score in silence(1_200):
        silent += HOP
        event = endpoint.push(level, score)
        if isinstance(event, Due):
            endpoint.wait_ms = wait_ms
        if isinstance(event, Stopped):
            break
    assert silent == at(ends_ms)


def test_no_turn_ends_while_the_detector_still_hears_a_voice():
    events = run(voice(480) + silence(400, late_ms=304), wait_ms=128)
    assert events[-1] == Stopped(at(480))
    assert len(run(voice(480) + silence(304, late_ms=304), wait_ms=128)) == 4


def test_a_sound_that_is_no_voice_does_not_end_a_turn_and_does_not_hold_it_for_ever():
    noise = [(LOUD, 0.02)] * (at(160) // HOP)
    started = voice(480) + silence(160)
    assert not any(isinstance(event, Stopped) for event in run(started + noise, wait_ms=200))
    for_ever = run(started + noise * 10, wait_ms=200)
    # What goes on sounding may be a voice, for a moment.
    assert [type(event) for event in for_ever][-3:] == [Stopped, Onset, Faded]


def test_something_loud_may_be_a_voice_before_the_detector_can_tell():
    silent = [(QUIET, 0.02)] * 40
    loud = silent + [(LOUD, 0.02)] * 5
    assert [type(event) for event in run(loud)] == [Onset]
    assert [type(event) for event in run(loud + silent)] == [Onset, Faded]
    assert run(silent + [(LOUD, 0.02)] * 3 + silent) == []  # 24 ms are a click
    assert run(silent + [(-55.0, 0.02)] * 40) == []  # and this is not loud


def test_voice_in_a_pause_makes_it_none():
    events = run(voice(480) + silence(160) + voice(240) + silence(380), wait_ms=400)
    assert events == [
        *(Onset(HOP), Started(HOP), Paused(at(480)), Due(at(480))),
        *(Resumed(at(640) + HOP), Paused(at(880)), Due(at(880))),
    ]


def test_what_is_too_short_to_be_speech_fades():
    assert run(silence(64) + voice(64) + silence(160)) == [Onset(at(64) + HOP), Faded(at(160) + 6 * HOP)]
    assert run(silence(320)) == []


def test_what_stays_unsure_is_taken_for_noise_and_told_of_once():
    fades = at(64) + HOP + at(240)
    assert run(silence(64) + unsure(60_000)) == [Onset(at(64) + HOP), Faded(fades)]


def test_a_voice_over_a_noise_that_was_given_up_is_a_voice():
    begin = at(1_000)
    assert run(unsure(1_000) + voice(200))[-2:] == [Onset(begin), Started(begin)]


def test_a_noise_that_comes_back_may_be_a_voice_again():
    events = run(unsure(480) + silence(160) + unsure(160))
    assert [type(event) for event in events] == [Onset, Faded, Onset]


def test_voice_without_energy_is_none():
    assert run([(QUIET, 0.9)] * 40) == []


def test_a_level_is_judged_against_the_noise():
    noisy = [(-40.0, 0.02)] * 400
    learnt = [e for e in run(noisy + [(-36.0, 0.9)] * 60) if e.at > 100 * HOP]
    assert learnt == []
    assert any(isinstance(event, Started) for event in run(noisy + [(-25.0, 0.9)] * 60))


def test_stop_ends_an_open_utterance_and_nothing_else():
    endpoint = Endpoint(RULE, rate_hz=RATE_HZ)
    assert endpoint.stop() is None
    for level, score in voice(160):
        endpoint.push(level, score)
    assert endpoint.speaking
    assert endpoint.stop() == Stopped(at(160))
    assert not endpoint.speaking


def test_time_may_begin_anywhere():
    endpoint = Endpoint(RULE, rate_hz=RATE_HZ, at=1_000)
    events = [endpoint.push(level, score) for level, score in voice(32)]
    assert Onset(1_000 + HOP) in events
