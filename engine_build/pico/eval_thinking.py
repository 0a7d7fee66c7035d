"""Judge the thinking model: `python -m engine_build.pico.eval_thinking [--checkpoint DIR]`; last line JSON.

Every sentence uses a phrasing that training never saw. A reply is right if it is, to the letter, one that
the grammar
allows for the intent and every slot.
"""

from __future__ import annotations

import argparse
import json
import random
from collections import Counter
from pathlib import Path
from typing import Final, Literal

import torch

from engine_build.pico import eval_tools
from engine_build.pico.grammar import (
    Exchange,
    conversation,
    is_whole,
    memory_conversation,
    pauses,
    spoken_sentence,
)
from engine_build.pico.grammar.dialogue import FRESH_SHARE, Split
from engine_build.pico.judge import Judge
from engine_build.pico.thinking_model import CHECKPOINT, load_checkpoint

Subject = Literal["name", "list"]
INTENT_BAR: Final = 0.95
MEMORY_BAR: Final = 0.95
# What a trial of 2,400 steps reached: the shares of pico.md.
WHOLE_OVER: Final = 0.5
UNFINISHED_UNDER: Final = 0.05
# Sentences told from pauses at unfinished places, of which so many may be taken for an end.
TOLD_BAR: Final = 0.95
UNFINISHED_SHARE: Final = 0.02
FINISHED_OVER: Final = 0.4  # riposte.turn.finished waits the least above it
_PAUSES: Final = (
    ("  threshold there", "threshold_at_2_percent"),
    ("  P(end) > 0.4 after sentences", "ends_over_40_percent"),
    ("  … at unfinished places", "unfinished_over_40_percent"),
    ("  … where the sentence could have ended", "could_be_ends_over_40_percent"),
)
_ENDS: Final = (
    ("end of turn: AUC", "auc"),
    ("P(end) > 0.5 after whole sentences", "whole_over_half"),
    ("P(end) < 0.05 after unfinished ones", "unfinished_under_5_percent"),
)


def understanding(
    judge: Judge, conversations: int, split: Split, fresh: float
) -> tuple[dict[str, float], list[tuple[Exchange, str]]]:
    """Judge every turn of held-out conversations, each after the right replies to the turns before it.

    `fresh` is the share of made-up words among names and things.
    """
    rng = random.Random(90_001)
    asked: list[Exchange] = []
    prompts: list[list[int]] = []
    for _ in range(conversations):
        turns: list[tuple[str, str]] = []
        for exchange in conversation(rng, split, fresh=fresh).exchanges:
            asked.append(exchange)
            prompts.append(judge.encoder.prompt(turns, exchange.user))
            turns.append((exchange.user, exchange.reply))
    replies = judge.replies(prompts)
    wrong = [
        (exchange, reply)
        for exchange, reply in zip(asked, replies, strict=True)
        if not exchange.accepts(reply)
    ]
    spoken = [
        (exchange, reply)
        for exchange, reply in zip(asked, replies, strict=True)
        if exchange.user == exchange.spoken
    ]
    return {
        "turns": len(asked),
        "right": 1 - len(wrong) / len(asked),
        "right_spoken_form": sum(exchange.accepts(reply) for exchange, reply in spoken) / len(spoken),
    }, wrong


def remembering(judge: Judge, subject: Subject, count: int, fresh: float, gap: int = 4) -> float:
    """Talk with the model, with its own replies in between, and ask for what was told `gap` turns before."""
    rng = random.Random(90_002)
    talks = [memory_conversation(rng, subject, gap, "test", fresh) for _ in range(count)]
    turns: list[list[tuple[str, str]]] = [[] for _ in talks]
    replies: list[str] = []
    for place in range(len(talks[0].exchanges)):
        users = [talk.exchanges[place].user for talk in talks]
        replies = judge.replies(
            [judge.encoder.prompt(said, user) for said, user in zip(turns, users, strict=True)]
        )
        for said, user, reply in zip(turns, users, replies, strict=True):
            said.append((user, reply))
    return sum(talk.exchanges[-1].accepts(reply) for talk, reply in zip(talks, replies, strict=True)) / count


def turn_ends(judge: Judge, count: int, split: Split) -> dict[str, float]:
    """Compare P(end) after whole sentences with P(end) after beginnings that are no sentences."""
    rng = random.Random(90_003)
    whole: list[float] = []
    unfinished: list[float] = []
    while len(whole) < count:
        exchange = conversation(rng, split, 1).exchanges[0]
        text = exchange.spoken
        if exchange.intent in {"noise", "test"} or not is_whole(text):
            continue
        chances = judge.finished(text)
        whole.append(chances[-1])
        words = text.split()
        for kept in range(1, len(words)):
            beginning = " ".join(words[:kept])
            if not is_whole(beginning):
                unfinished.append(chances[len(judge.encoder.words(beginning)) - 1])
    return {
        "sentences": len(whole),
        "beginnings": len(unfinished),
        "auc": _auc(whole, unfinished),
        "whole_over_half": sum(chance > WHOLE_OVER for chance in whole) / len(whole),
        "unfinished_under_5_percent": sum(chance < UNFINISHED_UNDER for chance in unfinished)
        / len(unfinished),
    }


def ends_and_pauses(judge: Judge, count: int, turns: int) -> dict[str, float]:
    """Compare P(end) after sentences as hearing writes them with P(end) at each place to pause inside.

    The sentences are those that benches speak, replies among them, in the middle of talks of up to `turns`
    turns. Only sentences that the grammar's users say have places.
    """
    rng = random.Random(90_004)
    ends: list[float] = []
    unfinished: list[float] = []
    could_be_ends: list[float] = []
    for sentence in sorted({spoken_sentence(rng, "test") for _ in range(count)}):
        talk = conversation(rng, "test", rng.randint(1, turns)).exchanges if turns else ()
        chances = judge.finished(sentence, [(exchange.spoken, exchange.reply) for exchange in talk])
        ends.append(chances[-1])
        if pauses.sounds_whole(sentence):
            for pause in pauses.pauses(sentence):
                place = could_be_ends if pauses.could_end(pause) else unfinished
                place.append(chances[len(judge.encoder.words(pause.before)) - 1])
    strict = sorted(unfinished)[int(len(unfinished) * (1 - UNFINISHED_SHARE))]
    return {
        "sentences": len(ends),
        "unfinished_places": len(unfinished),
        "told_at_2_percent": sum(chance > strict for chance in ends) / len(ends),
        "threshold_at_2_percent": strict,
        "ends_over_40_percent": sum(chance > FINISHED_OVER for chance in ends) / len(ends),
        "unfinished_over_40_percent": sum(chance > FINISHED_OVER for chance in unfinished) / len(unfinished),
        "could_be_ends_over_40_percent": sum(chance > FINISHED_OVER for chance in could_be_ends)
        / len(could_be_ends),
    }


def _auc(high: list[float], low: list[float]) -> float:
    ranked = sorted([(chance, 1) for chance in high] + [(chance, 0) for chance in low])
    below = 0
    above = 0
    for _, is_high in ranked:
        below += not is_high
        above += below if is_high else 0
    return above / (len(high) * len(low))


def judge_checkpoint(folder: Path, size: int, shown: int) -> dict[str, object]:
    """Judge a checkpoint, print the table and some mistakes, and return the figures."""
    judge = Judge(*load_checkpoint(folder))
    understood, wrong = understanding(judge, size, "test", 0.0)
    invented, _ = understanding(judge, size, "test", FRESH_SHARE)
    unseen, wrong_unseen = understanding(judge, size, "unseen", 0.0)
    trained, _ = understanding(judge, size, "train", 0.0)
    names, lists = remembering(judge, "name", size, 0.0), remembering(judge, "list", size, 0.0)
    new_names, new_lists = remembering(judge, "name", size, 1.0), remembering(judge, "list", size, 1.0)
    ends, known_ends = turn_ends(judge, 2 * size, "test"), turn_ends(judge, 2 * size, "train")
    first, inside = ends_and_pauses(judge, 4 * size, 0), ends_and_pauses(judge, 4 * size, 5)
    tools = eval_tools.using_tools(judge, size, "test", shown)
    unseen_tools = eval_tools.using_tools(judge, size, "unseen", 0)
    for exchange, reply in [*wrong[:shown], *wrong_unseen[:shown]]:
        print(
            f"{exchange.intent}: {exchange.user!r}\n"
            f"    wanted {exchange.acceptable[0]!r}\n    got    {reply!r}"
        )
    missed = Counter(exchange.intent for exchange, _ in wrong).most_common(12)
    print(f"most missed: {missed}")
    rows: tuple[tuple[str, float, float | None], ...] = (
        ("intent and every slot right, held-out phrasings", understood["right"], INTENT_BAR),
        ("  of these, as hearing writes", understood["right_spoken_form"], INTENT_BAR),
        ("  with made-up names and things among them", invented["right"], None),
        ("  a second held-out set, written last", unseen["right"], None),
        ("  trained phrasings, new sentences", trained["right"], None),
        ("name remembered over four turns", names, MEMORY_BAR),
        ("list remembered over four turns", lists, MEMORY_BAR),
        ("  a made-up name", new_names, None),
        ("  a list of made-up things", new_lists, None),
        *((name, ends[key], None) for name, key in _ENDS),
    )
    rows += tuple((f"{name}, trained phrasings", known_ends[key], None) for name, key in _ENDS)
    for where, found in (("a talk's first", first), ("inside a talk", inside)):
        told = found["told_at_2_percent"]
        rows += ((f"end of turn: sentences told, 2 % of unfinished places, {where}", told, TOLD_BAR),)
        rows += tuple((name, found[key], None) for name, key in _PAUSES)
    rows += eval_tools.table("tools", tools, eval_tools.TOOLS_BAR)
    rows += eval_tools.table("tools, the second set", unseen_tools, None)
    for name, figure, bar_figure in rows:
        verdict = (
            ""
            if bar_figure is None
            else f"bar {bar_figure:.0%}  {'met' if figure >= bar_figure else 'MISSED'}"
        )
        print(f"{name:70} {figure:8.4f}  {verdict}")
    return {
        "understanding": understood,
        "understanding_made_up": invented,
        "understanding_second_set": unseen,
        "understanding_trained_phrasings": trained,
        "name": names,
        "list": lists,
        "name_made_up": new_names,
        "list_made_up": new_lists,
        "turn_end": ends,
        "turn_end_trained_phrasings": known_ends,
        "turn_end_first": first,
        "turn_end_inside_a_talk": inside,
        "tools": tools,
        "tools_second_set": unseen_tools,
        "missed": dict(missed),
    }


def main() -> None:
    """Read the command line and judge."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--checkpoint", type=Path, default=CHECKPOINT)
    parser.add_argument("--size", type=int, default=300, help="conversations of each kind")
    parser.add_argument("--shown", type=int, default=12, help="mistakes to print")
    parser.add_argument("--threads", type=int, default=2)
    chosen = parser.parse_args()
    torch.set_num_threads(chosen.threads)
    figures = judge_checkpoint(chosen.checkpoint, chosen.size, chosen.shown)
    print(json.dumps({"checkpoint": str(chosen.checkpoint), **figures}))


if __name__ == "__main__":
    main()
