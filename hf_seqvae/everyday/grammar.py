"""Factors to sentence: the English of the everyday language.

Every factor fills one slot in a fixed order of words; agreement, inversion, do-support, a/an and
some/any follow.
"""

from collections.abc import Collection, Iterable, Mapping

from hf_seqvae.everyday import lexicon as lex
from hf_seqvae.everyday.tree import (
    ATTITUDES,
    KIND_OF,
    NODES,
    OBJECT,
    SCENE,
    VERB,
    Node,
    Table,
    hidden_values,
)


def _unique(values: Iterable[str]) -> tuple[str, ...]:
    return tuple(dict.fromkeys(values))


_MANNERS = _unique(manner for verb in VERB.values() for manner in verb.manners)
_ADJECTIVES = _unique(lex.ADULT_ADJECTIVES + lex.YOUNG_ADJECTIVES + lex.ANIMAL_ADJECTIVES)
_OBJECT_ADJECTIVES = _unique(word for _, adjectives in OBJECT.values() for word in adjectives)
_PLACES = _unique(place for verb in VERB.values() for place in verb.places)
_TIMES = _unique(
    [time for times in lex.TIMES.values() for time in times]
    + [hour for scene in lex.SCENES for hour in scene.hours]
)

FACTORS: Mapping[str, tuple[str, ...]] = {
    "scene": tuple(SCENE),
    "form": ("statement", "question"),
    "question_word": ("", "why", "where", "when"),
    "tense": tuple(lex.TIMES),
    "polarity": tuple(lex.ATTITUDES),
    "mood": ("", *_MANNERS, *sorted(ATTITUDES)),
    "subject": tuple(KIND_OF),
    "number": ("singular", "plural"),
    "determiner": ("", "the", "a", "some", "two", "my", "her", "our", "his"),
    "adjective": ("", *_ADJECTIVES),
    "verb": tuple(VERB),
    "object": ("", *OBJECT),
    "object_determiner": ("", "the", "a", "some", "two"),
    "object_adjective": ("", *_OBJECT_ADJECTIVES),
    "place": ("", *_PLACES),
    "time": ("", *_TIMES),
}


def noun_form(subject: str, number: str) -> str:
    """The subject's own word in a number."""
    changes = KIND_OF[subject] in ("kin", "role", "animal") and subject not in lex.ONE_NUMBER
    if number == "singular" or not changes:
        return subject
    return lex.PLURALS.get(subject, subject + "s")


def _phrase(determiner: str, adjective: str, noun: str) -> list[str]:
    # a word of this lexicon begins with a vowel sound exactly where it begins with a vowel letter
    if determiner == "a" and (adjective or noun)[0] in "aeiou":
        determiner = "an"
    return [word for word in (determiner, adjective, noun) if word]


def _predicate(factors: Mapping[str, str]) -> tuple[str, str]:
    """The auxiliary (or nothing) and the form of the verb."""
    verb, tense = VERB[factors["verb"]], factors["tense"]
    first = factors["subject"] == "i"
    plural = factors["number"] == "plural"
    if tense == "future":
        return "will", verb.base
    if tense == "progressive":
        return "am" if first else "are" if plural else "is", verb.progressive
    if factors["form"] == "question" or factors["polarity"] == "negative":
        return "did" if tense == "past" else "do" if first or plural else "does", verb.base
    if tense == "past":
        return "", verb.past
    return "", verb.base if first or plural else verb.third


def realize(factors: Mapping[str, str]) -> list[str]:
    """The tokens of a sentence, from factors that are known to go together."""
    question = factors["form"] == "question"
    negative = factors["polarity"] == "negative"
    mood = factors["mood"]
    auxiliary, verb_form = _predicate(factors)
    subject = _phrase(
        factors["determiner"],
        factors["adjective"],
        noun_form(factors["subject"], factors["number"]),
    )
    determiner = factors["object_determiner"]
    if determiner == "some" and (negative or (question and not factors["question_word"])):
        determiner = "any"
    words = [
        mood if mood in ATTITUDES else "",
        factors["question_word"],
        *([auxiliary, *subject] if question else [*subject, auxiliary]),
        "not" if negative else "",
        "" if mood in ATTITUDES else mood,
        verb_form,
        VERB[factors["verb"]].particle,
        *_phrase(determiner, factors["object_adjective"], factors["object"]),
        *factors["place"].split(),
        *factors["time"].split(),
        "?" if question else ".",
    ]
    return [word for word in words if word]


def unsupported(factors: Mapping[str, str]) -> tuple[Node, dict[str, str], Table] | None:
    """The first choice that has no probability, with its parents and the choices that do."""
    values = {**factors, **hidden_values(factors)}
    for node in NODES:
        table = node.table(*[values[parent] for parent in node.parents])
        if values[node.name] not in table:
            return node, {parent: values[parent] for parent in node.parents}, table
    return None


def choices(values: Collection[str]) -> str:
    """Up to twelve of the values, quoted, for a message."""
    shown = [repr(value) for value in values][:12]
    return ", ".join(shown) + (", ..." if len(values) > len(shown) else "")


def misfit_message(node: Node, value: str, context: Mapping[str, str], table: Table) -> str:
    """Why a value that the tree gives no probability cannot stand beside its parents."""
    given = ", ".join(f"{name}={known!r}" for name, known in context.items())
    what = "place, time and mood together" if node.name == "extras" else node.name
    return f"{what} {value!r} does not go with {given}; possible: {choices(table)}"


def render(factors: Mapping[str, str]) -> str:
    """The sentence that a value for each of `FACTORS` makes; "" means that the word is absent.

    Raises:
        ValueError: a factor is missing or unknown, or its value is not possible beside the others.
    """
    if factors.keys() != FACTORS.keys():
        missing, unknown = FACTORS.keys() - factors.keys(), factors.keys() - FACTORS.keys()
        raise ValueError(
            f"factors must be exactly {list(FACTORS)}; missing {sorted(missing)}, unknown "
            f'{sorted(unknown)}. An absent word is the empty string "".'
        )
    for name, value in factors.items():
        if value not in FACTORS[name]:
            raise ValueError(
                f"factor {name!r} must be one of {choices(FACTORS[name])}, got {value!r}; "
                f"see everyday.FACTORS[{name!r}]."
            )
    misfit = unsupported(factors)
    if misfit:
        node, context, table = misfit
        value = {**factors, **hidden_values(factors)}[node.name]
        raise ValueError(
            f"factors contradict each other: {misfit_message(node, value, context, table)}."
        )
    return " ".join(realize(factors))
