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

__all__ = [
    "INTENTS",
    "Conversation",
    "Exchange",
    "conversation",
    "drill",
    "is_whole",
    "memory_conversation",
    "spoken_sentence",
    "vocabulary",
]
