"""Turn shards of speech into batches of mels and words, changed anew each time they are drawn.

Mels are made once and kept as log10 power in float16; gain, noise, room, voice and speed are then changed on
the mel, so that one core both feeds and trains. Batches hold equally long mels on a grid of lengths, because
padding would be wasted work and every new shape costs torch half a second of planning.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from tqdm import tqdm

from engine_build.pico import augment, noises
from engine_build.pico.grammar.speech import split_of
from engine_build.pico.log_mel import BANDS, FLOOR, mel_power, whisper_scale
from engine_build.pico.speech import RATE_HZ, SPEECH_DIR, read_shard
from engine_build.pico.timed import Timed

FEATURE_DIR = Path("build/pico/hearing")
GRID_FRAMES = 32
MOST_FRAMES = 992  # the grid's last length within 10 s
BATCH_FRAMES = 6_500  # about 26 utterances of 2.5 s
PAIR_SHARE, WORDLESS_SHARE, AS_RECORDED_SHARE = 0.15, 0.06, 0.12
PAUSED_SHARE, CUT_SHARE = 0.12, 0.28
WORDLESS_CUT_SHARE = 0.1  # of the cuts that leave no whole word, the others are drawn again

F32 = NDArray[np.float32]
NO_SPANS = np.zeros((0, 2), np.float32)


@dataclass(frozen=True, slots=True)
class Item:
    """One utterance: its words, its voice and the log10 mel power of both takes, float16 [frames, 80]."""

    text: str
    voice: str
    takes: tuple[NDArray[np.float16], NDArray[np.float16]]


@dataclass(frozen=True, slots=True)
class Sound:
    """Log10 mel power [frames, 80], what was said in it, and whether it was cut off in the middle."""

    log_mel: F32
    text: str
    cut: bool


@dataclass(frozen=True, slots=True)
class Batch:
    """Equally long features, [batch, 80, frames], and what was said: nothing, for sounds without words."""

    features: F32
    texts: list[str]


def log_power(samples: F32) -> NDArray[np.float16]:
    """Return log10 mel power as it is stored."""
    return np.log10(np.maximum(mel_power(samples), FLOOR)).astype(np.float16)


def make_features(shard: Path) -> Path:
    """Write a shard's two takes of mels beside the training state, unless they are there."""
    target = FEATURE_DIR / f"mel-{shard.stem}.npz"
    if target.exists():
        return target
    rng = np.random.default_rng(int.from_bytes(hashlib.sha256(shard.stem.encode()).digest()[:8]))
    mels: list[NDArray[np.float16]] = []
    utterances = read_shard(shard)
    for utterance in utterances:
        samples = noises.level(utterance.pcm.astype(np.float32) / 32768, 0.1)
        mels += [log_power(samples), log_power(augment.second_take(samples, rng))]
    partial = target.with_suffix(".partial.npz")
    np.savez(
        partial,
        mels=np.concatenate(mels),
        lengths=[len(mel) for mel in mels],
        texts=[item.text for item in utterances],
        voices=[item.voice for item in utterances],
    )
    partial.rename(target)
    return target


def read_features(path: Path) -> list[Item]:
    """Read one file of mels."""
    with np.load(path) as stored:
        mels = np.split(stored["mels"], np.cumsum(stored["lengths"])[:-1])
        texts, voices = stored["texts"].tolist(), stored["voices"].tolist()
    return [
        Item(text, voice, (mels[2 * i], mels[2 * i + 1]))
        for i, (text, voice) in enumerate(zip(texts, voices, strict=True))
    ]


def training_items(processes: int = 2) -> list[Item]:
    """Return the whole training set, making the mels that are missing."""
    FEATURE_DIR.mkdir(parents=True, exist_ok=True)
    shards = sorted(SPEECH_DIR.glob("train-[0-9][0-9][0-9].npz"))
    if not shards:
        raise FileNotFoundError(f"no speech in {SPEECH_DIR}; run python -m engine_build.pico.speech")
    with ProcessPoolExecutor(processes) as pool:
        paths = list(tqdm(pool.map(make_features, shards), total=len(shards), desc="mels", unit="shard"))
    return [item for path in paths for item in read_features(path)]


class Mixer:
    """Draws utterances without end and gives them another voice, room and background each time.

    `hardness` from 0 to 1 says how often and how much: a network that has not found its first letters yet
    finds none at all under full augmentation (1,700 steps were tried).
    """

    def __init__(self, items: list[Item], seed: int) -> None:
        self.items = items
        self.spans: list[F32] = []  # of every item's words, once they are known
        self.hardness = 1.0
        self.rng = np.random.default_rng(seed)
        self.by_voice: dict[str, list[int]] = {}
        for index, item in enumerate(items):
            self.by_voice.setdefault(item.voice, []).append(index)
        bank = np.random.default_rng(7)  # the same backgrounds in every run
        long_s = 30 * RATE_HZ
        self.backgrounds = [
            mel_power(noises.coloured(bank, long_s, exponent)) for exponent in noises.COLOURS.values()
        ]
        self.backgrounds += [
            mel_power(maker(bank, long_s)) for maker in (noises.hum, noises.breath, noises.chords)
        ]
        self.backgrounds += [self._babble(bank) for _ in range(4)]
        self.wordless = [mel_power(noises.wordless(bank, float(bank.uniform(0.6, 9.9)))) for _ in range(400)]

    def _babble(self, rng: np.random.Generator, frames: int = 3000) -> F32:
        """Lay six talkers over one another."""
        total = np.zeros((frames, BANDS), np.float32)
        for _ in range(6):
            at = 0
            while at < frames:
                mel = 10 ** self.items[rng.integers(len(self.items))].takes[0][: frames - at].astype(
                    np.float32
                )
                total[at : at + len(mel)] += mel
                at += len(mel)
        return total

    def _background(self, frames: int) -> F32:
        noise = self.backgrounds[self.rng.integers(len(self.backgrounds))]
        start = self.rng.integers(0, len(noise) - frames)
        return noise[start : start + frames]

    def _voiced(self, index: int) -> Timed:
        """Return one utterance in another voice, or as recorded once in a while."""
        rng, item = self.rng, self.items[index]
        spans = self.spans[index] if self.spans else NO_SPANS
        recorded = item.takes[0].astype(np.float32)
        if rng.random() >= self.hardness * (1 - AS_RECORDED_SHARE):
            return Timed(recorded, item.text, spans)
        take = item.takes[rng.integers(2)].astype(np.float32)
        return Timed(recorded, item.text, spans).voiced(augment.other_voice(take, rng))

    def speech(self) -> Sound:
        """Draw an utterance, or two of the same voice; paused between words, or cut off, once in a while."""
        rng = self.rng
        index = int(rng.integers(len(self.items)))
        said = self._voiced(index)
        if rng.random() < PAIR_SHARE:
            second = self._voiced(int(rng.choice(self.by_voice[self.items[index].voice])))
            said = self._fitting(said.then(second, int(rng.integers(15, 80))), said)
        if rng.random() < PAUSED_SHARE:
            said = self._fitting(said.paused(rng, int(rng.integers(18, 72))), said)
        if len(said.log_mel) > MOST_FRAMES - 40:  # stretched out of the model's ten seconds
            item = self.items[index]
            return Sound(item.takes[0].astype(np.float32), item.text, False)
        if len(said.spans) and rng.random() < CUT_SHARE:
            return self._cut(said)
        clipped = rng.random() < 0.15
        return Sound(augment.clip_start(said.log_mel, rng) if clipped else said.log_mel, said.text, False)

    def _fitting(self, longer: Timed, otherwise: Timed) -> Timed:
        return longer if len(longer.log_mel) < MOST_FRAMES - 40 else otherwise

    def _cut(self, said: Timed) -> Sound:
        """Cut speech off at a moment that leaves no doubt about the last word, nor a sentence of the test."""
        rng = self.rng
        for _ in range(8):
            at = int(rng.integers(15, max(len(said.log_mel), 16)))
            text = said.words_by(at)
            if said.unsure_at(at) or (not text and rng.random() >= WORDLESS_CUT_SHARE):
                continue
            if text == said.text or not text or split_of(text) == "train":
                return Sound(said.cut(at).log_mel, text, True)
        return Sound(said.log_mel, said.text, False)

    def finish(self, sound: Sound, placed: augment.Placed) -> F32:
        """Place speech in its silence, put it in a room, add a background, and scale as Whisper does.

        Often, and mostly where speech is cut off, the room and the background end too: the server puts what
        the quietest frames sound like behind what it has heard; other programs put digital silence.
        """
        rng = self.rng
        power = 10 ** augment.place(sound.log_mel, placed)
        if rng.random() < 0.3 * self.hardness:
            power = augment.reverb(power, rng)
        kind = rng.random() / max(self.hardness, 0.05)
        if kind < 1.2:  # at a hardness of a half: a third loud, a quarter faint
            snr_db = rng.uniform(8, 25) if kind < 0.7 else rng.uniform(20, 60)
            power = augment.add_noise(power, self._background(len(power)), snr_db)
        ending = rng.random() * (1.0 if sound.cut else 1.8)
        if ending < 0.9:
            end = placed.before + len(sound.log_mel) + (0 if sound.cut else int(rng.integers(2, 30)))
            power[end:] = FLOOR if ending < 0.4 else augment.quietest(power[:end])
        scaled = whisper_scale(power * np.float32(10 ** (rng.uniform(-3, 0.6) * self.hardness)))
        return augment.mask(scaled, rng) if rng.random() < 0.7 * self.hardness else scaled

    def nothing(self) -> tuple[F32, int]:
        """Draw a sound without words and the grid length nearest to it."""
        power = self.wordless[self.rng.integers(len(self.wordless))]
        frames = min(MOST_FRAMES, max(2 * GRID_FRAMES, len(power) // GRID_FRAMES * GRID_FRAMES))
        power = np.pad(power, ((0, max(0, frames - len(power))), (0, 0)))[:frames]
        return whisper_scale(power * np.float32(10 ** self.rng.uniform(-2, 0.5))), frames

    def batches(self) -> Iterator[Batch]:
        """Yield batches for ever: a length on the grid fills up until it makes a batch."""
        rng = self.rng
        waiting: dict[int, list[tuple[F32, str]]] = {}
        while True:
            if rng.random() < WORDLESS_SHARE:
                features, frames = self.nothing()
                text = ""
            else:
                sound = self.speech()
                log_mel, text = sound.log_mel, sound.text
                before = int(rng.integers(0, 40)) if rng.random() < 0.7 else 0
                after = int(rng.integers(8, 80))
                frames = min(MOST_FRAMES, -(-(before + len(log_mel) + after) // GRID_FRAMES) * GRID_FRAMES)
                before = min(before, frames - len(log_mel))
                features = self.finish(sound, augment.Placed(before, frames))
            full = waiting.setdefault(frames, [])
            full.append((features, text))
            if len(full) == max(6, min(64, BATCH_FRAMES // frames)):
                yield Batch(np.stack([f.T for f, _ in full]), [t for _, t in full])
                del waiting[frames]
