"""The echo gate in rooms made up by bench/echo_room, with voices made of harmonics: no model is loaded."""

from __future__ import annotations

from collections.abc import Iterator
from functools import cache

import numpy as np
import pytest

from bench.echo_room import Echo, mix
from riposte.interfaces import PcmF32
from riposte.turn.echo import EchoGate

RATE = 16_000
MS = RATE // 1000
NOTHING = np.empty(0, np.float32)
AT = RATE // 2  # the reply is played from here on, at the earliest
NOISE_DB = -60.0


@cache
def voice(seconds: float, seed: int) -> PcmF32:
    """Return syllables of a gliding pitch with consonants of noise between them, at about -22 dBFS."""
    rng = np.random.default_rng(seed)
    time_s = np.arange(int(seconds * RATE)) / RATE
    pitch_hz = rng.uniform(90, 220)
    phase = 2 * np.pi * np.cumsum(pitch_hz * (1 + 0.15 * np.sin(2 * np.pi * rng.uniform(0.5, 1.5) * time_s)))
    phase /= RATE
    syllable = (time_s * rng.uniform(3.5, 5)).astype(int)
    formants_hz = rng.uniform((300, 900, 2300), (800, 2200, 3400), (syllable[-1] + 1, 3))[syllable]
    sound = np.zeros_like(time_s)
    for harmonic in range(1, 24):
        hz = harmonic * pitch_hz
        loud = sum(1 / (1 + ((hz - formants_hz[:, i]) / 120) ** 2) for i in range(3))
        sound += np.sin(harmonic * phase) * loud / harmonic**0.5
    place = time_s * rng.uniform(3.5, 5) % 1
    hiss = np.diff(rng.normal(size=time_s.size + 1))
    sound = np.where(place < 0.25, 0.4 * hiss, sound * np.sin(np.pi * place) ** 0.5)
    return np.asarray(0.08 * sound / np.sqrt(np.mean(sound**2)), np.float32)


def pieces(samples: int, seed: int) -> Iterator[slice]:
    """Cut a sound as a microphone might: 1 sample to 100 ms at a time."""
    rng, at = np.random.default_rng(seed), 0
    while at < samples:
        size = int(rng.choice((1, 100, 320, 640, 1600)))
        yield slice(at, min(samples, at + size))
        at += size


def run(
    gate: EchoGate, mic: PcmF32, reply: PcmF32, *, at: int = AT, seed: int = 0, piece: int = 640
) -> PcmF32:
    """Hand out the reply, 300 ms ahead of its playing, while the microphone is cleaned."""
    out, sent = [], 0
    for n in range(0, mic.size, 640):
        while sent < reply.size and at + sent - 300 * MS <= n:
            gate.sent(reply[sent : sent + 640], at + sent)
            sent += 640
        out.append(gate.clean(mic[n : n + 640], n))
    return np.concatenate(out)


def dbfs(pcm: PcmF32) -> float:
    return 10 * float(np.log10(np.mean(pcm.astype(np.float64) ** 2) + 1e-12))


def loud_ms(pcm: PcmF32) -> int:
    """Return for how long a sound is 12 dB over the microphone's noise."""
    blocks = pcm[: pcm.size // 128 * 128].reshape(-1, 128)
    return 8 * int(np.sum(np.mean(blocks**2, axis=1) > 10 ** ((NOISE_DB + 12) / 10)))


def test_without_a_reply_the_very_samples_come_back() -> None:
    gate, pcm = EchoGate(), voice(1.0, 1)
    assert not gate.active
    assert gate.clean(pcm, 0) is pcm


@pytest.mark.parametrize(
    ("db", "delay_ms", "room_seed"), [(-6, 50, 1), (-6, 300, 2), (-12, 170, 3), (-20, 240, 4), (0, 120, 5)]
)
def test_a_reply_alone_is_not_heard(db: float, delay_ms: float, room_seed: int) -> None:
    reply = voice(4.0, room_seed)
    mic = mix(reply, NOTHING, db, delay_ms, room_seed, reply_at=AT, noise_db=NOISE_DB)
    clean = run(EchoGate(), mic, reply)
    assert clean.size == mic.size
    assert loud_ms(mic) > 1_500
    assert loud_ms(clean) <= 32


@pytest.mark.parametrize(("db", "delay_ms", "room_seed"), [(-6, 80, 1), (-12, 200, 2), (-20, 290, 3)])
def test_a_voice_over_a_reply_is_heard_within_64_ms(db: float, delay_ms: float, room_seed: int) -> None:
    reply, user, user_at = voice(5.0, room_seed), voice(1.5, 50 + room_seed), AT + 2 * RATE
    mic = mix(reply, user, db, delay_ms, room_seed, reply_at=AT, user_at=user_at, noise_db=NOISE_DB)
    clean = run(EchoGate(), mic, reply)
    assert loud_ms(clean[:user_at]) <= 32
    assert loud_ms(clean[user_at : user_at + 64 * MS]) >= 8
    since = slice(user_at + 100 * MS, user_at + user.size)
    wrong_before, wrong = (pcm[since] - user[100 * MS :] for pcm in (mic, clean))
    assert dbfs(wrong) < dbfs(user) - 11
    assert dbfs(wrong) < max(dbfs(wrong_before) - 3, dbfs(user) - 16)


def test_how_the_sound_is_cut_makes_no_difference() -> None:
    reply, user = voice(3.0, 1), voice(1.0, 60)
    mic = mix(reply, user, -12, 130, 7, reply_at=AT, user_at=AT + 2 * RATE)
    whole = EchoGate()
    whole.sent(reply, AT)
    wanted = whole.clean(mic, 0)
    for seed in (1, 2):
        gate = EchoGate()
        gate.sent(reply, AT)
        made = np.concatenate([gate.clean(mic[cut], cut.start) for cut in pieces(mic.size, seed)])
        np.testing.assert_array_equal(made, wanted)


def test_with_headphones_a_voice_over_a_reply_passes_unharmed() -> None:
    reply, user, user_at = voice(5.0, 3), voice(1.0, 61), AT + RATE
    mic = mix(NOTHING, user, 0, 0, 1, user_at=user_at, samples=AT + reply.size)
    clean = run(EchoGate(), mic, reply)
    np.testing.assert_array_equal(clean[user_at:], mic[user_at:])


def test_with_headphones_a_voice_at_once_is_held_for_a_quarter_of_a_second() -> None:
    reply, user, user_at = voice(5.0, 3), voice(2.0, 61), AT + 60 * MS
    mic = mix(NOTHING, user, 0, 0, 1, user_at=user_at, samples=AT + reply.size)
    clean = run(EchoGate(), mic, reply)
    np.testing.assert_array_equal(clean[user_at + 400 * MS :], mic[user_at + 400 * MS :])


def test_the_next_reply_comes_back_later_and_is_not_heard_either() -> None:
    first, second, at = voice(3.0, 4), voice(3.0, 5), AT + 5 * RATE
    mic = mix(first, NOTHING, -8, 150, 9, reply_at=AT, samples=at + 4 * RATE)
    mic = mic + mix(second, NOTHING, -8, 190, 9, reply_at=at, samples=at + 4 * RATE, noise_db=-100)
    gate = EchoGate()
    before = run(gate, mic[:at], first)
    assert not gate.active
    after = []
    gate.sent(second, at)
    assert gate.active
    after = [gate.clean(mic[n : n + 640], n) for n in range(at, mic.size, 640)]
    assert loud_ms(before) <= 32
    assert loud_ms(np.concatenate(after)) <= 32


def test_a_short_first_clause_is_not_heard_when_the_next_one_is_sent_before_its_echo_ends() -> None:
    clause, rest = voice(0.3, 14), voice(2.0, 15)
    at = AT + clause.size + 400 * MS
    samples = at + 3 * RATE
    mic = mix(clause, NOTHING, -6, 280, 15, reply_at=AT, samples=samples, noise_db=NOISE_DB)
    mic = mic + mix(rest, NOTHING, -6, 280, 15, reply_at=at, samples=samples, noise_db=-100)
    gate, out = EchoGate(), []
    gate.sent(clause, AT)
    for n in range(0, mic.size, 320):
        if n == at - 300 * MS:
            gate.sent(rest, at)
        out.append(gate.clean(mic[n : n + 320], n))
    assert loud_ms(np.concatenate(out)) <= 32


def test_a_voice_that_stops_a_reply_is_not_held_for_sound_that_is_never_played() -> None:
    reply, rest, user = voice(2.5, 4), voice(2.0, 5), voice(2.0, 63)
    user_at = AT + 2 * RATE
    stop = user_at + 300 * MS
    echo = Echo(-12, 160, 9, gains=[(stop + 90 * MS, 0.0)])
    mic = mix(reply, user, 0, 0, 9, reply_at=AT, user_at=user_at, echo=echo)
    gate = EchoGate()
    gate.sent(reply, AT)
    head = gate.clean(mic[:stop], 0)
    gate.sent(rest, stop + 290 * MS)
    gate.stopped(stop)
    clean = np.concatenate((head, gate.clean(mic[stop:], stop)))
    since = slice(stop + 200 * MS, user_at + user.size)
    assert dbfs(clean[since] - user[since.start - user_at :]) < dbfs(user) - 12


def test_a_reply_that_is_ducked_and_restored_is_not_heard() -> None:
    reply, duck, restore = voice(5.0, 6), AT + 2 * RATE, AT + 3 * RATE
    gains = [(duck + 90 * MS, 0.1), (restore + 40 * MS, 1.0)]
    echo = Echo(-6, 160, 11, gains=gains)
    mic = mix(reply, NOTHING, 0, 0, 11, reply_at=AT, echo=echo)
    gate = EchoGate()
    gate.sent(reply, AT)
    out = []
    for at in range(0, mic.size, 320):
        if at == duck:
            gate.gain(0.1, at)
        if at == restore:
            gate.gain(1.0, at)
        out.append(gate.clean(mic[at : at + 320], at))
    assert loud_ms(np.concatenate(out)) <= 32


def test_a_reply_that_was_stopped_soon_costs_nothing_more() -> None:
    reply, stop = voice(4.0, 7), AT + 2 * RATE
    echo = Echo(-6, 160, 12, gains=[(stop + 90 * MS, 0.0)])
    mic = mix(reply, NOTHING, 0, 0, 12, reply_at=AT, echo=echo)
    gate = EchoGate()
    gate.sent(reply, AT)
    head = [gate.clean(mic[at : at + 320], at) for at in range(0, stop, 320)]
    gate.stopped(stop)
    tail = [gate.clean(mic[at : at + 320], at) for at in range(stop, stop + RATE, 320)]
    assert loud_ms(np.concatenate(head + tail)) <= 32
    assert not gate.active
    rest = mic[stop + RATE :]
    assert gate.clean(rest, stop + RATE) is rest


def test_a_voice_passes_as_it_is_once_the_reply_was_stopped() -> None:
    reply, stop, user = voice(4.0, 7), AT + 2 * RATE, voice(2.0, 62)
    echo = Echo(-6, 160, 12, gains=[(stop + 90 * MS, 0.0)])
    mic = mix(reply, user, 0, 0, 12, reply_at=AT, user_at=stop - 300 * MS, echo=echo)
    gate = EchoGate()
    gate.sent(reply, AT)
    head = gate.clean(mic[:stop], 0)
    gate.stopped(stop)
    tail = gate.clean(mic[stop:], stop)
    later = stop + RATE
    np.testing.assert_array_equal(tail[RATE : RATE + 100 * MS], mic[later : later + 100 * MS])
    assert loud_ms(np.concatenate((head, tail))[stop - 300 * MS : later]) > 700


@pytest.mark.parametrize("what", ["zeros", "full scale", "far too loud"])
def test_odd_sound_gives_finite_samples(what: str) -> None:
    rng = np.random.default_rng(1)
    mic = {
        "zeros": np.zeros(2 * RATE),
        "full scale": np.sign(rng.normal(size=2 * RATE)),
        "far too loud": rng.normal(size=2 * RATE) * 1e4,
    }[what].astype(np.float32)
    gate = EchoGate()
    gate.sent(np.zeros(RATE, np.float32), 0)
    gate.sent(mic[:RATE], RATE)
    assert np.isfinite(gate.clean(mic, 0)).all()


def test_a_microphone_that_jumps_in_time_goes_on() -> None:
    reply = voice(4.0, 8)
    mic = mix(reply, NOTHING, -12, 150, 13, reply_at=AT, noise_db=NOISE_DB)
    gate = EchoGate()
    gate.sent(reply, AT)
    gate.clean(mic[:RATE], 0)
    rest = gate.clean(mic[RATE + 100 :], RATE + 100)
    assert rest.size == mic.size - RATE - 100
    assert loud_ms(rest) <= 160  # the path is learned anew


def test_no_sound_at_all_is_returned_as_it_is() -> None:
    gate = EchoGate()
    gate.sent(NOTHING, 0)
    assert not gate.active
    gate.sent(voice(1.0, 1), 0)
    assert gate.clean(NOTHING, 0).size == 0
