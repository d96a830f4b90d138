"""The everyday language: its English, its exact probabilities, one reading a sentence."""

import itertools
import math
import random
import statistics
from collections import Counter

import pytest

from hf_seqvae import everyday
from hf_seqvae.everyday.lexicon import ATTITUDES, SCENES, TIMES
from hf_seqvae.everyday.tree import NODES, VERB

SAMPLE_SIZE = 20_000


@pytest.fixture(scope="module")
def sample():
    return everyday.generate(SAMPLE_SIZE, seed=7)


def outcomes(fixed, values=None, log_p=0.0):
    """Every assignment of the tree with the fixed values, and its log-probability: brute force."""
    values = values or {}
    if len(values) == len(NODES):
        yield {name: values[name] for name in everyday.FACTORS}, log_p
        return
    node = NODES[len(values)]
    table = node.table(*[values[parent] for parent in node.parents])
    for value in [fixed[node.name]] if node.name in fixed else table:
        if value in table:
            added = math.log(table[value])
            yield from outcomes(fixed, {**values, node.name: value}, log_p + added)


def uniform_draw(rng, verb):
    """An assignment where every possible value is equally likely: rare ones are not rare."""
    scene = next(scene.name for scene in SCENES if VERB[verb] in scene.verbs)
    values = {}
    for node in NODES:
        table = node.table(*[values[parent] for parent in node.parents])
        values[node.name] = {"scene": scene, "verb": verb}.get(node.name) or rng.choice([*table])
    return {name: values[name] for name in everyday.FACTORS}


ANNA = {
    "scene": "kitchen",
    "form": "statement",
    "question_word": "",
    "tense": "present",
    "polarity": "affirmative",
    "mood": "",
    "subject": "anna",
    "number": "singular",
    "determiner": "",
    "adjective": "",
    "verb": "bake",
    "object": "cake",
    "object_determiner": "a",
    "object_adjective": "",
    "place": "",
    "time": "",
}
CHEFS = {"subject": "chef", "number": "plural", "determiner": "the", "adjective": "old"}
SOME = {"object_determiner": "some"}
NO_OBJECT = {"object": "", "object_determiner": ""}
BY_EYE = [
    ("anna bakes a cake .", {}),
    ("i am baking a cake .", {"subject": "i", "tense": "progressive"}),
    ("are you baking a cake ?", {"subject": "you", "number": "plural", "tense": "progressive"}),
    (
        "the old chefs did not bake any bread .",
        {**CHEFS, **SOME, "tense": "past", "polarity": "negative", "object": "bread"},
    ),
    ("does anna not bake any cookies ?", {**SOME, "object": "cookies", "polarity": "negative"}),
    ("why does anna bake some cookies ?", {**SOME, "object": "cookies", "question_word": "why"}),
    (
        "an old chef happily baked a cake in the kitchen .",
        {**CHEFS, "number": "singular", "determiner": "a", "tense": "past", "mood": "happily"}
        | {"place": "in the kitchen"},
    ),
    (
        "sadly they will not travel to the coast .",
        {"scene": "travel", "verb": "travel", "subject": "they", "number": "plural", **NO_OBJECT}
        | {"tense": "future", "polarity": "negative", "mood": "sadly", "place": "to the coast"},
    ),
    (
        "where did two women carry the heavy boxes yesterday ?",
        {"scene": "market", "verb": "carry", "subject": "woman", "number": "plural"}
        | {"determiner": "two", "tense": "past", "time": "yesterday", "question_word": "where"}
        | {"object": "boxes", "object_determiner": "the", "object_adjective": "heavy"},
    ),
    (
        "do her cousins wash the dishes every day ?",
        {"verb": "wash", "subject": "cousin", "number": "plural", "determiner": "her"}
        | {"object": "dishes", "object_determiner": "the", "time": "every day"},
    ),
    (
        "is my puppy quietly stealing a big sausage ?",
        {"scene": "animals", "verb": "steal", "subject": "puppy", "determiner": "my"}
        | {"tense": "progressive", "mood": "quietly", "object": "sausage"}
        | {"object_adjective": "big"},
    ),
    (
        "his parents are patiently waiting for a late bus in the rain .",
        {"scene": "travel", "verb": "wait", "subject": "parents", "number": "plural"}
        | {"determiner": "his", "tense": "progressive", "mood": "patiently", "object": "bus"}
        | {"object_adjective": "late", "place": "in the rain"},
    ),
    (
        "luckily the fishermen caught two crabs by the sea .",
        {"scene": "sea", "verb": "catch", "subject": "fisherman", "number": "plural"}
        | {"determiner": "the", "tense": "past", "mood": "luckily", "object": "crabs"}
        | {"object_determiner": "two", "place": "by the sea"},
    ),
    (
        "the secretary does not send an email every morning .",
        {"scene": "office", "verb": "send", "subject": "secretary", "determiner": "the"}
        | {"polarity": "negative", "object": "email", "time": "every morning"},
    ),
]


@pytest.mark.parametrize(("sentence", "changes"), BY_EYE, ids=[case[0] for case in BY_EYE])
def test_factors_render_as_an_english_speaker_would_say_them(sentence, changes):
    form = "question" if sentence.endswith("?") else "statement"
    factors = ANNA | {"form": form} | changes
    assert everyday.render(factors) == sentence
    assert everyday.parse(sentence) == factors


def test_one_word_changes_agreement_wherever_it_shows():
    tenses = ["present", "progressive", "past", "future"]
    said = {
        (subject, number): [
            everyday.render(ANNA | {"subject": subject, "number": number, "tense": tense})
            for tense in tenses
        ]
        for subject, number in [("i", "singular"), ("he", "singular"), ("they", "plural")]
    }
    assert said == {
        ("i", "singular"): [
            "i bake a cake .",
            "i am baking a cake .",
            "i baked a cake .",
            "i will bake a cake .",
        ],
        ("he", "singular"): [
            "he bakes a cake .",
            "he is baking a cake .",
            "he baked a cake .",
            "he will bake a cake .",
        ],
        ("they", "plural"): [
            "they bake a cake .",
            "they are baking a cake .",
            "they baked a cake .",
            "they will bake a cake .",
        ],
    }


def test_parse_undoes_render_on_likely_sentences(sample):
    for sentence, factors in itertools.islice(zip(*sample, strict=True), 4000):
        assert everyday.parse(sentence) == factors
        assert everyday.render(factors) == sentence


def test_parse_undoes_render_on_rare_sentences_and_every_word_is_reached():
    rng = random.Random(3)
    reached = set()
    for verb in [*VERB] * 150:
        factors = uniform_draw(rng, verb)
        sentence = everyday.render(factors)
        assert everyday.parse(sentence) == factors
        assert 4 <= len(sentence.split(" ")) <= 14
        reached |= set(sentence.split(" "))
    assert reached == set(everyday.vocabulary())


def test_vocabulary_has_hundreds_of_words_sorted_and_distinct():
    words = everyday.vocabulary()
    assert 350 <= len(words) <= 600
    assert list(words) == sorted(set(words))
    assert all(
        word in ".?" or (word.isascii() and word.isalpha() and word.islower()) for word in words
    )


def test_the_lexicon_leaves_no_slot_two_readings():
    forms = [f for v in VERB.values() for f in (v.base, v.third, v.past, v.progressive)]
    assert len(set(forms)) == len(forms) == 4 * len(VERB)
    assert len(VERB) == sum(len(scene.verbs) for scene in SCENES)
    # slots that can stand side by side, each followed by the ones it may leave out
    factors = {name: set(values) - {""} for name, values in everyday.FACTORS.items()}
    phrases = sorted(factors["place"] | factors["time"])
    assert len(phrases) == len(factors["place"]) + len(factors["time"])
    assert not [(a, b) for a in phrases for b in phrases if f"{b} ".startswith(f"{a} ") and a != b]
    attitudes = {word for words in ATTITUDES.values() for word in words}
    auxiliaries = {"am", "is", "are", "do", "does", "did", "will"}
    before_verb = [auxiliaries, {"not"}, factors["mood"] - attitudes, set(forms)]
    subject = [factors["determiner"] | {"an"}, factors["adjective"], factors["subject"]]
    first = [attitudes, factors["question_word"], auxiliaries, *subject]
    object_start = [factors["object_determiner"] | {"an", "any"}, factors["object_adjective"]]
    after_verb = [{"for"}, *object_start, factors["object"], {p.split()[0] for p in phrases}]
    for slots in (first, [*subject, *before_verb], [{".", "?"}, *after_verb]):
        for left, right in itertools.combinations(slots, 2):
            assert not left & right


def test_entropy_is_the_mean_surprise_of_fresh_sentences(sample):
    surprises = [-everyday.log_prob(sentence) for sentence in sample[0]]
    error = statistics.stdev(surprises) / math.sqrt(len(surprises))
    assert abs(statistics.fmean(surprises) - everyday.entropy()) < 4 * error
    assert 12 < everyday.entropy() < 18


@pytest.mark.parametrize(
    "fixed",
    [
        {"scene": "travel", "verb": "pack", "kind": "speaker"},
        {"scene": "travel", "verb": "visit", "kind": "name", "subject": "nina", "object": "island"},
        {"scene": "animals", "verb": "hide", "kind": "animal", "subject": "cat", "tense": "past"}
        | {"number": "singular"},
        {"scene": "travel", "verb": "wait", "kind": "role", "subject": "tourist", "object": "taxi"}
        | {"number": "singular", "determiner": "the", "tense": "past", "question_word": "why"},
        {"scene": "sport", "verb": "lose", "tense": "past", "time": "", "kind": "kin"}
        | {"subject": "parents", "object": "bet"},
    ],
    ids=["pack", "visit", "hide", "wait", "lose"],
)
def test_sentences_of_a_subtree_are_distinct_and_share_out_its_whole_probability(fixed):
    sentences = {}
    for factors, log_p in outcomes(fixed):
        sentence = everyday.render(factors)
        assert sentence not in sentences
        assert 4 <= len(sentence.split(" ")) <= 14
        assert everyday.log_prob(sentence) == pytest.approx(log_p, abs=1e-12)
        sentences[sentence] = log_p
    assert len(sentences) > 500
    total = math.fsum(math.exp(log_p) for log_p in sentences.values())
    assert total == pytest.approx(probability(fixed), rel=1e-9)


def probability(fixed):
    """P(fixed) by summing the rest of the tree out, only over the nodes that fixed ones hang on."""
    needed = set(fixed)
    for node in reversed(NODES):
        if node.name in needed:
            needed |= set(node.parents)
    nodes = [node for node in NODES if node.name in needed]

    def total(values):
        if len(values) == len(nodes):
            return 1.0
        node = nodes[len(values)]
        table = node.table(*[values[parent] for parent in node.parents])
        choices = [fixed[node.name]] if node.name in fixed else table
        return math.fsum(
            table[value] * total({**values, node.name: value})
            for value in choices
            if value in table
        )

    return total({})


def test_every_factor_has_exactly_its_listed_values_and_they_share_out_1():
    for name, values in everyday.FACTORS.items():
        marginal = everyday.marginal(name)
        assert set(marginal) == set(values), name
        assert math.fsum(marginal.values()) == pytest.approx(1.0, abs=1e-9)
        assert min(marginal.values()) > 0


@pytest.mark.parametrize("factor", list(everyday.FACTORS))
def test_factors_come_as_often_as_they_are_probable(sample, factor):
    counts = Counter(factors[factor] for factors in sample[1])
    statistic, cells, rest_found, rest_due = 0.0, 0, 0, 0.0
    for value, p in everyday.marginal(factor).items():
        due = p * SAMPLE_SIZE
        if due < 10:  # too few for the chi-square law: pooled
            rest_found, rest_due = rest_found + counts[value], rest_due + due
            continue
        statistic += (counts[value] - due) ** 2 / due
        cells += 1
    if rest_due:
        statistic, cells = statistic + (rest_found - rest_due) ** 2 / rest_due, cells + 1
    freedom = cells - 1
    # Wilson-Hilferty: the cube root of chi-square / freedom is all but normal
    z = ((statistic / freedom) ** (1 / 3) - 1 + 2 / (9 * freedom)) / math.sqrt(2 / (9 * freedom))
    assert abs(z) < 4


@pytest.mark.parametrize("factor", ["scene", "tense", "polarity"])
def test_a_sentence_tells_nothing_of_the_next(sample, factor):
    values = [factors[factor] for factors in sample[1]]
    same = statistics.fmean(a == b for a, b in itertools.pairwise(values))
    chance = math.fsum(p * p for p in everyday.marginal(factor).values())
    # neighbouring pairs share a sentence, which at most triples the variance
    assert abs(same - chance) < 4 * math.sqrt(3 * chance * (1 - chance) / SAMPLE_SIZE)


def test_a_seed_gives_the_same_sentences_and_another_seed_others():
    sentences, factors = everyday.generate(50, seed=1)
    assert everyday.generate(50, seed=1) == (sentences, factors)
    assert everyday.generate(20, seed=1) == (sentences[:20], factors[:20])
    assert everyday.generate(50, seed=2)[0] != sentences


def test_repeated_sentences_are_kept(sample):
    assert len(sample[0]) == len(sample[1]) == SAMPLE_SIZE
    assert len(set(sample[0])) < SAMPLE_SIZE


def test_sentences_have_4_to_14_tokens_and_all_lengths_occur(sample):
    lengths = {len(sentence.split(" ")) for sentence in sample[0]}
    assert lengths == set(range(4, 15))


def test_times_agree_with_the_tense(sample):
    tense_of = {time: tense for tense, times in TIMES.items() for time in times}
    for factors in sample[1]:
        assert tense_of.get(factors["time"], factors["tense"]) == factors["tense"]


def test_asking_for_a_place_or_a_time_leaves_it_out(sample):
    asked = {"where": "place", "when": "time"}
    for factors in sample[1]:
        if factors["question_word"] in asked:
            assert factors[asked[factors["question_word"]]] == ""


@pytest.mark.parametrize(
    ("sentence", "word", "message"),
    [
        ("anna bakes a cake", 4, "the end mark"),
        ("", 1, "the end mark"),
        ("anna bakes a cake . .", 5, "the end mark"),
        ("Anna bakes a cake .", 1, "a subject"),
        ("anna  bakes a cake .", 2, "a verb"),
        ("anna cakes a bake .", 2, "a verb"),
        ("anna bake a cake .", 2, "'bakes'"),
        ("they bakes a cake .", 2, "'bake'"),
        ("do anna bake a cake ?", 1, "'does'"),
        ("anna are baking a cake .", 2, "'is'"),
        ("anna is bake a cake .", 3, "'baking' after 'is'"),
        ("anna baking a cake .", 2, "'bake' after 'no auxiliary'"),
        ("anna not bakes a cake .", 2, "'does'"),
        ("does anna bake a cake .", 1, "a subject"),
        ("anna bakes a cake ?", 1, "an auxiliary"),
        ("an chef bakes a cake .", 1, "'a'"),
        ("the wizard bakes a cake .", 2, "the noun of the subject"),
        ("the sailor bakes a cake .", 2, "'chef'"),
        ("i bake a river .", 4, "an object of 'bake'"),
        ("anna bakes cake .", 3, "'the'"),
        ("anna does not bake some bread .", 5, "'any'"),
        ("anna bakes a wooden cake .", 4, "'sweet'"),
        ("anna baked a cake tomorrow .", 5, "'yesterday'"),
        ("anna bakes a cake in the sea .", 5, "'in the kitchen'"),
        ("anna waits to the bus .", 3, "'for'"),
        ("where does anna bake a cake at home ?", 7, "place"),
        ("anna sleeps .", 3, "'place'"),
        ("anna sleeps the bed .", 3, "a place, a time or"),
        ("anna does not happily bake a cake .", 4, "'negative'"),
        ("anna baked a cake yesterday at home .", 6, "the end mark"),
        ("the old chef bakes a sweet cake .", 6, "'old'"),
        ("do i bake a cake ?", 6, "'statement'"),
        ("she chases a mouse in the yard .", 1, "'animal'"),
        ("maria happily bakes bread at home at noon .", 7, "together"),
    ],
)
def test_a_sentence_outside_the_language_is_refused_at_a_word(sentence, word, message):
    with pytest.raises(ValueError, match=f"word {word} is .*, expected .*{message}"):
        everyday.log_prob(sentence)


def test_a_sentence_must_be_a_string():
    with pytest.raises(ValueError, match="must be a string, got list"):
        everyday.log_prob(["anna"])


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"tense": "past", "time": "tomorrow"}, "time 'tomorrow' does not go with .*tense='past'"),
        ({"verb": "fly"}, "factor 'verb' must be one of .*got 'fly'"),
        ({"scene": "sea"}, "verb 'bake' does not go with scene='sea'"),
        ({"weather": "rain"}, r"unknown \['weather'\]"),
    ],
)
def test_factors_that_contradict_are_refused(changes, message):
    with pytest.raises(ValueError, match=message):
        everyday.render(ANNA | changes)


def test_missing_factors_are_named():
    with pytest.raises(ValueError, match=r"missing \['verb'\]"):
        everyday.render({name: value for name, value in ANNA.items() if name != "verb"})


@pytest.mark.parametrize(("n", "seed"), [(-1, 0), (1, -1), (1.5, 0)])
def test_generate_refuses_what_is_no_count(n, seed):
    with pytest.raises(ValueError, match="must be an integer, 0 or more"):
        everyday.generate(n, seed)


def test_marginal_names_the_factors_it_knows():
    with pytest.raises(ValueError, match=r"factor must be one of \['scene'.*got 'colour'"):
        everyday.marginal("colour")
