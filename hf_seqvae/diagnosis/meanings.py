"""What each verdict means, in plain words."""

from hf_seqvae.diagnosis.rules import COLLAPSED, HEALTHY, IGNORED, PARTLY, UNUSED_RATE

_MEANINGS = {
    COLLAPSED: (
        "Every sentence has the same posterior, the prior: z holds nothing. The model is a "
        "language model with noise beside it, perhaps a good one. What it decodes has nothing to "
        "do with what it encoded, so reconstruction, interpolation and analogies say nothing."
    ),
    UNUSED_RATE: (
        "KL is paid, but the posteriors of different sentences are nearly the same: what is paid "
        "for is a distance from the prior that tells nothing about the sentence. Free bits and "
        "committed rates can be satisfied so. A KL that looks healthy is no sign of use here."
    ),
    IGNORED: (
        "The encoder tells sentences apart, but the decoder hardly listens: with the z of another "
        "sentence it predicts nearly as well. It continues words from words alone, as a language "
        "model does. Latent arithmetic moves z and not the text."
    ),
    PARTLY: (
        "z is in use, but by less than it could be: it holds little, or in few of its dimensions, "
        "or most of what is paid for it is lost. Expect it to carry a coarse trait such as length "
        "or topic, and reconstructions that change the words."
    ),
    HEALTHY: (
        "z tells sentences apart and the decoder listens to it: with another sentence's z it "
        "predicts worse. Reconstruction, interpolation and directions in latent space mean "
        "something."
    ),
}


def meaning_of(verdict: str) -> str:
    """What a verdict means for whoever uses the model."""
    return _MEANINGS[verdict]
