import logging

import numpy as np
import pytest
from datasets import Dataset
from hypothesis import given, settings
from hypothesis import strategies as st
from test_data_tokenization import gpt2_like
from tokenizers import Tokenizer, models, pre_tokenizers
from transformers import PreTrainedTokenizerFast

from hf_seqvae.data import TextEncoder, build_tokenizer, encode_texts, row_lengths, tokenize
from hf_seqvae.data.encoding import with_one_eos

TEXTS = ["the cat sat", "a dog", "the dog sat on the mat"]


@pytest.fixture(scope="module")
def words():
    return build_tokenizer(TEXTS, kind="word")


def dataset(texts) -> Dataset:
    return Dataset.from_dict({"text": texts})


def test_labels_are_the_text_and_one_eos_and_inputs_keep_their_special_tokens(words):
    tokenised = tokenize(dataset(["the cat", "  dog \n"]), words)
    the, cat, dog = words.convert_tokens_to_ids(["the", "cat", "dog"])
    assert tokenised.column_names == ["input_ids", "labels", "length", "num_words"]
    assert tokenised["input_ids"][:] == [[1, the, cat, 2], [1, dog, 2]]
    assert tokenised["labels"][:] == [[the, cat, 2], [dog, 2]]
    assert tokenised["length"][:] == [3, 2]
    assert tokenised["num_words"][:] == [2, 1]


def test_two_tokenizers_write_their_own_side(words):
    decoder = gpt2_like()
    row = tokenize(dataset(["the cat"]), words, decoder)[0]
    assert row["input_ids"] == words("the cat")["input_ids"]
    assert row["labels"] == [*decoder("the cat")["input_ids"], decoder.eos_token_id]
    assert row["num_words"] == 2


def test_gpt2_with_padding_equal_to_eos_has_one_eos_at_the_end():
    tokenizer = gpt2_like()
    tokenizer.pad_token = tokenizer.eos_token
    row = tokenize(dataset(["the <|endoftext|> cat"]), tokenizer)[0]
    assert row["labels"].count(tokenizer.eos_token_id) == 1
    assert row["labels"][-1] == tokenizer.eos_token_id
    assert tokenizer.decode(row["labels"][:-1]) == "the <|endoftext|> cat"


def test_an_eos_of_the_tokenizer_itself_is_not_doubled():
    assert with_one_eos([5, 6, 2], 2, {1, 2}) == [5, 6, 2]
    assert with_one_eos([5, 6], 2, {1, 2}) == [5, 6, 2]
    assert with_one_eos([], 2, {1, 2}) == [2]


def test_an_eos_inside_a_text_is_refused():
    with pytest.raises(ValueError, match=r"control tokens \[2\].*end early"):
        with_one_eos([5, 2, 6], 2, {1, 2})


def test_control_tokens_in_a_text_do_not_change_the_count(words):
    row = tokenize(dataset(["the </s> cat"]), words)[0]
    the, cat = words.convert_tokens_to_ids(["the", "cat"])
    assert row["labels"] == [the, 3, cat, 2]


@settings(deadline=None, max_examples=50)
@given(st.lists(st.text(max_size=12), min_size=1, max_size=5))
def test_reading_special_tokens_off_the_mask_equals_encoding_without_them(words, texts):
    for tokenizer in (words, gpt2_like_shared):
        encoder = TextEncoder(tokenizer)
        columns = encoder.columns(texts)
        for i, text in enumerate(texts):
            bare = tokenizer(text.strip(), add_special_tokens=False, split_special_tokens=True)[
                "input_ids"
            ]
            assert columns["labels"][i] == [*bare, tokenizer.eos_token_id]
            assert columns["input_ids"][i] == tokenizer(text.strip())["input_ids"]


gpt2_like_shared = gpt2_like()


def test_long_texts_are_cut_counted_and_said_in_training(words, caplog):
    with caplog.at_level(logging.WARNING):
        tokenised = tokenize(dataset(TEXTS), words, max_length=2, truncate=True)
    expected = [text.split()[:2] for text in TEXTS]
    for row, kept in zip(tokenised, expected, strict=True):
        assert words.convert_ids_to_tokens(row["labels"]) == [*kept, "</s>"]
        assert words.convert_ids_to_tokens(row["input_ids"]) == ["<s>", *kept, "</s>"]
        assert row["num_words"] == row["length"] - 1 == 2
    assert caplog.messages == ["2 of 3 texts were cut to max_length=2 tokens (5 tokens left out)"]


def test_long_texts_are_refused_in_evaluation(words):
    with pytest.raises(
        ValueError, match=r"1 of 3 texts have more than max_length=3 tokens.*3 too many.*row 2"
    ):
        tokenize(dataset(TEXTS), words, max_length=3)
    assert len(tokenize(dataset(TEXTS), words, max_length=6)) == 3


def test_the_limit_of_the_tokenizer_itself_holds_too():
    limited = build_tokenizer(TEXTS, max_length=3)
    with pytest.raises(ValueError, match="more than max_length=3 tokens"):
        tokenize(dataset(TEXTS), limited)


def test_the_count_of_cut_texts_is_said_again_from_the_cache(words, caplog):
    data = dataset(TEXTS)
    tokenize(data, words, max_length=2, truncate=True)
    caplog.clear()
    tokenize(data, words, max_length=2, truncate=True)
    assert "2 of 3 texts were cut" in caplog.text


@settings(deadline=None, max_examples=60)
@given(text=st.text(min_size=1, max_size=30).filter(str.strip), limit=st.integers(4, 12))
def test_both_sides_hold_the_same_prefix_of_a_cut_text(text, limit):
    source, target = build_bytes(), gpt2_like_shared
    columns = TextEncoder(source, target, max_length=limit).columns([text])
    kept = target.decode(columns["labels"][0][:-1])
    assert source.decode(columns["input_ids"][0], skip_special_tokens=True).strip() == kept.strip()
    assert text.strip().startswith(kept)
    assert columns["length"][0] - 1 <= limit
    assert len(columns["input_ids"][0]) - 2 <= limit
    assert (columns["excess"][0] > 0) == (kept != text.strip())


_bytes: list = []


def build_bytes():
    if not _bytes:
        _bytes.append(build_tokenizer(["x"], kind="bpe", vocab_size=260))
    return _bytes[0]


def test_typed_texts_give_the_rows_of_a_data_set(words):
    assert encode_texts(TEXTS, words) == list(tokenize(dataset(TEXTS), words))
    assert encode_texts(TEXTS[2:], words, max_length=2, truncate=True)[0]["length"] == 3


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "a text must hold a word, got ''"),
        (" \n", "a text must hold a word"),
        ("zebra ZZ", "every word of 'zebra ZZ' is unknown to the tokenizer"),
        ("the cat sat on", "'the cat sat on' has 1 tokens more than max_length=3"),
    ],
)
def test_unusable_typed_texts_are_refused(words, text, message):
    with pytest.raises(ValueError, match=message):
        encode_texts(["the cat", text], words, max_length=3)


def test_rows_of_unknown_words_only_stay_and_are_counted(words, caplog):
    tokenised = tokenize(dataset(["zebra ZZ", "the cat"]), words)
    assert tokenised["labels"][0] == [3, 3, 2]
    assert caplog.messages == ["1 of 2 texts hold unknown words only; they are kept"]


def test_text_that_is_unknown_throughout_is_refused(words):
    with pytest.raises(ValueError, match="every word of all 2 texts is unknown"):
        tokenize(dataset(["zebra", "THE CAT"]), words)


def test_empty_texts_rows_and_missing_columns_are_refused(words):
    with pytest.raises(ValueError, match="2 of 3 texts are empty, the first at row 1"):
        tokenize(dataset(["the", " ", None]), words)
    with pytest.raises(ValueError, match="the data set is empty"):
        tokenize(Dataset.from_dict({"text": []}), words)
    with pytest.raises(ValueError, match=r"no column 'text', only \['sentence'\]"):
        tokenize(Dataset.from_dict({"sentence": ["the"]}), words)
    with pytest.raises(ValueError, match="max_length must be 1 or more, got 0"):
        tokenize(dataset(TEXTS), words, max_length=0)


def test_a_decoder_tokenizer_without_eos_is_refused_with_the_cure(words):
    backend = Tokenizer(models.WordLevel({"[UNK]": 0, "the": 1}, unk_token="[UNK]"))
    backend.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    bert_like = PreTrainedTokenizerFast(tokenizer_object=backend, unk_token="[UNK]")
    with pytest.raises(ValueError, match="has none. Set one, e.g. tokenizer.eos_token = "):
        tokenize(dataset(TEXTS), words, bert_like)
    assert len(tokenize(dataset(TEXTS), bert_like, words)) == 3


def test_row_lengths_are_those_of_the_rows_in_their_order(words):
    tokenised = tokenize(dataset(TEXTS), words).select([2, 0])
    assert row_lengths(tokenised).tolist() == [7, 4]
    assert row_lengths(tokenised).dtype == np.int32


def test_many_processes_tokenise_as_one(words):
    data = dataset(TEXTS * 3)
    assert tokenize(data, words, num_proc=2)[:] == tokenize(data, words)[:]
