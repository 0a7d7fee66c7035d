"""Play music and set the volume."""

from __future__ import annotations

from typing import Final

from engine_build.pico.grammar.intent import Intent, Memory, Slots, fixed
from engine_build.pico.grammar.words import proper


def _play(memory: Memory, slots: Slots) -> tuple[str, ...]:
    room = f" in the {slots['room']}" if "room" in slots else ""
    return (f"Okay, playing {proper(slots['genre'])}{room}.",)


INTENTS: Final = (
    Intent(
        "play",
        (
            "play [me] {genre} [in the {room}]", "put on {genre} [in the {room}]", "i want to hear {genre}",
            "start {genre} [in the {room}]", "let me hear {genre}", "i would like [to hear] {genre}",
            "i want to listen to {genre} [in the {room}]", "turn on {genre} [in the {room}]",
            "how about {genre}",
            "give me {genre}", "can we have {genre} [in the {room}]",
        ),
        ("let us listen to {genre} [in the {room}]", "i feel like {genre}"),
        _play, weight=2.0,
    ),
    Intent(
        "play_any",
        (
            "play [some|the] music", "put on [some] music", "play (a song|something)", "start the music",
            "i want [some] music",
            "music", "play me a song", "i want to hear [some] music", "turn on the music", "play anything",
        ),
        ("let me hear some music", "i would like music"),
        fixed("Okay, playing some music."),
    ),
    Intent(
        "volume_up",
        (
            "[turn it] louder", "turn (the volume|it|the music|the sound) up",
            "turn up (the volume|the music|the sound)", "volume up",
            "make (it|the music) louder", "(raise|increase) the volume", "i cannot hear (it|you|the music)",
            "more volume",
            "it is too quiet", "speak (louder|up)",
        ),
        ("bring the volume up", "i want it louder"),
        fixed("Okay, turning the volume up."), weight=1.2,
    ),
    Intent(
        "volume_down",
        (
            "[turn it] quieter", "turn (the volume|it|the music|the sound) down",
            "turn down (the volume|the music|the sound)",
            "volume down", "make (it|the music) quieter", "(lower|decrease) the volume", "it is too loud",
            "less volume",
            "not so loud", "speak quieter",
        ),
        ("bring the volume down", "i want it quieter"),
        fixed("Okay, turning the volume down."), weight=1.2,
    ),
    Intent(
        "volume_set",
        (
            "(set|turn|put) the volume (to|at) {level} [percent]", "volume [to|at] {level} [percent]",
            "(set|turn) the (music|sound) to {level} percent", "change the volume to {level} [percent]",
            "i want the volume at {level} [percent]", "make the volume {level} [percent]",
            "play at {level} percent [volume]",
            "{level} percent volume",
        ),
        ("bring the volume to {level} percent", "adjust the volume to {level} percent"),
        lambda memory, slots: (f"Okay, setting the volume to {slots['level']} percent.",), weight=1.2,
    ),
    Intent(
        "mute",
        (
            "mute [it]", "mute the (music|sound|speaker)", "sound off", "no sound", "turn off the sound",
            "turn the sound off",
            "make it silent", "be silent", "silence",
        ),
        ("switch the sound off",),
        fixed("Okay, the sound is off."), weight=0.7,
    ),
    Intent(
        "unmute",
        (
            "unmute [it]", "unmute the (music|sound|speaker)", "sound on", "turn on the sound",
            "turn the sound [back] on",
            "i want to hear the sound again", "bring the sound back", "give me the sound back",
        ),
        ("switch the sound on",),
        fixed("Okay, the sound is on."), weight=0.7,
    ),
    Intent(
        "pause",
        (
            "pause [it]", "pause the (music|song|film)", "stop the (music|song|film)", "hold the music",
            "stop playing",
            "no more music", "turn off the music", "turn the music off", "end the music",
        ),
        ("switch off the music", "let the music stop"),
        fixed("Okay, pausing the music."), weight=1.0,
    ),
    Intent(
        "resume",
        (
            "(resume|continue|unpause) [the (music|song|film)]", "play again", "go on with the music",
            "keep playing",
            "carry on with the music", "start the music again", "play on", "turn the music back on",
            "continue playing",
        ),
        ("go on playing",),
        fixed("Okay, going on with the music."), weight=0.8,
    ),
    Intent(
        "next",
        (
            "next [song]", "skip [this [song]]", "play the next song", "another song",
            "i do not like this song", "a different song",
            "skip to the next song", "go to the next song", "the next one", "play something else",
        ),
        ("let me hear the next song", "jump to the next song"),
        fixed("Okay, playing the next song."),
    ),
    Intent(
        "previous",
        (
            "previous song", "play the (previous|last) song [again]", "go back to the (previous|last) song",
            "the song before",
            "one song back", "back to the last song", "go back one song", "play that song again",
            "the previous one",
        ),
        ("let me hear the previous song", "jump back to the last song"),
        fixed("Okay, playing the previous song."), weight=0.8,
    ),
    Intent(
        "song_ask",
        (
            "what song is (this|that)", "what is this song [called]", "who (sings|plays) (this|that)",
            "which song is this",
            "what is playing", "what are you playing", "do you know this song",
            "tell me the name of this song",
            "who wrote this song",
        ),
        ("what is the name of this song",),
        fixed("Sorry, I do not know the name of this song."), weight=0.8,
    ),
)  # fmt: skip
