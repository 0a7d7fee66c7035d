"""What espeak-ng is given to say: its voices by name, and text without what it should not read out."""

from __future__ import annotations

import textwrap
import unicodedata

from riposte.interfaces import Voice

_PART_CHARS = 400  # at once: about 25 s of sound, 1.1 MB, made in 40 ms

# espeak-ng's own name beside ours where they differ: its "en" is British, and a name that it does not
# know leaves it with the voice before.
VOICES: tuple[tuple[Voice, str], ...] = tuple(
    (Voice(id, name, language), espeak or id)
    for id, name, language, espeak in (
        ("en-us", "American", "en", ""),
        ("en-us+f3", "American, woman", "en", ""),
        ("en-us+f2", "American, woman, brighter", "en", ""),
        ("en-us+m3", "American, man, deeper", "en", ""),
        ("en-gb", "British", "en", "en"),
        ("en-gb+f3", "British, woman", "en", "en+f3"),
        ("en-gb+m3", "British, man, deeper", "en", "en+m3"),
        ("en-gb-x-rp", "British, received pronunciation", "en", ""),
        ("en-gb-scotland", "Scottish", "en", ""),
        ("en-us-nyc", "New York", "en", ""),
        ("en-029", "Caribbean", "en", ""),
        ("fr-fr", "French", "fr", "fr"),
        ("fr-fr+f3", "French, woman", "fr", "fr+f3"),
        ("de", "German", "de", ""),
        ("de+f3", "German, woman", "de", ""),
        ("es", "Spanish", "es", ""),
        ("es+f3", "Spanish, woman", "es", ""),
        ("es-419", "Spanish, Latin America", "es", ""),
        ("it", "Italian", "it", ""),
        ("it+f3", "Italian, woman", "it", ""),
        ("pt", "Portuguese", "pt", ""),
        ("pt-br", "Portuguese, Brazil", "pt", ""),
        ("nl", "Dutch", "nl", ""),
        ("pl", "Polish", "pl", ""),
        ("sv", "Swedish", "sv", ""),
        ("ru", "Russian", "ru", ""),
        ("uk", "Ukrainian", "uk", ""),
        ("tr", "Turkish", "tr", ""),
        ("hi", "Hindi", "hi", ""),
        ("cmn", "Mandarin", "zh", ""),
    )
)

_SPOKEN_SIGNS = frozenset("%&+=@€$£¥§°<>×÷±")  # without a letter or digit, these alone are worth a word


def parts_of(text: str) -> list[str]:
    """Return what there is to say, in parts of at most 400 characters; nothing when there is nothing.

    Control characters (espeak-ng takes \\x01 for a command), emoji (it reads out their names), lone
    surrogates and the asterisks and backticks of Markdown become spaces. Markup is text like other text.
    """
    kept = "".join(char if _speakable(char) else " " for char in text)
    if not any(char.isalnum() or char in _SPOKEN_SIGNS for char in kept):
        return []
    parts = textwrap.wrap(kept, _PART_CHARS, break_on_hyphens=False)
    return [part for part in parts if any(char.isalnum() or char in _SPOKEN_SIGNS for char in part)]


def _speakable(char: str) -> bool:
    if char in "*`":
        return False
    match unicodedata.category(char):
        case "Cc" | "Cs" | "Co" | "Cn":
            return False
        case "Cf":
            return char == "\u200c"  # a word's spelling in Persian; the others join emoji or turn lines
        case "So" | "Sk":
            return char < "\u2000"  # degrees and © are read out; emoji and their skins lie above
        case "Me":
            return False  # the keycap around a digit
        case _:
            return not "\ufe00" <= char <= "\ufe0f"  # how an emoji is drawn
