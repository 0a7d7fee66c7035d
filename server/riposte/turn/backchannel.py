"""What somebody says over a reply: does he want it to stop? Pure; English and French.

A backchannel ("mm-hmm", "yes", "okay") says that one listens. All else that has words wants the floor. Lists,
because the question is put 250 ms into a word, when no model of conversations has enough to go by.
"""

from __future__ import annotations

import re
from typing import Literal

Wish = Literal["none", "listens", "speaks"]

_LISTENS = """
    mm|mmm|mhm|mmhm|mhmm|hm|hmm|hum|uh|um|ah|oh|aha|uhhuh|huh|mm hmm|mm hm|uh huh|uh hum|m hm
    yeah|yep|yup|yes|ok|okay|right|all right|alright|sure|fine|good|very good|great|nice|wow|really|exactly
    true|cool|indeed|i see|of course|i know|got it|that's right|thank you|thanks
    oui|ouais|bien|très bien|bon|ah bon|d'accord|euh|hein|voilà|super|vrai|ben
    c'est vrai|c'est ça|je vois|bien sûr
    """
_PHRASES = frozenset("|".join(line.strip() for line in _LISTENS.strip().splitlines()).split("|"))
_ALL = re.compile(rf"(?:(?:{'|'.join(sorted(_PHRASES, key=len, reverse=True))})(?: |\Z))+")
# Beginnings of backchannels that are words of their own, and begin most of what is said.
_BEGIN_ALL = frozenset({"i", "a", "of", "go", "got", "in", "that", "it"})
_MOST_WORDS = 3  # "yes, yes, okay"; more than that is said to be answered
_TOKEN = re.compile(r"[\w']+")


def wish_of(words: str, *, cut: bool = False) -> Wish:
    """Return what the words ask of whoever is speaking. `cut`: they may go on, in the middle of a word."""
    tokens = _TOKEN.findall(words.lower().replace("’", "'").replace("-", " "))
    if not tokens:
        return "none"
    text = " ".join(tokens)
    if len(tokens) > _MOST_WORDS:
        return "speaks"
    may_become_one = cut and text not in _BEGIN_ALL and any(phrase.startswith(text) for phrase in _PHRASES)
    return "listens" if may_become_one or _ALL.fullmatch(text) else "speaks"
