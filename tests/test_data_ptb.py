"""The Penn Treebank, where it is at hand: its published counts and the padding of its batches."""

import pytest

from hf_seqvae.data import (
    BucketBatchSampler,
    build_tokenizer,
    load_splits,
    padding_share,
    row_lengths,
    tokenize,
)

pytestmark = pytest.mark.xdist_group("ptb")


@pytest.fixture(scope="module")
def ptb(data_dir):
    folder = data_dir / "ptb"
    if not folder.is_dir():
        pytest.skip(f"no Penn Treebank at {folder}: see HF_SEQVAE_DATA")
    return load_splits(train_file=str(folder / "train.txt"), test_file=str(folder / "test.txt"))


@pytest.fixture(scope="module")
def tokenizer(ptb):
    return build_tokenizer(ptb["train"]["text"], kind="word")


def test_the_test_split_has_as_many_predicted_tokens_as_the_literature_says(ptb, tokenizer):
    tokenised = tokenize(ptb["test"], tokenizer)
    assert len(tokenised) == 3_761
    assert row_lengths(tokenised).sum() == 78_669 + 3_761
    assert row_lengths(tokenised, "num_words").sum() == 78_669


def test_unknown_words_of_the_corpus_are_the_unknown_token(ptb, tokenizer):
    texts = ptb["test"]["text"][:500]
    written = sum(text.split().count("<unk>") for text in texts)
    assert written > 100
    read = sum(ids.count(3) for ids in tokenizer(texts)["input_ids"])
    assert read == written  # no word of the test split is missing from the train split


def test_padding_of_training_batches_is_below_three_percent(ptb):
    words = row_lengths_by_white_space(ptb["train"])
    sampler = BucketBatchSampler(words, batch_size=32)
    assert padding_share(words, sampler.global_batches()) < 0.03
    budget = BucketBatchSampler(words, tokens_per_batch=2000)
    assert padding_share(words, budget.global_batches()) < 0.03


def row_lengths_by_white_space(dataset):
    return row_lengths(
        dataset.map(
            lambda batch: {"length": [len(text.split()) + 1 for text in batch["text"]]},
            batched=True,
            remove_columns=["text"],
        )
    )
