"""What a model cannot do and what nobody knows of it: sentences that follow from its facts."""

from collections.abc import Iterator, Mapping
from typing import Any

from hf_seqvae.diagnosis import HEALTHY
from hf_seqvae.hub.markdown import code, escape, number

SMALL = 50_000_000  # parameters below which a model is called small


def limits(facts: Mapping[str, Any]) -> Iterator[str]:
    """Limits and biases, a sentence or two of Markdown each."""
    yield from _of_size(facts)
    yield from _of_text(facts)
    yield from _of_latents(facts)
    yield (
        "**No safety filter.** Nothing stands between the decoder and its reader. Samples follow "
        "the text it was trained on and may be false, senseless or offensive where that is."
    )
    yield (
        "**Not measured:** memorisation of training sentences, social biases, robustness to other "
        "kinds of text, and the spread between seeds of the training: the figures are of one run."
    )


def _of_size(facts: Mapping[str, Any]) -> Iterator[str]:
    count = facts["model"]["num_parameters"]
    if count < SMALL:
        yield (
            f"**Small.** {count:,} parameters. It knows the sentences of its text and nothing "
            "of the world; do not ask it for facts."
        )


def _of_text(facts: Mapping[str, Any]) -> Iterator[str]:
    data = facts["data"]
    if data["is_everyday"]:
        yield (
            "**A toy language.** All of its text comes from one grammar of a few hundred words, "
            "with the roles, names and scenes that its authors thought of. It tells little about "
            "how the method does on real text."
        )
    else:
        yield (
            "**The text is in the model.** Whatever slant, error or personal matter the training "
            "text holds may come out again; the text was not examined for this card."
        )
    languages = ", ".join(map(code, facts["language"]))
    if languages:
        yield f"**Language:** {languages} alone. Other words are unknown to its tokenizer or rare."
    else:
        yield "**Language:** nobody said which the text is in."
    unknown = ((facts["evaluation"] or {"figures": {}})["figures"]).get("unknown_share")
    if unknown is not None and unknown["value"]:
        yield (
            f"**Unknown words:** {number(unknown['value'])} of the tokens of the evaluated text "
            "are unknown to it, and cost it less than words would."
        )


def _of_latents(facts: Mapping[str, Any]) -> Iterator[str]:
    found = facts["diagnosis"]
    if facts["model"]["latent_size"] is None:
        return
    if found is None:
        yield "**Whether the latent is used was not measured.** Interpolations may mean nothing."
    elif found["verdict"] != HEALTHY:
        yield f"**The latent is {escape(found['verdict'])}.** {escape(found['meaning'])}"
