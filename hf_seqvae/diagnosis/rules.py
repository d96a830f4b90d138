"""The rules of the collapse doctor: a few figures -> exactly one verdict, thresholds in one place.

The rules stand in an order and the first that holds decides, so every set of figures has exactly
one verdict. Where the mutual information is undefined, or so near its cap that it could be
anything above, its share of the KL is not judged: the swap gap speaks, against what is known of the
information. The thresholds are ours, set on the runs of
training/results/ and on the toy models whose rate is paid and not used.
"""

import math
from dataclasses import dataclass

from hf_seqvae.metrics.latent_usage import used_fraction

COLLAPSED = "collapsed"
UNUSED_RATE = "paid but unused rate"
IGNORED = "latent ignored by decoder"
PARTLY = "partly collapsed"
HEALTHY = "healthy"
VERDICTS = (COLLAPSED, UNUSED_RATE, IGNORED, PARTLY, HEALTHY)


@dataclass(frozen=True)
class Limits:
    """Every threshold of the rules.

    Attributes:
        paid_kl: nats a sentence below which nothing is paid for z.
        useful_kl: nats a sentence below which z can say little.
        unused_fraction: MI / KL below which the rate says next to nothing of the sentence.
        used_fraction: MI / KL below which more of the rate is lost than used.
        heard_fraction: swap gap over MI (over KL where MI is undefined) below which the decoder
            does not listen: a decoder that makes full use of z loses the MI or more.
        active_fraction: share of active dimensions below which most of the latent is empty.
    """

    paid_kl: float = 0.1
    useful_kl: float = 1.0
    unused_fraction: float = 0.25
    used_fraction: float = 0.5
    heard_fraction: float = 0.25
    active_fraction: float = 0.25


LIMITS = Limits()


@dataclass(frozen=True)
class Measured:
    """What the rules look at; None where a figure is undefined or was not measured.

    Attributes:
        kl: nats a sentence, plain and without free bits.
        mutual_information: nats, by the aggregate of `num_sentences` sentences.
        num_sentences: N, which caps the mutual information at ln N.
        swap_gap: nats a sentence lost at the latents of another.
        active_units: dimensions whose posterior mean varies.
        latent_size: Z.
    """

    kl: float
    mutual_information: float | None = None
    num_sentences: int | None = None
    swap_gap: float | None = None
    active_units: int | None = None
    latent_size: int | None = None

    def __post_init__(self) -> None:
        """Check that what is there is a number."""
        for name in ("kl", "mutual_information", "swap_gap"):
            value = getattr(self, name)
            if value is not None and not math.isfinite(value):
                raise ValueError(
                    f"{name} must be finite, got {value}: the weights have diverged. Diagnose an "
                    "earlier checkpoint."
                )

    @property
    def used(self) -> float | None:
        """min(1, MI / KL); None where there is no rate, no MI, or MI is near its cap."""
        if self.mutual_information is None or self.num_sentences is None:
            return None
        return used_fraction(self.mutual_information, self.kl, self.num_sentences)[0]


@dataclass(frozen=True)
class Judgement:
    """A verdict and what led to it.

    Attributes:
        verdict: one of `VERDICTS`.
        rule: the rule that held, with the figures put in.
        wasteful: whether the rate is paid and lost, so that more of it would be no cure.
    """

    verdict: str
    rule: str
    wasteful: bool = False


def judge(measured: Measured, *, limits: Limits = LIMITS) -> Judgement:
    """The verdict on a set of figures: the first rule that holds, of a list that always ends."""
    kl, used, gap = measured.kl, measured.used, measured.swap_gap
    if kl < limits.paid_kl:
        return Judgement(COLLAPSED, f"KL {kl:.2g} < {limits.paid_kl:g} nats a sentence")
    if used is not None and used < limits.unused_fraction:
        rule = f"MI / KL = {used:.2f} < {limits.unused_fraction:g}"
        if gap is None:
            return Judgement(UNUSED_RATE, rule, wasteful=True)
        if gap < limits.heard_fraction * kl:
            limit = f"{limits.heard_fraction:g} x KL = {limits.heard_fraction * kl:.2f} nats"
            rule = f"{rule}, and swap gap {gap:.2f} < {limit}"
            return Judgement(UNUSED_RATE, rule, wasteful=True)
    reference, name = _what_is_there_to_hear(measured)
    if gap is not None and gap < limits.heard_fraction * reference:
        limit = f"{limits.heard_fraction:g} x {name} = {limits.heard_fraction * reference:.2f} nats"
        return Judgement(IGNORED, f"swap gap {gap:.2f} < {limit}")
    if kl < limits.useful_kl:
        return Judgement(PARTLY, f"KL {kl:.2f} < {limits.useful_kl:g} nats a sentence")
    if used is not None and used < limits.used_fraction:
        rule = f"MI / KL = {used:.2f} < {limits.used_fraction:g}"
        return Judgement(PARTLY, rule, wasteful=True)
    if measured.active_units is not None and measured.latent_size is not None:
        share = measured.active_units / measured.latent_size
        if share < limits.active_fraction:
            units = f"{measured.active_units} of {measured.latent_size} dimensions active"
            return Judgement(PARTLY, f"{units}, fewer than {limits.active_fraction:.0%}")
    return Judgement(HEALTHY, _healthy(measured, limits))


def _what_is_there_to_hear(measured: Measured) -> tuple[float, str]:
    """Nats that z holds, by the best figure there is, and its name."""
    if measured.mutual_information is not None:
        return measured.mutual_information, "MI"
    return measured.kl, "KL"


def _healthy(measured: Measured, limits: Limits) -> str:
    said = [f"KL {measured.kl:.2f} >= {limits.useful_kl:g} nats a sentence"]
    if measured.used is not None:
        said.append(f"MI / KL = {measured.used:.2f} >= {limits.used_fraction:g}")
    if measured.swap_gap is not None:
        reference, name = _what_is_there_to_hear(measured)
        limit = f"{limits.heard_fraction:g} x {name} = {limits.heard_fraction * reference:.2f}"
        said.append(f"swap gap {measured.swap_gap:.2f} >= {limit} nats")
    if measured.active_units is not None and measured.latent_size is not None:
        said.append(f"{measured.active_units} of {measured.latent_size} dimensions active")
    return ", ".join(said)
