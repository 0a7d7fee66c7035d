from __future__ import annotations

import math

from riposte.backends.promises import AGREED, HYPOTHESES, SURE, Promises

# Words are runs of tokens whose first is a multiple of ten: 10 11 | 20 | 30 31.
SAID = (10, 11, 20, 30, 31)
STEP = AGREED // (HYPOTHESES - 1)


def promises(within: int = 10**9) -> Promises:
    return Promises(lambda token: token % 10 == 0, within=within)


def hear(made: Promises, *hypotheses: tuple[int, ...], first: int = 1, unsure: int | None = None) -> int:
    """Give hypotheses a step apart; return the samples of the last. `unsure`: which token each doubts."""
    samples = 0
    for number, tokens in enumerate(hypotheses):
        samples = (first + number) * STEP
        made.add(samples, tokens, tuple(SURE - 0.1 if at == unsure else 0.0 for at in range(len(tokens))))
    return samples


def test_whole_words_are_promised_when_hypotheses_agree() -> None:
    made = promises()
    last = hear(made, *[SAID] * HYPOTHESES)
    # Not the last word, which may go on.
    assert made.by(last) == (10, 11, 20)
    assert made.by(last - 1) == ()
    assert made.latest == SAID


def test_fewer_hypotheses_promise_nothing() -> None:
    made = promises()
    assert made.by(hear(made, *[SAID] * (HYPOTHESES - 1))) == ()


def test_agreeing_often_in_a_short_time_promises_nothing() -> None:
    made = promises()
    for samples in range(1, 20):
        made.add(samples, SAID, (0.0,) * len(SAID))
    assert made.by(20) == ()


def test_what_changes_begins_anew() -> None:
    made = promises()
    other = (10, 11, 40, 30, 31)
    assert made.by(hear(made, SAID, SAID, other, other)) == ()
    assert made.by(hear(made, other, first=5)) == (10, 11, 40)


def test_nothing_is_promised_from_a_doubtful_token_on() -> None:
    made = promises()
    last = hear(made, *[SAID] * HYPOTHESES, unsure=2)
    assert made.by(last) == ()  # that "10 11" is a whole word is known by 20 alone
    assert math.exp(SURE) > 0.5


def test_a_hypothesis_for_fewer_samples_changes_no_promise() -> None:
    made = promises()
    last = hear(made, *[SAID] * (HYPOTHESES - 1))
    made.add(last - 5, (40,), (0.0,))
    assert made.latest == (40,)
    assert made.by(hear(made, SAID, first=HYPOTHESES)) == (10, 11, 20)


def test_nothing_is_promised_where_the_cut_may_come_or_when_it_came() -> None:
    bounded = promises(within=HYPOTHESES * STEP - 1)
    assert bounded.by(hear(bounded, *[SAID] * (HYPOTHESES + 2))) == ()
    over = promises()
    over.end()
    assert over.by(hear(over, *[SAID] * (HYPOTHESES + 2))) == ()


def test_promises_only_grow() -> None:
    made = promises()
    last = hear(made, *[SAID] * HYPOTHESES)
    longer = (*SAID, 40, 50)
    later = hear(made, *[longer] * HYPOTHESES, first=HYPOTHESES + 1)
    assert made.by(later) == (10, 11, 20, 30, 31, 40)
    assert made.by(last) == (10, 11, 20)
