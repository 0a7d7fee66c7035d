"""Which voices teach hearing, and what augmentation may do to a sound: no synthesiser, no torch."""

import random
from collections.abc import Callable

import numpy as np
import pytest
from numpy.typing import NDArray

from engine_build.pico import augment, noises, voices
from engine_build.pico.log_mel import BANDS, RATE_HZ, mel_power, whisper_scale

F32 = NDArray[np.float32]
FRAMES = 120


@pytest.fixture
def rng() -> np.random.Generator:
    return np.random.default_rng(3)


@pytest.fixture
def power(rng: np.random.Generator) -> F32:
    return mel_power(noises.chords(rng, FRAMES * RATE_HZ // 100))


def test_the_voices_kept_for_the_test_never_teach() -> None:
    rng = random.Random(1)
    drawn = [pick(rng) for pick in (voices.training_voice, voices.known_test_voice) for _ in range(3000)]
    names = {part for voice in drawn for part in voice.name.split("+")}
    assert names.isdisjoint({"rms", "f5", "m7"})
    assert {voice.label for voice in drawn}.isdisjoint(voices.NEVER_HEARD)


def test_every_training_voice_is_drawn_sooner_or_later() -> None:
    rng = random.Random(2)
    names = {part for _ in range(8000) for part in voices.training_voice(rng).name.split("+")}
    assert names == {*voices.ESPEAK_ACCENTS, *voices.ESPEAK_VARIANTS, *voices.FLITE_SHARES}


def test_never_heard_voices_come_in_turn() -> None:
    assert [voices.never_heard_voice(i).label for i in range(4)] == [
        *voices.NEVER_HEARD,
        voices.NEVER_HEARD[0],
    ]


@pytest.mark.parametrize(
    "change",
    [
        lambda mel, rng: augment.warp_bands(mel, 0.8),
        lambda mel, rng: augment.warp_bands(mel, 1.25),
        lambda mel, rng: augment.sharpen(mel, 0.5),
        augment.equalise,
        augment.limit_band,
        augment.reverb,
        augment.mask,
        lambda mel, rng: augment.add_noise(mel, mel[::-1], 10.0),
    ],
)
def test_sound_changes_keep_frames_bands_and_type(
    power: F32, rng: np.random.Generator, change: Callable[[F32, np.random.Generator], F32]
) -> None:
    changed = change(power, rng)
    assert changed.shape == (FRAMES, BANDS)
    assert changed.dtype == np.float32
    assert np.isfinite(changed).all()


def test_other_voice_changes_the_length_by_a_fifth_at_most(power: F32) -> None:
    for seed in range(50):
        changed = augment.other_voice(np.log10(power + 1e-10), np.random.default_rng(seed))
        assert 0.8 * FRAMES <= len(changed) <= 1.2 * FRAMES
        assert changed.dtype == np.float32
        assert changed.shape[1] == BANDS


def test_warping_by_one_changes_nothing(power: F32) -> None:
    np.testing.assert_allclose(augment.warp_bands(power, 1.0), power, rtol=1e-4, atol=1e-6)


def test_warping_up_moves_a_tone_to_a_higher_band() -> None:
    tone = np.sin(2 * np.pi * 1000 * np.arange(RATE_HZ) / RATE_HZ).astype(np.float32)
    mel = np.log10(mel_power(tone) + 1e-10)
    centres = augment.band_centres_hz()
    assert centres[augment.warp_bands(mel, 1.2).mean(axis=0).argmax()] == pytest.approx(1200, rel=0.05)


def test_noise_lies_as_far_below_as_asked(power: F32) -> None:
    noise = np.ones_like(power)
    added = augment.add_noise(power, noise, 20.0) - power
    ratio_db = 10 * np.log10(augment.loudness(power) / float((added @ augment.band_widths()).mean()))
    assert ratio_db == pytest.approx(20, abs=0.1)


def test_a_clipped_start_shortens(power: F32, rng: np.random.Generator) -> None:
    log_mel = np.log10(power + 1e-10)
    assert FRAMES - 6 <= len(augment.clip_start(log_mel, rng)) < FRAMES


def test_the_quietest_frames_are_what_goes_on_behind_speech(power: F32) -> None:
    power = np.concatenate([power + 1.0, np.full((20, BANDS), 1e-6, np.float32)])
    np.testing.assert_allclose(augment.quietest(power), 1e-6, rtol=1e-3)


def test_a_mask_leaves_the_original_alone(power: F32, rng: np.random.Generator) -> None:
    before = power.copy()
    augment.mask(power, rng)
    np.testing.assert_array_equal(power, before)


def test_silence_placed_around_speech_is_digital(power: F32) -> None:
    whole = augment.place(np.log10(power + 1e-10), augment.Placed(before=20, total=200))
    assert whole.shape == (200, BANDS)
    assert (whole[:20] == -10).all()
    assert (whole[20 + FRAMES :] == -10).all()


@pytest.mark.parametrize("seed", range(40))
def test_wordless_sounds_keep_length_type_and_range(seed: int) -> None:
    sound = noises.wordless(np.random.default_rng(seed), 0.7)
    assert sound.dtype == np.float32
    assert len(sound) == int(0.7 * RATE_HZ)
    assert np.abs(sound).max() <= 1


def test_second_take_is_speech_of_a_like_length(rng: np.random.Generator) -> None:
    samples = noises.chords(rng, RATE_HZ)
    for seed in range(20):
        taken = augment.second_take(samples, np.random.default_rng(seed))
        assert taken.dtype == np.float32
        assert 0.8 * RATE_HZ < len(taken) < 1.25 * RATE_HZ


def test_digital_silence_scales_to_the_floor() -> None:
    features = whisper_scale(mel_power(np.zeros(RATE_HZ, np.float32)))
    assert features.shape == (100, BANDS)
    np.testing.assert_allclose(features, (-10 + 4) / 4, rtol=1e-6)
