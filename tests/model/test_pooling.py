"""Pooling operators: by eye on tiny tensors, and against a loop over rows on random ones."""

import pytest
import torch
from huggingface_hub.errors import StrictDataclassError
from tiny import batch_of, bert, config, model
from torch.testing import assert_close

from hf_seqvae.model.pooling import (
    POOLINGS,
    AttentionPool,
    abs_max_pool,
    first_pool,
    last_pool,
    last_pool_both_ways,
    max_pool,
    mean_max_pool,
    mean_pool,
)

PURE = {name: pool for name, pool in POOLINGS.items() if name != "attention"}

# one row of three tokens of width 2
HIDDEN = [[[1.0, -5.0], [3.0, 4.0], [-4.0, 2.0]]]
BY_EYE = [
    (last_pool, [1, 1, 1], [-4.0, 2.0]),
    (last_pool, [1, 1, 0], [3.0, 4.0]),
    (last_pool, [0, 1, 1], [-4.0, 2.0]),
    (last_pool, [1, 0, 1], [-4.0, 2.0]),
    (first_pool, [1, 1, 1], [1.0, -5.0]),
    (first_pool, [1, 1, 0], [1.0, -5.0]),
    (first_pool, [0, 1, 1], [3.0, 4.0]),
    (first_pool, [1, 0, 1], [1.0, -5.0]),
    (mean_pool, [1, 1, 1], [0.0, 1.0 / 3.0]),
    (mean_pool, [1, 1, 0], [2.0, -0.5]),
    (mean_pool, [0, 1, 1], [-0.5, 3.0]),
    (mean_pool, [1, 0, 1], [-1.5, -1.5]),
    (max_pool, [1, 1, 1], [3.0, 4.0]),
    (max_pool, [1, 0, 0], [1.0, -5.0]),
    (max_pool, [0, 0, 1], [-4.0, 2.0]),
    (max_pool, [1, 0, 1], [1.0, 2.0]),
    (abs_max_pool, [1, 1, 1], [-4.0, -5.0]),
    (abs_max_pool, [0, 1, 0], [3.0, 4.0]),
    (abs_max_pool, [0, 1, 1], [-4.0, 4.0]),
    (abs_max_pool, [1, 0, 1], [-4.0, -5.0]),
    (mean_max_pool, [1, 1, 0], [2.0, -0.5, 3.0, 4.0]),
    (mean_max_pool, [0, 1, 1], [-0.5, 3.0, 3.0, 4.0]),
]


@pytest.mark.parametrize(
    ("pool", "mask", "expected"), BY_EYE, ids=[f"{p.__name__}-{m}" for p, m, _ in BY_EYE]
)
def test_pooling_by_eye(pool, mask, expected):
    assert_close(pool(torch.tensor(HIDDEN), torch.tensor([mask])), torch.tensor([expected]))


def test_last_of_an_encoder_read_both_ways_takes_each_direction_where_it_has_read_everything():
    hidden = torch.tensor([[[1.0, 10.0], [2.0, 20.0], [3.0, 30.0], [4.0, 40.0]]])
    assert last_pool_both_ways(hidden, torch.tensor([[0, 1, 1, 0]])).tolist() == [[3.0, 20.0]]


def loop(name: str, rows: list[torch.Tensor]) -> torch.Tensor:
    """The same operators on rows without padding, (T_i, H) each."""
    of_row = {
        "last": lambda row: row[-1],
        "first": lambda row: row[0],
        "mean": lambda row: row.double().mean(0),
        "max": lambda row: row.max(0).values,
        "abs_max": lambda row: torch.stack([max(c.tolist(), key=abs) * one for c in row.T]),
        "mean_max": lambda row: torch.cat([row.double().mean(0), row.max(0).values.double()]),
    }[name]
    one = torch.ones(())
    return torch.stack([of_row(row) for row in rows]).float()


def random_case(seed: int) -> tuple[torch.Tensor, torch.Tensor]:
    """Features of 5 rows and masks with padding anywhere, holes included."""
    generator = torch.Generator().manual_seed(seed)
    hidden = torch.randn(5, 9, 6, generator=generator)
    mask = torch.rand(5, 9, generator=generator) < 0.5
    mask[torch.arange(5), torch.randint(0, 9, (5,), generator=generator)] = True
    return hidden, mask


@pytest.mark.parametrize("seed", range(5))
@pytest.mark.parametrize("name", PURE)
def test_pooling_equals_a_loop_over_rows(name, seed):
    hidden, mask = random_case(seed)
    rows = [features[kept] for features, kept in zip(hidden, mask, strict=True)]
    assert_close(PURE[name](hidden, mask), loop(name, rows))
    assert_close(PURE[name](hidden, mask.long()), loop(name, rows))


@pytest.mark.parametrize("seed", range(3))
def test_attention_pooling_is_a_softmax_over_the_real_tokens_of_each_row(seed):
    hidden, mask = random_case(seed)
    torch.manual_seed(seed)
    pool = AttentionPool(6)
    rows = [features[kept] for features, kept in zip(hidden, mask, strict=True)]
    weights = [(row @ pool.score.weight[0]).softmax(0) for row in rows]
    expected = torch.stack([w @ row for w, row in zip(weights, rows, strict=True)])
    assert_close(pool(hidden, mask), expected)


def operators(width: int) -> dict:
    torch.manual_seed(0)
    return PURE | {"attention": AttentionPool(width), "last_both_ways": last_pool_both_ways}


@pytest.mark.parametrize("name", operators(6))
def test_pooling_leaves_its_inputs_alone(name):
    hidden, mask = random_case(0)
    before = hidden.clone(), mask.clone()
    operators(6)[name](hidden, mask)
    assert torch.equal(hidden, before[0])
    assert torch.equal(mask, before[1])


@pytest.mark.parametrize("rubbish", [float("nan"), float("inf"), float("-inf"), 1e30, -1e30])
@pytest.mark.parametrize("name", operators(6))
def test_what_padding_holds_changes_neither_the_result_nor_a_gradient(name, rubbish):
    results = []
    for value in (0.0, rubbish):
        hidden, mask = random_case(1)
        hidden = hidden.masked_fill(~mask[..., None], value).requires_grad_()
        pool = operators(6)[name]
        pooled = pool(hidden, mask)
        (pooled * torch.arange(pooled.numel()).view_as(pooled)).sum().backward()
        gradients = [hidden.grad]
        if isinstance(pool, AttentionPool):
            gradients.append(pool.score.weight.grad)
        assert all(torch.isfinite(gradient).all() for gradient in gradients)
        assert not hidden.grad[~mask].any()
        results.append([pooled.detach(), *gradients])
    for clean, dirty in zip(*results, strict=True):
        assert torch.equal(clean, dirty)


@pytest.mark.parametrize("name", operators(6))
def test_pooling_in_bf16_stays_bf16_and_close_to_float32(name):
    hidden, mask = random_case(2)
    low = operators(6)[name]
    if isinstance(low, AttentionPool):
        low = low.bfloat16()
    pooled = low(hidden.bfloat16(), mask)
    assert pooled.dtype == torch.bfloat16
    assert_close(pooled.float(), operators(6)[name](hidden, mask), atol=0.03, rtol=0.02)


def test_the_mean_of_many_bf16_tokens_is_summed_in_float32():
    hidden = torch.full((1, 4096, 1), 1.0, dtype=torch.bfloat16)  # a bf16 sum stops at 256
    assert mean_pool(hidden, torch.ones(1, 4096)).item() == 1.0


@pytest.mark.parametrize("name", ["mean", "mean_max", "attention"])
def test_pooling_in_float64_stays_exact_in_float64(name):
    hidden = torch.tensor([[[1.0], [1.0 + 1e-12]]], dtype=torch.float64)
    torch.manual_seed(0)
    pool = AttentionPool(1).double() if name == "attention" else PURE[name]
    assert 1.0 < pool(hidden, torch.ones(1, 2))[0, 0].item() < 1.0 + 1e-12


@pytest.mark.parametrize("name", operators(6))
def test_an_empty_row_is_an_error_that_names_it(name):
    hidden, mask = random_case(0)
    mask[3] = False
    with pytest.raises(ValueError, match=r"empty row \(3\).*Drop empty texts"):
        operators(6)[name](hidden, mask)


def test_a_mask_of_another_shape_is_an_error():
    with pytest.raises(ValueError, match=r"mask must be \(B, T\) = \(1, 3\).*got \(1, 2\)"):
        mean_pool(torch.tensor(HIDDEN), torch.ones(1, 2))


def test_mean_max_doubles_the_width_that_the_posterior_reads():
    made = model(pooling="mean_max")
    encoded = made.encoder(**inputs([[4, 5]]))
    assert encoded.pooled.shape == (1, 16)
    assert made.encoder.posterior.projection.weight.shape == (8, 16)


# pool_special_tokens: the model's side of pooling


def inputs(texts, **kwargs):
    made = batch_of(texts, **kwargs)
    return {name: made[name] for name in ("input_ids", "attention_mask")}


@pytest.mark.parametrize("left", [False, True])
@pytest.mark.parametrize("encoder", ["lstm", "lstm2", "gpt2"])
def test_special_tokens_at_the_ends_do_not_count_when_told_so(encoder, left):
    made = model(encoder, pooling="max", pool_special_tokens=False)
    texts = inputs([[4, 5, 6], [7]], left=left)
    encoded = made.encoder(**texts)
    for row, length in ((0, 3), (1, 1)):
        features = encoded.last_hidden_state[row][texts["attention_mask"][row].bool()]
        assert len(features) == length + 2
        assert_close(encoded.pooled[row], features[1:-1].amax(0))


def test_a_special_id_inside_the_text_still_counts():
    made = model(pooling="mean", pool_special_tokens=False)
    encoded = made.encoder(**inputs([[4, 2, 5]]))  # 2 is EOS
    assert_close(encoded.pooled[0], encoded.last_hidden_state[0, 1:4].mean(0))


def test_special_tokens_count_by_default():
    encoded = model(pooling="mean").encoder(**inputs([[4, 5]]))
    assert_close(encoded.pooled[0], encoded.last_hidden_state[0].mean(0))


def test_nothing_left_to_pool_is_an_error():
    made = model(pooling="mean", pool_special_tokens=False)
    with pytest.raises(ValueError, match=r"empty row \(1\).*pool_special_tokens=True"):
        made.encoder(**inputs([[4], []]))


def test_special_tokens_are_told_by_ids_so_embeddings_alone_are_refused():
    made = model(pool_special_tokens=False)
    with pytest.raises(ValueError, match="needs input_ids"):
        made.encoder(inputs_embeds=torch.zeros(1, 3, 6))


def test_special_ids_can_be_named_where_the_encoder_does_not_tell_them():
    silent = bert(bos_token_id=None, eos_token_id=None)
    with pytest.raises(StrictDataclassError, match="needs special_token_ids"):
        config(silent, pool_special_tokens=False)
    named = config(silent, pool_special_tokens=False, special_token_ids=[1, 2])
    assert named.special_token_ids == [1, 2]
