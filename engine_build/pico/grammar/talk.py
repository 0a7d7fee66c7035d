"""Make small talk, and steer the conversation: yes, no, stop, again."""

from __future__ import annotations

from typing import Final

from engine_build.pico.grammar.intent import Intent, Memory, Slots, fixed


def _hello(memory: Memory, slots: Slots) -> tuple[str, ...]:
    return (
        f"Hello {memory.name.capitalize()}, what can I do for you?"
        if memory.name
        else "Hello, what can I do for you?",
    )


def _bye(memory: Memory, slots: Slots) -> tuple[str, ...]:
    return (
        f"Goodbye {memory.name.capitalize()}, see you soon." if memory.name else "Goodbye, see you soon.",
    )


def _again(memory: Memory, slots: Slots) -> tuple[str, ...]:
    return (memory.reply if memory.reply is not None else "I have not said anything yet.",)


def _talk(name: str, reply: str, phrasings: str, held: str, weight: float = 0.7) -> Intent:
    return Intent(
        name, tuple(phrasings.split("; ")), tuple(held.split("; ")), fixed(reply), weight, courtesy=False
    )


INTENTS: Final = (
    Intent(
        "hello",
        (
            "hello", "hi", "hey", "hello there", "good (morning|evening|afternoon)", "hello riposte",
            "hi riposte", "hey riposte",
            "hello again", "hi there", "greetings", "good day",
        ),
        ("hey there", "good morning riposte"), _hello, weight=1.8, courtesy=False,
    ),
    Intent(
        "bye",
        (
            "goodbye", "bye", "bye bye", "see you [later|soon|tomorrow]", "goodbye riposte", "bye riposte",
            "i have to go [now]",
            "i am leaving", "until tomorrow", "that was all", "that is all [for today]",
        ),
        ("goodbye for now", "i am going now"), _bye, weight=1.2, courtesy=False,
    ),
    Intent(
        "again",
        (
            "(say|repeat) that again", "repeat that", "again", "what did you say", "say it again",
            "repeat [it]", "pardon",
            "what was that", "i did not hear (you|that)", "one more time",
            "i did not understand (you|that)", "come again",
        ),
        ("can you repeat it once more", "what did you just say"), _again, weight=1.4, courtesy=False,
    ),
    _talk("thanks", "You are welcome.", "thanks [riposte]; thank you [riposte]; thank you [very] much; "
        "thanks a lot; many thanks; "
          "great thank you; that helped [a lot]; i thank you; very kind of you; okay thanks; "
          "perfect thank you", "thank you so much; great thanks", 1.4),
    _talk("how_are_you", "I am fine, thank you. How are you?", "how are you [today|doing]; "
        "how do you feel [today]; how is it going; are you (well|okay|fine); "
          "what is up; how are things [today]; are you doing well; is everything okay [with you]",
          "how are you feeling; how have you been", 1.2),
    _talk("user_well", "That is good to hear.", "i am (fine|well|good|great|okay) [thank you|thanks]; "
        "i am [very] happy [today]; i feel (good|great|fine|well) [today]; "
          "i am doing (well|fine|great); everything is great; i had a (good|great|nice) day; "
          "it is a (good|great|nice) day; very well thank you",
          "i am feeling great; today was a good day", 1.0),
    _talk("user_sad", "I am sorry to hear that.", "i am [so|very] (sad|lonely|unhappy) [today]; "
        "i feel (bad|sad|lonely|unhappy|terrible) [today]; i had a bad day; i am not (well|happy|okay); "
          "i am (sick|ill); my head hurts; i do not feel (well|good); everything is bad [today]",
          "i am feeling sad; today was a bad day", 0.9),
    _talk("user_tired", "Then take a rest. I will be quiet.", "i am [so|very] tired; i am sleepy; "
        "i need (sleep|a break|some rest); i want to sleep; i feel tired; "
          "i could sleep now; i did not sleep well; i am exhausted", "i am feeling tired", 0.6),
    _talk("user_bored", "Ask me for a joke or a small sum.", "i am [so|very] bored; i have nothing to do; "
        "this is boring; what (can|should) i do [now]; "
          "entertain me; i am getting bored; there is nothing to do; it is so boring here",
          "i feel bored", 0.6),
    _talk("user_hungry", "Then it is time to eat something.", "i am [so|very] hungry; "
        "i want [something] to eat; i need food; i could eat something; i am starving; "
          "i have not eaten [today]; what should i eat; i feel hungry", "i would like to eat something", 0.6),
    _talk("good_night", "Good night, sleep well.", "good night [riposte]; sleep well; "
        "i am going to (bed|sleep) [now]; i go to (bed|sleep) now; it is time (for bed|to sleep); "
          "have a good night; good night to you; night night", "a good night to you; time to go to bed", 0.8),
    _talk("who_are_you", "I am Riposte, your voice assistant.", "who are you; what is your name; "
        "what are you [called]; do you have a name; tell me your name; "
          "what should i call you; what can i call you; who am i talking to; introduce yourself; "
          "tell me about yourself; your name",
          "who is speaking; may i know your name", 1.3),
    _talk("what_can_you_do", "I can help with lights, timers, lists, calls, music, sums and small facts.",
    "what can you do [for me]; help [me]; how can you help [me]; what do you know; what are you able to do; "
          "what can i ask [you]; what can i say; what do you do; i need help; show me what you can do; "
          "what are you good at", "which things can you do; in what can you help me", 1.2),
    _talk("how_old", "I am very young, I was made this year.", "how old are you; what is your age; "
        "when were you (born|made); when is your birthday; are you (old|young); "
          "do you have a birthday; tell me your age; how many years old are you", "which age are you", 0.6),
    _talk("where_are_you", "I live in this machine, and nowhere else.", "where are you; where do you live; "
        "where are you from; where is your home; are you in the cloud; "
          "are you on the internet; in which place are you; are you online; do you live here",
          "where do you come from", 0.7),
    _talk("are_you_human", "No, I am a small computer program.",
    "are you [a] (human|robot|person|machine|computer); are you real; are you alive; do you have a body; "
          "are you a real person; are you an artificial intelligence; "
          "am i talking to a (human|robot|machine); do you breathe", "are you a living person", 0.7),
    _talk("who_made_you", "The Riposte project trained me.", "who made you; who built you; "
        "who is your (maker|creator|boss); who created you; who trained you; "
          "who wrote you; where were you made; who programmed you", "by whom were you made", 0.6),
    _talk("privacy", "No, everything stays on this machine.", "do you (record|store|keep) what i say; "
        "do you send my (words|voice) away; are you spying [on me]; is this private; do you share my words; "
          "who can hear me; do you tell anyone; is anybody listening",
          "do you share my voice with anyone", 0.6),
    _talk("hear_me", "Yes, I can hear you.", "can you hear me; do you hear me; are you there; "
        "are you listening; is anybody there; can you understand me; "
          "do you understand me; are you awake; is this working; is this thing on; are you ready",
          "do you hear what i say; are you still there", 1.2),
    _talk("joke", "Why did the clock go to school? It wanted to learn the time.", "tell [me] a joke; "
        "do you know a joke; make me laugh; say something funny; another joke; give me a joke; "
          "i want [to hear] a joke; be funny; joke; can you tell [me] a joke", "i would like to hear a joke; "
          "do you know something funny", 1.0),
    _talk("story", "Once a small box learned to listen. It lived happily in the kitchen.",
    "tell me a [short] story; read me a story; do you know a story; i want [to hear] a story; "
    "give me a story; another story; "
          "a story; say a story; can you tell me a story", "i would like to hear a story", 0.7),
    _talk("sing", "La la la, that is all I can sing.", "sing [me] a song; sing [something] [for me]; "
        "can you sing; do you sing; let me hear you sing; sing happy birthday; "
          "i want to hear you sing; please sing", "would you sing something", 0.6),
    _talk("compliment", "Thank you, that is kind.",
    "you are (great|good|nice|clever|funny|smart|wonderful|the best); i like you; good job; well done; "
    "you did [that] well; that was (great|good|perfect|funny); "
          "nice work; you are a good assistant; very good; you have a nice voice", "you are so good; "
          "i like your voice", 1.0),
    _talk("insult", "I am sorry, I will try to be better.",
    "you are (bad|stupid|slow|silly|useless|terrible|wrong); i do not like you; that is wrong; "
    "that was (bad|wrong|stupid); i hate you; "
          "bad job; you do not understand [me]; this is not good; that is not what i said; you are no help",
          "you are so slow; that was not right", 0.9),
    _talk("love", "That is sweet. I like talking with you.", "i love you [riposte]; do you love me; "
        "do you like me; will you marry me; be my friend; are you my friend; "
          "you are my friend; do you have feelings; do you have friends", "could you love me", 0.6),
    _talk("sorry", "No problem at all.", "sorry; i am [so|very] sorry; excuse me; my mistake; "
        "i did not mean that; oh sorry; forgive me; that was my mistake; i apologize; sorry about that",
          "sorry my mistake", 0.7),
    _talk("nice_to_meet", "I am pleased to meet you too.", "nice to (meet|see|know) you; "
        "pleased to meet you; good to (meet|see) you; glad to meet you; it is nice to meet you; "
          "a pleasure to meet you; happy to meet you; great to meet you; nice talking to you",
          "it was good to meet you", 0.6),
    _talk("yes", "Okay, good.", "yes; yes please; yeah; of course; sure; that is right; right; correct; "
        "okay; yes that is right; i agree; all right; exactly; yes i do; fine",
          "sure why not; yes of course", 1.0),
    _talk("no", "Okay, then not.", "no; no thanks; no thank you; nope; not now; never; i do not think so; "
        "rather not; no i do not; not really; no way; not at all", "no not now; rather not now", 1.0),
    _talk("cancel", "Okay, I stopped.", "stop; cancel [that]; never mind; forget (it|that); stop it; quit; "
        "abort; enough; be quiet; stop talking; shut up; do not do that; leave it; that is enough; hush",
          "okay stop it now; no cancel that", 1.3),
    _talk("wait", "Okay, I am waiting.", "wait [a moment|a minute|a second]; one moment [please]; hold on; "
        "just a (moment|second|minute); give me a (moment|second|minute); not yet; let me think; hang on; "
    "be patient",
          "wait for me", 0.7),
    _talk("colour_like", "I like blue, but I have no eyes.", "what is your favourite colour; "
        "which colour do you like [best|most]; do you have a favourite colour; "
    "tell me your favourite colour; what colour do you like; "
          "do you like blue; your favourite colour; which colour is your favourite",
          "do you like colours", 0.5),
    _talk("food_like", "I do not eat, I only need some power.", "what is your favourite food; "
        "what do you eat; are you hungry; do you eat; do you like pizza; what do you like to eat; "
    "which food do you like [best|most]; "
          "do you drink; are you thirsty", "do you ever eat", 0.5),
    _talk("meaning", "That is a big question for a small box.", "what is the meaning of life; "
        "why are we here; is there a god; what is love; what is happiness; why do we live; "
    "what happens after death; "
          "what is the sense of life", "is there a meaning of life", 0.5),
)  # fmt: skip
