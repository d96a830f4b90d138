"""SeqVAEPipeline writes what LatentSpace writes, from one text, a list or a stream."""

import json

import datasets
import pytest
import torch
from alone import run
from pipeline_standins import TEXTS, WRITTEN, save_two_tokenizers
from torch.testing import assert_close
from transformers import AutoModel, AutoTokenizer, pipeline
from transformers.pipelines.pt_utils import KeyDataset

import hf_seqvae
from hf_seqvae import LatentSpace, SeqVAEPipeline
from hf_seqvae.data import tokenizer_from_words

A, B, C = TEXTS[:3]


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return save_two_tokenizers(tmp_path_factory.mktemp("two_tokenizers"))


@pytest.fixture(scope="module")
def space(folder):
    space = LatentSpace.from_pretrained(folder, batch_size=4, max_new_tokens=6)
    # the tests below tell texts apart, so the model must; and it writes in the decoder's words
    assert len(set(space.reconstruct(TEXTS))) == len(TEXTS)
    assert {word for text in space.sample(9) for word in text.split()} <= {*WRITTEN, "<unk>"}
    return space


@pytest.fixture(scope="module")
def pipe(folder):
    return pipeline("sequence-vae", model=str(folder), device="cpu", batch_size=4, max_new_tokens=6)


@pytest.fixture
def calls(pipe, monkeypatch):
    """The number of latents of every `generate`."""
    seen, generate = [], pipe.model.generate

    def spy(**kwargs):
        seen.append(len(kwargs["latents"]))
        return generate(**kwargs)

    monkeypatch.setattr(pipe.model, "generate", spy)
    return seen


# -- the four modes


def test_the_package_registers_the_pipeline_and_finds_both_tokenizers(pipe, space):
    assert type(pipe) is SeqVAEPipeline
    assert pipe.tokenizer.get_vocab() == space.tokenizer.get_vocab()
    assert pipe.decoder_tokenizer.get_vocab() == space.decoder_tokenizer.get_vocab()


def test_a_text_gives_a_text_and_a_list_a_list(pipe, space):
    assert pipe(TEXTS) == space.reconstruct(TEXTS)
    assert pipe(A) == space.reconstruct([A])[0]
    assert pipe((A, B)) == space.reconstruct([A, B])


def test_keywords_of_generate_pass_through(pipe, space):
    settings = {"num_beams": 3, "num_return_sequences": 2, "max_new_tokens": 3}
    pairs = pipe([A, B], **settings)
    assert [text for pair in pairs for text in pair] == space.reconstruct([A, B], **settings)
    drawn = {"do_sample": True, "temperature": 3.0, "seed": 1}
    assert pipe(TEXTS, **drawn) == space.reconstruct(TEXTS, **drawn)
    assert pipe(TEXTS, **drawn) != pipe(TEXTS)


def test_samples_are_those_of_the_latent_space(pipe, space):
    assert pipe.sample(9) == pipe(9, mode="sample") == space.sample(9)
    cooler = {"temperature": 0.3, "seed": 5, "num_beams": 2}
    assert pipe.sample(9, **cooler) == space.sample(9, **cooler) != space.sample(9)


@pytest.mark.parametrize("method", ["lerp", "slerp"])
def test_interpolations_are_those_of_the_latent_space(pipe, space, method):
    assert pipe.interpolate(A, B) == space.interpolate(A, B)
    settings = {"steps": 5, "method": method}
    expected = [space.interpolate(A, B, **settings), space.interpolate(C, A, **settings)]
    assert pipe([(A, B), [C, A]], mode="interpolate", **settings) == expected
    assert pipe([A, B], mode="interpolate", **settings) == expected[0]


def test_embeddings_are_the_posterior_means(pipe, space):
    means = space.encode(TEXTS)
    assert_close(torch.tensor(pipe.embed(TEXTS)), means)
    assert pipe.embed(A) == pytest.approx(means[0].tolist())
    assert_close(pipe.embed(TEXTS, return_tensors=True), means)
    assert_close(pipe.embed(A, return_tensors=True), means[0])


def test_the_mode_and_keywords_of_the_pipeline_hold_where_a_call_says_nothing(folder, space):
    embedding = pipeline(
        "sequence-vae", model=str(folder), mode="embed", num_beams=3, max_new_tokens=2
    )
    assert embedding(A) == pytest.approx(space.encode([A])[0].tolist())
    expected = space.reconstruct(TEXTS, num_beams=3, max_new_tokens=2)
    assert embedding(TEXTS, mode="reconstruct") == expected
    assert embedding(TEXTS, mode="reconstruct", max_new_tokens=5) != expected


# -- batches and streams


def test_texts_are_decoded_a_batch_at_a_time(pipe, calls):
    assert pipe(TEXTS, batch_size=1) == pipe(TEXTS)
    assert calls == [1, 1, 1, 1, 1, 4, 1]
    pipe([(A, B), (B, C)], mode="interpolate", steps=3)
    assert calls[7:] == [4, 2]


def test_a_generator_is_read_no_further_than_asked_for(pipe):
    taken = []
    stream = pipe((taken.append(text) or text for text in TEXTS), batch_size=2)
    assert not taken
    assert next(stream) == pipe(A)
    assert taken == TEXTS[:2]
    assert list(stream) == pipe(TEXTS)[1:]


def test_datasets_give_their_texts(pipe):
    data = datasets.Dataset.from_dict({"text": TEXTS})
    assert list(pipe(data["text"])) == pipe(TEXTS)
    assert list(pipe(KeyDataset(data, "text"), batch_size=2)) == pipe(TEXTS)
    assert list(pipe(data.to_iterable_dataset()["text"], batch_size=2)) == pipe(TEXTS)
    streamed = torch.tensor(list(pipe.embed(KeyDataset(data, "text"))))
    assert_close(streamed, pipe.embed(TEXTS, return_tensors=True))


def test_the_batches_of_a_stream_draw_from_seeds_of_their_own(pipe, space):
    drawn = {"do_sample": True, "temperature": 3.0}
    same = list(pipe((A for _ in range(4)), batch_size=2, seed=0, **drawn))
    assert same[:2] == space.reconstruct([A, A], seed=0, **drawn)
    assert same[2:] == space.reconstruct([A, A], seed=1, **drawn) != same[:2]


# -- errors


@pytest.mark.parametrize(
    ("inputs", "settings", "message"),
    [
        ("", {}, "sentence 0 is empty: every sentence needs a word"),
        ([A, "  "], {}, "sentence 1 is empty"),
        ([A, 3], {}, "sentence 1 must be a string, got int"),
        (None, {}, "reconstruct takes texts, got NoneType"),
        ([], {}, "give at least one"),
        ([{"text": A}], {}, r"row with the columns \['text'\]. Name the column"),
        ("the " * 10, {}, "has 12 tokens .* Shorten it"),
        ("xyzzy", {}, "holds unknown words only"),
        (A, {"mode": "encode"}, "mode must be one of .*'embed'.*, got 'encode'"),
        (A, {"batch_size": 0}, "batch_size must be at least 1, got 0"),
        (A, {"steps": 3}, "steps"),
        (A, {"mode": "interpolate"}, r"takes a pair of texts, \(a, b\), got 'the girl"),
        ([A], {"mode": "interpolate"}, r"takes a pair of texts, \(a, b\), got \['the girl"),
        ((A, B, C), {"mode": "interpolate"}, "takes a pair of texts"),
        ([(A, B), (A, 3)], {"mode": "interpolate"}, "sentence 3 must be a string"),
        ((A, B), {"mode": "interpolate", "steps": 1}, "steps must be at least 2"),
        ((A, B), {"mode": "interpolate", "method": "arc"}, "method must be one of"),
        ((A, ""), {"mode": "interpolate"}, "sentence 1 is empty"),
        ([A, B], {"mode": "sample"}, "sample takes the number of texts to draw"),
        (True, {"mode": "sample"}, "the number of texts to draw, got True"),
        (0, {"mode": "sample"}, "n must be at least 1, got 0"),
        (2, {"mode": "sample", "temperature": -1.0}, "temperature must be finite"),
        (A, {"return_dict_in_generate": True}, "is for model.generate"),
        (A, {"mode": "embed", "num_beams": 2}, r"return_tensors alone, got \['num_beams'\]"),
    ],
)
def test_what_a_mode_cannot_take_is_an_error_that_says_so(pipe, inputs, settings, message):
    with pytest.raises(ValueError, match=message):
        pipe(inputs, **settings)


def test_a_pipeline_needs_a_known_mode_and_tokenizers_that_fit(pipe, space):
    model, read = pipe.model, space.tokenizer
    with pytest.raises(ValueError, match="give the tokenizer"):
        SeqVAEPipeline(model)
    with pytest.raises(ValueError, match="mode must be one of"):
        SeqVAEPipeline(model, read, mode="draw")
    with pytest.raises(ValueError, match="encoder's tokenizer .* has 15 tokens, its model 14"):
        SeqVAEPipeline(model, space.decoder_tokenizer)


# -- ready models, dtypes, devices


def test_a_ready_model_brings_the_decoders_tokenizer_unless_another_is_given(folder, space):
    parts = {
        "model": AutoModel.from_pretrained(folder),
        "tokenizer": AutoTokenizer.from_pretrained(folder),
        "max_new_tokens": 6,
    }
    ready = pipeline("sequence-vae", **parts)
    assert ready(TEXTS) == space.reconstruct(TEXTS)
    upper = tokenizer_from_words([word.upper() for word in WRITTEN])
    louder = pipeline("sequence-vae", decoder_tokenizer=upper, **parts)
    expected = [text.upper().replace("<UNK>", "<unk>") for text in ready(TEXTS)]
    assert louder(TEXTS) == expected


def test_a_pipeline_in_bfloat16_embeds_nearly_the_same_and_writes(folder, pipe):
    half = pipeline("sequence-vae", model=str(folder), dtype=torch.bfloat16, max_new_tokens=6)
    assert half.model.dtype == torch.bfloat16
    exact, rounded = (p.embed(TEXTS, return_tensors=True) for p in (pipe, half))
    assert_close(rounded, exact, atol=0.1, rtol=0.05)
    assert not torch.equal(rounded, exact)
    assert all(half(TEXTS)) and half.sample(2) and half.interpolate(A, B, steps=2)


@pytest.mark.gpu
def test_a_pipeline_on_a_gpu_writes_the_same(folder, pipe):
    there = pipeline("sequence-vae", model=str(folder), device=0, max_new_tokens=6)
    assert there.model.device.type == "cuda"
    assert there(TEXTS) == pipe(TEXTS)
    assert there.sample(3) == pipe.sample(3)
    assert there.embed(A, return_tensors=True).device.type == "cpu"


# -- the code in a repository

ALONE = """
from transformers import pipeline
folder, texts = sys.argv[1], json.loads(sys.argv[2])
answers = {}
for name in ("saved", "by_hand"):
    pipe = pipeline("sequence-vae", model=folder + "/" + name, trust_remote_code=True)
    assert type(pipe).__module__.startswith("transformers_modules."), type(pipe)
    assert type(pipe.model).__module__.startswith("transformers_modules."), type(pipe.model)
    assert "SeqVAE" not in str(type(pipe.decoder_tokenizer))
    answers[name] = {
        "texts": pipe(texts, max_new_tokens=6),
        "samples": pipe.sample(3, max_new_tokens=6),
        "between": pipe.interpolate(*texts[:2], steps=4, method="slerp", max_new_tokens=6),
        "latents": pipe.embed(texts),
    }
pipe.save_pretrained(folder + "/again")
again = pipeline("sequence-vae", model=folder + "/again", trust_remote_code=True)
answers["again"] = again(texts, max_new_tokens=6)
answers["package"] = sys.modules["hf_seqvae"] is None
print(json.dumps(answers))
"""


def test_a_saved_pipeline_runs_alone_and_writes_the_same(pipe, tmp_path):
    pipe.save_pretrained(tmp_path / "saved")
    pipe.save_pretrained(tmp_path / "by_hand")
    config = json.loads((tmp_path / "by_hand" / "config.json").read_text())
    config["custom_pipelines"] = {
        "sequence-vae": {"impl": "pipeline_seqvae.SeqVAEPipeline", "pt": ["AutoModelForSeq2SeqLM"]}
    }
    (tmp_path / "by_hand" / "config.json").write_text(json.dumps(config))
    answers = run(ALONE, tmp_path, json.dumps(TEXTS), cwd=tmp_path)
    for name in ("saved", "by_hand"):
        answer = answers[name]
        assert answer["texts"] == pipe(TEXTS)
        assert answer["samples"] == pipe.sample(3)
        assert answer["between"] == pipe.interpolate(A, B, steps=4, method="slerp")
        assert_close(torch.tensor(answer["latents"]), pipe.embed(TEXTS, return_tensors=True))
    assert answers["again"] == pipe(TEXTS)
    assert answers["package"]


def test_saving_a_pipeline_leaves_model_and_classes_as_they_were(pipe, tmp_path):
    before = pipe.model.config.to_dict()
    pipe.save_pretrained(tmp_path / "pipe")
    assert pipe.model.config.to_dict() == before
    pipe.model.save_pretrained(tmp_path / "model")
    assert not list((tmp_path / "model").glob("*.py"))


@pytest.mark.parametrize("trust", [None, True])
def test_where_the_package_is_there_it_goes_before_the_repositorys_code(pipe, tmp_path, trust):
    pipe.save_pretrained(tmp_path)
    (tmp_path / "pipeline_seqvae.py").write_text("raise RuntimeError('the code of the folder')")
    loaded = pipeline("sequence-vae", model=str(tmp_path), trust_remote_code=trust)
    assert type(loaded) is SeqVAEPipeline
    assert type(loaded.model) is hf_seqvae.SeqVAEModel
    assert loaded(TEXTS, max_new_tokens=6) == pipe(TEXTS)
    # and saved again without its code it does not point to any
    loaded.model.save_pretrained(tmp_path / "tuned")
    assert "custom_pipelines" not in json.loads((tmp_path / "tuned" / "config.json").read_text())


def test_a_model_in_a_subfolder_brings_the_decoders_tokenizer_from_there(folder, space):
    model = AutoModel.from_pretrained(folder.parent, subfolder=folder.name)
    assert model.decoder_tokenizer.get_vocab() == space.decoder_tokenizer.get_vocab()


def test_a_model_saved_again_keeps_the_decoders_tokenizer(folder, space, tmp_path):
    """As a Trainer saves it, which knows one tokenizer: the decoder's ids would be read by it."""
    AutoModel.from_pretrained(folder).save_pretrained(tmp_path)
    space.tokenizer.save_pretrained(tmp_path)
    again = LatentSpace.from_pretrained(tmp_path, max_new_tokens=6)
    assert again.reconstruct(TEXTS) == space.reconstruct(TEXTS)


def test_only_the_main_process_saves_the_decoders_tokenizer(folder, tmp_path):
    AutoModel.from_pretrained(folder).save_pretrained(tmp_path, is_main_process=False)
    assert not list(tmp_path.glob("decoder_tokenizer"))
