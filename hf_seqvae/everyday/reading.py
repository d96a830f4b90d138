"""Sentence to factors: reads left to right, one look at each slot, in time linear in the sentence.

Reading is lenient about agreement ("she bake"): what was read is rendered again, and any difference
is an error that names the word. Parsing undoes rendering exactly, so a sentence has one set of
factors and one probability.
"""

from collections.abc import Collection
from typing import NoReturn

from hf_seqvae.everyday.grammar import (
    FACTORS,
    choices,
    misfit_message,
    noun_form,
    realize,
    unsupported,
)
from hf_seqvae.everyday.tree import (
    ATTITUDES,
    KIND_OF,
    NODES,
    SCENE,
    VERB,
    Node,
    Table,
    hidden_values,
)

# dicts, not lists: in order for the messages, and a look at a slot does not grow with the lexicon
_VALUES = {name: dict.fromkeys(values) for name, values in FACTORS.items()}
_NUMBERS_OF = next(node.table for node in NODES if node.name == "number")
_SUBJECTS = {
    noun_form(subject, number): (subject, number)
    for subject in KIND_OF
    for number in _NUMBERS_OF(subject)
}
_BARE_SUBJECTS = dict.fromkeys(
    subject for subject, kind in KIND_OF.items() if kind in ("speaker", "pronoun", "name")
)
_SUBJECT_NOUNS = dict.fromkeys(noun for noun in _SUBJECTS if noun not in _BARE_SUBJECTS)
_FORM_OF = {".": "statement", "?": "question"}
_SCENE_OF = {verb.base: scene.name for scene in SCENE.values() for verb in scene.verbs}
_VERB_FORMS = {
    word: (verb.base, form)
    for verb in VERB.values()
    for form, word in (
        ("base", verb.base),
        ("third", verb.third),
        ("past", verb.past),
        ("progressive", verb.progressive),
    )
}
# auxiliary and form of the verb give the tense; agreement is seen when it is rendered again
_TENSE = {
    ("", "base"): "present",
    ("", "third"): "present",
    ("", "past"): "past",
    ("do", "base"): "present",
    ("does", "base"): "present",
    ("did", "base"): "past",
    ("am", "progressive"): "progressive",
    ("is", "progressive"): "progressive",
    ("are", "progressive"): "progressive",
    ("will", "base"): "future",
}
_AUXILIARIES = tuple(dict.fromkeys(auxiliary for auxiliary, _ in _TENSE if auxiliary))
_MANNERS = dict.fromkeys(mood for mood in FACTORS["mood"] if mood and mood not in ATTITUDES)
_DETERMINERS = {word: word for word in FACTORS["determiner"] if word} | {"an": "a"}
_OBJECT_DETERMINERS = {word: word for word in FACTORS["object_determiner"] if word} | {
    "an": "a",
    "any": "some",
}


class _Reader:
    """A cursor over the words that remembers where each factor was looked for."""

    def __init__(self, sentence: str):
        if not isinstance(sentence, str):
            raise ValueError(f"sentence must be a string, got {type(sentence).__name__}.")
        self.words = sentence.split(" ")
        self.position = 0
        self.spots: dict[str, int] = {}

    def refuse(self, position: int, expected: str) -> NoReturn:
        """Raise the one error of this file: which word fails and what could stand there."""
        found = repr(self.words[position]) if position < len(self.words) else "the end"
        raise ValueError(
            f"the sentence is outside the everyday language: word {position + 1} is {found}, "
            f"expected {expected}. Sentences must be as everyday.generate makes them: "
            f'lower case, single spaces, "." or "?" as the last word.'
        )

    def take(self, factor: str, words: Collection[str], phrase: int = 1) -> str:
        """The next words if they are among `words` (of up to `phrase` tokens), else ""."""
        self.spots[factor] = self.position
        for length in range(phrase, 0, -1):
            candidate = " ".join(self.words[self.position : self.position + length])
            if candidate and candidate in words:
                self.position += length
                return candidate
        return ""

    def need(self, factor: str, words: Collection[str], what: str) -> str:
        """As `take`, where there must be such a word."""
        found = self.take(factor, words)
        if not found:
            self.refuse(self.position, f"{what}: {choices(words)}")
        return found


def _read_subject(reader: _Reader, factors: dict[str, str]) -> None:
    factors["determiner"] = factors["adjective"] = ""
    word = reader.take("subject", _BARE_SUBJECTS)
    for factor in ("determiner", "adjective", "number"):
        reader.spots[factor] = reader.spots["subject"]
    if not word:
        # the bare subjects stand in this list for the message alone: the line above has tried them
        first = reader.need("determiner", [*_DETERMINERS, *_BARE_SUBJECTS], "a subject")
        factors["determiner"] = _DETERMINERS[first]
        factors["adjective"] = reader.take("adjective", _VALUES["adjective"])
        word = reader.need("subject", _SUBJECT_NOUNS, "the noun of the subject")
        reader.spots["number"] = reader.spots["subject"]
    factors["subject"], factors["number"] = _SUBJECTS[word]


def _read_object(reader: _Reader, factors: dict[str, str]) -> None:
    nouns = VERB[factors["verb"]].objects
    if not nouns:
        factors |= dict.fromkeys(("object", "object_determiner", "object_adjective"), "")
        return
    determiner = reader.take("object_determiner", _OBJECT_DETERMINERS)
    factors["object_determiner"] = _OBJECT_DETERMINERS.get(determiner, "")
    factors["object_adjective"] = reader.take("object_adjective", _VALUES["object_adjective"])
    factors["object"] = reader.need("object", nouns, f"an object of {factors['verb']!r}")


def _read(reader: _Reader) -> dict[str, str]:
    """The factors of the words, whether or not they go together."""
    factors: dict[str, str] = {}
    last = len(reader.words) - 1
    if reader.words[last] not in _FORM_OF:
        reader.refuse(last, "the end mark '.' or '?'")
    factors["form"] = _FORM_OF[reader.words[last]]
    question = factors["form"] == "question"
    factors["mood"] = reader.take("mood", ATTITUDES)
    factors["question_word"] = reader.take("question_word", _VALUES["question_word"])
    auxiliary = reader.need("auxiliary", _AUXILIARIES, "an auxiliary") if question else ""
    _read_subject(reader, factors)
    if not question:
        auxiliary = reader.take("auxiliary", _AUXILIARIES)
    factors["polarity"] = "negative" if reader.take("polarity", ("not",)) else "affirmative"
    if not factors["mood"]:
        factors["mood"] = reader.take("mood", _MANNERS)
    word = reader.need("verb", _VERB_FORMS, "a verb")
    factors["verb"], form = _VERB_FORMS[word]
    factors["scene"] = _SCENE_OF[factors["verb"]]
    for factor in ("scene", "tense"):
        reader.spots[factor] = reader.spots["verb"]
    if (auxiliary, form) not in _TENSE:
        verb = VERB[factors["verb"]]
        expected = verb.progressive if auxiliary in ("am", "is", "are") else verb.base
        reader.refuse(reader.spots["verb"], f"{expected!r} after {auxiliary or 'no auxiliary'!r}")
    factors["tense"] = _TENSE[auxiliary, form]
    if VERB[factors["verb"]].particle:
        reader.need("particle", (VERB[factors["verb"]].particle,), "the particle of the verb")
    _read_object(reader, factors)
    factors["place"] = reader.take("place", _VALUES["place"], phrase=3)
    factors["time"] = reader.take("time", _VALUES["time"], phrase=2)
    if reader.position != last:
        rest = (
            "" if factors["time"] else "a time or " if factors["place"] else "a place, a time or "
        )
        reader.refuse(reader.position, f"{rest}the end mark")
    return factors


def _spot_of_misfit(reader: _Reader, node: Node, value: str, table: Table) -> int:
    if node.name == "extras":
        possible = {extra for extras in table for extra in extras.split()}
        spoken = value.split()
        wrong = [extra for extra in spoken if extra not in possible] or spoken or ["place"]
        return max(reader.spots[extra] for extra in wrong)
    end = len(reader.words) - 1  # where the form shows
    return reader.spots.get("subject" if node.name == "kind" else node.name, end)


def parse(sentence: str) -> dict[str, str]:
    """The factors of a sentence: a value for each of `FACTORS`, "" for a word that is absent.

    Raises:
        ValueError: the sentence is not in the language; the message names a word that shows it.
    """
    reader = _Reader(sentence)
    read = _read(reader)
    factors = {name: read[name] for name in FACTORS}
    misfit = unsupported(factors)
    if misfit:
        node, context, table = misfit
        value = {**factors, **hidden_values(factors)}[node.name]
        spot = _spot_of_misfit(reader, node, value, table)
        reader.refuse(spot, f"something else, since {misfit_message(node, value, context, table)}")
    for position, (found, right) in enumerate(zip(reader.words, realize(factors), strict=False)):
        if found != right:
            reader.refuse(position, repr(right))
    return factors


def vocabulary() -> tuple[str, ...]:
    """All words of the language, its two end marks among them, sorted."""
    words = {*_FORM_OF, *_AUXILIARIES, *_VERB_FORMS, *_SUBJECTS, "not"}
    words |= {*_DETERMINERS, *_OBJECT_DETERMINERS} | {verb.particle for verb in VERB.values()}
    for factor in ("question_word", "mood", "adjective", "object_adjective", "object"):
        words |= set(FACTORS[factor])
    words |= {word for factor in ("place", "time") for v in FACTORS[factor] for word in v.split()}
    return tuple(sorted(words - {""}))
