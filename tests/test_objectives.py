"""Objectives against closed forms: schedules at hand-computed steps, KL terms, accumulation."""

import math
from types import SimpleNamespace

import pytest
import torch
from torch.testing import assert_close

from hf_seqvae.objectives import (
    KL_TERMS,
    SCHEDULES,
    ConstantSchedule,
    CyclicalSchedule,
    LinearSchedule,
    Objective,
    build_schedule,
    plain,
    summarize,
)
from hf_seqvae.objectives.kl_terms import free_bits_per_dimension_hinge

HINGE = "free_bits_per_dimension_hinge"


# schedules


def test_constant_schedule_is_the_same_at_every_step():
    assert [ConstantSchedule(0.4)(step) for step in (0, 1, 10**9)] == [0.4, 0.4, 0.4]


def test_linear_schedule_passes_through_hand_computed_points():
    schedule = LinearSchedule(start=0.1, end=1.0, num_steps=10)
    assert [schedule(step) for step in (0, 1, 5, 9)] == pytest.approx([0.1, 0.19, 0.55, 0.91])


def test_linear_schedule_starts_and_ends_exactly():
    schedule = LinearSchedule(start=0.1, end=0.7, num_steps=3)
    assert schedule(0) == 0.1
    assert [schedule(step) for step in (3, 4, 10**9)] == [0.7, 0.7, 0.7]


def test_linear_schedule_waits_for_its_delay():
    schedule = LinearSchedule(start=0.0, end=1.0, num_steps=4, delay=10)
    assert [schedule(step) for step in (0, 10, 11, 12, 14, 15)] == [0.0, 0.0, 0.25, 0.5, 1.0, 1.0]


def test_linear_schedule_may_fall():
    schedule = LinearSchedule(start=1.0, end=0.5, num_steps=2)
    assert [schedule(step) for step in range(4)] == [1.0, 0.75, 0.5, 0.5]


def test_linear_schedule_equals_the_recurrence_of_he_et_al():
    num_batches, warm_up, beta = 7, 3, 0.1
    schedule = LinearSchedule(start=0.1, end=1.0, num_steps=num_batches * warm_up)
    for step in range(40):
        assert schedule(step) == pytest.approx(beta)
        beta = min(1.0, beta + (1.0 - 0.1) / (warm_up * num_batches))


def test_cyclical_schedule_is_the_formula_of_fu_et_al():
    total, cycles, ramp = 40, 4, 0.5
    schedule = CyclicalSchedule(num_steps=total, num_cycles=cycles, ramp_fraction=ramp)
    for iteration in range(1, total + 1):  # the paper counts from 1
        tau = ((iteration - 1) % math.ceil(total / cycles)) / (total / cycles)
        assert schedule(iteration - 1) == pytest.approx(tau / ramp if tau <= ramp else 1.0)


def test_cyclical_schedule_restarts_exactly_each_period_and_holds_the_end_afterwards():
    schedule = CyclicalSchedule(num_steps=30, num_cycles=3, ramp_fraction=0.3, start=0.2, end=0.9)
    assert [schedule(step) for step in (0, 10, 20)] == [0.2, 0.2, 0.2]
    assert all(schedule(step) == schedule(step + 10) for step in range(20))
    assert [schedule(step) for step in (3, 9, 29, 30, 31, 10**9)] == [0.9] * 6


def test_cyclical_schedule_has_every_cycle_though_they_do_not_divide_the_steps():
    values = [
        CyclicalSchedule(num_steps=11, num_cycles=3, ramp_fraction=0.5)(step) for step in range(11)
    ]
    assert sum(after < before for before, after in zip(values, values[1:], strict=False)) == 2


@pytest.mark.parametrize(
    ("build", "word"),
    [
        (lambda: ConstantSchedule(-1.0), "value"),
        (lambda: ConstantSchedule(math.nan), "value"),
        (lambda: LinearSchedule(0.0, math.inf, 5), "end"),
        (lambda: LinearSchedule(0.0, 1.0, 0), "num_steps"),
        (lambda: LinearSchedule(0.0, 1.0, 5, delay=-1), "delay"),
        (lambda: CyclicalSchedule(num_steps=3, num_cycles=4), "num_steps"),
        (lambda: CyclicalSchedule(num_steps=8, ramp_fraction=0.0), "ramp_fraction"),
        (lambda: CyclicalSchedule(num_steps=8, ramp_fraction=1.1), "ramp_fraction"),
        (lambda: LinearSchedule(0.0, 1.0, 5)(-1), "step"),
        (lambda: ConstantSchedule()(-1), "step"),
        (lambda: CyclicalSchedule(num_steps=8)(-1), "step"),
    ],
)
def test_an_impossible_schedule_is_refused_by_name(build, word):
    with pytest.raises(ValueError, match=word):
        build()


def test_an_unknown_schedule_is_refused_with_the_choices():
    assert build_schedule("linear", start=0.0, end=1.0, num_steps=2)(1) == 0.5
    with pytest.raises(ValueError) as error:
        build_schedule("logistic")
    assert all(name in str(error.value) for name in (*SCHEDULES, "logistic"))


# KL terms


def test_the_hinge_charges_lambda_below_it_and_the_kl_above_it():
    kl = torch.tensor([[0.0, 0.1, 0.5], [2.0, 0.3, 0.25]])
    assert_close(
        free_bits_per_dimension_hinge(kl, 0.25), torch.tensor([0.25 + 0.25 + 0.5, 2.0 + 0.3 + 0.25])
    )


def test_the_hinge_has_no_gradient_below_lambda_and_the_plain_one_above_it():
    kl = torch.tensor([[0.0, 0.1, 0.5], [2.0, 0.3, 0.2]], requires_grad=True)
    free_bits_per_dimension_hinge(kl, 0.25).sum().backward()
    assert kl.grad is not None
    assert kl.grad.tolist() == [[0.0, 0.0, 1.0], [1.0, 1.0, 0.0]]


def test_the_hinge_is_the_plain_kl_where_every_dimension_is_above_lambda():
    kl = torch.rand(5, 7, generator=torch.Generator().manual_seed(0)) + 0.3
    assert torch.equal(free_bits_per_dimension_hinge(kl, 0.3), plain(kl, 0.0))


def test_an_unknown_kl_term_is_refused_with_the_choices():
    with pytest.raises(ValueError) as error:
        Objective(kl_term="hinge")
    assert all(name in str(error.value) for name in KL_TERMS)


def test_free_bits_without_a_variant_is_refused_because_many_share_the_name():
    with pytest.raises(
        ValueError, match="Several methods are called free bits.*free_bits_per_dimension_hinge"
    ):
        Objective(kl_term="free_bits", free_bits=0.5)


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"free_bits": 0.5}, "'plain' has no free bits"),
        ({"capacity": 3.0}, "'plain' has no capacity.*capacity_batch_mean"),
        ({"kl_term": HINGE, "free_bits": 0.1, "capacity": 3.0}, "has no capacity"),
        ({"kl_term": "capacity_per_sentence", "free_bits": 1.0}, "has no free bits"),
        ({"kl_term": "capacity", "capacity": 3.0}, "capacity_per_sentence"),
        ({"mmd_weight": -1.0}, "mmd_weight must be finite"),
        ({"kl_term": HINGE, "free_bits": -0.1}, "free_bits must be finite"),
        ({"normalization": "batch"}, "normalization must be one of"),
        ({"beta": 1.0}, "ConstantSchedule"),
        ({"beta": "linear"}, "cyclical"),
    ],
)
def test_an_objective_of_parts_that_do_not_fit_is_refused(values, message):
    with pytest.raises(ValueError, match=message):
        Objective(**values)


# objective


def toy_output(weight, rows, *, num_tokens=None, dtype=torch.float32):
    """A differentiable stand-in for a model: terms depend on the row and on `weight` (4,)."""
    x = torch.linspace(0.1, 2.0, 32).view(8, 4)[rows]  # (B, 4)
    tokens = torch.tensor([3, 1, 7, 2, 5, 4, 9, 6]) if num_tokens is None else num_tokens
    return SimpleNamespace(
        reconstruction_nll=((x * weight).sum(dim=-1).square() + 1.0).to(dtype),  # (B,)
        kl=(x * weight).square().to(dtype),  # (B, Z)
        num_tokens=tokens[rows],
    )


def loss_and_gradient(objective, splits, num_items, *, num_tokens=None):
    """The summed loss of the micro-batches and the gradient that they leave together."""
    weight = torch.tensor([0.3, -0.2, 0.5, 0.1], requires_grad=True)
    total = 0.0
    for rows in splits:
        loss, _ = objective(toy_output(weight, rows, num_tokens=num_tokens), 3, num_items)
        loss.backward()
        total += loss.item()
    return total, weight.grad


SPLITS = {
    "1x8": [list(range(8))],
    "4x2": [[0, 1], [2, 3], [4, 5], [6, 7]],
    "3+3+2": [[0, 1, 2], [3, 4, 5], [6, 7]],
}


def test_the_loss_is_the_formula_for_both_normalizations():
    weight = torch.tensor([0.3, -0.2, 0.5, 0.1])
    output = toy_output(weight, list(range(8)))
    beta = LinearSchedule(0.0, 1.0, 10)
    kl = sum(max(0.05, value) for row in output.kl.tolist() for value in row)
    expected = sum(output.reconstruction_nll.tolist()) + 0.3 * kl
    for normalization, items in (("token", 37), ("sequence", 8)):
        objective = Objective(beta, HINGE, 0.05, normalization)
        assert objective(output, 3)[0].item() == pytest.approx(expected / items, rel=1e-6)
        assert objective(output, 3, 5)[0].item() == pytest.approx(expected / 5, rel=1e-6)
        assert objective(output, 3, torch.tensor(5))[0].item() == pytest.approx(
            expected / 5, rel=1e-6
        )


@pytest.mark.parametrize("normalization", ["token", "sequence"])
@pytest.mark.parametrize("kl_term", ["plain", HINGE])
@pytest.mark.parametrize("split", ["4x2", "3+3+2"])
def test_micro_batches_add_up_to_the_whole_batch_in_loss_and_gradient(
    normalization, kl_term, split
):
    objective = Objective(
        ConstantSchedule(0.7), kl_term, 0.0 if kl_term == "plain" else 0.05, normalization
    )
    num_items = {"token": 37, "sequence": 8}[normalization]
    whole, whole_gradient = loss_and_gradient(objective, SPLITS["1x8"], None)
    parts, parts_gradient = loss_and_gradient(objective, SPLITS[split], num_items)
    assert parts == pytest.approx(whole, rel=1e-6)
    assert_close(parts_gradient, whole_gradient)


@pytest.mark.parametrize("normalization", ["token", "sequence"])
@pytest.mark.parametrize("kl_term", ["plain", HINGE])
def test_a_row_without_tokens_changes_neither_loss_nor_gradient_nor_logs(normalization, kl_term):
    objective = Objective(
        ConstantSchedule(0.7), kl_term, 0.0 if kl_term == "plain" else 0.05, normalization
    )
    tokens = torch.tensor([3, 1, 7, 0, 5, 4, 0, 6])
    padded = loss_and_gradient(objective, [list(range(8))], None, num_tokens=tokens)
    without = loss_and_gradient(objective, [[0, 1, 2, 4, 5, 7]], None, num_tokens=tokens)
    assert padded[0] == pytest.approx(without[0], rel=1e-6)
    assert_close(padded[1], without[1])
    weight = torch.tensor([0.3, -0.2, 0.5, 0.1])
    logs = [
        objective(toy_output(weight, rows, num_tokens=tokens), 0)[1]
        for rows in (range(8), [0, 1, 2, 4, 5, 7])
    ]
    assert_close(logs[0], logs[1])
    assert logs[0]["num_sentences"] == 6 and logs[0]["num_tokens"] == 26


@pytest.mark.parametrize("num_items", [None, 12])
def test_a_batch_of_empty_rows_alone_has_loss_zero_and_a_gradient_of_zero(num_items):
    tokens = torch.zeros(8, dtype=torch.int64)
    loss, gradient = loss_and_gradient(
        Objective(kl_term=HINGE, free_bits=9.0), [[0, 1]], num_items, num_tokens=tokens
    )
    assert loss == 0.0
    assert gradient is not None and torch.equal(gradient, torch.zeros(4))


def test_an_empty_row_that_holds_nan_stays_outside_and_a_real_one_shows():
    tokens = torch.tensor([2, 0])
    nll, kl = torch.tensor([1.0, math.nan]), torch.tensor([[0.5], [math.nan]])
    output = SimpleNamespace(reconstruction_nll=nll, kl=kl, num_tokens=tokens)
    assert Objective()(output, 0)[0].item() == pytest.approx(0.75)
    for bad in (math.nan, math.inf):
        for kl_term in KL_TERMS:
            output.kl = torch.tensor([[bad], [0.0]])
            amount = KL_TERMS[kl_term].amount
            objective = Objective(kl_term=kl_term, **({amount: 0.1} if amount else {}))
            loss, logs = objective(output, 0)
            assert not torch.isfinite(loss) and not torch.isfinite(logs["kl"])
        output.kl = torch.zeros(2, 1)
        output.reconstruction_nll = torch.tensor([bad, 0.0])
        assert not torch.isfinite(Objective()(output, 0)[0])
        output.reconstruction_nll = nll


def test_half_precision_outputs_are_reduced_in_float32():
    rows = 4096  # bfloat16 stops counting ones at 256
    output = SimpleNamespace(
        reconstruction_nll=torch.ones(rows, dtype=torch.bfloat16),
        kl=torch.ones(rows, 2, dtype=torch.bfloat16),
        num_tokens=torch.ones(rows, dtype=torch.int64),
    )
    loss, logs = Objective(normalization="sequence")(output, 0)
    assert loss.dtype == torch.float32 and loss.item() == 3.0
    assert (logs["reconstruction_nll"].item(), logs["kl"].item()) == (4096.0, 8192.0)


def test_the_logged_kl_is_plain_whatever_is_optimised_and_logs_hold_no_graph():
    weight = torch.tensor([0.3, -0.2, 0.5, 0.1], requires_grad=True)
    output = toy_output(weight, list(range(8)))
    _, logs = Objective(LinearSchedule(0.0, 1.0, 4), HINGE, 5.0)(output, 1)
    assert logs["kl"].item() == pytest.approx(output.kl.sum().item())
    assert logs["beta"] == 0.25
    assert not any(value.requires_grad for name, value in logs.items() if name != "beta")


@pytest.mark.parametrize("num_items", [0, -3])
def test_num_items_must_be_positive(num_items):
    output = toy_output(torch.ones(4), [0])
    with pytest.raises(ValueError, match="num_items must be positive"):
        Objective()(output, 0, num_items)


def test_objective_leaves_the_output_as_it_was():
    output = toy_output(
        torch.ones(4), list(range(8)), num_tokens=torch.tensor([3, 0, 7, 2, 5, 4, 9, 6])
    )
    before = {name: value.clone() for name, value in vars(output).items()}
    Objective(kl_term=HINGE, free_bits=0.5)(output, 0)
    assert all(torch.equal(value, before[name]) for name, value in vars(output).items())


# summarize


def test_summarize_gives_nats_a_sentence_over_many_batches():
    objective = Objective(ConstantSchedule(0.1), HINGE, 1.0)
    weight = torch.tensor([0.3, -0.2, 0.5, 0.1])
    sums = {}
    for rows in SPLITS["3+3+2"]:
        for name, value in objective(toy_output(weight, rows), 0)[1].items():
            sums[name] = sums.get(name, 0.0) + value
    whole = toy_output(weight, list(range(8)))
    nll, kl = whole.reconstruction_nll.mean().item(), whole.kl.sum(dim=-1).mean().item()
    assert summarize(sums, 0.1) == pytest.approx(
        {"elbo": -nll - kl, "reconstruction_nll": nll, "kl": kl, "beta": 0.1}, rel=1e-6
    )


def test_summarize_refuses_an_average_over_nothing():
    with pytest.raises(ValueError, match="no sentence"):
        summarize({"num_sentences": 0.0, "reconstruction_nll": 0.0, "kl": 0.0}, 1.0)


def test_an_output_of_given_latents_has_no_objective():
    output = SimpleNamespace(
        reconstruction_nll=torch.ones(2), kl=None, num_tokens=torch.tensor([1, 2])
    )
    with pytest.raises(ValueError, match="no KL, since its latents were given"):
        Objective()(output, 0)
