"""LatentSpace against closed forms and against itself, on a small model with spread-out latents."""

import math
import shutil

import pytest
import torch
from torch.testing import assert_close
from transformers import BertConfig, BertModel, GenerationConfig

from hf_seqvae import LatentSpace, SeqVAEConfig, SeqVAEModel
from hf_seqvae.data import tokenizer_from_words
from hf_seqvae.latent_space import lerp, model_folder, slerp

WORDS = ["a", "the", "girl", "boy", "dog", "reads", "sees", "sleeps", "book", "house"]
WORDS += ["here", "there", "not", "does", ".", "?"]
SENTENCES = [
    "the girl reads a book .",
    "a dog sleeps .",
    "does the boy sleeps here ?",
    "the dog sees the house .",
    "a boy does not reads there .",
]
A, B, C = SENTENCES[:3]
IDS = ("pad_token_id", "bos_token_id", "eos_token_id", "decoder_start_token_id")


def make_model(tokenizer) -> SeqVAEModel:
    """Untrained weights, large enough that different sentences get different latents and words."""
    sizes = {"vocab_size": len(tokenizer), "embedding_size": 12, "hidden_size": 16}
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(3)
        model = SeqVAEModel(SeqVAEConfig(encoder=sizes, decoder=sizes, latent_size=4))
        with torch.no_grad():
            for parameter in model.parameters():
                parameter.copy_(torch.randn_like(parameter) * 0.8)
    return model


@pytest.fixture(scope="module")
def tokenizer():
    return tokenizer_from_words(WORDS, max_length=9)


@pytest.fixture(scope="module")
def space(tokenizer):
    space = LatentSpace(make_model(tokenizer), tokenizer, batch_size=4, max_new_tokens=6)
    # the tests below tell sentences apart, so the model must
    assert len(set(space.reconstruct(SENTENCES))) == len(SENTENCES)
    return space


@pytest.fixture(scope="module")
def folder(space, tmp_path_factory):
    folder = tmp_path_factory.mktemp("model")
    space.model.save_pretrained(folder)
    space.tokenizer.save_pretrained(folder)
    return folder


@pytest.fixture
def calls(space, monkeypatch):
    """The arguments of every `generate`."""
    seen, generate = [], space.model.generate

    def spy(**kwargs):
        seen.append(kwargs)
        return generate(**kwargs)

    monkeypatch.setattr(space.model, "generate", spy)
    return seen


# -- paths between latents


def test_lerp_walks_a_straight_line_in_even_steps():
    points = lerp(torch.tensor([0.0, 4.0]), torch.tensor([2.0, 0.0]), 3)
    assert points.tolist() == [[0.0, 4.0], [1.0, 2.0], [2.0, 0.0]]


def test_slerp_of_orthogonal_unit_vectors_is_a_quarter_circle():
    points = slerp(torch.tensor([1.0, 0.0]), torch.tensor([0.0, 1.0]), 5)
    angles = [step * math.pi / 8 for step in range(5)]
    assert_close(points, torch.tensor([[math.cos(a), math.sin(a)] for a in angles]))


def test_slerp_moves_the_norm_on_a_line_and_the_angle_evenly():
    generator = torch.Generator().manual_seed(0)
    start, end = torch.randn(2, 6, generator=generator, dtype=torch.float64)
    points = slerp(start, end, 9)
    assert_close(
        points.norm(dim=1),
        torch.linspace(0, 1, 9).double() * (end.norm() - start.norm()) + start.norm(),
    )
    cosines = torch.cosine_similarity(points[1:], points[:-1], dim=1)
    whole = torch.acos(torch.cosine_similarity(start, end, dim=0))
    assert_close(torch.acos(cosines), (whole / 8).expand(8))


@pytest.mark.parametrize("path", [lerp, slerp])
def test_paths_begin_and_end_exactly_at_their_ends(path):
    start, end = torch.randn(2, 7, generator=torch.Generator().manual_seed(1))
    points = path(start, end, 4)
    assert torch.equal(points[0], start)
    assert torch.equal(points[-1], end)


@pytest.mark.parametrize("path", [lerp, slerp])
def test_a_path_of_one_step_is_its_start(path):
    start, end = torch.randn(2, 7, generator=torch.Generator().manual_seed(1))
    assert torch.equal(path(start, end, 1), start[None])


@pytest.mark.parametrize(
    ("start", "end"),
    [
        ([1.0, 2.0], [3.0, 6.0]),  # parallel
        ([1.0, 2.0], [-2.0, -4.0]),  # opposite
        ([1.0, 2.0], [1.0, 2.0]),  # the same
        ([0.0, 0.0], [1.0, 2.0]),  # no direction
        ([1.0, 2.0], [0.0, 0.0]),
    ],
)
def test_slerp_is_the_straight_line_where_there_is_no_arc(start, end):
    start, end = torch.tensor(start), torch.tensor(end)
    assert_close(slerp(start, end, 5), lerp(start, end, 5))


# -- sentences <-> latents


def test_encode_gives_the_posterior_means_in_the_order_of_the_sentences(space, tokenizer):
    latents = space.encode(SENTENCES)
    for row, sentence in enumerate(SENTENCES):
        ids = torch.tensor([tokenizer(sentence)["input_ids"]])
        batch = {"input_ids": ids, "attention_mask": torch.ones_like(ids)}
        assert_close(latents[row], space.model.posterior(batch).mean[0].detach())


def test_encode_does_not_depend_on_the_batch_size(space, tokenizer):
    one_by_one = LatentSpace(space.model, tokenizer, batch_size=1).encode(SENTENCES)
    assert_close(space.encode(SENTENCES), one_by_one)


def test_latents_are_ordinary_tensors_that_may_be_changed_in_place(space):
    latents = space.encode([A])
    assert not latents.requires_grad
    latents[0, 0] = 1.0
    assert space.decode(latents)


def test_encode_asks_for_no_gradient_and_leaves_eval_mode_on(space):
    assert not space.model.training
    assert all(parameter.grad is None for parameter in space.model.parameters())


def test_reconstruct_decodes_the_posterior_means(space):
    assert space.reconstruct(SENTENCES) == space.decode(space.encode(SENTENCES))


def test_decode_makes_one_generate_call_for_each_batch(space, calls):
    latents = torch.zeros(10, 4)
    assert len(space.decode(latents)) == 10
    assert [len(call["latents"]) for call in calls] == [4, 4, 2]


def test_a_walk_of_many_steps_is_one_generate_call(space, tokenizer, calls):
    wide = LatentSpace(space.model, tokenizer, max_new_tokens=6)
    wide.interpolate(A, B, steps=50)
    wide.traverse(A, 0, [0.1 * step for step in range(50)])
    assert [len(call["latents"]) for call in calls] == [50, 50]


def test_decode_takes_one_latent_as_it_takes_one_row(space):
    latent = space.encode([A])[0]
    assert space.decode(latent) == space.decode(latent[None])


def test_num_return_sequences_gives_that_many_for_each_latent_in_order(space):
    latents = space.encode([A, B])
    both = space.decode(latents, num_beams=3, num_return_sequences=2)
    assert len(both) == 4
    assert both[:2] == space.decode(latents[:1], num_beams=3, num_return_sequences=2)


def test_decoded_text_ends_at_the_end_token_and_shows_unknown_words(space, tokenizer, monkeypatch):
    # <s> the <unk> dog <pad> </s> girl </s>
    the, dog, girl = tokenizer.convert_tokens_to_ids(["the", "dog", "girl"])
    ids = torch.tensor([[1, the, 3, dog, 0, 2, girl, 2]])
    monkeypatch.setattr(space.model, "generate", lambda **_: ids)
    assert space.decode(torch.zeros(1, 4)) == ["the <unk> dog"]


def test_a_control_word_in_a_text_is_text_and_not_an_end(space, tokenizer):
    assert_close(space.encode(["the </s> dog"]), space.encode(["the <unk> dog"]))


# -- moving around


@pytest.mark.parametrize("method", ["lerp", "slerp"])
def test_interpolation_begins_and_ends_with_the_reconstructions(space, method):
    path = space.interpolate(A, B, steps=5, method=method)
    assert len(path) == 5
    assert [path[0], path[-1]] == space.reconstruct([A, B])


def test_interpolation_decodes_the_points_of_its_method(space, calls):
    start, end = space.encode([A, B])
    space.interpolate(A, B, steps=3, method="slerp")
    assert_close(calls[0]["latents"], slerp(start, end, 3))


def test_an_analogy_from_a_sentence_to_itself_changes_nothing(space):
    assert space.analogy(A, A, C) == space.reconstruct([C])[0]


def test_an_analogy_adds_the_difference(space, calls):
    z = space.encode([A, B, C])
    space.analogy(A, B, C)
    assert_close(calls[0]["latents"], (z[1] - z[0] + z[2])[None])


def test_traverse_sets_exactly_that_coordinate(space, calls):
    space.traverse(A, 2, [-1.5, 0.0, 7.0])
    expected = space.encode([A]).repeat(3, 1)
    expected[:, 2] = torch.tensor([-1.5, 0.0, 7.0])
    assert torch.equal(calls[0]["latents"], expected)


def test_traverse_takes_values_as_a_tensor_too(space):
    values = torch.linspace(-2.0, 2.0, 5)
    assert space.traverse(A, 2, values) == space.traverse(A, 2, values.tolist())


def test_an_attribute_direction_is_the_difference_of_means(space):
    direction = space.attribute_direction([A, B], [C])
    z = space.encode([A, B, C])
    assert_close(direction, (z[0] + z[1]) / 2 - z[2])


def test_samples_are_scaled_draws_of_the_prior(space, calls):
    space.sample(3, temperature=0.5, seed=9)
    space.sample(3, temperature=1.0, seed=9)
    assert_close(2 * calls[0]["latents"], calls[1]["latents"])
    many = LatentSpace(space.model, space.tokenizer, max_new_tokens=1, batch_size=4000)
    many.sample(4000, seed=0)
    drawn = calls[2]["latents"]
    assert_close(drawn.mean(0), torch.zeros(4), atol=4 / math.sqrt(4000), rtol=0)
    assert_close(drawn.var(0), torch.ones(4), atol=4 * math.sqrt(2 / 4000), rtol=0)


def test_samples_are_a_function_of_the_seed(space):
    assert space.sample(6, seed=1) == space.sample(6, seed=1)
    assert space.sample(6, seed=1) != space.sample(6, seed=2)


def test_samples_with_random_words_are_a_function_of_the_seed(space):
    first = space.sample(6, temperature=0.0, seed=1, do_sample=True)
    assert first == space.sample(6, temperature=0.0, seed=1, do_sample=True)
    assert first != space.sample(6, temperature=0.0, seed=2, do_sample=True)


def test_at_temperature_zero_all_samples_are_the_same_sentence(space):
    assert len(set(space.sample(5, temperature=0.0, seed=4))) == 1


def test_neighbours_at_scale_zero_are_the_reconstruction(space):
    assert space.neighbours(A, scale=0.0, n=3) == space.reconstruct([A]) * 3


def test_neighbours_step_by_the_scale_away_from_the_sentence(space, calls):
    space.neighbours(A, scale=0.25, n=4, seed=2)
    space.sample(4, seed=2)
    steps = calls[0]["latents"] - space.encode([A])
    assert_close(steps, 0.25 * calls[1]["latents"])


@pytest.mark.parametrize(
    "draw",
    [
        lambda space: space.sample(2, seed=5),
        lambda space: space.sample(2, seed=5, do_sample=True),
        lambda space: space.neighbours(A, n=2, seed=5, do_sample=True),
        lambda space: space.decode(torch.zeros(2, 4), seed=5, do_sample=True),
    ],
)
def test_seeds_leave_the_callers_generator_alone(space, draw):
    before = torch.random.get_rng_state()
    draw(space)
    assert torch.equal(torch.random.get_rng_state(), before)


# -- wrong input


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda s: s.encode("a dog ."), r'list of sentences, got one string: write \["\.\.\."\]'),
        (lambda s: s.encode([]), "no sentence to encode"),
        (lambda s: s.encode([A, "  "]), "sentence 1 is empty"),
        (lambda s: s.encode([A, None]), "sentence 1 must be a string, got NoneType"),
        (lambda s: s.encode([A, "der Hund"]), "sentence 1, 'der Hund', holds unknown words only"),
        (lambda s: s.encode(["a " * 10]), r"has 12 tokens \(its ends included\), more than the"),
        (lambda s: s.decode(torch.zeros(0, 4)), "no latent to decode"),
        (lambda s: s.decode(torch.zeros(2, 5)), r"latents must be \(B, 4\), got \(2, 5\)"),
        (lambda s: s.decode(torch.zeros(2, 4).long()), "floating point"),
        (lambda s: s.decode([[0.0] * 4]), r"latents must be a tensor \(N, Z\), got list"),
        (lambda s: s.decode(torch.tensor([[0.0, math.nan, 0.0, 0.0]])), "latents must be finite"),
        (lambda s: s.sample(0), "n must be at least 1, got 0"),
        (lambda s: s.sample(1, temperature=-1.0), "temperature must be finite and not negative"),
        (lambda s: s.neighbours(A, n=0), "n must be at least 1, got 0"),
        (lambda s: s.neighbours(A, scale=math.inf), "scale must be finite and not negative"),
        (lambda s: s.interpolate(A, B, steps=1), "steps must be at least 2"),
        (lambda s: s.interpolate(A, B, method="lurp"), r"one of \['lerp', 'slerp'\], got 'lurp'"),
        (lambda s: s.traverse(A, 4, [0.0]), r"dim must be in 0\.\.3, got 4"),
        (lambda s: s.traverse(A, -1, [0.0]), r"dim must be in 0\.\.3, got -1"),
        (lambda s: s.traverse(A, 0, []), "the number of values must be at least 1, got 0"),
        (lambda s: LatentSpace(s.model, s.tokenizer, batch_size=0), "batch_size must be at least"),
    ],
)
def test_wrong_input_is_refused_with_the_rule(space, call, message):
    with pytest.raises(ValueError, match=message):
        call(space)


# -- loading


def test_a_model_folder_gives_the_same_space(space, folder):
    loaded = LatentSpace.from_pretrained(folder, max_new_tokens=6)
    assert_close(loaded.encode(SENTENCES), space.encode(SENTENCES))
    assert loaded.reconstruct(SENTENCES) == space.reconstruct(SENTENCES)
    assert loaded.decoder_tokenizer is loaded.tokenizer


def test_of_a_run_folder_the_best_model_is_taken(folder, tmp_path):
    shutil.copytree(folder, tmp_path / "run" / "best")
    assert model_folder(tmp_path / "run") == str(tmp_path / "run" / "best")
    assert LatentSpace.from_pretrained(tmp_path / "run").latent_size == 4


def test_the_decoders_own_tokenizer_is_found_in_its_folder(space, folder, tmp_path):
    target = shutil.copytree(folder, tmp_path / "model")
    other = tokenizer_from_words([word.upper() for word in WORDS])
    other.save_pretrained(target / "decoder_tokenizer")
    loaded = LatentSpace.from_pretrained(target, max_new_tokens=6)
    assert loaded.reconstruct([A]) == [space.reconstruct([A])[0].upper()]


def test_a_hub_id_is_left_as_it_is():
    assert model_folder("somebody/some-model") == "somebody/some-model"


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("nowhere/at/all", "there is no folder 'nowhere/at/all'"),
        ("runs/quickstart", "there is no folder 'runs/quickstart'"),
        ("./model", "there is no folder './model'"),
    ],
)
def test_a_folder_that_is_not_there_is_not_taken_for_a_hub_id(name, message, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(ValueError, match=message):
        LatentSpace.from_pretrained(name)


def test_a_folder_without_a_model_says_what_it_lacks(tmp_path):
    with pytest.raises(ValueError, match=r"holds no model: neither config.json nor best/config"):
        LatentSpace.from_pretrained(tmp_path)


def test_a_file_in_place_of_a_folder_is_refused(folder):
    with pytest.raises(ValueError, match=r"config.json is a file. Give the folder"):
        LatentSpace.from_pretrained(folder / "config.json")


def test_another_kind_of_model_is_refused_by_its_name(tmp_path):
    sizes = {"hidden_size": 8, "num_hidden_layers": 1, "num_attention_heads": 1}
    BertModel(BertConfig(vocab_size=9, intermediate_size=8, **sizes)).save_pretrained(tmp_path)
    with pytest.raises(ValueError, match="holds a model of type 'bert', not 'seqvae'"):
        LatentSpace.from_pretrained(tmp_path)


def test_weights_that_lack_a_tensor_are_refused_and_not_drawn_anew(space, folder, tmp_path):
    target = shutil.copytree(folder, tmp_path / "model")
    weights = space.model.state_dict()
    removed = sorted(weights)[0]
    space.model.save_pretrained(
        target, state_dict={name: value for name, value in weights.items() if name != removed}
    )
    with pytest.raises(ValueError, match=f"lack 1 tensors of the model, the first is '{removed}'"):
        LatentSpace.from_pretrained(target)


def test_a_tokenizer_larger_than_the_model_is_refused(folder, tmp_path):
    target = shutil.copytree(folder, tmp_path / "model")
    tokenizer_from_words([*WORDS, "more"]).save_pretrained(target)
    with pytest.raises(
        ValueError, match="the encoder's tokenizer in .* has 21 tokens, its model 20"
    ):
        LatentSpace.from_pretrained(target)


@pytest.mark.parametrize(
    ("given", "longest"),
    [
        ({}, 6),
        ({"max_new_tokens": 3}, 3),
        ({"max_length": 4}, 3),  # the start token counts
        ({"generation_config": GenerationConfig(max_new_tokens=2)}, 2),
        ({"generation_config": GenerationConfig(do_sample=False)}, 6),
    ],
)
def test_a_call_that_sets_a_length_is_not_overruled(space, given, longest):
    for settings in given.values():
        if isinstance(settings, GenerationConfig):
            settings.update(**{name: getattr(space.model.config, name) for name in IDS})
    written = space.decode(3.0 * space.noise(40, 0), **given)
    assert max(len(sentence.split()) for sentence in written) == longest


def test_without_a_seed_samples_follow_the_global_generator(space):
    torch.manual_seed(5)
    first = space.sample(6, seed=None)
    assert space.sample(6, seed=None) != first
    torch.manual_seed(5)
    assert space.sample(6, seed=None) == first


def test_what_is_no_text_is_refused(space):
    with pytest.raises(ValueError, match="return_dict_in_generate is for model.generate"):
        space.decode(space.noise(1, 0), return_dict_in_generate=True)


def test_the_models_own_decoder_tokenizer_is_the_default(space, tokenizer):
    other = tokenizer_from_words(sorted(WORDS), max_length=9)
    model = make_model(tokenizer)
    model.decoder_tokenizer = other
    found = LatentSpace(model, tokenizer)
    assert found.decoder_tokenizer is other
    assert LatentSpace(model, tokenizer, decoder_tokenizer=tokenizer).decoder_tokenizer is tokenizer
