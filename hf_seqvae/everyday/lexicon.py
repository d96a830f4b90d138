"""The words of the everyday language: its scenes, verbs, nouns, and which of them go together.

Lists run from the most to the least likely word; the factor tree turns ranks into probabilities.
A verb belongs to one scene, so the verb tells the scene. Left out is what would give a sentence two
readings: verbs whose past is their base ("read", "cut"), and words that could fill two slots side
by side.
"""

from dataclasses import dataclass


@dataclass(frozen=True)
class Verb:
    """A verb, what it may be done to, where, in which manner and by whom.

    Without objects it is intransitive; its place is then never left out, unless it is asked for.
    """

    base: str
    third: str
    past: str
    progressive: str
    particle: str
    objects: tuple[str, ...]
    places: tuple[str, ...]
    manners: tuple[str, ...]
    roles: tuple[str, ...]


@dataclass(frozen=True)
class Scene:
    """A corner of life: its verbs and the hours at which people are found in it."""

    name: str
    hours: tuple[str, ...]
    verbs: tuple[Verb, ...]


def _phrases(text: str) -> tuple[str, ...]:
    return tuple(phrase.strip() for phrase in text.split(",") if phrase.strip())


def _scene(name: str, roles: str, places: str, hours: str, *verbs: tuple[str, ...]) -> Scene:
    """A scene from (forms, objects, manners[, places[, roles]]); its own are the default."""
    built = []
    for forms, objects, manners, *own in verbs:
        base, third, past, progressive, *particle = forms.split()
        own_places = own[0] if own else places
        own_roles = own[1] if len(own) > 1 else roles
        built.append(
            Verb(
                base,
                third,
                past,
                progressive,
                "".join(particle),
                tuple(objects.split()),
                _phrases(own_places),
                tuple(manners.split()),
                tuple(own_roles.split()),
            )
        )
    return Scene(name, _phrases(hours), tuple(built))


# fmt: off
SCENES = (
    _scene("kitchen", "chef baker waiter", "in the kitchen, at home, in the restaurant",
           "at noon, after work",
           ("cook cooks cooked cooking", "dinner soup rice noodles fish",
            "happily quickly carefully"),
           ("bake bakes baked baking", "bread cake cookies pie potatoes",
            "happily proudly carefully"),
           ("serve serves served serving", "coffee tea soup cake dessert",
            "gladly quietly quickly"),
           ("wash washes washed washing", "dishes cups plates pan", "quickly slowly lazily")),
    _scene("home", "woman man girl boy", "at home, upstairs, in the hall",
           "after dinner, in winter",
           ("clean cleans cleaned cleaning", "windows bathroom sofa oven",
            "slowly patiently quickly"),
           ("fix fixes fixed fixing", "clock chair door radio", "calmly patiently proudly"),
           ("sleep sleeps slept sleeping", "", "peacefully quietly",
            "on the sofa, in the bedroom, by the fire"),
           ("tell tells told telling", "story joke secret", "quietly happily nervously",
            "at home, on the porch, by the fire"),
           ("knit knits knitted knitting", "sweater scarf socks", "patiently happily",
            "on the sofa, by the fire, at home")),
    _scene("school", "teacher student girl boy", "in the classroom, at school, in the library",
           "after lunch, before class",
           ("learn learns learned learning", "words poem song rules", "eagerly quickly quietly"),
           ("study studies studied studying", "history science grammar maps",
            "quietly patiently eagerly"),
           ("solve solves solved solving", "puzzle problem riddle", "easily calmly proudly"),
           ("borrow borrows borrowed borrowing", "book pencil ruler dictionary", "quietly gladly",
            "at school, from the library, from the teacher", "student girl boy")),
    _scene("market", "customer woman man", "at the market, in the shop, in town",
           "after work, before lunch",
           ("buy buys bought buying", "apples cheese shoes hat lamp bread",
            "gladly quickly secretly"),
           ("choose chooses chose choosing", "dress ring gift hat", "carefully slowly nervously"),
           ("carry carries carried carrying", "basket boxes bag", "carefully slowly easily",
            "to the car, through the market, up the stairs"),
           ("sell sells sold selling", "cheese honey shoes carpets fish", "gladly proudly quickly",
            "at the market, in the shop, in town", "farmer baker")),
    _scene("sport", "player coach girl boy", "in the park, at the stadium, by the lake",
           "after lunch, before sunset",
           ("play plays played playing", "football tennis chess cards", "happily eagerly",
            "in the park, by the lake, at school"),
           ("run runs ran running", "", "slowly easily happily",
            "in the park, around the lake, along the river, up the hill", "player girl boy"),
           ("throw throws threw throwing", "ball stick stone", "angrily quickly easily",
            "in the park, by the lake, at school"),
           ("win wins won winning", "game race match medal", "easily proudly bravely",
            "at the stadium, in the park, at school"),
           ("lose loses lost losing", "game race match bet", "calmly nervously angrily",
            "at the stadium, in the park, at school")),
    _scene("garden", "gardener neighbor woman man",
           "in the garden, behind the house, near the gate",
           "after breakfast, before lunch",
           ("plant plants planted planting", "flowers roses tree seeds",
            "happily carefully patiently"),
           ("water waters watered watering", "flowers tomatoes roses tree",
            "patiently happily gladly"),
           ("pick picks picked picking", "apples cherries roses beans",
            "quickly carefully secretly"),
           ("paint paints painted painting", "fence bench gate shed", "calmly slowly proudly",
            "in the garden, behind the house")),
    _scene("travel", "tourist guide", "", "in summer, in spring",
           ("visit visits visited visiting", "museum castle island temple",
            "eagerly secretly gladly"),
           ("travel travels traveled traveling", "", "slowly secretly eagerly bravely",
            "to the coast, across the country, through the mountains"),
           ("wait waits waited waiting for", "bus train taxi guide", "patiently nervously angrily",
            "at the station, near the hotel, in the rain", "tourist student"),
           ("pack packs packed packing", "suitcase bag tent", "quickly carefully eagerly",
            "at the hotel, at home")),
    _scene("office", "manager secretary lawyer", "in the office, at work",
           "before lunch, before noon",
           ("write writes wrote writing", "letter report email list", "carefully quickly angrily"),
           ("send sends sent sending", "email letter parcel invoice", "quickly secretly gladly"),
           ("sign signs signed signing", "contract form letter", "nervously gladly proudly"),
           ("discuss discusses discussed discussing", "budget idea project schedule",
            "calmly angrily eagerly")),
    _scene("animals", "dog cat puppy kitten", "in the yard, on the porch, under the table",
           "at noon, after breakfast",
           ("chase chases chased chasing", "mouse ball squirrel bird", "happily eagerly angrily",
            "in the yard, around the house, under the table"),
           ("nap naps napped napping", "", "peacefully lazily",
            "on the porch, in the sun, by the fire"),
           ("hide hides hid hiding", "", "quietly nervously",
            "under the table, behind the sofa, in the basket"),
           ("steal steals stole stealing", "sausage socks cookies fish",
            "quietly quickly secretly")),
    _scene("sea", "sailor fisherman girl boy", "on the beach, by the sea, near the harbor",
           "at dawn, in summer",
           ("swim swims swam swimming", "", "happily calmly bravely",
            "in the sea, across the bay, near the harbor"),
           ("catch catches caught catching", "fish crabs trout", "easily quickly patiently"),
           ("collect collects collected collecting", "shells stones seaweed",
            "happily eagerly slowly"),
           ("build builds built building", "boat sandcastle raft hut", "patiently proudly happily"),
           ("sail sails sailed sailing", "boat ship", "calmly bravely proudly",
            "across the bay, along the coast, around the island", "sailor fisherman")),
    _scene("music", "singer musician actor", "on the stage, at the concert, in the theater",
           "at night, after dinner",
           ("sing sings sang singing", "song hymn duet", "happily proudly nervously"),
           ("dance dances danced dancing", "", "happily slowly calmly",
            "at the party, on the stage, at the wedding", "dancer actor singer"),
           ("practice practices practiced practicing", "piano violin song",
            "patiently eagerly quietly",
            "in the studio, at home, at school"),
           ("record records recorded recording", "song album duet", "proudly eagerly calmly",
            "in the studio, at home")),
)

# What a noun is as an object ("only" takes "the", "bare" takes nothing), the adjectives that suit
# it, the nouns.
OBJECT_GROUPS = (
    ("mass", "fresh warm", "bread"),
    ("mass", "hot thick", "soup"),
    ("mass", "hot plain", "rice noodles"),
    ("mass", "hot strong", "coffee tea"),
    ("mass", "sweet fresh", "honey dessert"),
    ("mass", "fresh white", "cheese"),
    ("mass", "green wet", "seaweed"),
    ("bare", "modern ancient", "history"),
    ("bare", "", "science grammar"),
    ("mass", "", "dinner"),
    ("bare", "", "football tennis chess cards"),
    ("only", "", "piano violin"),
    ("only", "dirty old", "oven bathroom sofa"),
    ("one", "sweet big", "cake pie"),
    ("one", "dirty heavy", "pan"),
    ("one", "old big", "chair door"),
    ("one", "old broken", "clock radio"),
    ("one", "funny long", "story joke"),
    ("one", "big dangerous", "secret"),
    ("one", "warm red", "sweater scarf"),
    ("one", "short beautiful", "poem song hymn duet"),
    ("one", "difficult easy", "puzzle problem riddle"),
    ("one", "new heavy", "book dictionary"),
    ("one", "red long", "pencil ruler dress"),
    ("one", "new cheap", "hat ring"),
    ("one", "small expensive", "gift"),
    ("one", "heavy old", "basket bag suitcase tent"),
    ("one", "small red", "ball"),
    ("one", "long heavy", "stick"),
    ("one", "flat heavy", "stone"),
    ("one", "difficult important", "game race match"),
    ("one", "", "medal bet"),
    ("one", "young tall", "tree"),
    ("one", "old wooden", "fence bench gate shed"),
    ("one", "famous ancient", "museum castle temple"),
    ("one", "distant small", "island"),
    ("one", "late red", "bus train taxi"),
    ("one", "new friendly", "guide"),
    ("one", "long important", "letter report email list"),
    ("one", "heavy small", "parcel"),
    ("one", "important new", "invoice contract form budget idea project schedule"),
    ("one", "small gray", "mouse squirrel bird"),
    ("one", "big fat", "sausage"),
    ("one", "new old", "lamp"),
    ("one", "small wooden", "boat raft hut"),
    ("one", "big beautiful", "sandcastle ship"),
    ("one", "new famous", "album"),
    ("many", "sweet small", "cookies"),
    ("many", "big fresh", "potatoes tomatoes beans"),
    ("many", "sweet ripe", "apples cherries"),
    ("many", "dirty blue", "dishes cups plates"),
    ("many", "dirty big", "windows"),
    ("many", "warm", "socks"),
    ("many", "new difficult", "words rules"),
    ("many", "new old", "maps"),
    ("many", "cheap new", "shoes carpets"),
    ("many", "heavy small", "boxes"),
    ("many", "beautiful white", "flowers roses"),
    ("many", "small dry", "seeds"),
    ("many", "big small", "fish crabs trout"),
    ("many", "small beautiful", "shells stones"),
)

PRONOUNS = {"she": "singular", "he": "singular", "they": "plural", "we": "plural", "you": "plural"}
NAMES = ("anna", "tom", "maria", "ben", "julia", "sam", "nina", "oscar")
KIN = ("sister", "brother", "mother", "friend", "father", "cousin", "parents", "grandmother",
       "uncle")
# Nouns of which this language has one number only; all others have both.
ONE_NUMBER = {"mother": "singular", "father": "singular", "grandmother": "singular",
              "parents": "plural"}
PLURALS = {"woman": "women", "man": "men", "fisherman": "fishermen", "secretary": "secretaries",
           "puppy": "puppies", "coach": "coaches"}
YOUNG = ("girl", "boy", "student")
ADULT_ADJECTIVES = ("young", "old", "tired", "kind", "busy", "friendly")
YOUNG_ADJECTIVES = ("clever", "tired", "happy", "shy")
ANIMAL_ADJECTIVES = ("hungry", "black", "lazy", "little")

TIMES = {
    "present": ("every day", "every morning", "on sundays", "every week"),
    "progressive": ("now", "today", "right now", "again"),
    "past": ("yesterday", "last night", "this morning", "last week"),
    "future": ("tomorrow", "tonight", "next week", "soon"),
}
ATTITUDES = {  # words about the whole statement: they come first
    "affirmative": ("perhaps", "luckily", "maybe", "clearly", "apparently"),
    "negative": ("sadly", "perhaps", "maybe", "apparently", "surely"),
}
# fmt: on
