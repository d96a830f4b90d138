"""Remedies as words of a recipe: phases, schedules, and what contradicts what."""

import pytest

from hf_seqvae.objectives import CyclicalZeroSchedule, SigmoidSchedule, TargetRate
from hf_seqvae.recipe import Recipe, build_objective, build_phases, load

# phases


def with_phases(phases, **training) -> Recipe:
    return Recipe.from_dict({"phases": phases, "training": {"epochs": 9, **training}})


def test_phases_share_the_epochs_of_the_run():
    recipe = with_phases({"autoencoder": {"epochs": 4}, "vae": {"reset": ["decoder"]}})
    found = build_phases(recipe.phases, recipe.training.epochs)
    assert [(phase.name, phase.epochs, phase.reset) for phase in found] == [
        ("autoencoder", 4, ()),
        ("vae", 5, ("decoder",)),
    ]
    assert Recipe.from_dict(recipe.to_dict()) == recipe
    assert build_phases({}, 9) == []


def test_an_autoencoder_phase_has_beta_zero_and_the_other_the_recipes_own_objective():
    recipe = Recipe.from_dict(
        {
            "phases": {"autoencoder": {"epochs": 4}, "vae": {}},
            "training": {"epochs": 9},
            "objective": {
                "beta": {"schedule": "linear", "num_epochs": 2},
                "kl_term": "free_bits_per_dimension_mask",
                "free_bits": 0.25,
            },
        }
    )
    first, second = build_phases(recipe.phases, 9)
    autoencoder = build_objective(recipe, 10, first)
    assert [autoencoder.beta(step) for step in (0, 999)] == [0.0, 0.0]
    assert autoencoder.kl_term == "plain"
    vae = build_objective(recipe, 10, second)
    assert vae == build_objective(recipe, 10)
    assert vae.beta(10) == 0.5 and vae.free_bits == 0.25


@pytest.mark.parametrize(
    ("phases", "message"),
    [
        ({"autoencodr": {"epochs": 2}, "vae": {}}, "Unknown phase 'autoencodr'.*'autoencoder'"),
        ({"autoencoder": {"epochs": 2}}, "last of the phases must be vae"),
        ({"vae": {"reset": ["decoder"]}}, "all weights are new in the first phase"),
        ({"autoencoder": {"epochs": 2}, "vae": {"reset": ["decodr"]}}, "out of .*got 'decodr'"),
        ({"autoencoder": {"epochs": 2}, "vae": {"epochs": 3}}, r"must share training.epochs \(9\)"),
        ({"autoencoder": {"epochs": 9}, "vae": {}}, "must share training.epochs"),
        ({"autoencoder": {}, "vae": {}}, "Let one of them leave out its epochs"),
        ({"autoencoder": {"epoch": 2}, "vae": {}}, "Did you mean 'phases.<name>.epochs'"),
        ({"autoencoder": {"epochs": 0}, "vae": {}}, "at least 1"),
        ({"autoencoder": 2, "vae": {}}, "must be a mapping"),
        ({"autoencoder": {"name": "vae"}, "vae": {}}, "said by its key"),
    ],
)
def test_phases_that_make_no_sense_are_refused(phases, message):
    with pytest.raises(ValueError, match=message):
        with_phases(phases)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"training": {"epochs": 9, "max_steps": 30}}, "may end before the last of the phases"),
        ({"model": {"tie_word_embeddings": True}}, "tie_word_embeddings makes its embeddings"),
        ({"training": {"epochs": 9, "scheduler": "linear"}}, "each of the phases begins anew"),
    ],
)
def test_phases_refuse_what_would_break_them(options, message):
    phases = {"autoencoder": {"epochs": 2}, "vae": {"reset": ["decoder"]}}
    values = {"phases": phases, "training": {"epochs": 9}}
    Recipe.from_dict(values)
    with pytest.raises(ValueError, match=message):
        Recipe.from_dict(values | options)


def test_a_mistyped_phase_on_the_command_line_is_refused():
    with pytest.raises(ValueError, match="Unknown phase 'autoencoders'"):
        load("quickstart", ["phases.autoencoders.epochs=2"])


def test_batch_norm_keeps_the_mean_of_a_batch_and_not_a_sentence_above_a_floor():
    overrides = ["model.posterior=batch_norm_gaussian", "model.batch_norm_gamma=2"]
    floor = "objective={kl_term: free_bits_per_sentence_mask, free_bits: 3}"
    assert load("quickstart", [*overrides, floor]).objective.free_bits == 3


# what contradicts


@pytest.mark.parametrize(
    ("overrides", "message"),
    [
        (["objective.beta={schedule: sigmoid}"], "needs one of .*num_epochs and .*num_steps"),
        (["objective.beta={schedule: target_rate}"], "needs objective.beta.rate"),
        (["objective.beta={schedule: target_rate, rate: 3, num_steps: 9}"], "is not read by"),
        (["objective.beta.rate=3"], "is not read by the schedule 'linear'"),
        (["model.kl_weight=0.5"], "two weights contradict"),
        (
            ["model.posterior=committed_rate_gaussian", "model.committed_rate=5"]
            + ["objective.beta={schedule: target_rate, rate: 3}"],
            r"objective.beta.rate \(3\) is out of reach.*at 5 nats",
        ),
        (["training.inner_window=4"], "read by aggressive updates alone"),
        (
            ["training.encoder_updates=aggressive", "training.num_processes=2"],
            "runs on one process",
        ),
        (["training.encoder_updates=lagging"], "must be one of"),
        (
            ["objective={mmd_weight: 3}", "training.gradient_accumulation_steps=2"],
            "mmd_weight reads the whole batch, .* into 2 pieces",
        ),
        (
            ["objective={mmd_weight: 3}", "training.num_processes=2"],
            "mmd_weight reads the whole batch, of which each of 2 processes",
        ),
        (["objective.kl_term=free_bits"], "Several methods are called free bits"),
        (["objective={kl_term: free_bits_batch_mean_mask}"], "needs free_bits, in nats"),
        (["objective={kl_term: capacity_per_sentence}"], "needs capacity, in nats"),
        (
            ["model.posterior=batch_norm_gaussian", "model.batch_norm_gamma=2"]
            + ["objective.beta={schedule: target_rate, rate: 1}"],
            r"rate \(1\) is out of reach.*'batch_norm_gaussian' keeps the KL at 32 nats",
        ),
        (
            ["model.posterior=batch_norm_gaussian", "objective={kl_term: capacity_batch_mean}"]
            + ["objective.capacity=1"],
            r"objective.capacity \(1\) is out of reach",
        ),
        (["model.posterior=batch_norm_gaussian", "model.committed_rate=5"], "committed_rate"),
        (
            ["model.posterior=committed_rate_gaussian", "model.committed_rate=5"]
            + ["objective={kl_term: free_bits_per_sentence_mask, free_bits: 5}"],
            r"free_bits \(5\) of 'free_bits_per_sentence_mask' does nothing.*at 5 nats",
        ),
        (
            ["model.posterior=batch_norm_gaussian", "model.batch_norm_gamma=2"]
            + ["objective={kl_term: free_bits_batch_mean_mask, free_bits: 3}"],
            "does nothing.*'batch_norm_gaussian' keeps the KL at 32 nats",
        ),
        (["training.max_decays=3"], "max_decays: read by .* alone.*back to max_decays=5"),
        (
            ["training.decay_start_epoch=3", "training.scheduler=linear"],
            "decay_start_epoch: read by .*scheduler is 'linear'.*decay_start_epoch=0",
        ),
        (["model.latent_injection=[]"], "model: language_model"),
        (["model.input_noise=foo"], "input_noise must be one of"),
        (["model.input_noise=deletion"], "needs input_noise_rate"),
        (
            [
                "objective.beta={schedule: cyclical_zero, num_epochs: 2, zero_fraction: 0.8, "
                "ramp_fraction: 0.5}"
            ],
            "objective.beta: zero_fraction and ramp_fraction",
        ),
        (
            ["objective.beta={schedule: target_rate, rate: 3, minimum: 1, maximum: 0.5}"],
            "minimum must be below maximum",
        ),
        (
            ["training.encoder_updates=aggressive", "training.inner_window=200"],
            "must not be above max_inner_updates",
        ),
        (["objective={kl_term: plain, capacity: 3}"], "'plain' has no capacity"),
    ],
)
def test_contradictory_remedies_are_refused_with_the_cure(overrides, message):
    with pytest.raises(ValueError, match=message):
        load("quickstart", overrides)


@pytest.mark.parametrize(
    ("beta", "kind", "at_five"),
    [
        ({"schedule": "sigmoid", "num_epochs": 1, "start": 0.2}, SigmoidSchedule, 0.6),
        ({"schedule": "cyclical_zero", "num_steps": 20, "num_cycles": 1}, CyclicalZeroSchedule, 0),
        ({"schedule": "target_rate", "rate": 4.0, "minimum": 0.1}, TargetRate, 0.1),
    ],
)
def test_every_schedule_is_built_from_its_word(beta, kind, at_five):
    recipe = Recipe.from_dict({"objective": {"beta": beta}, "training": {"epochs": 3}})
    schedule = build_objective(recipe, 10).beta
    assert isinstance(schedule, kind)
    assert schedule(5) == pytest.approx(at_five)
