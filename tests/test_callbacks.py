"""CollapseWatch on sequences of figures: when it judges, what it says, and that it says it once."""

import pytest
from recorded_runs import RECORDED

from hf_seqvae.callbacks import CollapseWatch, Observation, settling
from hf_seqvae.objectives import ConstantSchedule, CyclicalSchedule, LinearSchedule


def watched(rows, **options) -> list[str | None]:
    """What the watch says to rows of (step, beta, kl, MI, active units), of 16 dimensions."""
    options.setdefault("num_sentences", 2000)
    options.setdefault("setup", {"model": {"latent_size": 16}})
    watch = CollapseWatch(**options)
    return [watch.observe(Observation(*row)) for row in rows]


def warnings(rows, **options) -> list[str]:
    return [said for said in watched(rows, **options) if said is not None]


COLLAPSED = [(step, 1.0, 0.02, 0.01, 0) for step in (100, 200, 300, 400)]


def test_a_collapsed_run_is_warned_of_once_with_figure_and_cure():
    first, *rest = warnings(COLLAPSED)
    assert rest == []
    assert "step 200: the latent looks collapsed: KL 0.02 < 0.1 nats a sentence at beta 1" in first
    assert "Try free bits: --set objective.kl_term=free_bits_per_sentence_mask" in first


def test_the_cure_is_one_the_run_does_not_have():
    floor = {"kl_term": "free_bits_per_sentence_mask", "free_bits": 3.0}
    setup = {"model": {"latent_size": 16}, "objective": floor}
    assert "objective.free_bits=6" in warnings(COLLAPSED, setup=setup)[0]


def test_nothing_is_said_at_the_start_where_every_model_looks_collapsed():
    assert watched(COLLAPSED[:1]) == [None]
    # a validation before the first step does not count as the first of two
    assert watched([(0, 1.0, 0.1, 0.0, 0), (100, 1.0, 0.02, 0.01, 0)]) == [None, None]


def test_nothing_is_judged_before_beta_is_at_nine_tenths_of_its_end():
    early = [(step, 0.5, 0.02, 0.01, 0) for step in (100, 200, 300)]
    assert warnings(early) == []
    assert len(warnings(early, final_beta=0.55)) == 1


def test_a_latent_that_comes_back_is_not_warned_of():
    rising = [(100 * n, 1.0, 0.03 * 1.3**n, 0.02, 0) for n in range(1, 6)]
    assert warnings(rising) == []
    # KL held up by free bits from the start, mutual information on its way
    learning = [(100 * n, 1.0, 3.0, 0.1 * 1.8**n, 16) for n in range(1, 6)]
    assert warnings(learning) == []


def test_a_rate_that_is_paid_and_unused_is_warned_of_with_another_cure_than_more_rate():
    unused = [(step, 1.0, 4.0, 0.1, 16) for step in (100, 200, 300)]
    (said,) = warnings(unused)
    assert "paid but unused rate: MI / KL = 0.03 < 0.25" in said
    assert "free_bits" not in said


def test_without_the_number_of_sentences_mutual_information_is_not_judged():
    unused = [(step, 1.0, 4.0, 0.1, 16) for step in (100, 200, 300)]
    assert warnings(unused, num_sentences=None) == []
    # ln 20 = 3.0: an MI of 2.5 may be anything above
    capped = [(step, 1.0, 30.0, 2.5, 16) for step in (100, 200, 300)]
    assert warnings(capped, num_sentences=20) == []
    assert len(warnings(capped, num_sentences=2000)) == 1


def test_a_rate_is_not_called_unused_while_the_words_are_still_being_learnt():
    def run(losses):
        return [(100 * n, 1.0, 4.0, 0.1, 16, loss) for n, loss in enumerate(losses, 1)]

    assert warnings(run([60.0, 50.0, 42.0, 36.0])) == []
    assert len(warnings(run([60.0, 50.0, 49.9, 49.8]))) == 1
    # but a KL of nothing is not waited for
    assert len(warnings([(100 * n, 1.0, 0.01, 0.0, 0, 60.0 / n) for n in (1, 2, 3)])) == 1


def test_a_kl_that_falls_three_times_while_beta_rises_is_warned_of_before_beta_is_there():
    falling = [(1, 0.2, 4.0, 3.0, 9), (2, 0.4, 2.0, 1.8, 9), (3, 0.6, 1.0, 0.9, 9)]
    assert warnings(falling) == []
    (said,) = warnings([*falling, (4, 0.8, 0.5, 0.4, 5)])
    assert "about to collapse: KL fell from 4.00 to 0.50 nats a sentence over 3" in said
    assert "beta rose from 0.2 to 0.8" in said


@pytest.mark.parametrize(
    "rows",
    [
        # falls, but is heading for a KL that says much
        [(1, 0.2, 30.0, 7.0, 16), (2, 0.4, 16.0, 7.0, 16), (3, 0.6, 12.0, 7.0, 16)]
        + [(4, 0.8, 10.0, 6.0, 16), (5, 1.0, 9.0, 6.0, 16)],
        # falls at a constant beta
        [(n, 0.5, 3.0 * 0.5**n, 1.0, 9) for n in range(5)],
        # is interrupted by a rise
        [(1, 0.2, 4.0, 3.0, 9), (2, 0.4, 2.0, 1.8, 9), (3, 0.6, 2.1, 1.9, 9), (4, 0.8, 1.5, 1, 9)],
        # falls by little
        [(n, 0.1 + 0.2 * n, 1.9 - 0.05 * n, 1.7, 9) for n in range(4)],
    ],
    ids=["rich", "constant beta", "interrupted", "little"],
)
def test_a_kl_that_falls_otherwise_is_no_cause(rows):
    assert warnings(rows) == []


def test_figures_that_are_not_finite_are_left_to_the_loop():
    assert warnings([(1, 1.0, float("nan"), None, None)] * 4) == []


def test_beta_settles_where_it_never_again_falls_below_nine_tenths_of_its_end():
    assert settling(ConstantSchedule(0.5), 100) == (0.5, 0)
    assert settling(LinearSchedule(0.0, 1.0, 50), 100) == (1.0, 45)
    # the run ends before the schedule does
    assert settling(LinearSchedule(0.0, 1.0, 200), 101) == (0.5, 90)
    final, settled = settling(CyclicalSchedule(80, num_cycles=4, ramp_fraction=0.5), 100)
    assert (final, settled) == (1.0, 69)  # in the last of the four cycles
    assert settling(LinearSchedule(0.1, 0.7, 50)) == (0.7, 0)


def test_settling_agrees_with_every_step_of_a_long_run():
    beta = CyclicalSchedule(30_000, num_cycles=3, ramp_fraction=0.7)
    final, settled = settling(beta, 40_000)
    first = max(step for step in range(40_000) if beta(step) < 0.9 * final) + 1
    assert abs(settled - first) <= 4  # it looks at 10,000 steps


def test_cycles_are_judged_in_the_last_one_only():
    beta = CyclicalSchedule(400, num_cycles=4, ramp_fraction=0.5)
    watch = CollapseWatch.of_schedule(beta, 400, num_sentences=2000)
    steps = range(25, 400, 25)
    said = [step for step in steps if watch.observe(Observation(step, beta(step - 1), 0.02))]
    assert said == [350]  # the last ramp ends there; the first three cycles were not judged


@pytest.mark.parametrize("name", RECORDED)
def test_a_recorded_run_is_warned_of_where_it_lost_its_latent_and_not_otherwise(name):
    run = RECORDED[name]
    said = watched(
        run["validations"],
        num_sentences=run["num_sentences"],
        setup={"model": {"latent_size": run["latent_size"]}},
    )
    steps = [row[0] for row, text in zip(run["validations"], said, strict=True) if text]
    assert steps == ([] if run["warned_at"] is None else [run["warned_at"]])
