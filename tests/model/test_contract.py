"""What every legal composition of encoder, pooling, injection and decoder keeps.

The cases are a pairwise cover: every legal pair of choices occurs in one of them.
"""

import copy
import functools
import itertools
import json

import pytest
import torch
from pairwise import pairs_of, pairwise_cover
from tiny import DECODERS, ENCODERS, V, batch, model
from torch.testing import assert_close

from hf_seqvae.model.injection import INJECTIONS, LSTM_ONLY_INJECTIONS
from hf_seqvae.model.modeling_seqvae import SeqVAEModel
from hf_seqvae.model.pooling import POOLINGS
from hf_seqvae.model.posterior_families import POSTERIORS

# each way alone, every pair, and all: test_injection.py reads every subset
SUBSETS = [ways for size in (1, 2) for ways in itertools.combinations(INJECTIONS, size)]
SUBSETS += [("state", "concat", "add", "prefix"), INJECTIONS]

FACTORS = {
    "encoder": tuple(ENCODERS),
    "pooling": tuple(POOLINGS),
    "posterior": tuple(POSTERIORS),
    "latent_injection": SUBSETS,
    "decoder": tuple(DECODERS),
    "loss_normalization": ("token", "sequence"),
}


def is_legal(case) -> bool:
    return case["decoder"] == "lstm" or not set(case["latent_injection"]) & set(
        LSTM_ONLY_INJECTIONS
    )


COVER = pairwise_cover(FACTORS, is_legal)
TERMS = ("loss", "reconstruction_nll", "kl", "num_tokens", "posterior_mean", "posterior_logvar")


def name_of(case) -> str:
    return "-".join("+".join(v) if isinstance(v, tuple) else v for v in case.values())


every_case = pytest.mark.parametrize("case", COVER, ids=name_of)


@functools.cache
def built(name: str):
    case = next(case for case in COVER if name_of(case) == name)
    rate = 1.0 if case["posterior"] == "committed_rate_gaussian" else None
    return model(**case, committed_rate=rate, num_prefix_tokens=2, kl_weight=0.7)


def made_of(case):
    """A model of its own for each test: training moves the statistics of a batch norm."""
    return copy.deepcopy(built(name_of(case))).eval()


def same_terms(one, other, rows=slice(None)):
    for term in TERMS[1:] if rows != slice(None) else TERMS:
        value = getattr(other, term)
        value = value[rows] if value.dim() else value
        assert_close(
            getattr(one, term), value, rtol=1e-4, atol=1e-5, msg=lambda m, t=term: f"{t}: {m}"
        )


def test_every_legal_pair_of_choices_and_every_choice_occurs_in_the_cover():
    legal = [
        dict(zip(FACTORS, values, strict=True)) for values in itertools.product(*FACTORS.values())
    ]
    legal = [case for case in legal if is_legal(case)]
    assert set().union(*map(pairs_of, COVER)) == set().union(*map(pairs_of, legal))
    for factor, choices in FACTORS.items():
        assert {case[factor] for case in COVER} == set(choices)
    assert len(COVER) < len(legal) / 5
    assert pairwise_cover(FACTORS, is_legal) == COVER


@every_case
def test_the_loss_is_finite_and_a_gradient_reaches_every_parameter(case):
    made = made_of(case).train()
    torch.manual_seed(0)
    loss = made(**batch(6)).loss
    assert torch.isfinite(loss)
    loss.backward()
    for name, parameter in made.named_parameters():
        assert parameter.grad is not None, name
        assert torch.isfinite(parameter.grad).all(), name
        # the first token has no earlier state to read, and a key's bias moves no softmax
        silent = case["pooling"] == "first" and "backbone" in name and "weight_hh" in name
        if not (silent or name.endswith("key.bias")):
            assert parameter.grad.any(), name


@every_case
def test_the_loss_is_the_normalised_sum_of_the_terms(case):
    output = made_of(case)(**batch(5))
    total = output.reconstruction_nll.sum() + 0.7 * output.kl.sum()
    token = case["loss_normalization"] == "token"
    assert_close(output.loss, total / (output.num_tokens.sum() if token else 5))


@every_case
def test_padding_changes_no_term(case):
    made, plain = made_of(case), batch(5)
    expected = made(**plain)
    for padded in (batch(5, extra=3), batch(5, left=True), batch(5, left=True, extra=3)):
        same_terms(made(**padded), expected)
    front = dict(plain, labels=plain["labels"].flip(1))  # texts reversed, padding before them
    back = dict(plain, labels=torch.full_like(plain["labels"], -100))
    for row, labels in enumerate(front["labels"]):
        real = labels[labels != -100]
        back["labels"][row, : len(real)] = real
    same_terms(made(**front), made(**back))


@every_case
def test_a_row_of_a_batch_is_the_sentence_alone(case):
    made, texts = made_of(case), batch(5)
    together = made(**texts)
    for row in (0, 3):
        length = int(texts["attention_mask"][row].sum())
        alone = {
            "input_ids": texts["input_ids"][row : row + 1, :length],
            "labels": texts["labels"][row : row + 1, : length - 1],
        }
        same_terms(made(**alone), together, slice(row, row + 1))


@every_case
def test_no_logit_depends_on_a_later_token(case):
    made, texts = made_of(case), batch(4)
    changed = dict(
        texts, decoder_input_ids=made.prepare_decoder_input_ids_from_labels(texts["labels"])
    )
    expected = made(**changed).logits
    words = changed["decoder_input_ids"].clone()
    words[:, 3:] = (words[:, 3:] + 5) % V
    logits = made(**changed | {"decoder_input_ids": words}).logits
    assert_close(logits[:, :3], expected[:, :3], rtol=1e-4, atol=1e-5)
    assert ((logits[:, 3:] - expected[:, 3:]).abs().amax(-1) > 1e-5).all()


@every_case
def test_logits_at_padded_positions_change_nothing(case):
    made, texts = made_of(case), batch(5, extra=2)
    expected = made(**texts)
    padded = (texts["labels"] == -100)[..., None]
    rubbish = 100.0 * torch.randn(
        padded.shape[:2] + (V,), generator=torch.Generator().manual_seed(0)
    )
    hook = made.get_output_embeddings().register_forward_hook(
        lambda _, __, logits: torch.where(padded, rubbish, logits)
    )
    try:
        changed = made(**texts)
    finally:
        hook.remove()
    assert not torch.equal(changed.logits, expected.logits)
    for term in TERMS:
        assert torch.equal(getattr(changed, term), getattr(expected, term)), term


def said(config: str) -> dict:
    """A config's JSON; loading writes the dtype into the parts too."""
    read = json.loads(config)
    for part in ("encoder", "decoder"):
        read[part].pop("dtype", None)
    return read


@every_case
def test_a_saved_model_is_loaded_with_the_same_weights_and_logits(case, tmp_path):
    made, texts = made_of(case), batch(3)
    made.save_pretrained(tmp_path)
    loaded, report = SeqVAEModel.from_pretrained(tmp_path, output_loading_info=True)
    assert not any(report[kind] for kind in ("missing_keys", "unexpected_keys", "mismatched_keys"))
    assert not loaded.training
    assert torch.equal(loaded(**texts).logits, made(**texts).logits)
    assert said(loaded.config.to_json_string()) == said((tmp_path / "config.json").read_text())


# in training a batch-normalised mean depends on the rest of its batch, so a batch that is cut up is
# another one: loops refuse that, and test_batch_norm_posterior.py says how the two differ
@pytest.mark.parametrize(
    "case", [case for case in COVER if case["posterior"] != "batch_norm_gaussian"], ids=name_of
)
def test_accumulated_micro_batches_give_the_loss_and_gradient_of_one_batch(case):
    made, texts = made_of(case).train(), batch(8)
    assert not made.uses_batch_statistics
    token = case["loss_normalization"] == "token"
    num_items = int((texts["labels"] != -100).sum()) if token else 8
    results = []
    for sizes in ((8,), (2, 2, 2, 2), (3, 3, 2)):
        made.zero_grad()
        total = 0.0
        pieces = {name: value.split(sizes) for name, value in texts.items()}
        for values in zip(*pieces.values(), strict=True):
            piece = dict(zip(pieces, values, strict=True))
            given = {} if sizes == (8,) else {"num_items_in_batch": num_items}
            loss = made(**piece, sample_posterior=False, **given).loss
            loss.backward()
            total += loss.item()
        gradient = torch.cat([p.grad.flatten() for p in made.parameters()])
        results.append((total, gradient))
    for loss, gradient in results[1:]:
        assert loss == pytest.approx(results[0][0], rel=1e-5)
        assert (gradient - results[0][1]).norm() < 1e-5 * results[0][1].norm()
