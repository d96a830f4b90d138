import logging

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
from transformers import AutoTokenizer, PreTrainedTokenizerFast

from hf_seqvae.data import build_tokenizer, load_tokenizer, tokenizer_from_words
from hf_seqvae.everyday import generate, vocabulary

TEXTS = ["the cat sat on the mat", "the dog sat", "a cat ca n't <unk> N", "don't stop, cat!"]
KINDS = {
    "word": {"kind": "word"},
    "punctuation": {"kind": "word", "split_punctuation": True},
    "bpe": {"kind": "bpe", "vocab_size": 300},
}


@pytest.fixture(params=KINDS)
def tokenizer(request):
    return build_tokenizer(TEXTS, **KINDS[request.param])


def ids(tokenizer, text):
    return tokenizer(text)["input_ids"]


def test_special_tokens_have_ids_0_to_3_and_frame_the_text(tokenizer):
    names = (tokenizer.pad_token, tokenizer.bos_token, tokenizer.eos_token, tokenizer.unk_token)
    assert names == ("<pad>", "<s>", "</s>", "<unk>")
    assert tokenizer.convert_tokens_to_ids(list(names)) == [0, 1, 2, 3]
    framed = ids(tokenizer, "the cat")
    assert framed[0] == 1
    assert framed[-1] == 2
    assert framed[1:-1] == tokenizer("the cat", add_special_tokens=False)["input_ids"]
    assert not {0, 1, 2, 3} & set(framed[1:-1])


def test_decoding_gives_the_text_back(tokenizer):
    for text in ("the cat sat on the mat", "a cat ca n't N", "the dog"):
        assert tokenizer.decode(ids(tokenizer, text), skip_special_tokens=True) == text


def test_decoding_gives_untokenised_text_back():
    texts = ["Don't stop, cat!", "“Well-known”, 3.5 or 1,000?!", "(so) it's: 'yes' - no"]
    for options in (KINDS["punctuation"], KINDS["bpe"]):
        tokenizer = build_tokenizer(texts, **options)
        for text in texts:
            assert tokenizer.decode(ids(tokenizer, text), skip_special_tokens=True) == text


def test_punctuation_is_split_off_words_but_apostrophes_stay_in_them():
    tokenizer = build_tokenizer(["don't stop, cat!"], **KINDS["punctuation"])
    assert tokenizer.tokenize("don't stop, cat!") == ["▁don't", "▁stop", ",", "▁cat", "!"]


def test_a_saved_tokenizer_comes_back_the_same(tokenizer, tmp_path):
    tokenizer.save_pretrained(tmp_path)
    again = AutoTokenizer.from_pretrained(tmp_path)
    for text in (*TEXTS, "never seen </s> before", "é☃"):
        assert ids(again, text) == ids(tokenizer, text)
        assert again.decode(ids(again, text)) == tokenizer.decode(ids(tokenizer, text))
    assert again.all_special_tokens == tokenizer.all_special_tokens
    assert again.padding_side == "right"


@settings(deadline=None, max_examples=50)
@given(
    words=st.lists(
        st.one_of(
            st.sampled_from(["<pad>", "<s>", "</s>", "<unk>", "cat</s>", "<S>", "the", "▁"]),
            st.text(max_size=5),
        ),
        max_size=8,
    ),
    kind=st.sampled_from(sorted(KINDS)),
    lowercase=st.booleans(),
)
def test_no_text_smuggles_a_control_token_in(words, kind, lowercase):
    key = kind, lowercase
    if key not in _trained:
        _trained[key] = build_tokenizer(
            [*TEXTS, "</s> <s> <S>"], lowercase=lowercase, **KINDS[kind]
        )
    bare = _trained[key](" ".join(words), add_special_tokens=False)["input_ids"]
    assert not {0, 1, 2} & set(bare)


_trained: dict = {}


def test_control_words_in_the_training_text_become_no_words():
    tokenizer = build_tokenizer(["a </s> b <s> <pad> <unk>", "</s>"], kind="word")
    assert sorted(tokenizer.get_vocab()) == ["</s>", "<pad>", "<s>", "<unk>", "a", "b"]
    assert ids(tokenizer, "a </s> b") == [1, 4, 3, 5, 2]


def test_the_word_unk_of_a_text_is_the_unknown_token_and_counts_once():
    tokenizer = build_tokenizer(["the <unk> N <unk> <unk>"], kind="word")
    assert tokenizer.convert_tokens_to_ids("<unk>") == 3
    assert len(tokenizer) == 6
    assert ids(tokenizer, "the <unk> N zebra") == [1, 5, 3, 4, 3, 2]  # "N" < "the"


def test_words_are_numbered_by_frequency_and_then_by_spelling():
    tokenizer = build_tokenizer(["b b c a", "c b z"], kind="word")
    assert tokenizer.convert_ids_to_tokens([4, 5, 6, 7]) == ["b", "c", "a", "z"]


def test_vocab_size_and_min_frequency_bound_the_words():
    texts = ["a a a b b c"]
    assert len(build_tokenizer(texts, vocab_size=5)) == 5
    kept = build_tokenizer(texts, min_frequency=2)
    assert sorted(set(kept.get_vocab()) - set(kept.all_special_tokens)) == ["a", "b"]
    assert len(build_tokenizer(TEXTS * 50, kind="bpe", vocab_size=270)) == 270


def test_byte_pairs_know_every_character():
    tokenizer = build_tokenizer(TEXTS, **KINDS["bpe"])
    text = "ünseen ☃ \U0001f600 <unk>"
    assert 3 not in ids(tokenizer, text)
    assert tokenizer.decode(ids(tokenizer, text), skip_special_tokens=True) == text


def test_lowercase_tokenizers_read_capitals():
    tokenizer = build_tokenizer(["The cat"], kind="word", lowercase=True)
    assert ids(tokenizer, "THE CAT") == ids(tokenizer, "the cat") == [1, 5, 4, 2]
    assert ids(tokenizer, "the </S> cat") == [1, 5, 3, 4, 2]  # no EOS by way of lower case


def test_max_length_is_kept_beside_the_special_tokens():
    assert build_tokenizer(TEXTS, max_length=10).model_max_length == 12
    assert build_tokenizer(TEXTS).model_max_length > 10**6


def test_the_everyday_vocabulary_covers_its_sentences_and_round_trips():
    tokenizer = tokenizer_from_words(vocabulary())
    assert len(tokenizer) == len(vocabulary()) + 4
    for sentence in generate(500, seed=3)[0]:
        encoded = ids(tokenizer, sentence)
        assert 3 not in encoded
        assert tokenizer.decode(encoded, skip_special_tokens=True) == sentence


def test_a_tokenizer_without_padding_pads_with_its_eos(tmp_path, caplog):
    gpt2_like().save_pretrained(tmp_path)
    with caplog.at_level(logging.INFO):
        tokenizer = load_tokenizer(str(tmp_path))
    assert tokenizer.pad_token_id == tokenizer.eos_token_id
    assert "has no pad token" in caplog.text
    assert ids(build_tokenizer(kind="pretrained", name=str(tmp_path)), "cat") == ids(
        tokenizer, "cat"
    )


def gpt2_like() -> PreTrainedTokenizerFast:
    """Byte pairs with one special token for everything, which encoding does not add."""
    backend = Tokenizer(models.BPE())
    backend.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    backend.decoder = decoders.ByteLevel()
    end = "<|endoftext|>"
    trainer = trainers.BpeTrainer(
        vocab_size=300,
        special_tokens=[end],
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    backend.train_from_iterator(TEXTS, trainer)
    return PreTrainedTokenizerFast(
        tokenizer_object=backend, bos_token=end, eos_token=end, unk_token=end
    )


@pytest.mark.parametrize(
    ("texts", "options", "message"),
    [
        (
            TEXTS,
            {"kind": "wrod"},
            r"kind must be one of \['word', 'bpe', 'pretrained'\], got 'wrod'",
        ),
        (None, {"kind": "pretrained"}, "needs its name"),
        (None, {"kind": "word"}, "give it texts"),
        (TEXTS, {"min_frequency": 0}, "min_frequency must be 1 or more, got 0"),
        (TEXTS, {"min_frequency": 99}, "no word occurs 99 times or more"),
        (TEXTS, {"vocab_size": 4}, "special tokens and must exceed them, got 4"),
        (TEXTS, {"kind": "bpe", "vocab_size": 259}, "must be 260 or more, got 259"),
        (TEXTS, {"kind": "bpe", "split_punctuation": True}, "split_punctuation is for kind 'word'"),
        (["", " "], {}, "hold no word"),
    ],
)
def test_impossible_tokenizers_are_refused(texts, options, message):
    with pytest.raises(ValueError, match=message):
        build_tokenizer(texts, **options)


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["a", "b c"], "without white space.*got 'b c'"),
        (["</s>"], "none of .*got '</s>'"),
        ([""], "non-empty"),
        (["a", "b", "a"], "distinct, got 'a' more than once"),
    ],
)
def test_impossible_vocabularies_are_refused(words, message):
    with pytest.raises(ValueError, match=message):
        tokenizer_from_words(words)
