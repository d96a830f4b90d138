"""KL terms against hand-computed sums and gradients; the MMD against samples of the prior."""

from types import SimpleNamespace

import pytest
import torch
from torch.testing import assert_close

from hf_seqvae.objectives import (
    KL_TERMS,
    ConstantSchedule,
    Objective,
    mmd_to_standard_normal,
    summarize,
)

KL = [[0.0, 0.1, 0.5], [2.0, 0.3, 0.2]]  # sentences of 0.6 and 2.5 nats; means 1.0, 0.2, 0.35

# name -> (amount, value of each sentence, gradient)
BY_HAND = {
    "plain": (0.0, [0.6, 2.5], [[1, 1, 1], [1, 1, 1]]),
    "free_bits_per_sentence_mask": (1.0, [0.0, 2.5], [[0, 0, 0], [1, 1, 1]]),
    "free_bits_per_dimension_mask": (0.25, [0.5, 2.3], [[0, 0, 1], [1, 1, 0]]),
    "free_bits_per_dimension_hinge": (0.25, [1.0, 2.55], [[0, 0, 1], [1, 1, 0]]),
    "free_bits_batch_mean_mask": (1.5, [0.6, 2.5], [[1, 1, 1], [1, 1, 1]]),
    "free_bits_batch_dimension_hinge": (0.25, [0.75, 2.45], [[1, 0, 1], [1, 0, 1]]),
    "capacity_per_sentence": (1.0, [0.4, 1.5], [[-1, -1, -1], [1, 1, 1]]),
    "capacity_batch_mean": (1.0, [-0.4, 1.5], [[1, 1, 1], [1, 1, 1]]),
}


def objective_of(name: str, amount: float, **options) -> Objective:
    kind = KL_TERMS[name].amount
    return Objective(kl_term=name, **({kind: amount} if kind else {}), **options)


def test_every_term_has_its_values_by_hand():
    assert set(BY_HAND) == set(KL_TERMS)


@pytest.mark.parametrize("name", KL_TERMS)
def test_a_term_is_its_formula_in_value_and_gradient(name):
    amount, values, gradient = BY_HAND[name]
    kl = torch.tensor(KL, requires_grad=True)
    term = KL_TERMS[name].function(kl, amount, kl.detach().mean(0))
    assert_close(term, torch.tensor(values))
    term.sum().backward()
    assert_close(kl.grad, torch.tensor(gradient, dtype=torch.float32))


@pytest.mark.parametrize(
    ("name", "amount", "mean"),
    [
        # sum_i max(lambda, mean KL_i), 1[mean KL > T] mean KL, |mean KL - C|
        ("free_bits_batch_dimension_hinge", 0.25, 1.0 + 0.25 + 0.35),
        ("free_bits_batch_mean_mask", 1.5, 1.55),
        ("free_bits_batch_mean_mask", 1.6, 0.0),
        ("capacity_batch_mean", 1.0, 0.55),
        ("capacity_batch_mean", 4.0, 2.45),
    ],
)
def test_the_mean_of_a_batch_term_is_the_function_of_the_mean(name, amount, mean):
    kl = torch.tensor(KL)
    assert KL_TERMS[name].function(kl, amount, kl.mean(0)).mean().item() == pytest.approx(mean)


@pytest.mark.parametrize("name", KL_TERMS)
def test_an_objective_judges_a_term_by_the_mean_over_its_real_sentences(name):
    amount, values, gradient = BY_HAND[name]
    kl = torch.tensor([KL[0], [9.0, 9.0, 9.0], KL[1]], requires_grad=True)  # the second is empty
    output = SimpleNamespace(
        reconstruction_nll=torch.zeros(3), kl=kl, num_tokens=torch.tensor([4, 0, 2])
    )
    loss, _ = objective_of(name, amount, normalization="sequence")(output, 0)
    assert loss.item() == pytest.approx(sum(values) / 2)
    loss.backward()
    of_real = torch.tensor(gradient, dtype=torch.float32) / 2
    assert_close(kl.grad, torch.stack([of_real[0], torch.zeros(3), of_real[1]]))


def output_of(rows, weight) -> SimpleNamespace:
    x = torch.linspace(0.1, 2.0, 32).view(8, 4)[rows]
    return SimpleNamespace(
        reconstruction_nll=(x * weight).sum(-1).square(),
        kl=(x * weight).square(),
        latents=x * weight,
        num_tokens=torch.ones(len(rows), dtype=torch.long),
    )


@pytest.mark.parametrize("name", KL_TERMS)
@pytest.mark.parametrize("amount", [0.01, 0.3])
def test_a_term_is_exact_over_processes_once_its_statistics_are_gathered(name, amount):
    """Shares of 5 and 3 rows: the sum over shares of loss and gradient is that of the batch."""
    objective = objective_of(name, amount, beta=ConstantSchedule(0.7))

    def loss_and_gradient(shares):
        weight = torch.tensor([0.3, -0.2, 0.5, 0.1], requires_grad=True)
        outputs = [output_of(rows, weight) for rows in shares]
        sums = [
            torch.cat([o.kl.detach().sum(0), torch.tensor([float(len(o.kl))])]) for o in outputs
        ]
        total = sum(
            objective(output, 0, 8, sum_over_processes=lambda own: torch.stack(sums).sum(0))[0]
            for output in outputs
        )
        total.backward()
        return total.detach(), weight.grad

    whole, parts = loss_and_gradient([range(8)]), loss_and_gradient([range(5), range(5, 8)])
    assert_close(parts, whole)


def test_a_term_declares_that_it_reads_the_batch_exactly_where_cutting_the_batch_changes_it():
    generator = torch.Generator().manual_seed(0)
    for name, term in KL_TERMS.items():
        changed = []
        for _ in range(50):
            kl = torch.rand(4, 3, generator=generator)
            whole = term.function(kl, 0.5, kl.mean(0))
            parts = [term.function(row[None], 0.5, row) for row in kl]
            changed.append(not torch.allclose(torch.cat(parts), whole))
        assert any(changed) == term.per_batch, name


def test_a_family_of_terms_is_no_term_and_the_error_lists_its_members():
    for family in ("free_bits", "capacity"):
        with pytest.raises(ValueError) as error:
            Objective(kl_term=family)
        members = [name for name in KL_TERMS if name.startswith(family)]
        assert str(error.value).endswith(f"{sorted(members)}.") and len(members) >= 2


def test_an_objective_says_what_makes_it_no_sum_over_sentences():
    assert Objective().batch_reader is None
    mean = objective_of("capacity_batch_mean", 1.0).batch_reader
    assert mean == ("kl_term 'capacity_batch_mean'", False)
    assert Objective(mmd_weight=2.0).batch_reader == ("mmd_weight", True)


@pytest.mark.parametrize("name", [name for name, term in KL_TERMS.items() if term.amount])
def test_a_term_without_its_nats_would_be_the_plain_kl_and_is_refused(name):
    with pytest.raises(ValueError, match=f"'{name}' needs {KL_TERMS[name].amount}"):
        Objective(kl_term=name)


# MMD


def test_the_mmd_is_the_kernel_estimate_with_all_samples_of_the_prior():
    generator = torch.Generator().manual_seed(0)
    latents = 0.7 * torch.randn(40, 3, generator=generator, dtype=torch.float64) + 0.4
    prior = torch.randn(200_000, 3, generator=generator, dtype=torch.float64)

    def kernel(a, b):
        return torch.exp(-torch.cdist(a, b).square() / 6.0)

    own = (kernel(latents, latents).sum() - 40) / (40 * 39)
    cross = torch.stack([kernel(part, latents).mean() for part in prior.split(10_000)]).mean()
    within = torch.exp(-(prior[::2] - prior[1::2]).square().sum(1) / 6.0).mean()
    assert mmd_to_standard_normal(latents).item() == pytest.approx(
        float(own - 2 * cross + within), abs=2e-3
    )


def test_the_mmd_is_unbiased_so_it_is_zero_on_average_at_the_prior_and_positive_elsewhere():
    generator = torch.Generator().manual_seed(1)
    at_prior = torch.stack(
        [mmd_to_standard_normal(torch.randn(16, 4, generator=generator)) for _ in range(600)]
    )
    error = at_prior.std() / 600**0.5
    assert abs(float(at_prior.mean())) < 3 * float(error)
    shifted = torch.randn(16, 4, generator=generator) + 1.5
    assert mmd_to_standard_normal(shifted) > 10 * error


@pytest.mark.parametrize("count", [0, 1])
def test_fewer_than_two_latents_have_no_mmd_but_a_gradient(count):
    latents = torch.randn(count, 3, requires_grad=True)
    value = mmd_to_standard_normal(latents)
    value.backward()
    assert value.item() == 0.0 and torch.equal(latents.grad, torch.zeros(count, 3))


@pytest.mark.parametrize(("normalization", "items"), [("sequence", 8), ("token", 8)])
def test_the_loss_adds_the_mmd_of_the_real_rows_in_nats_a_sentence(normalization, items):
    weight = torch.tensor([0.3, -0.2, 0.5, 0.1])
    output = output_of(range(8), weight)
    without, _ = Objective(normalization=normalization)(output, 0)
    loss, logs = Objective(normalization=normalization, mmd_weight=3.0)(output, 0)
    mmd = mmd_to_standard_normal(output.latents)
    assert loss.item() == pytest.approx(without.item() + 3.0 * mmd.item() * 8 / items, rel=1e-5)
    assert logs["mmd"].item() == pytest.approx(8 * mmd.item())
    assert summarize(logs, 0.1)["mmd"] == pytest.approx(mmd.item())
    output.num_tokens[2:5] = 0
    output.latents[3] = float("nan")
    loss, _ = Objective(normalization="sequence", mmd_weight=3.0)(output, 0)
    rest, _ = Objective(normalization="sequence")(output, 0)
    mmd = mmd_to_standard_normal(output.latents[[0, 1, 5, 6, 7]])
    assert loss.item() == pytest.approx(rest.item() + 3.0 * mmd.item(), rel=1e-5)
