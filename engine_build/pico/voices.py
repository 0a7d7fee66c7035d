"""The free synthesisers' voices: which may teach hearing, and which it must never have heard.

The flite voice `rms` and the espeak variants `f5` and `m7` test a voice never heard; nothing that trains may
speak with them. flite's `awb_time` is left out too: it can only tell the time.
"""

from __future__ import annotations

import random
from dataclasses import dataclass
from typing import Literal

ESPEAK_ACCENTS = (
    "en-us",
    "en-us-nyc",
    "en-gb",
    "en-gb-scotland",
    "en-gb-x-rp",
    "en-gb-x-gbclan",
    "en-gb-x-gbcwmd",
    "en-029",
)
_VARIANTS = (
    "Alex Alicia Andrea Andy Annie AnxiousAndy Demonic Denis Diogo Gene Gene2 Henrique Hugo Jacky Lee "
    "Marco Mario Michael Mike Nguyen RicishayMax RicishayMax2 RicishayMax3 Storm Tweaky UniRobot adam "
    "anika anikaRobot announcer antonio aunty belinda benjamin boris caleb croak david ed edward "
    "edward2 f1 f2 f3 f4 fast grandma grandpa gustave iven iven2 iven3 iven4 john kaukovalta klatt "
    "klatt2 klatt3 klatt4 klatt5 klatt6 linda m1 m2 m3 m4 m5 m6 m8 marcelo max michel miguel norbert "
    "pablo paul pedro quincy rob robert robosoft robosoft2 robosoft3 robosoft4 robosoft5 robosoft6 "
    "robosoft7 robosoft8 sandro shelby steph steph2 steph3 travis victor whisper whisperf zac"
)
ESPEAK_VARIANTS = tuple(_VARIANTS.split())
# slt and awb have a human timbre: more of them
FLITE_SHARES = {"slt": 0.40, "awb": 0.34, "kal16": 0.14, "kal": 0.12}

NEVER_HEARD = ("flite:rms", "espeak:en-us+f5", "espeak:en-us+m7")
FLITE_SHARE = 0.5  # espeak brings a hundred timbres, flite the sound of recorded people


@dataclass(frozen=True, slots=True)
class Voice:
    """One way of speaking: who, how fast and how high."""

    engine: Literal["espeak", "flite"]
    name: str
    speed: float = 1.0  # times the synthesiser's own
    pitch: int | None = None  # espeak: 0 to 99; flite: mean fundamental in Hz; None leaves the voice its own

    @property
    def label(self) -> str:
        """Name synthesiser and voice, without speed and pitch."""
        return f"{self.engine}:{self.name}"


def training_voice(rng: random.Random) -> Voice:
    """Draw a voice that hearing may learn from."""
    speed = rng.uniform(0.8, 1.25)
    if rng.random() < FLITE_SHARE:
        name = rng.choices(list(FLITE_SHARES), list(FLITE_SHARES.values()))[0]
        # two in three get another fundamental: four speakers alone would teach four pitches
        return Voice("flite", name, speed, rng.randint(75, 230) if rng.random() < 0.67 else None)
    name = f"{rng.choice(ESPEAK_ACCENTS)}+{rng.choice(ESPEAK_VARIANTS)}"
    return Voice("espeak", name, speed, rng.randint(15, 85) if rng.random() < 0.7 else None)


def known_test_voice(rng: random.Random) -> Voice:
    """Draw a training voice as its synthesiser ships it, for the test of known voices."""
    drawn = training_voice(rng)
    return Voice(drawn.engine, drawn.name)


def never_heard_voice(index: int) -> Voice:
    """Return the never-heard voices in turn."""
    engine, _, name = NEVER_HEARD[index % len(NEVER_HEARD)].partition(":")
    return Voice("flite" if engine == "flite" else "espeak", name)
