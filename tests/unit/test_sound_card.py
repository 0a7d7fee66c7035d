"""The sound card, with miniaudio's null devices, which keep time and make no sound."""

from __future__ import annotations

import asyncio
import sys
from contextlib import aclosing

import pytest

from riposte.client import Playout
from riposte.talk.device import NoDevice, SoundCard, list_devices

NULL = ("NULL",)
PATIENCE_S = 10.0


def test_without_the_library_its_extra_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "miniaudio", None)
    for attempt in (list_devices, SoundCard):
        with pytest.raises(NoDevice, match=r"pip install 'riposte-server\[talk\]'.*or try it with files"):
            attempt()


@pytest.fixture
def library() -> object:
    return pytest.importorskip("miniaudio", reason="the extra `talk` is not installed")


def test_devices_are_listed_with_their_numbers(library: object) -> None:
    assert list_devices(backends=NULL) == [
        "input    0  NULL Capture Device",
        "output   0  NULL Playback Device",
    ]


def test_without_a_sound_system_it_says_so(library: object, monkeypatch: pytest.MonkeyPatch) -> None:
    def none(backends: object) -> None:
        raise library.MiniaudioError("cannot init context", -1)

    monkeypatch.setattr(library, "Devices", none)
    with pytest.raises(NoDevice, match="no sound system answers"):
        list_devices()


def test_devices_that_only_pretend_do_not_count(library: object, monkeypatch: pytest.MonkeyPatch) -> None:
    class Pretended:
        def __init__(self, backends: object) -> None: ...

        def get_captures(self) -> list[dict[str, str]]:
            return [{"name": "Discard all samples (playback) or generate zero samples (capture)"}]

        get_playbacks = get_captures

    monkeypatch.setattr(library, "Devices", Pretended)
    with pytest.raises(NoDevice, match="this machine has no microphone that can be used; plug one in"):
        SoundCard()
    with pytest.raises(NoDevice, match="this machine has no sound devices"):
        list_devices()


@pytest.mark.parametrize("name", ["0", "null cap"])
def test_a_device_is_chosen_by_number_or_name(library: object, name: str) -> None:
    assert SoundCard(name, backends=NULL)


@pytest.mark.parametrize("name", ["7", "headset"])
def test_an_unknown_device_is_told_how_to_see_them(library: object, name: str) -> None:
    with pytest.raises(
        NoDevice, match=f"--input '{name}' fits none of the devices; see `riposte talk --list"
    ):
        SoundCard(name, backends=NULL)


async def test_it_hears_and_plays_at_once(library: object) -> None:
    card = SoundCard(backends=NULL)
    playout = Playout(24_000, device_ms=card.holds_ms)
    playout.push(1, bytes(2 * 4_800))
    playout.end(1)
    try:
        async with asyncio.timeout(PATIENCE_S), aclosing(card.microphone()) as microphone:
            card.play(playout, 24_000)
            async for pcm in microphone:
                assert pcm == bytes(len(pcm))
                if playout.heard_ms(1) == 200:
                    break
    finally:
        await card.aclose()
    assert playout.news() == [(1, 200)]
