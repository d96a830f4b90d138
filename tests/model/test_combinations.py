"""Many combinations of remedies: refused with a reason, or they train, score and generate."""

import pytest
import torch
from huggingface_hub.errors import StrictDataclassError
from hypothesis import event, given, settings
from hypothesis import strategies as st
from tiny import batch, gpt2, latents, lstm_decoder, model

from hf_seqvae.model.injection import INJECTIONS
from hf_seqvae.model.pooling import POOLINGS

DECODERS = {
    "lstm": lambda: lstm_decoder(input_dropout=0.3, output_dropout=0.3),
    "tied": lambda: lstm_decoder(hidden_size=6, tie_word_embeddings=True),
    "gpt2": gpt2,
}
BN, RATE = "batch_norm_gaussian", "committed_rate_gaussian"
# of each part, words that belong together first, then some that do not
POSTERIOR_WORDS = [
    {"posterior": "gaussian"},
    {"posterior": BN},
    {"posterior": BN, "batch_norm_gamma": 0.6},
    {"posterior": RATE, "committed_rate": 2.0},
    {"posterior": RATE, "committed_rate": 100.0},
    {"posterior": RATE},
    {"posterior": BN, "committed_rate": 2.0},
]
NOISE_WORDS = [
    {},
    {"input_noise": "token_dropout", "input_noise_rate": 0.3},
    {"input_noise": "token_dropout", "input_noise_rate": 0.3, "encoder_unk_token_id": 3},
    {"input_noise": "deletion", "input_noise_rate": 1.0},
    {"input_noise": "substitution", "input_noise_rate": 0.3},
    {"input_noise": "shuffle"},
    {"input_noise": "shuffle", "input_noise_rate": 0.3},
]
REMEDIES = {
    "encoder": st.sampled_from(["lstm", "lstm2", "bert"]),
    "decoder": st.sampled_from(sorted(DECODERS)),
    "pooling": st.sampled_from(sorted(POOLINGS)),
    "latent_injection": st.lists(st.sampled_from(INJECTIONS), max_size=3, unique=True).map(tuple),
    "word_dropout": st.sampled_from([0.0, 0.5]),
    "pool_special_tokens": st.booleans(),
}


@settings(max_examples=120, deadline=None, derandomize=True)
@given(
    st.fixed_dictionaries(REMEDIES), st.sampled_from(POSTERIOR_WORDS), st.sampled_from(NOISE_WORDS)
)
def test_remedies_compose_or_are_refused_with_a_reason(remedies, posterior, noise):
    words = remedies | posterior | noise
    try:
        made = model(**words | {"decoder": DECODERS[words["decoder"]]()})
    except StrictDataclassError as error:
        event("refused")
        reason = str(error.__cause__)
        assert isinstance(error.__cause__, ValueError)
        assert any(name in reason for name in words), reason
        assert any(cure in reason for cure in ("Set ", "Choose ", "Give ", "Use ", "write ")), (
            reason
        )
        return
    event("composed")
    texts = batch(4, left=True)
    torch.manual_seed(0)
    loss = made.train()(**texts).loss
    loss.backward()
    assert torch.isfinite(loss)
    assert all(torch.isfinite(p.grad).all() for p in made.parameters() if p.grad is not None)
    output = made.eval()(**texts)
    assert torch.isfinite(output.loss)
    assert (output.kl.sum(dim=1) >= words.get("committed_rate", 0.0) - 1e-3).all()
    z = latents(2)
    cached, uncached = (
        made.generate(latents=z, max_new_tokens=3, use_cache=use) for use in (True, False)
    )
    assert torch.equal(cached, uncached)


LEGAL = {
    "posterior": "batch_norm_gaussian",
    "latent_injection": ("state", "concat", "output"),
    "input_noise": "shuffle",
    "word_dropout": 0.3,
}


@pytest.mark.parametrize(
    "more",
    [{}, {"posterior": "committed_rate_gaussian", "committed_rate": 2.0}],
    ids=["batch norm", "rate"],
)
def test_remedies_on_every_part_at_once_train(more):
    made = model(**LEGAL | more).train()
    optimizer = torch.optim.Adam(made.parameters(), lr=0.02)
    torch.manual_seed(0)
    losses = []
    for _ in range(30):
        optimizer.zero_grad()
        loss = made(**batch(8)).loss
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    assert sum(losses[-5:]) < 0.9 * sum(losses[:5])
