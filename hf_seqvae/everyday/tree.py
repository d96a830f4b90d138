"""The factor tree of the everyday language: what is chosen, in which order, how probably.

A sentence is an assignment of values to factors, drawn one after the other, each from a categorical
distribution that depends on a few earlier ones (its parents). Two choices are hidden, `kind` (of
subject) and `extras` (which of place, time and mood are spoken): they are functions of the visible
factors, so the probability of a sentence is still one product.
"""

import math
import random
from bisect import bisect
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cache
from itertools import accumulate

from hf_seqvae.everyday import lexicon as lex

Table = dict[str, float]

SCENE = {scene.name: scene for scene in lex.SCENES}
VERB = {verb.base: verb for scene in lex.SCENES for verb in scene.verbs}
OBJECT = {
    noun: (number, tuple(adjectives.split()))
    for number, adjectives, nouns in lex.OBJECT_GROUPS
    for noun in nouns.split()
}
ANIMALS = SCENE["animals"].verbs[0].roles
ROLES = tuple(dict.fromkeys(role for verb in VERB.values() for role in verb.roles))
KIND_OF = (
    {"i": "speaker"}
    | dict.fromkeys(lex.PRONOUNS, "pronoun")
    | dict.fromkeys(lex.NAMES, "name")
    | dict.fromkeys(lex.KIN, "kin")
    | {role: "animal" if role in ANIMALS else "role" for role in ROLES}
)
ATTITUDES = frozenset(word for words in lex.ATTITUDES.values() for word in words)


def _normalized(weights: Mapping[str, float]) -> Table:
    total = math.fsum(weights.values())
    return {value: weight / total for value, weight in weights.items() if weight > 0}


def _ranked(values: tuple[str, ...]) -> Table:
    """Zipf-like probabilities, 1 / rank^0.75, for values that begin with the most likely."""
    return _normalized({value: rank**-0.75 for rank, value in enumerate(values, start=1)})


def _mixture(*parts: tuple[float, Table]) -> Table:
    mixed: Table = {}
    for weight, table in parts:
        for value, probability in table.items():
            mixed[value] = mixed.get(value, 0.0) + weight * probability
    return _normalized(mixed)


def _optional(present: float, values: tuple[str, ...]) -> Table:
    return _mixture((1 - present, {"": 1.0}), (present, _ranked(values))) if values else {"": 1.0}


def _scene() -> Table:
    return _normalized({name: rank**-0.5 for rank, name in enumerate(SCENE, start=1)})


def _verb(scene: str) -> Table:
    return _ranked(tuple(verb.base for verb in SCENE[scene].verbs))


def _kind(scene: str) -> Table:
    if scene == "animals":
        return {"animal": 1.0}
    kin = 0.35 if scene == "home" else 0.17
    return _normalized({"role": 0.3, "pronoun": 0.26, "kin": kin, "name": 0.14, "speaker": 0.07})


def _form(kind: str) -> Table:
    # nobody asks everyday questions about what they themselves are doing
    return {"statement": 1.0} if kind == "speaker" else {"statement": 0.68, "question": 0.32}


def _question_word(form: str, verb: str) -> Table:
    if form == "statement":
        return {"": 1.0}
    where = 0.16 if VERB[verb].places else 0.0
    return _normalized({"": 0.55, "why": 0.18, "where": where, "when": 0.11})


def _tense(question_word: str) -> Table:
    progressive = 0.0 if question_word == "when" else 0.24
    return _normalized({"past": 0.36, "present": 0.22, "progressive": progressive, "future": 0.18})


def _polarity(form: str, question_word: str) -> Table:
    negative = 0.22 if form == "statement" else {"": 0.1, "why": 0.45}.get(question_word, 0.0)
    return _normalized({"affirmative": 1 - negative, "negative": negative})


def _moods(verb: str, kind: str, form: str, polarity: str) -> Table:
    """Manners need something that is done; attitudes need a statement, and not about oneself."""
    manners = _ranked(VERB[verb].manners) if polarity == "affirmative" else {}
    spoken = form == "statement" and kind != "speaker"
    attitudes = _ranked(lex.ATTITUDES[polarity]) if spoken else {}
    return _mixture((0.7, manners), (0.3, attitudes)) if manners or attitudes else {}


def _extras(verb: str, kind: str, form: str, question_word: str, polarity: str) -> Table:
    weights = {
        "": 0.2,
        "place": 0.22,
        "time": 0.2,
        "mood": 0.12,
        "place time": 0.14,
        "place mood": 0.06,
        "time mood": 0.06,
    }
    absent = {{"where": "place", "when": "time"}.get(question_word)}
    if not VERB[verb].places:
        absent.add("place")
    if not _moods(verb, kind, form, polarity):
        absent.add("mood")
    needs_place = not VERB[verb].objects and question_word != "where"
    return _normalized(
        {
            extras: weight
            for extras, weight in weights.items()
            if absent.isdisjoint(extras.split())
            and (question_word == "" or extras != "place time")  # 14 tokens at most
            and (not needs_place or "place" in extras)
        }
    )


def _mood(verb: str, kind: str, form: str, polarity: str, extras: str) -> Table:
    return _moods(verb, kind, form, polarity) if "mood" in extras else {"": 1.0}


def _time(scene: str, tense: str, extras: str) -> Table:
    if "time" not in extras:
        return {"": 1.0}
    hours = 0.0 if tense == "progressive" else 0.35
    return _mixture((1 - hours, _ranked(lex.TIMES[tense])), (hours, _ranked(SCENE[scene].hours)))


def _place(verb: str, extras: str) -> Table:
    return _ranked(VERB[verb].places) if "place" in extras else {"": 1.0}


def _subject(verb: str, kind: str) -> Table:
    if kind in ("role", "animal"):
        return _ranked(VERB[verb].roles)
    return _ranked(tuple(subject for subject, its_kind in KIND_OF.items() if its_kind == kind))


def _number(subject: str) -> Table:
    if KIND_OF[subject] in ("speaker", "name"):
        return {"singular": 1.0}
    fixed = lex.PRONOUNS.get(subject) or lex.ONE_NUMBER.get(subject)
    return {fixed: 1.0} if fixed else {"singular": 0.65, "plural": 0.35}


def _determiner(kind: str, number: str) -> Table:
    if kind == "kin":
        return _ranked(("my", "her", "our", "his"))
    if kind not in ("role", "animal"):
        return {"": 1.0}
    rest = {"a": 0.3} if number == "singular" else {"some": 0.2, "two": 0.12}
    return _normalized({"the": 0.6, **rest, "my": 0.3 if kind == "animal" else 0.0})


def _adjective(kind: str, subject: str, extras: str) -> Table:
    if kind not in ("role", "animal") or extras == "place time":
        return {"": 1.0}
    human = lex.YOUNG_ADJECTIVES if subject in lex.YOUNG else lex.ADULT_ADJECTIVES
    return _optional(0.35, lex.ANIMAL_ADJECTIVES if kind == "animal" else human)


def _object(verb: str) -> Table:
    return _ranked(VERB[verb].objects or ("",))


def _object_determiner(noun: str) -> Table:
    number = OBJECT[noun][0] if noun else "bare"
    return {
        "bare": {"": 1.0},
        "only": {"the": 1.0},
        "one": {"the": 0.56, "a": 0.44},
        "mass": {"the": 0.45, "": 0.35, "some": 0.2},
        "many": {"the": 0.45, "": 0.3, "some": 0.15, "two": 0.1},
    }[number]


def _object_adjective(noun: str, adjective: str, extras: str) -> Table:
    adjectives = OBJECT[noun][1] if noun else ()
    return _optional(0.35 if not adjective and extras != "place time" else 0.0, adjectives)


@dataclass(frozen=True, eq=False)  # by identity: nodes are keys of the cache below
class Node:
    """One choice: `table(*parents' values)` gives the probability of each value it may take."""

    name: str
    parents: tuple[str, ...]
    table: Callable[..., Table]


NODES = tuple(
    Node(name, tuple(parents.split()), cache(table))
    for name, parents, table in (
        ("scene", "", _scene),
        ("verb", "scene", _verb),
        ("kind", "scene", _kind),
        ("form", "kind", _form),
        ("question_word", "form verb", _question_word),
        ("tense", "question_word", _tense),
        ("polarity", "form question_word", _polarity),
        ("extras", "verb kind form question_word polarity", _extras),
        ("mood", "verb kind form polarity extras", _mood),
        ("time", "scene tense extras", _time),
        ("place", "verb extras", _place),
        ("subject", "verb kind", _subject),
        ("number", "subject", _number),
        ("determiner", "kind number", _determiner),
        ("adjective", "kind subject extras", _adjective),
        ("object", "verb", _object),
        ("object_determiner", "object", _object_determiner),
        ("object_adjective", "object adjective extras", _object_adjective),
    )
)


def hidden_values(factors: Mapping[str, str]) -> dict[str, str]:
    """The hidden choices that the visible factors give away."""
    extras = " ".join(name for name in ("place", "time", "mood") if factors[name])
    return {"kind": KIND_OF[factors["subject"]], "extras": extras}


@cache
def _drawn(node: Node, *context: str) -> tuple[list[str], list[float]]:
    table = node.table(*context)
    # the last bound is left out: bisect then never runs past the end by rounding
    return list(table), list(accumulate(table.values()))[:-1]


def draw(rng: random.Random) -> dict[str, str]:
    """One assignment of all factors, hidden ones too; takes one uniform number a factor."""
    values: dict[str, str] = {}
    for node in NODES:
        outcomes, bounds = _drawn(node, *[values[parent] for parent in node.parents])
        values[node.name] = outcomes[bisect(bounds, rng.random())]
    return values


@cache
def summary() -> tuple[float, dict[str, Table]]:
    """The entropy of the tree in nats and the marginal distribution of each choice, both exact.

    The chain rule, H = sum over nodes of E[H(node | parents)]. Expectations are carried forward
    node by node as the joint probabilities of the earlier choices that later nodes still ask for.
    """
    terms: list[float] = []
    marginals: dict[str, Table] = {}
    states: dict[tuple[str, ...], float] = {(): 1.0}
    names: tuple[str, ...] = ()
    for position, node in enumerate(NODES):
        needed = {parent for later in NODES[position + 1 :] for parent in later.parents}
        kept = tuple(name for name in (*names, node.name) if name in needed)
        following: dict[tuple[str, ...], float] = {}
        marginal = marginals.setdefault(node.name, {})
        for state, mass in states.items():
            values = dict(zip(names, state, strict=True))
            for value, probability in node.table(*[values[p] for p in node.parents]).items():
                values[node.name] = value
                key = tuple([values[name] for name in kept])
                following[key] = following.get(key, 0.0) + mass * probability
                marginal[value] = marginal.get(value, 0.0) + mass * probability
                terms.append(-mass * probability * math.log(probability))
        states, names = following, kept
    return math.fsum(terms), marginals
