"""Tokenizers: any pretrained one, or a word-level or BPE one trained on the text at hand."""

import logging
from collections import Counter
from collections.abc import Iterable, Sequence

import tokenizers
from tokenizers import Regex, decoders, models, normalizers, pre_tokenizers, processors, trainers
from transformers import AutoTokenizer, PreTrainedTokenizerBase, PreTrainedTokenizerFast

logger = logging.getLogger(__name__)

PAD, BOS, EOS, UNK = SPECIAL_TOKENS = ("<pad>", "<s>", "</s>", "<unk>")  # ids 0, 1, 2, 3
KINDS = ("word", "bpe", "pretrained")
DEFAULT_BPE_SIZE = 8192
BYTES = 256

# A word that is spelt like a control token is an unknown word: text never ends a sentence early.
# "<unk>" stays, since corpora such as the Penn Treebank write their unknown words so.
_CONTROL_WORD = Regex(r"(?<!\S)(<pad>|<s>|</s>)(?!\S)")
# Words may hold apostrophes and hyphens, numbers points and commas; ▁ marks the start of a word.
_WORD_OR_MARK = Regex(r"▁?\w+(?:['’\-]\w+|[.,]\d+)*|▁?[^\w▁]")


def build_tokenizer(
    texts: Iterable[str] | None = None,
    *,
    kind: str = "word",
    name: str | None = None,
    vocab_size: int | None = None,
    min_frequency: int = 1,
    split_punctuation: bool = False,
    lowercase: bool = False,
    max_length: int | None = None,
) -> PreTrainedTokenizerBase:
    """The tokenizer of a kind, trained on `texts` unless it is a pretrained one.

    Ours carry `<pad> <s> </s> <unk>` as ids 0 to 3 and write a sentence as `<s> x </s>`. Control
    tokens are never read out of a text.

    Args:
        texts: what to train on; "pretrained" needs none.
        kind: "word" (words between white space), "bpe" (bytes, without unknown words) or
            "pretrained".
        name: of a pretrained one: a Hub id or a folder.
        vocab_size: most entries, the four special ones among them; None for every word, or for
            8192 pieces.
        min_frequency: rarer words are unknown; rarer pairs are not merged.
        split_punctuation: words only: punctuation is a word of its own, for text that is not
            tokenised yet; decoding restores its spaces.
        lowercase: ours only.
        max_length: tokens of a text, for `model_max_length`; ours only.
    """
    if kind not in KINDS:
        raise ValueError(f"tokenizer kind must be one of {list(KINDS)}, got {kind!r}.")
    if kind == "pretrained":
        if name is None:
            raise ValueError("a pretrained tokenizer needs its name: a Hub id or a folder.")
        return load_tokenizer(name)
    if texts is None:
        raise ValueError(f"a {kind!r} tokenizer is trained: give it texts, the train split's.")
    if min_frequency < 1:
        raise ValueError(f"min_frequency must be 1 or more, got {min_frequency}.")
    if kind == "bpe":
        if split_punctuation:
            raise ValueError("split_punctuation is for kind 'word': 'bpe' splits by itself.")
        backend = _bpe(texts, vocab_size, min_frequency, lowercase)
    else:
        backend = _word_level(texts, vocab_size, min_frequency, split_punctuation, lowercase)
    return _wrap(backend, max_length)


def tokenizer_from_words(
    words: Sequence[str], *, max_length: int | None = None
) -> PreTrainedTokenizerFast:
    """The word-level tokenizer of a known vocabulary: ids 4, 5, ... in the order of `words`."""
    bad = [word for word in words if word.split() != [word] or word in (PAD, BOS, EOS)]
    if bad:
        raise ValueError(
            f"words must be non-empty, without white space, and none of {[PAD, BOS, EOS]}, "
            f"got {bad[0]!r}."
        )
    repeated = [word for word, count in Counter(words).items() if count > 1]
    if repeated:
        raise ValueError(f"words must be distinct, got {repeated[0]!r} more than once.")
    backend = _word_pipeline(split_punctuation=False, lowercase=False)
    _set_words(backend, [word for word in words if word != UNK])
    return _wrap(backend, max_length)


def load_tokenizer(name: str) -> PreTrainedTokenizerBase:
    """`AutoTokenizer.from_pretrained(name)`, with EOS as padding where it has no pad token.

    A second meaning of EOS is harmless here: padding is told by the mask, never by its id.
    """
    tokenizer = AutoTokenizer.from_pretrained(name)
    if tokenizer.pad_token_id is None and tokenizer.eos_token is not None:
        logger.info("%s has no pad token: %s pads, told apart by mask", name, tokenizer.eos_token)
        tokenizer.pad_token = tokenizer.eos_token
    return tokenizer


def _word_level(
    texts: Iterable[str],
    vocab_size: int | None,
    min_frequency: int,
    split_punctuation: bool,
    lowercase: bool,
) -> tokenizers.Tokenizer:
    if vocab_size is not None and vocab_size <= len(SPECIAL_TOKENS):
        raise ValueError(
            f"vocab_size counts the {len(SPECIAL_TOKENS)} special tokens and must exceed them, "
            f"got {vocab_size}."
        )
    backend = _word_pipeline(split_punctuation, lowercase)
    counts: Counter[str] = Counter()
    for text in texts:
        pieces = backend.pre_tokenizer.pre_tokenize_str(backend.normalizer.normalize_str(text))
        counts.update(piece for piece, _ in pieces)
    if not counts:
        raise ValueError("the tokenizer's texts hold no word: nothing to train on.")
    del counts[UNK]  # not a word of its own: it has its id
    frequent = sorted((-count, word) for word, count in counts.items() if count >= min_frequency)
    if not frequent:
        raise ValueError(f"no word occurs {min_frequency} times or more: lower min_frequency.")
    room = None if vocab_size is None else vocab_size - len(SPECIAL_TOKENS)
    _set_words(backend, [word for _, word in frequent[:room]])
    return backend


def _word_pipeline(split_punctuation: bool, lowercase: bool) -> tokenizers.Tokenizer:
    """Text -> words, and back; the words are set later."""
    backend = tokenizers.Tokenizer(models.WordLevel({UNK: 0}, unk_token=UNK))
    control = normalizers.Replace(_CONTROL_WORD, UNK)
    # lower-casing first: it must not make a control token of "<S>"
    backend.normalizer = normalizers.Sequence(
        [normalizers.Lowercase(), control] if lowercase else [control]
    )
    if split_punctuation:
        backend.pre_tokenizer = pre_tokenizers.Sequence(
            [
                pre_tokenizers.WhitespaceSplit(),
                pre_tokenizers.Metaspace(replacement="▁", prepend_scheme="always"),
                pre_tokenizers.Split(_WORD_OR_MARK, behavior="isolated"),
            ]
        )
        backend.decoder = decoders.Metaspace(replacement="▁", prepend_scheme="always")
    else:
        backend.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    return backend


def _set_words(backend: tokenizers.Tokenizer, words: Sequence[str]) -> None:
    vocabulary = {word: index for index, word in enumerate((*SPECIAL_TOKENS, *words))}
    backend.model = models.WordLevel(vocabulary, unk_token=UNK)


def _bpe(
    texts: Iterable[str], vocab_size: int | None, min_frequency: int, lowercase: bool
) -> tokenizers.Tokenizer:
    size = DEFAULT_BPE_SIZE if vocab_size is None else vocab_size
    if size < len(SPECIAL_TOKENS) + BYTES:
        raise ValueError(
            f"vocab_size of a BPE tokenizer holds {len(SPECIAL_TOKENS)} special tokens and "
            f"{BYTES} bytes, so it must be {len(SPECIAL_TOKENS) + BYTES} or more, got {size}."
        )
    backend = tokenizers.Tokenizer(models.BPE())
    if lowercase:
        backend.normalizer = normalizers.Lowercase()
    backend.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=True)
    # the first word is spelt as any other, with a space in front, which decoding takes off again
    backend.decoder = decoders.Sequence([decoders.ByteLevel(), decoders.Strip(" ", 1, 0)])
    trainer = trainers.BpeTrainer(
        vocab_size=size,
        min_frequency=min_frequency,
        special_tokens=list(SPECIAL_TOKENS),
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    backend.train_from_iterator(texts, trainer)
    return backend


def _wrap(backend: tokenizers.Tokenizer, max_length: int | None) -> PreTrainedTokenizerFast:
    ids = [(token, SPECIAL_TOKENS.index(token)) for token in (BOS, EOS)]
    backend.post_processor = processors.TemplateProcessing(
        single=f"{BOS} $A {EOS}", pair=f"{BOS} $A {EOS} $B {EOS}", special_tokens=ids
    )
    limit = {} if max_length is None else {"model_max_length": max_length + 2}  # <s> and </s>
    return PreTrainedTokenizerFast(
        tokenizer_object=backend,
        bos_token=BOS,
        eos_token=EOS,
        pad_token=PAD,
        unk_token=UNK,
        split_special_tokens=True,  # "</s>" in a text is text
        clean_up_tokenization_spaces=False,
        **limit,
    )
