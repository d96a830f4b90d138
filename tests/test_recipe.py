"""Recipes: YAML and back, refusals that name the key and the cure, and what they are built into."""

import dataclasses
import shlex
from pathlib import Path

import pytest
import torch
from torch import nn
from torch.testing import assert_close

from hf_seqvae import recipe
from hf_seqvae.data import build_tokenizer
from hf_seqvae.objectives import ConstantSchedule, CyclicalSchedule, LinearSchedule
from hf_seqvae.recipe import DataRecipe, Recipe, TokenizerRecipe, TrainingRecipe
from hf_seqvae.recipe.training import SCHEDULERS

TRAINING_RECIPES = sorted((Path(__file__).parents[1] / "training" / "recipes").glob("*.yaml"))
EVERY_RECIPE = ["quickstart", *TRAINING_RECIPES]
TEXTS = ["the cat sleeps .", "a dog runs .", "the dog sleeps ."]


@pytest.fixture(scope="module")
def tokenizer():
    return build_tokenizer(TEXTS)


@pytest.fixture
def write(tmp_path):
    """A function that writes YAML text to a file and gives its path."""

    def write_text(text):
        path = tmp_path / "some.yaml"
        path.write_text(text, encoding="utf-8")
        return path

    return write_text


def small(*overrides):
    """The quickstart recipe with tiny sizes and `overrides`."""
    sizes = [
        "model.latent_size=4",
        "model.encoder={embedding_size: 4, hidden_size: 6}",
        "model.decoder={embedding_size: 5, hidden_size: 7}",
    ]
    return recipe.load("quickstart", [*sizes, *overrides])


# files in the repository


def test_the_literature_and_its_cpu_twins_are_there():
    names = {path.stem for path in TRAINING_RECIPES}
    for text in ("ptb", "yelp_short", "tatoeba"):
        assert {f"{text}_lstm", f"{text}_lstm_cpu"} <= names
    assert {"snli_lstm", "wikitext_lstm", "ptb_hub_lstm"} <= names


@pytest.mark.parametrize("name", EVERY_RECIPE, ids=lambda name: Path(name).stem)
def test_every_recipe_loads_and_builds_config_and_objective(name, tokenizer):
    made = recipe.load(name)
    config = recipe.build_config(made, tokenizer)
    assert made.name == Path(name).stem
    if made.is_language_model:  # tests/test_recipe_language_model.py
        return
    assert config.latent_size == made.model["latent_size"]
    assert config.decoder.vocab_size == config.encoder.vocab_size == len(tokenizer)
    objective = recipe.build_objective(made, steps_per_epoch=100)
    assert objective.normalization == config.loss_normalization
    last = made.training.epochs * 100
    assert objective.beta(0) == made.objective.beta.start < objective.beta(last) == 1.0


@pytest.mark.parametrize("name", EVERY_RECIPE, ids=lambda name: Path(name).stem)
def test_every_recipe_opens_with_the_command_that_runs_it(name):
    root = Path(__file__).parents[1]
    path = root / "hf_seqvae/recipes/quickstart.yaml" if name == "quickstart" else name
    lines = path.read_text(encoding="utf-8").splitlines()
    written = ""
    for line in lines:  # a command goes on behind a backslash
        written += line.removeprefix("#").removesuffix("\\")
        if not line.endswith("\\"):
            break
    command, *words = shlex.split(written)
    assert (command, words[0]) == ("hf-seqvae", "train")
    if name != "quickstart":
        assert words[1] == f"training/recipes/{path.name}"
    overrides = [word for word in words[2:] if word != "--set"]
    recipe.load(name, overrides)


@pytest.mark.parametrize("name", ["ptb_lstm", "yelp_short_lstm", "tatoeba_lstm"])
def test_the_literature_s_recipes_follow_the_literature(name):
    made = recipe.load(TRAINING_RECIPES[0].parent / f"{name}.yaml")
    training, decoder = made.training, made.model["decoder"]
    assert (training.optimizer, training.learning_rate, training.max_grad_norm) == ("sgd", 1.0, 5.0)
    assert (training.scheduler, training.decay_factor, training.max_decays) == (
        "plateau_halving",
        0.5,
        5,
    )
    assert (decoder["input_dropout"], decoder["output_dropout"]) == (0.5, 0.5)
    assert {made.model["initializer"], decoder["initializer"]} == {"literature"}
    assert (made.data.batch_size, made.model["loss_normalization"]) == (32, "sequence")
    sizes = (decoder["embedding_size"], decoder["hidden_size"])
    assert sizes == ((256, 256) if name == "ptb_lstm" else (128, 512))


# reading and writing


def test_a_saved_recipe_comes_back_equal(tmp_path):
    made = small(
        "training.optimizer_args={betas: [0.5, 0.9]}",
        "training.trackers=[tensorboard]",
        "training.learning_rate=1e-05",
        "name='quoted: yes'",
    )
    recipe.save(made, tmp_path / "recipe.yaml")
    back = recipe.load(tmp_path / "recipe.yaml")
    assert back == made and hash(back) == hash(made)
    assert back.training.trackers == ("tensorboard",) and back.training.learning_rate == 1e-5


@pytest.mark.parametrize("name", EVERY_RECIPE, ids=lambda name: Path(name).stem)
def test_every_recipe_comes_back_from_its_dict_and_its_file(name, tmp_path):
    made = recipe.load(name)
    recipe.save(made, tmp_path / "recipe.yaml")
    assert recipe.load(tmp_path / "recipe.yaml") == made == Recipe.from_dict(made.to_dict())


def test_an_empty_file_is_the_default_recipe(write):
    assert recipe.load(write("")) == Recipe()
    assert Recipe().data.dataset == "everyday" and Recipe().output_dir == "runs/seqvae"


def test_numbers_and_words_are_read_as_yaml_1_2_does(write):
    made = recipe.load(
        write("training: {learning_rate: 1e-3, weight_decay: .5, mixed_precision: no}")
    )
    training = made.training
    assert (training.learning_rate, training.weight_decay, training.mixed_precision) == (
        0.001,
        0.5,
        "no",
    )
    assert recipe.load("quickstart", ["training.compile=true"]).training.compile is True


def test_a_key_written_twice_is_refused(write):
    with pytest.raises(ValueError, match="'seed' is written twice.*line 2"):
        recipe.load(write("seed: 1\nseed: 2"))


@pytest.mark.parametrize("text", ["training: {epochs: 3", "[1, 2]", "just words"])
def test_what_is_no_mapping_in_yaml_is_refused_with_the_file_name(write, text):
    with pytest.raises(ValueError, match="some.yaml"):
        recipe.load(write(text))


def test_a_missing_file_is_refused_with_the_packaged_names(tmp_path):
    with pytest.raises(FileNotFoundError, match="Packaged: quickstart"):
        recipe.load("quickstrat")
    with pytest.raises(ValueError, match="is a folder"):
        recipe.load(tmp_path)


# overrides


def test_overrides_reach_every_depth_and_the_last_one_wins():
    made = recipe.load(
        "quickstart",
        [
            "seed=7",
            "model.encoder.hidden_size=64",
            "objective.beta.num_epochs=2.5",
            "training.epochs=3",
            "training.epochs=4",
            "data.max_length=null",
        ],
    )
    assert (made.seed, made.model["encoder"]["hidden_size"], made.training.epochs) == (7, 64, 4)
    assert made.model["encoder"]["embedding_size"] == 128
    assert made.objective.beta.num_epochs == 2.5 and made.data.max_length is None


def test_an_override_may_replace_a_whole_section():
    made = recipe.load("quickstart", ["objective.beta={schedule: constant, value: 0.4}"])
    assert recipe.build_objective(made).beta == ConstantSchedule(0.4)


@pytest.mark.parametrize(
    ("override", "message"),
    [
        ("training.epochs", "section.key=value"),
        ("training..epochs=3", "section.key=value"),
        ("seed.first=3", "seed is a value, not a section"),
        ("training.epochs=[3", "not YAML"),
    ],
)
def test_an_override_that_cannot_be_read_is_refused(override, message):
    with pytest.raises(ValueError, match=message):
        recipe.load("quickstart", [override])


# refusals


@pytest.mark.parametrize(
    ("override", "nearest"),
    [
        ("training.learning_rat=1", "training.learning_rate"),
        ("learning_rate=1", "training.learning_rate"),
        ("trainin={}", "training"),
        ("objective.beta.num_epoch=1", "objective.beta.num_epochs"),
        ("data.batchsize=1", "data.batch_size"),
        ("tokenizer.vocabsize=9", "tokenizer.vocab_size"),
        ("model.latent_sise=1", "model.latent_size"),
        ("model.encoder.hiden_size=1", "model.encoder.hidden_size"),
        ("model.decoder.dropout_input=1", "model.decoder.input_dropout"),
    ],
)
def test_an_unknown_key_is_refused_with_the_nearest_known_one(override, nearest):
    with pytest.raises(ValueError, match=f"Did you mean '{nearest}'"):
        recipe.load("quickstart", [override])


@pytest.mark.parametrize(
    ("override", "words"),
    [
        ("training.epochs=three", "training.epochs must be a whole number, got 'three'"),
        ("training.epochs=2.5", "training.epochs must be a whole number, got 2.5"),
        ("training.epochs=true", "training.epochs must be a whole number, got True"),
        ("training.learning_rate=fast", "training.learning_rate must be a number, got 'fast'"),
        ("training.learning_rate=.inf", "training.learning_rate must be a number"),
        ("training.compile=1", "training.compile must be true or false, got 1"),
        ("training.trackers=tensorboard", "training.trackers must be a list of words"),
        ("data.max_length=long", "data.max_length must be a whole number or null, got 'long'"),
        ("model=max", "model.kind must be one of ['seqvae', 'language_model'], got 'max'"),
        ("model=3", "model must be a mapping, got 3"),
        ("model.encoder=lstm", "model.encoder must be a mapping"),
        ("objective=plain", "objective must be a section, got 'plain'"),
        ("seed=null", "seed must be a whole number, got None"),
        ("training.epochs=0", "training.epochs must be at least 1, got 0"),
        ("training.learning_rate=0", "training.learning_rate must be greater than 0"),
        ("training.decay_factor=1", "training.decay_factor must be less than 1"),
        ("objective.kl_term=free_bits", "objective.kl_term must be one of"),
        ("training.scheduler=cosin", "Did you mean 'cosine'"),
        ("training.mixed_precision=fp8", "'no', 'bf16', 'fp16'"),
        ("name=a/b", "name must be a word"),
    ],
)
def test_a_wrong_value_is_refused_with_key_value_and_what_is_allowed(override, words):
    with pytest.raises(ValueError) as error:
        recipe.load("quickstart", [override])
    assert words in str(error.value)


@pytest.mark.parametrize(
    ("overrides", "message"),
    [
        (["data.tokens_per_batch=999"], "both say how large a batch is"),
        (["data.train_file=a.txt"], "both name the text.*data.dataset to null"),
        (["data.dataset=null"], "nothing to train on"),
        (["data.dataset=null", "data.train_file=a.txt"], "needs data.validation_file"),
        (["data.num_train=null"], "set data.num_train"),
        (["data.streaming=true"], "leave out data.streaming"),
        (["data.dataset_config=x"], "belongs to a Hub data set"),
        (["data.dataset=x/y", "data.streaming=true"], "set objective.beta.num_steps"),
        (
            [
                "data.dataset=x/y",
                "data.streaming=true",
                "objective.beta={}",
                "training.scheduler=cosine",
            ],
            "set training.max_steps",
        ),
        (["tokenizer.name=gpt2"], "tokenizer.kind is 'word'"),
        (["tokenizer.kind=pretrained"], "needs tokenizer.name"),
        (
            ["tokenizer.kind=pretrained", "tokenizer.name=gpt2", "tokenizer.vocab_size=9"],
            "not trained again",
        ),
        (["tokenizer.kind=bpe", "tokenizer.split=punctuation"], "leave out tokenizer.split"),
        (["objective.beta.value=0.5"], "value is not read by the schedule 'linear'"),
        (["objective.beta.num_steps=5"], "needs one of"),
        (["objective.beta.num_epochs=null"], "needs one of"),
        (["objective.kl_term=plain"], "'plain' has no free bits, got free_bits=0.25"),
        (["training.warmup_steps=5"], "has no warm-up"),
        (
            ["training.scheduler=linear", "training.warmup_steps=5", "training.max_steps=5"],
            "must be less than training.max_steps",
        ),
        (["training.optimizer_args={lr: 1.0}"], "set training.learning_rate"),
        (["training.scheduler_args={num_cycles: 2}"], "takes no scheduler_args"),
        (
            ["training.scheduler=cosine", "training.scheduler_args={num_warmup_steps: 2}"],
            "set training.warmup_steps",
        ),
        (["model.encoder.vocab_size=9"], "model.encoder.vocab_size comes from the tokenizer"),
        (["model.pad_token_id=0"], "model.pad_token_id comes from the tokenizer"),
        (["model.encoder_unk_token_id=3"], "model.encoder_unk_token_id comes from the tokenizer"),
        (["model.decoder.output_conditioning_size=9"], "output_conditioning_size"),
        (["model.decoder={model_type: gtp2}"], "model.decoder.model_type.*Did you mean 'gpt2'"),
        (["model.decoder={model_type: gpt2, hidden: 4}"], "Did you mean 'model.decoder.hidden"),
    ],
)
def test_a_contradiction_is_refused_with_its_cure(overrides, message):
    with pytest.raises(ValueError, match=message):
        recipe.load("quickstart", overrides)


def test_values_are_checked_where_recipes_are_made_in_python_too():
    with pytest.raises(ValueError, match="training.epochs must be at least 1"):
        TrainingRecipe(epochs=0)
    with pytest.raises(ValueError, match="tokenizer.kind must be one of"):
        TokenizerRecipe(kind="characters")
    with pytest.raises(ValueError, match="training.learning_rate"):
        dataclasses.replace(TrainingRecipe(), learning_rate=-1.0)
    with pytest.raises(ValueError, match="must hold plain YAML values"):
        Recipe(model={"dtype": torch.float32})


def test_a_batch_is_32_sentences_unless_tokens_are_counted():
    assert DataRecipe(dataset="x/y").batch_size == 32
    assert DataRecipe(dataset="x/y", tokens_per_batch=500).batch_size is None


# comparing and describing


def test_the_fingerprint_moves_with_the_weights_and_not_with_the_book_keeping():
    base = small()
    for override in (
        "training.learning_rate=0.5",
        "model.pooling=last",
        "data.num_train=7",
        "seed=1",
        "objective.beta.end=0.5",
    ):
        changed = small(override)
        assert changed.fingerprint() != base.fingerprint(), override
        assert list(recipe.differences(base, changed)) == [override.partition("=")[0]]
    for override in ("output_dir=elsewhere", "training.logging_steps=7", "name=other"):
        kept = small(override, "output_dir=elsewhere")
        assert kept.fingerprint() == base.fingerprint(), override
        assert recipe.differences(base, kept) == {}


def test_differences_show_both_values_and_keys_that_one_side_lacks():
    old = small("training.epochs=12")
    new = small("model.num_prefix_tokens=2", "training.epochs=3")
    assert recipe.differences(old, new) == {
        "model.num_prefix_tokens": (None, 2),
        "training.epochs": (12, 3),
    }


def test_describe_lists_every_option_with_a_meaning_and_its_true_default():
    rows = {key: (kind, default, text) for key, kind, default, text in recipe.describe()}
    assert rows["training.learning_rate"][:2] == ("a number", 0.001)
    assert rows["data.batch_size"][:2] == ("a whole number or null", 32)
    assert rows["training.optimizer_args"][:2] == ("a mapping", {})
    assert "cyclical" in rows["objective.beta.schedule"][2]
    assert all(text for _, _, text in rows.values())
    flat = {
        f"{section}.{key}" if section else key
        for section, values in [("", Recipe().to_dict()), *Recipe().to_dict().items()]
        if isinstance(values, dict)
        for key in values
    }
    sections = {"tokenizer", "data", "objective", "training", "objective.beta"}
    beta = {f"objective.beta.{key}" for key in Recipe().to_dict()["objective"]["beta"]}
    assert set(rows) == (flat | beta) - sections


# building


def test_beta_in_epochs_becomes_optimizer_updates():
    made = small(
        "objective.beta={schedule: linear, start: 0.1, num_epochs: 2, delay_epochs: 1}",
        "objective.free_bits=0.1",
    )
    objective = recipe.build_objective(made, steps_per_epoch=50)
    assert objective.beta == LinearSchedule(0.1, 1.0, num_steps=100, delay=50)
    assert (objective.kl_term, objective.free_bits) == ("free_bits_per_dimension_hinge", 0.1)
    made = small("objective.beta={schedule: cyclical, num_steps: 80, num_cycles: 2}")
    assert recipe.build_objective(made).beta == CyclicalSchedule(80, num_cycles=2)
    with pytest.raises(ValueError, match="set num_steps"):
        recipe.build_objective(small(), None)


def test_beta_that_outlasts_training_is_said(caplog):
    with caplog.at_level("WARNING", logger="hf_seqvae.recipe.build"):
        five = "objective.beta.num_epochs=5"
        recipe.build_objective(small("training.epochs=5", five), 10)
        assert not caplog.records
        recipe.build_objective(small("training.epochs=4", five), 10)
    assert "beta moves for 5 epochs" in caplog.text


def test_the_objective_counts_what_the_model_s_loss_counts():
    assert recipe.build_objective(small(), 9).normalization == "token"
    made = small("model.loss_normalization=sequence")
    assert recipe.build_objective(made, 9).normalization == "sequence"


def test_the_config_takes_its_ids_from_the_tokenizer(tokenizer):
    config = recipe.build_config(small("model.word_dropout=0.1"), tokenizer)
    for part in (config, config.encoder, config.decoder):
        ids = (part.pad_token_id, part.bos_token_id, part.eos_token_id, part.unk_token_id)
        assert ids == (0, 1, 2, 3)
    assert config.decoder_start_token_id == 1 and config.special_token_ids == [1, 2]
    assert config.encoder_unk_token_id == 3
    assert (config.encoder.hidden_size, config.decoder.hidden_size) == (6, 7)


def test_a_foreign_decoder_takes_its_own_keys(tokenizer):
    made = recipe.load(
        "quickstart",
        [
            "model.latent_injection=[add]",
            "model.decoder={model_type: gpt2, n_embd: 8, n_layer: 1, num_attention_heads: 2}",
        ],
    )
    config = recipe.build_config(made, tokenizer)
    assert (config.decoder.model_type, config.decoder.n_embd, config.decoder.n_head) == (
        "gpt2",
        8,
        2,
    )
    assert (config.decoder.vocab_size, config.decoder.eos_token_id) == (len(tokenizer), 2)


def test_a_latent_of_no_size_is_the_config_s_own_error(tokenizer):
    with pytest.raises(ValueError, match="model.*latent_size must be at least 1, got 0"):
        recipe.build_config(small("model.latent_size=0"), tokenizer)
    with pytest.raises(ValueError, match="model.*hidden_size"):
        recipe.build_config(small("model.encoder.hidden_size=wide"), tokenizer)


def test_weights_come_from_the_recipe_s_seed_and_leave_global_randomness_alone(tokenizer):
    before = torch.get_rng_state()
    first = recipe.build_model(small(), tokenizer)
    assert torch.equal(torch.get_rng_state(), before)
    torch.manual_seed(99)
    second = recipe.build_model(small(), tokenizer)
    other = recipe.build_model(small("seed=1"), tokenizer)
    pairs = list(zip(first.parameters(), second.parameters(), strict=True))
    assert all(torch.equal(a, b) for a, b in pairs)
    others = zip(first.parameters(), other.parameters(), strict=True)
    assert not all(torch.equal(a, b) for a, b in others)
    torch.set_rng_state(before)


@pytest.mark.parametrize(
    ("name", "cls"),
    [("adamw", torch.optim.AdamW), ("SGD", torch.optim.SGD), ("RMSprop", torch.optim.RMSprop)],
)
def test_any_optimizer_of_torch_is_built_by_name_with_its_values(name, cls):
    made = small(f"training.optimizer={name}", "training.learning_rate=0.25")
    optimizer = recipe.build_optimizer(made, nn.Linear(2, 2))
    assert type(optimizer) is cls
    assert optimizer.param_groups[0]["lr"] == 0.25
    assert optimizer.param_groups[0]["weight_decay"] == 0.0


def test_optimizer_arguments_arrive_and_frozen_parameters_stay_outside():
    model = nn.Linear(2, 2)
    model.bias.requires_grad_(False)
    made = small(
        "training.optimizer_args={betas: [0.5, 0.9]}",
        "training.weight_decay=0.1",
        "training.fused=true",
    )
    group = recipe.build_optimizer(made, model).param_groups[0]
    assert list(group["betas"]) == [0.5, 0.9]
    assert (group["weight_decay"], group["fused"]) == (0.1, True)
    assert [parameter is model.weight for parameter in group["params"]] == [True]


@pytest.mark.parametrize("name", ["adam", "adamw", "sgd", "adagrad"])
def test_the_fused_update_is_the_default_and_gives_the_same_weights(name):
    found = []
    for overrides, fused in (([], True), (["training.fused=false"], False)):
        model = nn.Linear(3, 2, bias=False)
        nn.init.ones_(model.weight)
        optimizer = recipe.build_optimizer(small(f"training.optimizer={name}", *overrides), model)
        assert optimizer.param_groups[0]["fused"] is fused
        for step in range(3):
            model(torch.eye(3) * (step + 1)).square().sum().backward()
            optimizer.step()
            optimizer.zero_grad()
        found.append(model.weight.detach())
    assert_close(found[0], found[1], rtol=1e-6, atol=1e-6)
    assert not torch.equal(found[0], torch.ones(2, 3))


def test_a_checkpoint_of_an_update_that_was_not_fused_goes_on_as_it_was():
    model = nn.Linear(2, 2)
    optimizers = []
    for override in ("training.fused=false", "training.fused=null"):
        optimizer = recipe.build_optimizer(small("training.optimizer=adam", override), model)
        if optimizers:
            optimizer.load_state_dict(optimizers[0].state_dict())
        model(torch.ones(1, 2)).sum().backward()
        optimizer.step()
        optimizers.append(optimizer)
    assert optimizers[1].param_groups[0]["fused"] is False
    assert int(optimizers[1].state[model.weight]["step"]) == 2


@pytest.mark.parametrize(
    ("overrides", "fused"),
    [
        (["training.optimizer=rprop"], None),
        (["training.optimizer_args={foreach: true}"], None),
        (["training.optimizer_args={foreach: true}", "training.fused=false"], False),
    ],
)
def test_an_optimizer_without_a_fused_update_or_with_another_one_chosen_has_none(overrides, fused):
    optimizer = recipe.build_optimizer(small(*overrides), nn.Linear(2, 2))
    assert optimizer.param_groups[0].get("fused") is fused


@pytest.mark.parametrize(
    ("overrides", "message"),
    [
        (["training.optimizer=adamm"], "Did you mean 'adam'"),
        (["training.optimizer=lbfgs"], "must be a class of torch.optim"),
        (["training.optimizer_args={momentun: 0.9}"], "Adam takes no 'momentun'"),
        (["training.optimizer=rprop", "training.weight_decay=0.1"], "Rprop takes no 'weight_d"),
    ],
)
def test_an_optimizer_that_cannot_be_built_is_refused(overrides, message):
    with pytest.raises(ValueError, match=message):
        recipe.build_optimizer(small(*overrides), nn.Linear(2, 2))


def rates(made, num_training_steps):
    """The learning rate before each update."""
    model = nn.Linear(2, 2)
    optimizer = recipe.build_optimizer(made, model)
    scheduler = recipe.build_scheduler(made, optimizer, num_training_steps)
    assert scheduler is not None
    seen = []
    for _ in range(num_training_steps):
        seen.append(scheduler.get_last_lr()[0])
        optimizer.step()
        scheduler.step()
    return seen


def test_the_linear_scheduler_rises_in_its_warm_up_and_falls_to_zero():
    made = small(
        "training.learning_rate=1.0", "training.scheduler=linear", "training.warmup_steps=2"
    )
    assert rates(made, 6) == pytest.approx([0.0, 0.5, 1.0, 0.75, 0.5, 0.25])


def test_scheduler_arguments_arrive():
    made = small(
        "training.learning_rate=1.0",
        "training.scheduler=polynomial",
        "training.scheduler_args={power: 2.0, lr_end: 0.0}",
    )
    assert rates(made, 4) == pytest.approx([1.0, 0.5625, 0.25, 0.0625])


def test_a_constant_rate_and_the_plateau_rule_need_no_scheduler():
    optimizer = recipe.build_optimizer(small(), nn.Linear(2, 2))
    for name in ("null", "plateau_halving"):
        assert recipe.build_scheduler(small(f"training.scheduler={name}"), optimizer, 9) is None
    assert {"plateau_halving", "cosine", "reduce_lr_on_plateau"} <= set(SCHEDULERS)


def test_a_warm_up_longer_than_training_is_refused():
    made = small("training.scheduler=linear", "training.warmup_steps=9")
    optimizer = recipe.build_optimizer(made, nn.Linear(2, 2))
    with pytest.raises(ValueError, match="warmup_steps .9. must be less than the 9 updates"):
        recipe.build_scheduler(made, optimizer, 9)


@pytest.mark.parametrize("normalization", ["token", "sequence"])
def test_the_built_objective_at_beta_one_is_the_built_model_s_own_loss(tokenizer, normalization):
    made = small(
        f"model.loss_normalization={normalization}",
        "objective={beta: {schedule: constant}, kl_term: plain}",
    )
    model = recipe.build_model(made, tokenizer)
    batch = tokenizer(TEXTS, padding=True, return_tensors="pt")
    labels = batch["input_ids"][:, 1:].clone()
    labels[labels == tokenizer.pad_token_id] = -100
    output = model(
        input_ids=batch["input_ids"], attention_mask=batch["attention_mask"], labels=labels
    )
    loss, logs = recipe.build_objective(made)(output, 0)
    torch.testing.assert_close(loss, output.loss)
    assert logs["num_tokens"] == (labels != -100).sum() and logs["num_sentences"] == 3


@pytest.mark.parametrize(
    "name", ["1e-3", "3e4", "1.5e5", "010", "no", "1:30", "12", ".5", "0x1f", "max 🚀"]
)
def test_a_name_that_looks_like_a_number_comes_back_as_it_was(tmp_path, name):
    made = recipe.Recipe(name=name)
    recipe.save(made, tmp_path / "recipe.yaml")
    assert recipe.load(tmp_path / "recipe.yaml") == made


@pytest.mark.parametrize(("text", "number"), [("010", 10), ("0", 0), ("0o17", 15), ("0x1f", 31)])
def test_whole_numbers_are_those_of_yaml_1_2(text, number):
    assert recipe.load("quickstart", [f"seed={text}"]).seed == number


@pytest.mark.parametrize(
    ("override", "message"),
    [
        ("model={[a]: 1}", "A key must be a word"),
        ("model={{name}}", "A key must be a word"),
        ("model={a: &x {b: 1}, c: {<<: *x}}", "no merge keys"),
        ("model=&x {encoder: *x}", "nested too deeply"),
        ("seed=1:30", "seed must be a whole number"),
        ("seed=99999999999999999999", "seed must be less than"),
    ],
)
def test_yaml_that_is_no_recipe_is_refused_in_words(override, message):
    with pytest.raises(ValueError, match=message):
        recipe.load("quickstart", [override])


def test_a_recipe_in_another_encoding_is_named(tmp_path):
    path = tmp_path / "recipe.yaml"
    path.write_bytes(b"name: na\xefve\n")
    with pytest.raises(ValueError, match="recipe.yaml is not UTF-8"):
        recipe.load(path)


def test_a_home_folder_is_where_it_is(monkeypatch, tmp_path):
    monkeypatch.setenv("HOME", str(tmp_path))
    assert recipe.Recipe(output_dir="~/x").output_dir == str(tmp_path / "x")


def test_a_name_stands_on_one_line():
    with pytest.raises(ValueError, match="without slashes"):
        recipe.Recipe(name="two\nlines")
