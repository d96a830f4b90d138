"""generate() from texts and from latents: every mode, cached or not, prompts included."""

import pytest
import torch
from tiny import BOS, EOS, PAD, V, batch, latents, lstm_decoder, model
from torch.testing import assert_close
from transformers import (
    LogitsProcessor,
    LogitsProcessorList,
    StoppingCriteria,
    StoppingCriteriaList,
    TextStreamer,
)

from hf_seqvae.model.injection import INJECTIONS

MODELS = {
    "lstm": lambda: model("lstm2"),
    "lstm-all": lambda: model("lstm", latent_injection=INJECTIONS),
    "lstm-output": lambda: model("lstm", latent_injection=("output",)),
    "bert-gpt2": lambda: model("bert", "gpt2", num_prefix_tokens=2),
    "bert-gpt2-add": lambda: model("bert", "gpt2", latent_injection=("add",)),
    "lstm-llama": lambda: model("lstm", "llama"),
}
MODES = {
    "greedy": {},
    "sample": {"do_sample": True, "num_return_sequences": 3},
    "beam": {"num_beams": 3, "num_return_sequences": 2},
    "beam-sample": {"num_beams": 3, "do_sample": True},
}
LENGTH = 8


@pytest.fixture(scope="module", params=MODELS)
def made(request):
    return MODELS[request.param]()


def generate(made, seed=0, **kwargs):
    torch.manual_seed(seed)
    return made.generate(**{"max_new_tokens": LENGTH} | kwargs)


def traced(made, seed=0, **kwargs):
    """The sequences, and the scores behind them: tokens alone may hide a small difference."""
    found = generate(
        made, seed, output_logits=True, output_scores=True, return_dict_in_generate=True, **kwargs
    )
    beams = getattr(found, "sequences_scores", None)
    return found.sequences, torch.stack(found.logits, dim=1) if beams is None else beams


def padded_prompt():
    """Two prompts of four and two tokens; what stands at the padding is no padding id."""
    ids = torch.tensor([[BOS, 4, 5, 6], [9, 9, BOS, 7]])
    return {
        "decoder_input_ids": ids,
        "decoder_attention_mask": torch.tensor([[1, 1, 1, 1], [0, 0, 1, 1]]),
    }


@pytest.mark.parametrize("mode", MODES)
def test_cached_is_uncached(made, mode):
    z = latents(3)
    cached, scores = traced(made, latents=z, **MODES[mode])
    uncached, same = traced(made, latents=z, use_cache=False, **MODES[mode])
    assert torch.equal(cached, uncached)
    assert_close(scores, same)
    assert len({tuple(row) for row in cached.tolist()}) > 1  # z is heard


@pytest.mark.parametrize("mode", MODES)
def test_a_static_cache_is_a_dynamic_one(made, mode):
    z = latents(3)
    settings = {"disable_compile": True, **MODES[mode]}
    dynamic, scores = traced(made, latents=z, cache_implementation="dynamic", **settings)
    for _ in range(2):  # the second time nothing of the first is left in it
        static, same = traced(made, latents=z, cache_implementation="static", **settings)
        assert torch.equal(dynamic, static)
        assert_close(scores, same)


@pytest.mark.parametrize("cache", ["dynamic", "static", None])
@pytest.mark.parametrize("mode", ["greedy", "beam"])
def test_left_padded_prompts_are_continued_like_each_alone(made, mode, cache):
    z, prompt = latents(2), padded_prompt()
    settings = {"use_cache": cache is not None, "disable_compile": True, "eos_token_id": None}
    settings |= {"cache_implementation": cache} if cache else {}
    settings |= MODES[mode] | {"num_return_sequences": 1, "length_penalty": 0.0}
    together, scores = traced(made, latents=z, **prompt, **settings)
    for row, ids in enumerate(([BOS, 4, 5, 6], [BOS, 7])):
        alone, same = traced(
            made, latents=z[row : row + 1], decoder_input_ids=torch.tensor([ids]), **settings
        )
        assert together[row, 4:].tolist() == alone[0, len(ids) :].tolist()
        assert_close(scores[row], same[0])


def test_a_prompt_is_kept_and_continued(made):
    z = latents(2)
    prompt = torch.tensor([[BOS, 4, 5], [BOS, 6, 7]])
    whole = generate(made, latents=z, decoder_input_ids=prompt)
    assert torch.equal(whole[:, :3], prompt)
    words, steps = prompt, []
    for _ in range(3):
        steps.append(made(latents=z, decoder_input_ids=words).logits[:, -1].argmax(-1))
        words = torch.cat([words, steps[-1][:, None]], dim=1)
    assert (
        generate(
            made, latents=z, decoder_input_ids=prompt, max_new_tokens=3, eos_token_id=None
        ).tolist()
        == words.tolist()
    )


@pytest.mark.parametrize("count", [1, 2])
def test_a_beam_batch_is_its_rows_one_by_one(made, count):
    z = latents(4)
    settings = {"num_beams": 4, "num_return_sequences": count}
    together = generate(made, latents=z, **settings)
    for row in range(4):
        alone = generate(made, latents=z[row : row + 1], **settings)
        rows = together[row * count : (row + 1) * count]
        assert torch.equal(rows[:, : alone.shape[1]], alone)
        # transformers' beam search fills up with EOS where the padding id is 0
        assert set(rows[:, alone.shape[1] :].flatten().tolist()) <= {PAD, EOS}


def test_beams_find_what_the_exhaustive_search_finds():
    made, z = MODELS["lstm"](), latents(1)
    best = generate(made, latents=z, num_beams=V * V, max_new_tokens=2, eos_token_id=None)[0, 1:]
    pairs = torch.cartesian_prod(torch.arange(V), torch.arange(V))
    words = torch.cat([torch.full((V * V, 1), BOS), pairs[:, :1]], dim=1)
    logits = made(latents=z.expand(V * V, -1), decoder_input_ids=words).logits.log_softmax(-1)
    score = logits.gather(-1, pairs[..., None])[..., 0].sum(1)
    assert best.tolist() == pairs[score.argmax()].tolist()


def test_beam_scores_are_the_models_own():
    made, z = MODELS["bert-gpt2"](), latents(2)
    found = generate(
        made,
        latents=z,
        num_beams=3,
        output_scores=True,
        return_dict_in_generate=True,
        eos_token_id=None,
    )
    nll = made(latents=z, labels=found.sequences[:, 1:]).reconstruction_nll
    assert_close(found.sequences_scores, -nll / LENGTH)


@pytest.mark.parametrize("mode", MODES)
def test_from_a_text_is_from_its_posterior_mean(made, mode):
    texts = batch(3)
    inputs = {name: texts[name] for name in ("input_ids", "attention_mask")}
    mean = made.encoder(**inputs).posterior_mean
    assert torch.equal(
        generate(made, **inputs, **MODES[mode]), generate(made, latents=mean, **MODES[mode])
    )


@pytest.mark.parametrize("left", [False, True])
def test_padding_of_a_text_changes_nothing_that_is_generated(made, left):
    texts, padded = batch(3), batch(3, left=left, extra=4)
    results = [
        generate(made, input_ids=b["input_ids"], attention_mask=b["attention_mask"])
        for b in (texts, padded)
    ]
    assert torch.equal(*results)


@pytest.mark.parametrize("rows", [1, 2, 7, 64])
def test_a_batch_of_any_size_is_its_rows(made, rows):
    z = latents(rows, seed=3)
    together = generate(made, latents=z, max_new_tokens=4, eos_token_id=None)
    assert together.shape == (rows, 5)
    for row in {0, rows // 2, rows - 1}:
        alone = generate(made, latents=z[row : row + 1], max_new_tokens=4, eos_token_id=None)
        assert torch.equal(together[row], alone[0])


def test_sequences_begin_with_the_start_end_with_eos_and_are_padded_after_it(made):
    found = generate(made, latents=latents(40), max_new_tokens=12, do_sample=True)
    assert (found[:, 0] == BOS).all()
    ended = 0
    for row in found.tolist():
        if EOS in row:
            ended += 1
            assert set(row[row.index(EOS) + 1 :]) <= {PAD}
    assert ended > 0


def test_sampling_is_reproduced_by_its_seed_and_differs_between_seeds(made):
    z = latents(4)
    one, again, other = (
        generate(made, seed=s, latents=z, do_sample=True, min_new_tokens=LENGTH) for s in (0, 0, 1)
    )
    assert torch.equal(one, again)
    assert not torch.equal(one, other)


def test_samples_follow_the_models_distribution():
    made, z = MODELS["lstm"](), latents(1)
    found = generate(
        made, latents=z, do_sample=True, num_return_sequences=4000, max_new_tokens=1, top_k=0
    )
    share = torch.bincount(found[:, 1], minlength=V) / 4000
    probability = made(latents=z, decoder_input_ids=torch.tensor([[BOS]])).logits[0, -1].softmax(-1)
    assert (share - probability).abs().max() < 4 * 0.5 / 4000**0.5


class Forbid(LogitsProcessor):
    def __init__(self, tokens):
        self.tokens = tokens

    def __call__(self, input_ids, scores):
        return scores.index_fill(1, torch.tensor(self.tokens), float("-inf"))


def test_logits_processors_are_obeyed(made):
    z = latents(3)
    free = generate(made, latents=z, eos_token_id=None)
    used = sorted(set(free[:, 1:].flatten().tolist()))
    bound = generate(
        made, latents=z, eos_token_id=None, logits_processor=LogitsProcessorList([Forbid(used)])
    )
    assert not set(bound[:, 1:].flatten().tolist()) & set(used)


class StopAfter(StoppingCriteria):
    def __init__(self, length):
        self.length = length

    def __call__(self, input_ids, scores, **kwargs):
        return torch.full((len(input_ids),), input_ids.shape[1] >= self.length)


def test_stopping_criteria_are_obeyed(made):
    stopped = generate(
        made,
        latents=latents(3),
        eos_token_id=None,
        stopping_criteria=StoppingCriteriaList([StopAfter(4)]),
    )
    assert stopped.shape == (3, 4)


class Words:
    """The least a streamer asks of a tokenizer."""

    def decode(self, ids, **kwargs):
        return " ".join(str(int(token)) for token in ids) + " "


def test_a_streamer_prints_what_is_generated(made, capsys):
    found = generate(made, latents=latents(1), streamer=TextStreamer(Words()))
    assert capsys.readouterr().out.split() == [str(token) for token in found[0].tolist()]


def test_going_on_from_a_returned_cache_is_generating_at_once(made):
    settings = {"latents": latents(2), "eos_token_id": None, "return_dict_in_generate": True}
    settings |= {"output_logits": True}
    first = generate(made, max_new_tokens=3, **settings)
    second = generate(
        made,
        max_new_tokens=4,
        decoder_input_ids=first.sequences,
        decoder_attention_mask=torch.ones_like(first.sequences),
        past_key_values=first.past_key_values,
        **settings,
    )
    whole = generate(made, max_new_tokens=7, **settings)
    assert torch.equal(second.sequences, whole.sequences)
    assert_close(torch.stack(second.logits), torch.stack(whole.logits[3:]))


def test_prompt_lookup_is_greedy_for_transformers_and_refused_for_lstms(made):
    z = latents(1)
    settings = {"latents": z, "max_new_tokens": 20, "eos_token_id": None}
    if made.config.has_lstm_decoder:
        with pytest.raises(ValueError, match="assisted generation is not supported with stateful"):
            generate(made, prompt_lookup_num_tokens=2, **settings)
    else:
        found = generate(made, prompt_lookup_num_tokens=2, **settings)
        assert torch.equal(found, generate(made, **settings))


def test_dropout_is_off_and_z_the_mean_in_eval():
    made = model(decoder=lstm_decoder(input_dropout=0.5, output_dropout=0.5))
    texts = batch(2)
    one, two = (
        generate(made, seed=s, input_ids=texts["input_ids"], attention_mask=texts["attention_mask"])
        for s in (0, 1)
    )
    assert torch.equal(one, two)


# what is refused


def test_texts_and_latents_together_are_refused(made):
    texts = batch(2)
    with pytest.raises(ValueError, match=r"either texts \(input_ids\) or latents.*not both"):
        made.generate(input_ids=texts["input_ids"], latents=latents(2))
    with pytest.raises(ValueError, match=r"either texts \(input_ids\) or latents.*not both"):
        made.generate(texts["input_ids"], latents=latents(2))
    with pytest.raises(ValueError, match=r"either texts \(input_ids\) or latents.*not both"):
        made(**texts, latents=latents(2))


@pytest.mark.parametrize("call", ["generate", "forward"])
@pytest.mark.parametrize(
    ("z", "message"),
    [
        (torch.zeros(2, 5), r"latents must be \(B, 4\), got \(2, 5\).*latent_size"),
        (torch.zeros(4), r"latents must be \(B, 4\), got \(4,\)"),
        (torch.zeros(1, 2, 4), r"latents must be \(B, 4\), got \(1, 2, 4\)"),
        (torch.zeros(2, 4).long(), r"floating point tensor, got torch.int64.*input_ids"),
        ([[0.0] * 4], r"floating point tensor, got list"),
    ],
)
def test_latents_of_a_wrong_shape_or_type_are_refused(call, z, message):
    made = MODELS["lstm"]()
    with pytest.raises(ValueError, match=message):
        made.generate(latents=z) if call == "generate" else made(
            latents=z, decoder_input_ids=torch.tensor([[BOS], [BOS]])
        )


@pytest.mark.parametrize("dtype", [torch.float64, torch.bfloat16, torch.float16])
def test_floating_latents_of_another_dtype_are_cast(made, dtype):
    z = latents(3).to(dtype)
    words = torch.tensor([[BOS, 4]] * 3)
    expected = made(latents=z.float(), decoder_input_ids=words)
    given = made(latents=z, decoder_input_ids=words)
    assert torch.equal(given.logits, expected.logits)
    assert given.latents.dtype == torch.float32
    assert torch.equal(generate(made, latents=z), generate(made, latents=z.float()))


def test_nothing_to_encode_and_nothing_to_read_are_refused(made):
    with pytest.raises(
        ValueError, match="nothing to encode: give input_ids, inputs_embeds or latents"
    ):
        made(labels=torch.tensor([[4, EOS]]))
    with pytest.raises(ValueError, match="give labels or decoder_input_ids"):
        made(latents=latents(1))


def test_more_tokens_than_a_decoder_has_positions_are_refused():
    made = MODELS["bert-gpt2"]()  # 64 positions, two of them for the prefix
    words = torch.ones(1, 63, dtype=torch.long)
    with pytest.raises(ValueError, match="the decoder's input has 65 tokens, but 'gpt2' has 64"):
        made(latents=latents(1), decoder_input_ids=words)
    assert made(latents=latents(1), decoder_input_ids=words[:, :62]).logits.shape[1] == 62
    with pytest.raises(ValueError, match="the encoder's input has 33 tokens, but 'bert' has 32"):
        made.encoder(torch.full((1, 33), 4))


def test_generate_needs_texts_or_latents_by_their_names():
    made = model()
    with pytest.raises(ValueError, match="not neither: got nothing"):
        made.generate(max_new_tokens=3)
    with pytest.raises(ValueError, match="name latents: generate"):
        made.generate(latents(2), max_new_tokens=3)
