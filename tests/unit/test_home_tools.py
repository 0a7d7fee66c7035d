"""The tools of the examples are those that pico was taught."""

from __future__ import annotations

import json
from pathlib import Path

from engine_build.pico.grammar import TOOLS

HOME_TOOLS = Path(__file__).parents[2] / "examples" / "home_tools.json"


def test_the_examples_offer_what_the_grammar_teaches() -> None:
    assert json.loads(HOME_TOOLS.read_text()) == list(TOOLS)
