"""How finished a user's words are, and how long a silence must be to end the turn. Pure.

First of all the language model is asked how probable the end of the turn is behind the last word, then a
model that hears whether it sounds like one, where there is one. Words that nobody ends on ("the", "and",
"le", "de") overrule both, and are all there is to go by without them.

The figures are those of pico on sentences that training never saw: a probability above 0.4 behind 98 % of
whole sentences and 1.4 % of unfinished beginnings, above 0.1 behind 99.6 % and 2.5 %
(`engine_build.pico.eval_thinking`).
"""

from __future__ import annotations

import math
from typing import Final, NamedTuple


def _set(words: str) -> frozenset[str]:
    return frozenset(words.split())


class _Words(NamedTuple):
    never: frozenset[str]  # no sentence ends on one
    seldom: frozenset[str]  # "what is it for" does: the models know better


_EN: Final = _Words(
    _set(
        "the a an and or but my your our their its every because if than whose uh um er erm"
        " i'm you're we're they're he's she's it's that's there's what's where's who's how's let's"
        " i'd you'd we'd they'd i'll you'll we'll they'll it'll i've you've we've they've"
    ),
    _set(
        "to of for from with at by into onto about between during until like is are was were be am do does"
        " did can could will would shall should may might must some any very really quite this these those"
        " which when while where as so then i"
    ),
)
_FR: Final = _Words(
    _set(
        "le la les des du de au aux à et ou mais que mon ma mes ta tes sa ses notre votre nos vos cet cette"
        " ces dans chez par très parce lorsque puisque je euh heu"
    ),
    _set(
        "un une ton son leur leurs ce pour avec sur sous sans vers entre en si quand qui dont donc car est"
        " suis es sont êtes sommes ai as ont peux peut veux veut dois doit quel quelle quels quelles"
        " plusieurs chaque quelques tu il elle ils elles on y ne"
    ),
)
# "Il y a un an", "weather in LA": where the language is not known, these are not held against anybody.
_EITHER: Final = _set("a an but or la ma")
_LISTS: Final[dict[str | None, _Words]] = {
    "en": _EN,
    "fr": _FR,
    None: _Words((_EN.never | _FR.never) - _EITHER, (_EN.seldom | _FR.seldom) - _set("on y do as i")),
}
_TRAILING: Final = (",", ";", ":", "-", "–", "—", "…", "...")
_MARKS: Final = ".,;:!?…-–—\"“”«»()[]' "

_NEVER: Final = 0.02  # behind a word that nobody ends on, whatever the models say
_SELDOM: Final = 0.1  # behind other dangling words, where there is no model to ask
_UNKNOWN: Final = 0.25  # nothing speaks for the end, nothing against it
_MODEL_SHARE: Final = 0.6  # of the evidence, where a model of the sound has the rest

# Log-odds at patience 0.3: up to the first the words are taken for unfinished, from the second on for
# finished. Both grow by _SHIFT from patience 0 to 1.
_UNFINISHED, _FINISHED, _SHIFT = math.log(0.1 / 0.9), math.log(0.4 / 0.6), 2.0
_PATIENCE: Final = 0.3


def finished(words: str, *, language: str | None, model: float | None, sound: float | None) -> float:
    """Return how probable it is that the user has said it all, 0 … 1.

    `language` is a code as "fr" or "en-GB", None where it may be any; one without a list has no dangling
    words. `model` and `sound` are the probabilities that the language model and the model of the sound
    give, None where there is none.
    """
    dangles = _dangles(words, language)
    if model is None and sound is None:
        return _UNKNOWN if dangles is None else dangles
    if model is None or sound is None:
        chance = model if model is not None else sound
        assert chance is not None
    else:
        odds = _MODEL_SHARE * _log_odds(model) + (1 - _MODEL_SHARE) * _log_odds(sound)
        chance = 1 / (1 + math.exp(-odds))
    if model is None and dangles is not None:
        return min(chance, dangles)  # what it sounds like knows no words
    return min(chance, _NEVER) if dangles == _NEVER else chance


def wait_ms(
    words: str,
    *,
    language: str | None,
    model: float | None,
    sound: float | None,
    patience: float,
    earliest_ms: int,
    latest_ms: int,
) -> int:
    """Return how long a silence behind these words ends the turn, `earliest_ms` … `latest_ms`.

    Patience goes from 0, eager, to 1. With 120 to 1,000 ms and patience 0.3: 152 ms behind words that are
    finished, 804 ms behind unfinished ones, and in between by the log-odds of `finished`.
    """
    odds = _log_odds(finished(words, language=language, model=model, sound=sound))
    shift = _SHIFT * (patience - _PATIENCE)
    share = (odds - _UNFINISHED - shift) / (_FINISHED - _UNFINISHED)
    share = min(1.0, max(0.0, share))
    # Shares of the range. Eager and sure waits not at all, eager and unsure a third; patient and unsure all.
    sure = 0.4 * patience**2
    unsure = 1 - 0.65 * (1 - patience) ** 3
    return round(earliest_ms + (latest_ms - earliest_ms) * (share * sure + (1 - share) * unsure))


def _dangles(words: str, language: str | None) -> float | None:
    """Return how probable an end behind the last word alone makes it; None where it says nothing."""
    text = words.casefold().replace("’", "'").rstrip()
    if not text:
        return None
    lists = _LISTS.get(language if language is None else language.partition("-")[0].casefold())
    last = text.split()[-1]
    bare = last.strip(_MARKS)
    if lists is not None:
        # An apostrophe at the end is a word cut in two: "l'", "qu'".
        if bare in lists.never or (lists is not _EN and last.endswith("'") and len(last) < 4):
            return _NEVER
        if bare in lists.seldom:
            return _SELDOM
    return _SELDOM if text.endswith(_TRAILING) else None


def _log_odds(chance: float) -> float:
    chance = min(1 - 1e-6, max(1e-6, chance))
    return math.log(chance / (1 - chance))
