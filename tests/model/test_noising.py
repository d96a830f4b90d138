"""Noise on the encoder's input: what it may touch, how often, how far, and when."""

import pytest
import torch
from huggingface_hub.errors import StrictDataclassError
from tiny import BOS, EOS, PAD, UNK, V, batch, bert, config, gpt2, latents, lstm_encoder, model
from torch.testing import assert_close

from hf_seqvae.model.noising import (
    NOISES,
    drop_tokens,
    order_without_deleted,
    ordinary_tokens,
    shuffled_order,
    substitute_tokens,
)

SETTINGS = {
    "token_dropout": {"input_noise_rate": 0.5},
    "deletion": {"input_noise_rate": 0.5},
    "substitution": {"input_noise_rate": 0.5},
    "shuffle": {"shuffle_distance": 2},
}
every_noise = pytest.mark.parametrize("noise", NOISES)


def noisy_model(noise, encoder="lstm", **kwargs):
    return model(encoder, input_noise=noise, **SETTINGS[noise] | kwargs).train()


def texts(rows=64, length=50, seed=100):
    """Rows of ordinary tokens, all different in a row as far as the vocabulary goes."""
    generator = torch.Generator().manual_seed(seed)
    return torch.randint(4, V, (rows, length), generator=generator)


def binomial_bound(count, share):
    """Four standard deviations of the share among `count` draws."""
    return 4 * (share * (1 - share) / count) ** 0.5


def what_the_backbone_reads(made, values, seed=0, **kwargs):
    """Ids and mask of each row as the backbone is given them, and what comes out."""
    read = {}
    hook = made.encoder.backbone.register_forward_pre_hook(
        lambda _, __, given: read.update(given), with_kwargs=True
    )
    torch.manual_seed(seed)
    output = made.encoder(
        values["input_ids"], values["attention_mask"], sample_posterior=False, **kwargs
    )
    hook.remove()
    return read["input_ids"], read["attention_mask"], output


# what may be touched


@pytest.mark.parametrize("left", [False, True])
def test_ordinary_tokens_are_real_and_not_special(left):
    given = batch(5, left=left, extra=2)
    found = ordinary_tokens(given["input_ids"], given["attention_mask"], [PAD, BOS, EOS])
    assert torch.equal(found.sum(dim=1), given["attention_mask"].sum(dim=1) - 2)
    assert (given["input_ids"][found] >= 4).all()
    assert not found[given["attention_mask"] == 0].any()
    assert ordinary_tokens(given["input_ids"], given["attention_mask"], []).sum() == int(
        given["attention_mask"].sum()
    )


@every_noise
@pytest.mark.parametrize("left", [False, True])
def test_ends_and_padding_stay_what_and_where_they_are(noise, left):
    made, given = noisy_model(noise), batch(16, left=left, extra=2)
    ids, mask, _ = what_the_backbone_reads(made, given)
    for row in range(16):
        before = given["input_ids"][row][given["attention_mask"][row] == 1]
        after = ids[row][mask[row] == 1]
        assert after[0] == BOS and after[-1] == EOS
        assert (after[1:-1] >= 3).all()
        assert len(after) == len(before) or noise == "deletion"
    if noise != "deletion":
        assert torch.equal(mask, given["attention_mask"])
        still = (mask == 0) | (given["input_ids"] < 3)
        assert torch.equal(ids[still], given["input_ids"][still])
    assert not torch.equal(ids, given["input_ids"])


# how often


@pytest.mark.parametrize("share", [0.1, 0.5])
def test_the_expected_share_is_dropped_deleted_or_substituted(share):
    ids = texts()
    ordinary = torch.ones_like(ids, dtype=torch.bool)
    bound = binomial_bound(ids.numel(), share)
    torch.manual_seed(0)
    dropped = drop_tokens(ids, ordinary, share=share, unknown=UNK)
    assert abs((dropped == UNK).float().mean().item() - share) < bound
    other = substitute_tokens(ids, ordinary, share=share, choices=torch.arange(4, V))
    assert abs((other != ids).float().mean().item() - share) < bound
    _, mask = order_without_deleted(ordinary.long(), ordinary, share=share)
    assert abs(1 - mask.float().mean().item() - share) < bound


def test_substitutes_are_the_other_ordinary_tokens_each_as_often():
    ids = torch.full((200, 100), 7)
    choices = torch.tensor([4, 5, 7, 9, 11])
    torch.manual_seed(0)
    found = substitute_tokens(ids, ids > 0, share=1.0, choices=choices)
    counts = torch.bincount(found.flatten(), minlength=12)
    assert counts.nonzero().flatten().tolist() == [4, 5, 9, 11]
    shares = counts[[4, 5, 9, 11]] / ids.numel()
    assert (shares - 0.25).abs().max() < binomial_bound(ids.numel(), 0.25)
    last = substitute_tokens(ids + 4, ids > 0, share=1.0, choices=choices)
    assert last.unique().tolist() == [4, 5, 7, 9]


def test_the_model_substitutes_every_token_of_the_encoders_vocabulary_but_special_ones():
    made = noisy_model("substitution", input_noise_rate=1.0)
    given = {"input_ids": texts(), "attention_mask": torch.ones(64, 50, dtype=torch.long)}
    ids, _, _ = what_the_backbone_reads(made, given)
    assert (ids != given["input_ids"]).all()
    assert ids.unique().tolist() == list(range(3, V))


# deletion


@pytest.mark.parametrize("share", [0.3, 1.0])
def test_a_row_keeps_its_order_and_at_least_one_token(share):
    ids, ordinary = texts(200, 4), torch.ones(200, 4, dtype=torch.bool)
    ordinary[:50, 0] = False
    ordinary[0] = False  # nothing that could be deleted
    torch.manual_seed(0)
    order, mask = order_without_deleted(torch.ones_like(ids), ordinary, share=share)
    kept = mask.sum(dim=1)
    assert kept[0] == 4
    assert torch.equal(order.sort(dim=1).values, torch.arange(4).expand(200, 4))
    for row in range(200):
        assert order[row, : kept[row]].diff().gt(0).all()
        assert mask[row].tolist() == [1] * int(kept[row]) + [0] * int(4 - kept[row])
    untouched = (~ordinary).sum(dim=1)
    assert (kept[1:] > untouched[1:]).all()
    if share == 1.0:
        assert (kept[1:] == untouched[1:] + 1).all()


@pytest.mark.parametrize("encoder", ["lstm2", "bert", "gpt2"])
@pytest.mark.parametrize("left", [False, True])
def test_a_text_with_deleted_tokens_is_read_as_the_shorter_text(encoder, left):
    made, given = noisy_model("deletion", encoder, pooling="mean"), batch(6, left=left, extra=1)
    torch.manual_seed(0)
    found = made.encoder(**inputs_of(given), sample_posterior=False)
    ids, mask, _ = what_the_backbone_reads(made, given)
    made.eval()
    for row in range(6):
        alone = made.encoder(ids[row][mask[row] == 1][None])
        assert_close(found.posterior_mean[row], alone.posterior_mean[0], rtol=1e-4, atol=1e-5)


def inputs_of(values):
    return {name: values[name] for name in ("input_ids", "attention_mask")}


@pytest.mark.parametrize("left", [False, True])
def test_where_everything_is_deleted_pooling_without_special_tokens_still_has_a_token(left):
    made = noisy_model("deletion", input_noise_rate=1.0, pool_special_tokens=False)
    assert torch.isfinite(made(**batch(8, left=left)).loss)


# shuffle


@pytest.mark.parametrize("distance", [1, 3])
def test_no_token_moves_farther_than_the_distance_and_some_move_that_far(distance):
    ordinary = torch.ones(4000, 12, dtype=torch.bool)
    torch.manual_seed(0)
    order = shuffled_order(ordinary, distance=distance)
    assert torch.equal(order.sort(dim=1).values, torch.arange(12).expand(4000, 12))
    moved = order - torch.arange(12)
    assert moved.max() == distance and moved.min() == -distance


def test_the_distance_holds_where_draws_are_the_largest_there_are(monkeypatch):
    """The first token draws 1 after rounding, the rest 0: it stands as far behind as it may."""
    draws = torch.zeros(1, 6).index_fill(1, torch.tensor([0]), 1.0)
    monkeypatch.setattr(torch, "rand", lambda *_, **__: draws)
    order = shuffled_order(torch.ones(1, 6, dtype=torch.bool), distance=3)
    assert order.tolist() == [[1, 2, 3, 0, 4, 5]]


def test_two_tokens_change_places_as_often_as_the_draws_say():
    # i + U(0, 2): they change places where U_0 > U_1 + 1/2, which has probability 1/8
    torch.manual_seed(0)
    order = shuffled_order(torch.ones(20_000, 2, dtype=torch.bool), distance=1)
    share = (order[:, 0] == 1).float().mean().item()
    assert abs(share - 1 / 8) < binomial_bound(20_000, 1 / 8)


def test_places_are_counted_among_ordinary_tokens_and_others_stay():
    ordinary = torch.tensor([[0, 1, 1, 0, 1, 1, 0, 0], [0, 0, 0, 0, 0, 0, 0, 0]]).bool()
    ordinary = ordinary.repeat(500, 1)
    torch.manual_seed(0)
    order = shuffled_order(ordinary, distance=1)
    positions = torch.arange(8).expand_as(order)
    assert torch.equal(order[~ordinary], positions[~ordinary])
    first = order[::2][:, [1, 2, 4, 5]]
    assert torch.equal(first.sort(dim=1).values, torch.tensor([1, 2, 4, 5]).expand(500, 4))
    places = torch.tensor([-9, 0, 1, -9, 2, 3])[first]
    assert (places - torch.arange(4)).abs().max() == 1


def test_token_types_follow_their_tokens():
    made, given = noisy_model("shuffle", "bert"), batch(8)
    types = given["input_ids"] % 2
    read = {}
    made.encoder.backbone.register_forward_pre_hook(
        lambda _, __, values: read.update(values), with_kwargs=True
    )
    made.encoder(**inputs_of(given), token_type_ids=types)
    assert torch.equal(read["token_type_ids"], read["input_ids"] % 2)
    assert not torch.equal(read["input_ids"], given["input_ids"])


# when


@every_noise
def test_eval_reads_the_text_as_it_is(noise):
    given = batch(8)
    ids, mask, _ = what_the_backbone_reads(noisy_model(noise).eval(), given)
    assert torch.equal(ids, given["input_ids"])
    assert torch.equal(mask, given["attention_mask"])


def test_without_noise_training_reads_the_text_and_draws_nothing():
    made, given = model().train(), batch(8)
    torch.manual_seed(0)
    before = torch.get_rng_state()
    ids, _, _ = what_the_backbone_reads(made, given)
    assert torch.equal(ids, given["input_ids"])
    assert torch.equal(torch.get_rng_state(), before)


@every_noise
def test_what_is_predicted_and_what_was_given_are_left_alone(noise):
    made, given = noisy_model(noise), batch(8)
    copies = {name: value.clone() for name, value in given.items()}
    read = []
    made.decoder.model.embed_tokens.register_forward_hook(lambda _, args, __: read.append(args[0]))
    made(**given)
    expected = made.prepare_decoder_input_ids_from_labels(copies["labels"])
    assert torch.equal(read[0], expected)
    for name, value in copies.items():
        assert torch.equal(given[name], value), name


@every_noise
def test_the_seed_alone_decides(noise):
    made, given = noisy_model(noise), batch(16)
    first, again, other = (what_the_backbone_reads(made, given, seed=s)[0] for s in (1, 1, 2))
    assert torch.equal(first, again)
    assert not torch.equal(first, other)


@every_noise
@pytest.mark.parametrize("encoder", ["bert", "gpt2", "lstm2"])
def test_a_noisy_model_trains_with_finite_gradients(noise, encoder):
    made = noisy_model(noise, encoder, encoder_unk_token_id=UNK)
    made(**batch(8, left=True, extra=1)).loss.backward()
    assert all(torch.isfinite(p.grad).all() for p in made.parameters())


def test_embeddings_have_no_ids_to_disturb_but_are_welcome_in_eval():
    made, given = noisy_model("deletion"), batch(3)
    embeds = made.get_input_embeddings()(given["input_ids"])
    values = {"inputs_embeds": embeds, "labels": given["labels"]}
    with pytest.raises(ValueError, match="'deletion' changes token ids, and inputs_embeds.*eval"):
        made(**values)
    assert torch.isfinite(made.eval()(**values).loss)


def test_given_latents_need_no_noise():
    made, given = noisy_model("deletion"), batch(3)
    output = made(latents=latents(3), labels=given["labels"])
    assert torch.isfinite(output.reconstruction_nll).all()


# the words of the config


def test_a_shuffle_is_within_three_and_the_unknown_token_is_the_encoders():
    assert config(input_noise="shuffle").shuffle_distance == 3
    assert config(lstm_encoder(unk_token_id=9)).encoder_unk_token_id == 9
    assert config(lstm_encoder(unk_token_id=9), encoder_unk_token_id=5).encoder_unk_token_id == 5
    plain = config()
    assert (plain.input_noise, plain.input_noise_rate, plain.shuffle_distance) == (None,) * 3


REFUSED = [
    ({"input_noise": "typos"}, r"must be one of \['deletion', .*\] or None, got 'typos'"),
    ({"input_noise_rate": 0.1}, "the share of tokens.*got 0.1 beside input_noise=None.*leave inpu"),
    (
        {"input_noise": "shuffle", "input_noise_rate": 0.1},
        "got 0.1 beside input_noise='shuffle'. Choose one of them, or leave input_noise_rate out",
    ),
    ({"input_noise": "deletion"}, r"'deletion' needs input_noise_rate, .*\(0, 1\], got None"),
    ({"input_noise": "deletion", "input_noise_rate": 0}, r"a share in \(0, 1\], got 0"),
    ({"input_noise": "deletion", "input_noise_rate": 1.5}, r"a share in \(0, 1\], got 1.5"),
    (
        {"input_noise": "deletion", "input_noise_rate": float("nan")},
        r"a share in \(0, 1\], got nan",
    ),
    ({"shuffle_distance": 3}, "by input_noise='shuffle' alone, got 3 beside input_noise=None"),
    (
        {"input_noise": "deletion", "input_noise_rate": 0.1, "shuffle_distance": 3},
        "alone, got 3 beside input_noise='deletion'. Choose that noise, or leave shuffle_distance",
    ),
    (
        {"input_noise": "shuffle", "shuffle_distance": 0},
        "shuffle_distance must be at least 1 place, got 0. For no noise, leave input_noise out",
    ),
    (
        {"input_noise": "token_dropout", "input_noise_rate": 0.1, "encoder": bert()},
        "replaces tokens by encoder_unk_token_id, which.*does not tell. Set it to the id",
    ),
    (
        {"input_noise": "token_dropout", "input_noise_rate": 0.1, "encoder_unk_token_id": V},
        rf"below the encoder's vocab_size \({V}\).*got {V}. Give the encoder's tokenizer",
    ),
    (
        {"input_noise": "token_dropout", "input_noise_rate": 0.1, "encoder_unk_token_id": EOS},
        rf"none of the special tokens \[0, 1, 2\], got {EOS}",
    ),
    (
        {
            "input_noise": "substitution",
            "input_noise_rate": 0.1,
            "encoder": gpt2(vocab_size=4),
        },
        "'substitution' draws other tokens, which 4 tokens with 3 special ones do not hold",
    ),
]


@pytest.mark.parametrize(("kwargs", "message"), REFUSED, ids=[str(k)[:60] for k, _ in REFUSED])
def test_words_that_do_not_belong_together_are_refused(kwargs, message):
    with pytest.raises(StrictDataclassError, match=f"(?s){message}"):
        config(**kwargs)


def test_the_words_survive_a_save(tmp_path):
    made = config(input_noise="shuffle", shuffle_distance=5)
    made.save_pretrained(tmp_path)
    loaded = type(made).from_pretrained(tmp_path)
    assert (loaded.input_noise, loaded.shuffle_distance) == ("shuffle", 5)


def test_the_smallest_distance_and_vocabulary_are_taken():
    config(input_noise="shuffle", shuffle_distance=1)
    config(input_noise="substitution", input_noise_rate=0.1, encoder=gpt2(vocab_size=5))
