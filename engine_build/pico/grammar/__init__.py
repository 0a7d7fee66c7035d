"""Write the household domain: the one source of training data, tests and demonstrations."""

from engine_build.pico.grammar.dialogue import (
    Conversation,
    Exchange,
    conversation,
    drill,
    memory_conversation,
)
from engine_build.pico.grammar.intents import INTENTS, is_whole
from engine_build.pico.grammar.speech import spoken_sentence, vocabulary
from engine_build.pico.grammar.tool_talk import tool_conversation
from engine_build.pico.grammar.tools import TOOLS, Call

__all__ = [
    "INTENTS",
    "TOOLS",
    "Call",
    "Conversation",
    "Exchange",
    "conversation",
    "drill",
    "is_whole",
    "memory_conversation",
    "spoken_sentence",
    "tool_conversation",
    "vocabulary",
]
