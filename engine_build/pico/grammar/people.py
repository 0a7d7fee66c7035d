"""Call and write to people."""

from __future__ import annotations

from typing import Final

from engine_build.pico.grammar.intent import Intent, Memory, Slots, fixed
from engine_build.pico.grammar.words import proper


def contact(slots: Slots) -> str:
    """Name a contact as the replies do: what is mine to the user is yours to the voice."""
    return proper(slots["contact"]).replace("my ", "your ")


def _await(memory: Memory, slots: Slots) -> None:
    memory.awaited = contact(slots)


def _told(memory: Memory, slots: Slots) -> tuple[str, ...]:
    return (f"Okay, telling {contact(slots)} that {slots['body']}.",)


def _body(memory: Memory, slots: Slots) -> tuple[str, ...]:
    return (f"Okay, telling {memory.awaited} that {slots['body']}.",)


INTENTS: Final = (
    Intent(
        "call",
        (
            "call {contact} [now]", "(phone|ring|dial) {contact}", "make a call to {contact}",
            "start a call with {contact}",
            "i (want|need|have) to (call|talk to|speak to) {contact}", "get {contact} on the phone",
            "connect me (to|with) {contact}",
            "give {contact} a call", "i would like to talk to {contact}", "let me talk to {contact}",
            "call {contact} on the phone",
        ),
        ("put me through to {contact}", "let me speak with {contact}"),
        lambda memory, slots: (f"Okay, calling {contact(slots)}.",), weight=1.8,
    ),
    Intent(
        "message",
        (
            "tell {contact} [that] {body}", "(send|write) a message to {contact} saying [that] {body}",
            "text {contact} [that] {body}",
            "(send|write) {contact} a message [that] {body}", "let {contact} know [that] {body}",
            "message {contact} [that] {body}",
            "write [to] {contact} [that] {body}", "say to {contact} [that] {body}",
            "send a text to {contact} [that] {body}",
            "inform {contact} that {body}",
        ),
        ("please give {contact} the message that {body}", "i want {contact} to know that {body}"),
        _told, weight=1.6,
    ),
    Intent(
        "message_open",
        (
            "(send|write) a (message|text) to {contact}", "(send|write) {contact} a (message|text)",
            "(text|message) {contact}",
            "write to {contact}", "i (want|need|have) to (text|write to) {contact}",
            "new message to {contact}",
            "start a message to {contact}", "i have a message for {contact}",
        ),
        ("i would like to write to {contact}",),
        lambda memory, slots: (f"Sure, what should I tell {contact(slots)}?",), keep=_await,
    ),
    Intent(
        "message_body",
        (
            "{body}", "say [that] {body}", "that {body}", "tell them [that] {body}", "write [that] {body}",
            "just say {body}",
            "tell (him|her) [that] {body}", "the message is {body}",
        ),
        ("let them know {body}",),
        _body, weight=0.0, courtesy=False,
    ),
    Intent(
        "hang_up",
        (
            "hang up", "end the call", "stop the call", "finish the call", "end this call",
            "hang up the phone",
            "put the phone down", "stop calling", "cancel the call", "disconnect the call",
        ),
        ("drop the call",),
        fixed("Okay, ending the call."), weight=0.6,
    ),
    Intent(
        "answer",
        (
            "answer the (phone|call)", "pick up the phone", "take the call", "accept the call", "pick up",
            "answer it",
            "get the phone", "take this call", "answer",
        ),
        ("accept this call",),
        fixed("Okay, answering the call."), weight=0.6,
    ),
)  # fmt: skip
