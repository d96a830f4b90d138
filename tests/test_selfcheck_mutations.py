"""Estimators broken on purpose: `hf-seqvae selfcheck` turns red, and where it should.

A mutation is a change of a function's source text. The new code goes into the function itself, so
that everybody who imported it runs it.
"""

import inspect
import json
import textwrap
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import NamedTuple

import pytest
from typer.testing import CliRunner

from hf_seqvae.cli import app
from hf_seqvae.evaluation.figures import perplexity_figures
from hf_seqvae.evaluation.passes import _chunks
from hf_seqvae.metrics import (
    ImportanceSums,
    active_units,
    collapse_curve,
    exchange_partners,
    importance_estimate,
    mean_pairwise_cosine,
    perplexity_and_standard_error,
    pointwise_mutual_information,
    sample_with_noise,
    savings,
    swap_gap,
)
from hf_seqvae.model.posterior import kl_to_standard_normal
from hf_seqvae.model.scoring import nll_from_features, position_log_probs
from hf_seqvae.selfcheck import CHECKS

SLOW = {"iw_nll_gap", "grammar", "training", "annealing"}
FAST = [check.name for check in CHECKS if check.name not in SLOW]


class Mutation(NamedTuple):
    what: str
    function: Callable
    old: str
    new: str
    red: set[str]


SCORES = {"scoring", "elbo", "iw_nll", "swap_gap", "report"}
MUTATIONS = [
    Mutation(
        "log K is dropped",
        ImportanceSums.estimate,
        "math.log(self.num_samples) - self._total",
        "-self._total",
        {"iw_nll", "report"},
    ),
    Mutation(
        "a KL sign is flipped",
        kl_to_standard_normal,
        "torch.expm1(logvar) - logvar",
        "torch.expm1(logvar) + logvar",
        {"elbo", "kl", "used_fraction", "collapse", "report", "optimum"},
    ),
    Mutation(
        "padding is counted",
        nll_from_features,
        "real = labels != IGNORED",
        "labels = labels.clamp(min=0); real = labels != IGNORED",
        SCORES | {"effective_sample_size"},
    ),
    Mutation(
        "padding is counted by position",
        position_log_probs,
        "real = labels != IGNORED",
        "labels = labels.clamp(min=0); real = labels != IGNORED",
        {"scoring", "report"},  # `savings` leaves padding out by itself,
    ),
    Mutation(
        "EOS is not scored",
        nll_from_features,
        "real = labels != IGNORED",
        "real = (labels != IGNORED) & (labels.roll(-1, 1) != IGNORED) & (labels > 0)",
        SCORES | {"effective_sample_size"},
    ),
    Mutation(
        "EOS is forgotten in the number of words",
        perplexity_figures,
        "words + 1",
        "words",
        {"report"},
    ),
    Mutation(
        "active units divide by n",
        active_units,
        "correction=1",
        "correction=0",
        {"active_units"},
    ),
    Mutation(
        "the remainder of a chunk is dropped",
        importance_estimate,
        "while sums.num_samples < num_samples",
        "while sums.num_samples + (chunk_size or 1) <= num_samples",
        {"iw_nll"},
    ),
    Mutation(
        "the remainder of a chunk is dropped in `evaluate`",
        _chunks,
        "+ ([rest] if rest else [])",
        "",
        {"report"},
    ),
    Mutation(
        "MI takes q(z|x) at the z of another sentence",
        pointwise_mutual_information,
        "log_density[:, own].diagonal()",
        "log_density.roll(1, 1)[:, own].diagonal()",
        {"mutual_information", "minibatch_information", "used_fraction", "report"},
    ),
    Mutation(
        "MI forgets ln N",
        pointwise_mutual_information,
        "torch.logsumexp(log_density, dim=1) - math.log(count)",
        "torch.logsumexp(log_density, dim=1)",
        {"mutual_information", "minibatch_information", "used_fraction", "report"},
    ),
    Mutation(
        "everybody is their own partner",
        exchange_partners,
        "np.roll(order, -1)",
        "order",
        {"swap_gap"},
    ),
    Mutation(
        "the swap gap has the other sign",
        swap_gap,
        "reconstruction_nll(model, batch, exchanged) - own_nll",
        "own_nll - reconstruction_nll(model, batch, exchanged)",
        {"swap_gap"},
    ),
    Mutation(
        "a sample has the variance for its deviation",
        sample_with_noise,
        "torch.exp(0.5 * logvar)",
        "torch.exp(logvar)",
        {"elbo", "iw_nll", "effective_sample_size", "mutual_information", "swap_gap", "report"}
        | {"minibatch_information", "used_fraction", "position_profile"},
    ),
    Mutation(
        "the effective sample size is not squared",
        ImportanceSums.estimate,
        "2 * self._total - self._squares",
        "self._total - self._squares",
        {"effective_sample_size"},
    ),
    Mutation(
        "the length is where it goes on alone",
        savings,
        "torch.where(is_end, ends, _log1mexp(ends))",
        "_log1mexp(ends)",
        {"position_profile", "report"},
    ),
    Mutation(
        "a perplexity has the error of its rate",
        perplexity_and_standard_error,
        "error * value",
        "error",
        {"perplexity"},
    ),
    Mutation(
        "collapse counts the rare sentences",
        collapse_curve,
        "below >= 1 - delta",
        "below >= delta",
        {"collapse"},
    ),
    Mutation(
        "a cosine of a feature with itself is counted",
        mean_pairwise_cosine,
        ".square().sum() - count)",
        ".square().sum())",
        {"dispersion"},
    ),
]


@contextmanager
def mutated(mutation: Mutation) -> Iterator[None]:
    source = textwrap.dedent(inspect.getsource(mutation.function))
    assert source.count(mutation.old) == 1, f"{mutation.old!r} in\n{source}"
    names: dict = {}
    code = compile(source.replace(mutation.old, mutation.new), "<mutation>", "exec")
    exec(code, dict(mutation.function.__globals__), names)
    kept = mutation.function.__code__
    mutation.function.__code__ = names[mutation.function.__name__].__code__
    try:
        yield
    finally:
        mutation.function.__code__ = kept


def selfcheck():
    """Exit code, checks with a failed comparison, and the line on stderr, of the real command."""
    only = [part for name in FAST for part in ("--only", name)]
    result = CliRunner().invoke(app, ["selfcheck", "--json", *only])
    report = json.loads(result.stdout)
    red = {line["check"] for line in report["comparisons"] if not line["passed"]}
    assert report["passed"] == (not red)
    return result.exit_code, red, result.stderr


def test_as_it_stands_all_is_green():
    assert selfcheck() == (0, set(), "")


@pytest.mark.parametrize("mutation", MUTATIONS, ids=lambda mutation: mutation.what)
def test_a_broken_estimator_is_found_where_it_is_broken(mutation):
    with mutated(mutation):
        exit_code, red, message = selfcheck()
    assert exit_code == 1
    assert red == mutation.red
    assert "comparisons failed" in message
    assert all(name in message for name in red)
