"""The turn machine as a table: what happened, what is to be done."""

import pytest

from riposte.turn.machine import DUCKED, CancelReply, DropTurn, SetGain, StartTurn, TurnMachine


def test_turns_count_from_one_and_go_on_after_a_resume():
    assert TurnMachine().on_text("hi") == [StartTurn(1, "text", "hi")]
    assert TurnMachine(7).on_text("hi") == [StartTurn(8, "text", "hi")]


def test_a_finished_turn_is_not_interrupted():
    machine = TurnMachine()
    machine.on_text("one")
    machine.on_ended(1)
    assert machine.on_text("two") == [StartTurn(2, "text", "two")]
    machine.on_ended(2)
    assert machine.on_cancel() == []


@pytest.mark.parametrize(
    ("event", "started"),
    [
        (lambda m: m.on_text("b"), [StartTurn(2, "text", "b")]),
        (lambda m: m.on_say("b", "v"), [StartTurn(2, "text", "b", say=True, voice="v")]),
        (lambda m: m.on_end(), [StartTurn(2, "end")]),
        (lambda m: m.on_barge_in(), []),
        (lambda m: m.on_voice_stopped(), [StartTurn(2, "speech")]),
    ],
    ids=["text", "say", "end", "barge-in", "voice stopped"],
)
def test_new_input_interrupts_a_reply_first(event, started):
    machine = TurnMachine()
    machine.on_text("a")
    assert event(machine) == [CancelReply(1, "interrupted"), *started]


def test_cancel_stops_the_reply_once():
    machine = TurnMachine()
    machine.on_text("a")
    assert machine.on_cancel() == [CancelReply(1, "cancelled")]
    assert machine.on_cancel() == []


def test_an_announced_turn_keeps_its_number():
    machine = TurnMachine()
    assert machine.on_partial() == 1
    assert machine.on_partial() == 1
    assert machine.on_text("typed meanwhile") == [StartTurn(2, "text", "typed meanwhile")]
    assert machine.on_voice_stopped() == [
        CancelReply(2, "interrupted"),
        StartTurn(1, "speech", announced=True),
    ]


def test_clear_drops_an_announced_turn_and_only_that():
    machine = TurnMachine()
    assert machine.on_clear() == []
    machine.on_partial()
    assert machine.on_clear() == [DropTurn(1)]
    assert machine.on_end() == [StartTurn(2, "end")]


def test_the_number_of_a_turn_that_nobody_saw_is_used_again():
    machine = TurnMachine()
    machine.on_voice_stopped()
    machine.on_ended(1, unseen=True)
    assert machine.on_text("a") == [StartTurn(1, "text", "a")]


def test_a_late_end_of_an_older_turn_leaves_the_newer_one_alone():
    machine = TurnMachine()
    machine.on_voice_stopped()
    machine.on_text("a")
    machine.on_ended(1, unseen=True)
    assert machine.turn == 2
    assert machine.on_cancel() == [CancelReply(2, "cancelled")]


def test_a_voice_ducks_the_reply_once_until_it_is_known_what_it_wants():
    machine = TurnMachine()
    assert machine.on_onset() == []
    machine.on_text("a")
    assert machine.on_onset() == [SetGain(1, DUCKED)]
    assert machine.on_onset() == []
    assert machine.on_no_barge_in() == [SetGain(1, 1.0)]
    assert machine.on_no_barge_in() == []
    assert machine.on_onset() == [SetGain(1, DUCKED)]
    assert machine.on_barge_in() == [CancelReply(1, "interrupted")]
    assert machine.on_no_barge_in() == []


def test_a_reply_that_ended_while_it_was_ducked_is_not_restored():
    machine = TurnMachine()
    machine.on_text("a")
    machine.on_onset()
    machine.on_ended(1)
    assert machine.on_no_barge_in() == []
    machine.on_text("b")
    assert machine.on_onset() == [SetGain(2, DUCKED)]


def test_a_user_who_had_not_finished_takes_the_turn_with_him():
    machine = TurnMachine()
    machine.on_voice_stopped()
    assert machine.on_barge_in(continued=True) == [CancelReply(1, "interrupted", continued=True)]
    assert machine.next_spoken == 2
    assert machine.on_voice_stopped() == [StartTurn(2, "speech")]


def test_the_next_spoken_turn_has_the_number_that_was_announced():
    machine = TurnMachine()
    assert machine.next_spoken == 1
    machine.on_partial()
    machine.on_text("typed meanwhile")
    assert machine.next_spoken == 1
