"""Checks of training: the objective finds the linear VAE's known optimum, at every beta."""

from collections.abc import Iterator
from dataclasses import dataclass

import torch
from torch import Tensor

from hf_seqvae.metrics import active_units
from hf_seqvae.objectives import ConstantSchedule, Objective, Schedule
from hf_seqvae.oracles import LinearVAEModel, LinearVAEOptimum, ppca_log_likelihood
from hf_seqvae.selfcheck import gaussian
from hf_seqvae.selfcheck.comparison import Comparison, ranged, same

STEPS = 2000
PLATEAUS, PLATEAU_STEPS = (0.5, 2.0, 8.0, 1.0), 800
TRAINED = 2  # cases of `gaussian.CASES` that are trained by default


@dataclass(frozen=True)
class PlateauSchedule:
    """Each of `values` for `num_steps` steps, and the last one from then on."""

    values: tuple[float, ...]
    num_steps: int

    def __call__(self, step: int) -> float:
        """The weight after `step` optimizer updates."""
        return self.values[min(step // self.num_steps, len(self.values) - 1)]


def optimum(full: bool) -> Iterator[Comparison]:
    """The closed form: its ELBO by the weights, and at beta 1 the likelihood."""
    batch = gaussian.batch_of(gaussian.design())
    for beta in (1.0, 2.0):
        best, model = gaussian.optimum(kl_weight=beta), gaussian.best_model(kl_weight=beta)
        q = model.posterior(batch)
        elbo = -(model.expected_reconstruction_nll(batch) + q.kl().sum(1)).mean()
        yield same(f"its ELBO at beta {beta:g}", elbo, best.elbo, tolerance=1e-8)
    best, model = gaussian.optimum(), gaussian.best_model()
    log_prob = ppca_log_likelihood(
        batch["input_values"], model.decoder.weight, gaussian.SIGMA2, model.mean
    )
    quantity = "ELBO at beta 1 = mean log p(x)"
    yield same(quantity, best.elbo, log_prob.mean(), tolerance=1e-8)
    draws = gaussian.batch_of(gaussian.vectors(1000))
    q = model.posterior(draws)
    elbo = -(model.expected_reconstruction_nll(draws) + q.kl().sum(1))
    log_prob = ppca_log_likelihood(
        draws["input_values"], model.decoder.weight, gaussian.SIGMA2, model.mean
    )
    worst = int((elbo - log_prob).abs().argmax())
    yield same("and for the worst of 1,000 x", elbo[worst], log_prob[worst], tolerance=1e-8)


def trained(full: bool) -> Iterator[Comparison]:
    """Adam ends where the closed form says, with as many dimensions in use."""
    cases = list(gaussian.CASES)
    rows = gaussian.design().float()
    for sigma2, beta in cases if full else cases[:TRAINED]:
        model, best = (
            gaussian.fresh_model(sigma2, analytic_elbo=True),
            gaussian.optimum(sigma2, beta),
        )
        train(model, rows, ConstantSchedule(beta))
        where = f"sigma2 {sigma2:g}, beta {beta:g}"
        yield from _agreement(model, best, where)
        if beta == 1.0:  # elsewhere the ELBO at weight 1 is not what was raised
            output = model(**gaussian.batch_of(rows))
            elbo = -(output.reconstruction_nll + output.kl.sum(1)).double().mean()
            yield ranged(
                f"ELBO, {where}",
                elbo,
                best.elbo,
                low=best.elbo - 0.03,
                high=best.elbo + 1e-3,
                rule="-0.03 to +0.001",
            )
    if full:
        yield from _noisy_training()
        yield from _learned_variance()


def annealing(full: bool) -> Iterator[Comparison]:
    """On each plateau of a beta schedule as many units are active as lie above its water."""
    model = gaussian.fresh_model(analytic_elbo=True)
    rows = gaussian.design().float()
    objective = Objective(PlateauSchedule(PLATEAUS, PLATEAU_STEPS), normalization="sequence")
    optimizer = torch.optim.Adam(model.parameters(), lr=0.02)
    for plateau, beta in enumerate(PLATEAUS):
        first = plateau * PLATEAU_STEPS
        for step in range(first, first + PLATEAU_STEPS):
            _update(model, rows, objective, optimizer, step)
        predicted = gaussian.optimum(kl_weight=beta).active_units
        found = active_units(model.posterior(gaussian.batch_of(rows)).mean)
        yield same(f"active units, end of beta {beta:g}", found, predicted)


def train(
    model: LinearVAEModel, rows: Tensor, beta: Schedule, *, batch_size: int | None = None
) -> None:
    """`STEPS` updates of Adam at a falling rate, on all rows or on seeded batches of them."""
    objective = Objective(beta, normalization="sequence")
    optimizer = torch.optim.Adam(model.parameters(), lr=0.06)
    decay = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, STEPS)
    generator = torch.Generator().manual_seed(0)
    for step in range(STEPS):
        batch = rows
        if batch_size is not None:
            batch = rows[torch.randint(len(rows), (batch_size,), generator=generator)]
        _update(model, batch, objective, optimizer, step)
        decay.step()


@torch.enable_grad()
def _update(
    model: LinearVAEModel,
    rows: Tensor,
    objective: Objective,
    optimizer: torch.optim.Optimizer,
    step: int,
) -> None:
    loss, _ = objective(model.train()(**gaussian.batch_of(rows)), step)
    optimizer.zero_grad()
    loss.backward()
    optimizer.step()


def _agreement(model: LinearVAEModel, best: LinearVAEOptimum, where: str) -> Iterator[Comparison]:
    """Active units exactly, KL within 1 %."""
    q = model.posterior(gaussian.batch_of(gaussian.design().float()))
    yield same(f"active units, {where}", active_units(q.mean), best.active_units)
    room = max(0.01 * best.rate, 0.001)
    yield ranged(
        f"KL, {where}",
        q.kl().sum(1).mean(),
        best.rate,
        low=best.rate - room,
        high=best.rate + room,
        rule="within 1 %" if best.rate > 0 else "± 0.001",
    )


def _noisy_training() -> Iterator[Comparison]:
    """The same from one posterior sample of 256 random vectors at a time."""
    model = gaussian.fresh_model()
    train(model, gaussian.vectors(20_000).float(), ConstantSchedule(1.0), batch_size=256)
    yield from _agreement(model, gaussian.optimum(), "noisy batches")


def _learned_variance() -> Iterator[Comparison]:
    """A learned noise variance is the mean of the eigenvalues that no latent serves."""
    model = gaussian.fresh_model(analytic_elbo=True, learn_sigma2=True)
    train(model, gaussian.design().float(), ConstantSchedule(1.0))
    rest = gaussian.EIGENVALUES[gaussian.LATENT_SIZE :]
    exact = sum(rest) / len(rest)
    yield ranged(
        "learned sigma2",
        model.sigma2,
        exact,
        low=0.99 * exact,
        high=1.01 * exact,
        rule="within 1 %",
    )
