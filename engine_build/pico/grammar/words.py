"""Hold the word lists of the household domain, and number words."""

from __future__ import annotations

from typing import Final


def _words(text: str) -> list[str]:
    return text.split()


def _phrases(text: str) -> list[str]:
    return text.split(",")


UNITS: Final = _words(
    "zero one two three four five six seven eight nine ten eleven twelve thirteen fourteen fifteen sixteen "
    "seventeen eighteen nineteen"
)
TENS: Final = _words("zero ten twenty thirty forty fifty sixty seventy eighty ninety")


def number(value: int) -> str:
    """Say 0 to 999 in words, without hyphens (hearing writes none)."""
    if value < 20:
        return UNITS[value]
    if value < 100:
        tens, ones = divmod(value, 10)
        return TENS[tens] + (f" {UNITS[ones]}" if ones else "")
    hundreds, rest = divmod(value, 100)
    return f"{UNITS[hundreds]} hundred" + (f" {number(rest)}" if rest else "")


VALUES: Final = {number(value): value for value in range(1000)}

NAMES: Final = _words(
    "anna ben clara david emma felix grace henry isabel jack kate leo maria nina oscar paula quentin rosa "
    "sam tom "
    "ursula victor wendy yara zoe adam bella charlie daniel eva frank george hannah ivan julia kevin laura "
    "martin "
    "nora oliver peter rachel simon sara tina vera walter alice bob carol diana eric fiona gloria harry "
    "irene james "
    "karen lucas mia noah olivia paul robert sophie thomas violet william amy chris ella hugo jane linda "
    "max monica "
    "philip ruby stella theo"
)
PET_NAMES: Final = _words(
    "rex bella luna max charlie lucky daisy rocky milo coco buddy ginger shadow simba oscar"
)

ROOMS: Final = _phrases(
    "kitchen,bedroom,bathroom,living room,dining room,garage,hall,office,garden,basement,attic,nursery,study,"
    "guest room,laundry room,balcony,terrace,playroom,library"
)
LIGHTS: Final = _phrases("light,lights,lamp,lamps,floor lamp,ceiling light,reading lamp,spotlights")
DEVICES: Final = _phrases(
    "fan,heater,radio,television,coffee machine,kettle,oven,dishwasher,washing machine,dryer,air conditioner,"
    "printer,computer,speaker,toaster,humidifier,vacuum cleaner,stove,microwave,projector,game console,"
    "electric blanket,sprinkler,fireplace"
)
OPENINGS: Final = _phrases(
    "front door,back door,garage door,window,windows,blinds,curtains,gate,shutters,bedroom window,"
    "kitchen window,"
    "bathroom door,balcony door,cellar door"
)
COLOURS: Final = _phrases(
    "red,blue,green,yellow,orange,purple,pink,white,violet,turquoise,gold,warm white,cool white,brown,"
    "silver,black,"
    "grey,magenta"
)
LIGHT_COLOURS: Final = [colour for colour in COLOURS if colour not in {"black", "grey", "brown", "silver"}]

ITEMS: Final = _phrases(
    "milk,eggs,bread,butter,cheese,apples,bananas,oranges,grapes,pears,cherries,lemons,tomatoes,potatoes,"
    "carrots,"
    "onions,garlic,cucumbers,peppers,mushrooms,lettuce,spinach,broccoli,beans,peas,corn,rice,pasta,noodles,"
    "flour,"
    "sugar,salt,pepper,oil,olive oil,vinegar,honey,jam,peanut butter,chocolate,cookies,cake,ice cream,"
    "yogurt,cream,"
    "chicken,beef,ham,bacon,sausages,fish,salmon,tuna,shrimp,tea,coffee,juice,orange juice,water,wine,beer,"
    "soap,"
    "shampoo,toothpaste,toilet paper,paper towels,batteries,candles,light bulbs,dog food,cat food,napkins,"
    "sponges,"
    "tape,glue,stamps,envelopes,pencils,flowers,matches,cereal,oatmeal,nuts,almonds,raisins,crackers,chips,"
    "popcorn,"
    "soup,ketchup,mustard,tofu,melons,strawberries,peaches,plums,avocados,cabbage,celery,ginger,cinnamon,"
    "vanilla,"
    "yeast,tissues,trash bags,detergent,bleach,razors,lotion,diapers,plasters"
)

FOODS: Final = _phrases(
    "pizza,pasta,sushi,soup,salad,chocolate,ice cream,cheese,rice,chicken,curry,pancakes,bread,fish,steak,"
    "noodles,"
    "cake,burgers,tacos,dumplings"
)
ANIMALS: Final = _phrases(
    "dog,cat,horse,cow,sheep,pig,duck,lion,tiger,bear,rabbit,elephant,fox,wolf,owl,dolphin,penguin,turtle,"
    "eagle,"
    "monkey,frog,goat"
)
SEASONS: Final = _phrases("spring,summer,autumn,winter")
DRINKS: Final = _phrases("tea,coffee,water,milk,juice,lemonade,cocoa,cider")
SPORTS: Final = _phrases(
    "football,tennis,golf,hockey,swimming,running,chess,basketball,cycling,skiing,rugby,boxing"
)
GENRES: Final = _phrases(
    "jazz,rock,pop,blues,country music,classical music,folk,hip hop,techno,soul,reggae,opera,piano music,"
    "dance music,guitar music,christmas songs,quiet music,happy songs,love songs,lullabies,film music,"
    "the news,"
    "the rain sounds,some mozart,some bach,the beatles"
)
TASKS: Final = _phrases(
    "water the plants,call the doctor,feed the cat,feed the dog,take the medicine,pay the rent,pay the bills,"
    "buy flowers,buy milk,clean the kitchen,wash the car,wash the dishes,do the laundry,take out the trash,"
    "walk the dog,pick up the kids,close the windows,lock the door,check the oven,charge the phone,"
    "book the tickets,renew the passport,visit grandma,write to the bank,send the letter,send the report,"
    "go to the gym,go to bed,drink water,take a break,stretch,bake a cake,iron the shirts,return the books,"
    "empty the dishwasher,clean the windows,fix the bike,call the plumber,order pizza,prepare the meeting,"
    "study for the exam,practice the piano,pack the suitcase,buy a present,cut the grass,read a book"
)
BODIES: Final = _phrases(
    "dinner is ready,lunch is ready,the train is late,the bus is late,the meeting is cancelled,"
    "the party starts soon,"
    "the keys are on the table,the door is open,the kids are asleep,the food is here,the car is ready,"
    "everything is fine,the plane has landed,the film starts at eight,the baby is awake,the shop is closed,"
    "the doctor called,the dog is hungry,the package is here,breakfast is ready,it is raining,it is snowing,"
    "the cake is great,the water is cold,the power is out,the game is over,the test went well,we are home,"
    "we are late,we are on the way,we need milk,we are waiting outside,school is closed,the answer is yes,"
    "the answer is no,the tickets are here"
)
RELATIVES: Final = _phrases(
    "sister,brother,mother,father,wife,husband,daughter,son,friend,boss,teacher,neighbour,cousin,uncle,"
    "aunt,dog,cat,"
    "rabbit,horse,parrot"
)
CONTACTS: Final = _phrases(
    "mum,dad,grandma,grandpa,the doctor,the office,the dentist,the school,the bank,the police,the taxi,"
    "the plumber,"
    "the pharmacy,my sister,my brother,my wife,my husband,my boss,my neighbour,my teacher"
)
THINGS: Final = _phrases(
    "keys,wallet,phone,glasses,umbrella,passport,charger,book,bag,camera,watch,hat,coat,ring,laptop,"
    "scissors,hammer,"
    "tickets,gloves,headphones"
)
PLACES: Final = _phrases(
    "in the kitchen,in the car,in the drawer,on the table,under the bed,on the shelf,in the garage,"
    "behind the door,"
    "in the blue box,on the desk,next to the sink,in the office,under the sofa,in the basket,in the cupboard,"
    "on the chair,behind the curtain,in the bathroom"
)
DAYS: Final = _words("monday tuesday wednesday thursday friday saturday sunday")
MONTHS: Final = _words(
    "january february march april may june july august september october november december"
)
MONTH_DAYS: Final = (31, 28, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31)

CAPITALS: Final = dict(
    pair.split(":")
    for pair in _phrases(
        "france:paris,germany:berlin,italy:rome,spain:madrid,portugal:lisbon,england:london,ireland:dublin,"
        "scotland:edinburgh,norway:oslo,sweden:stockholm,finland:helsinki,denmark:copenhagen,poland:warsaw,"
        "austria:vienna,hungary:budapest,greece:athens,turkey:ankara,russia:moscow,china:beijing,japan:tokyo,"
        "india:delhi,egypt:cairo,kenya:nairobi,canada:ottawa,mexico:mexico city,brazil:brasilia,"
        "argentina:buenos aires,chile:santiago,peru:lima,cuba:havana,australia:canberra,switzerland:bern,"
        "belgium:brussels,the netherlands:amsterdam,iceland:reykjavik,ukraine:kiev,israel:jerusalem,"
        "iran:tehran,"
        "thailand:bangkok,vietnam:hanoi,south korea:seoul,indonesia:jakarta,colombia:bogota,morocco:rabat"
    )
)
CITIES: Final = [
    *CAPITALS.values(),
    *_phrases("new york,chicago,boston,hamburg,munich,milan,barcelona,sydney,toronto"),
]
LANGUAGES: Final = dict(
    pair.split(":")
    for pair in _phrases(
        "france:french,germany:german,italy:italian,spain:spanish,portugal:portuguese,england:english,"
        "norway:norwegian,sweden:swedish,finland:finnish,denmark:danish,poland:polish,austria:german,"
        "hungary:hungarian,greece:greek,turkey:turkish,russia:russian,china:chinese,japan:japanese,"
        "egypt:arabic,"
        "mexico:spanish,brazil:portuguese,argentina:spanish,chile:spanish,cuba:spanish,australia:english"
    )
)
_PAIRS: Final = dict(
    pair.split(":")
    for pair in _phrases(
        "hot:cold,big:small,good:bad,up:down,left:right,day:night,black:white,happy:sad,old:young,fast:slow,"
        "high:low,rich:poor,hard:soft,light:dark,wet:dry,full:empty,open:closed,early:late,loud:quiet,"
        "clean:dirty,"
        "strong:weak,long:short,near:far,thick:thin,wide:narrow,first:last,inside:outside,always:never,"
        "love:hate,"
        "push:pull,win:lose,begin:end,true:false,cheap:expensive,sweet:sour,heavy:light,sharp:blunt,"
        "smooth:rough,brave:afraid,tall:short,asleep:awake,alive:dead,in:out,before:after,north:south,"
        "east:west,"
        "summer:winter,laugh:cry,buy:sell,give:take,friend:enemy,war:peace,question:answer,safe:dangerous,"
        "simple:difficult,same:different,future:past"
    )
)
OPPOSITES: Final = {**{second: first for first, second in _PAIRS.items()}, **_PAIRS}
SOUNDS: Final = {
    "dog": "woof", "cat": "meow", "cow": "moo", "sheep": "baa", "pig": "oink", "duck": "quack",
    "lion": "roar",
    "owl": "hoot", "frog": "croak", "bee": "buzz", "snake": "hiss", "wolf": "howl", "horse": "neigh",
}  # fmt: skip
BABIES: Final = {
    "dog": "puppy", "cat": "kitten", "cow": "calf", "sheep": "lamb", "pig": "piglet", "duck": "duckling",
    "horse": "foal", "lion": "cub", "bear": "cub", "goat": "kid", "frog": "tadpole", "chicken": "chick",
    "elephant": "calf", "swan": "cygnet",
}  # fmt: skip
LEGS: Final = {
    "dog": 4, "cat": 4, "horse": 4, "cow": 4, "spider": 8, "bird": 2, "ant": 6, "bee": 6, "duck": 2,
    "fish": 0,
    "snake": 0, "human": 2, "frog": 4, "beetle": 6, "elephant": 4, "penguin": 2,
}  # fmt: skip
HUES: Final = {
    "grass": "green", "the sky": "blue", "snow": "white", "blood": "red", "a banana": "yellow",
    "a lemon": "yellow",
    "a tomato": "red", "a carrot": "orange", "coal": "black", "milk": "white", "chocolate": "brown",
    "the sun": "yellow",
    "the sea": "blue", "a frog": "green", "an elephant": "grey", "a strawberry": "red", "a cucumber": "green",
    "a leaf": "green", "gold": "yellow", "a fire truck": "red", "a polar bear": "white", "a flamingo": "pink",
}  # fmt: skip
COUNTS: Final = {
    "days are in a week": "Seven days are in a week", "months are in a year": "Twelve months are in a year",
    "minutes are in an hour": "Sixty minutes are in an hour",
    "seconds are in a minute": "Sixty seconds are in a minute",
    "hours are in a day": "Twenty four hours are in a day", "seasons are there": "There are four seasons",
    "continents are there": "There are seven continents", "planets are there": "There are eight planets",
    "sides has a triangle": "A triangle has three sides", "sides has a square": "A square has four sides",
    "sides has a hexagon": "A hexagon has six sides", "fingers are on a hand": "Five fingers are on a hand",
    "letters are in the alphabet": "Twenty six letters are in the alphabet",
    "wheels has a bicycle": "A bicycle has two wheels", "wheels has a car": "A car has four wheels",
    "strings has a guitar": "A guitar has six strings", "strings has a violin": "A violin has four strings",
    "players are in a football team": "Eleven players are in a football team",
    "colours are in a rainbow": "Seven colours are in a rainbow",
    "eggs are in a dozen": "Twelve eggs are in a dozen",
    "weeks are in a year": "Fifty two weeks are in a year",
    "arms has an octopus": "An octopus has eight arms",
}  # fmt: skip
FACTS: Final = {
    "the biggest planet": "jupiter", "the biggest animal": "the blue whale",
    "the highest mountain": "mount everest",
    "the biggest ocean": "the pacific", "the fastest land animal": "the cheetah",
    "the tallest animal": "the giraffe",
    "the planet closest to the sun": "mercury", "the red planet": "mars",
    "the king of the animals": "the lion",
    "the colour of love": "red", "the first month of the year": "january",
    "the last month of the year": "december",
    "the first day of the week": "monday", "the coldest season": "winter", "the warmest season": "summer",
    "frozen water": "ice", "the biggest continent": "asia", "the smallest continent": "australia",
    "the star of our system": "the sun", "the longest month name": "september",
    "the shortest month": "february",
}  # fmt: skip

PROPER: Final = frozenset(
    word
    for phrase in [
        *NAMES, *PET_NAMES, *CITIES, *CAPITALS, *LANGUAGES.values(), *DAYS, *MONTHS, "mozart", "bach",
        "beatles",
        "jupiter", "mercury", "mars", "everest", "mount", "asia", "pacific", "christmas", "riposte", "i",
    ]
    for word in phrase.split()
    if word not in {"the", "may", "march"}
)  # fmt: skip
"""Words that ordinary writing capitalises. `may` and `march` are left to the replies that mean the months."""


def proper(text: str) -> str:
    """Capitalise the names in a phrase, as the replies write them."""
    return " ".join(word.capitalize() if word in PROPER else word for word in text.split())


def month(name: str) -> str:
    """Capitalise a month, also those which are other words too."""
    return name.capitalize()


def sentence(text: str) -> str:
    """Capitalise the first letter."""
    return text[:1].upper() + text[1:]


def listed(items: list[str] | tuple[str, ...]) -> str:
    """Join items as speech does: a, b and c."""
    return items[0] if len(items) == 1 else f"{', '.join(items[:-1])} and {items[-1]}"
