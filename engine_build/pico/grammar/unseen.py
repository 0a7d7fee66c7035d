"""Hold a second set of phrasings for judging only, written after the training phrasings were finished.

Some training phrasings were written with the mistakes on the first held-out set in view. Nothing was changed
after the first look at this set, so its figure is the one to believe.
"""

from __future__ import annotations

from typing import Final


def _each(text: str) -> tuple[str, ...]:
    return tuple(text.split("; "))


UNSEEN: Final[dict[str, tuple[str, ...]]] = {
    "device_on": _each("it would be nice to have {placed} on; fire up {placed}"),
    "device_off": _each("it would be nice to have {placed} off; we are done with {placed}"),
    "light_dim": _each("make {placedlamp} less bright"),
    "light_brighten": _each("make {placedlamp} less dark"),
    "light_level": _each("let {placedlamp} shine at {level} percent"),
    "light_colour": _each("let {placedlamp} shine in {colour}"),
    "heating": _each("could it be {degrees} degrees in here"),
    "open": _each("is it possible to open the {opening}"),
    "close": _each("is it possible to close the {opening}"),
    "device_state": _each("any idea if {placed} is on"),
    "timer_set": _each("wait {duration} and then ring; i am cooking set {duration}"),
    "timer_cancel": _each("drop the timer"),
    "alarm_set": _each("i have to be out of bed at {time}; tomorrow i start early set the alarm for {time}"),
    "alarm_ask": _each("so when will the alarm go off"),
    "remind": _each("note that i have to {task} {when}; i keep forgetting to {task} remind me"),
    "remind_ask": _each("was there anything i had to do"),
    "time_ask": _each("got the time"),
    "date_ask": _each("what date do we have today"),
    "weather": _each("should i expect rain in {city} {relday}; any rain {relday}"),
    "list_add": _each(
        "we ran out of {items}; could you add {items} to the list for me; next time i shop i need {items}"
    ),
    "list_remove": _each("actually no {listed} on the list; i changed my mind about {listed}"),
    "list_read": _each("what do we still need; go through my shopping list"),
    "list_has": _each("do i have {listed} on there"),
    "list_clear": _each("wipe my shopping list"),
    "call": _each("get hold of {contact} by phone; i want {contact} on the line"),
    "message": _each("drop {contact} a message that {body}"),
    "message_open": _each("i need to send a message to {contact}"),
    "play": _each("i am in the mood for {genre}; start playing {genre}"),
    "play_any": _each("i am in the mood for music"),
    "volume_up": _each("crank up the volume"),
    "volume_down": _each("tone down the volume"),
    "volume_set": _each("go to {level} percent volume"),
    "pause": _each("halt the music"),
    "next": _each("move on to the next song"),
    "song_ask": _each("what is the title of this song"),
    "sum_add": _each("how much do you get for {left} plus {right}; solve {left} plus {right}"),
    "sum_subtract": _each("how much do you get for {left} minus {right}; solve {left} minus {right}"),
    "sum_multiply": _each("how much do you get for {left} times {right}; solve {left} times {right}"),
    "sum_divide": _each("how much do you get for {left} divided by {right}; solve {left} divided by {right}"),
    "bigger": _each("between {left} and {right} which is bigger"),
    "smaller": _each("between {left} and {right} which is smaller"),
    "capital": _each("remind me what the capital of {country} is; is there a capital in {country}"),
    "capital_of": _each("what country would i be in when i visit {capital}"),
    "language": _each("if i go to {speaking} which language will i hear"),
    "opposite": _each("quick what is the opposite of {word}"),
    "baby": _each("what would you call a baby {parent}"),
    "legs": _each("any idea how many legs a {walker} has"),
    "hue": _each("any idea what colour {thing} is"),
    "count": _each("any idea how many {count}"),
    "day_after": _each("which day would be right after {day}"),
    "day_before": _each("which day would be right before {day}"),
    "month_after": _each("which month would be right after {month}"),
    "month_before": _each("which month would be right before {month}"),
    "month_days": _each("how many days can i count in {month}"),
    "hello": _each("a very good morning; hello nice voice"),
    "bye": _each("okay i am out of here bye"),
    "again": _each("what did you say again; could you please repeat your last sentence"),
    "thanks": _each("cool thank you; i really thank you"),
    "how_are_you": _each("so how are you these days"),
    "user_well": _each("i really had a great day"),
    "user_sad": _each("i am in a bad mood"),
    "who_are_you": _each("and what might your name be"),
    "what_can_you_do": _each("what kind of things can you help with"),
    "are_you_human": _each("are you actually a human being"),
    "hear_me": _each("can you still hear me"),
    "joke": _each("come on tell me a funny joke"),
    "compliment": _each("you really are a great assistant"),
    "insult": _each("that answer was wrong"),
    "name_tell": _each("just so you know my name is {name}; by the way i am {name}"),
    "name_ask": _each("quick test what is my name; i told you my name what was it"),
    "home_tell": _each("for years i have lived in {city}"),
    "home_ask": _each("i told you where i live where was it"),
    "favourite_tell": _each("of every {subject} i like {favourite} best"),
    "favourite_ask": _each("i told you my favourite {subject} what was it"),
    "relative_tell": _each("meet my {relative} {petname}"),
    "relative_ask": _each("i told you the name of my {relative} what was it"),
    "place_tell": _each("just so you know my {object} is {place}"),
    "place_ask": _each("i lost my {object} where did i put it"),
    "cannot": _each(
        "what is the phone number of the hotel in {city}; teach me how to play football; "
        "who is going to win the election"
    ),
}
