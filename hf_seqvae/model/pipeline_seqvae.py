"""SeqVAEPipeline: texts in, texts or latents out, as transformers' `pipeline("sequence-vae")`."""

import os
from collections.abc import Callable, Iterable, Iterator, Sequence
from itertools import islice
from pathlib import Path
from typing import Any, cast

from torch import Tensor
from torch.utils.data import Dataset
from transformers import Pipeline, PreTrainedTokenizerBase

from .carried_code import add_code
from .decoder_tokenizer import DECODER_TOKENIZER, check_tokenizer_fits
from .text_space import TextSpace


class SeqVAEPipeline(Pipeline):
    """Reconstructs, samples, interpolates or embeds, as the word `mode` says.

        pipe = pipeline("sequence-vae", model="name/model", trust_remote_code=True)

        pipe("a cat sleeps .")                   # the text from its posterior mean: a string
        pipe(["a cat sleeps .", "a dog barks ."], num_beams=4)                    # a list of them
        pipe.sample(3, temperature=0.8, seed=0)  # three texts of the prior
        pipe.interpolate("a cat sleeps .", "a dog barks .", steps=5, method="slerp")
        pipe.embed("a cat sleeps .")             # its posterior mean: a list of Z floats

    Each method is a call with a mode: `pipe(3, mode="sample")`, `pipe([(a, b), (c, d)],
    mode="interpolate")`, `pipe(texts, mode="embed")`. `pipeline(..., mode="embed")` sets the mode
    of a plain call. The other keywords are TextSpace's, with its defaults; what those do not name
    goes to `generate`, from the call or, for every call that writes, from `pipeline(...)`. In
    sample, `temperature` is that of the prior; elsewhere it is that of the words, with
    do_sample=True.

    A list gives a list: its texts are read and written `batch_size` at a time. A generator or a
    dataset (`KeyDataset(data, "text")`) gives an iterator that takes as many at a time from it.

    Args:
        model: a SeqVAEModel.
        tokenizer: the encoder's tokenizer.
        decoder_tokenizer: the decoder's, where it is another one; default: the one that came with
            the model.
        batch_size: texts encoded or decoded at a time.
        max_new_tokens: longest text written, in tokens, unless a call says otherwise.
        mode: what a plain call does.
        **kwargs: device and the like, as transformers' pipelines take them; keywords of `generate`.
    """

    _load_tokenizer = True
    _load_processor = _load_image_processor = _load_video_processor = False
    _load_feature_extractor = False
    model: Any
    tokenizer: Any  # transformers' base class takes pipelines without one
    decoder_tokenizer: Any

    def __init__(
        self,
        model: Any,
        tokenizer: PreTrainedTokenizerBase | None = None,
        *,
        decoder_tokenizer: PreTrainedTokenizerBase | None = None,
        batch_size: int = 256,
        max_new_tokens: int = 64,
        mode: str = "reconstruct",
        **kwargs: Any,
    ):
        if tokenizer is None:
            raise ValueError("a pipeline reads texts: give the tokenizer of the encoder.")
        own: PreTrainedTokenizerBase | None = model.decoder_tokenizer
        if decoder_tokenizer is None:
            decoder_tokenizer = tokenizer if own is None else own
        check_tokenizer_fits("encoder's ", tokenizer, model.config.encoder, "this pipeline")
        check_tokenizer_fits("decoder's ", decoder_tokenizer, model.config.decoder, "this pipeline")
        _check_mode(mode)
        self.decoder_tokenizer = decoder_tokenizer
        self.batch_size, self.max_new_tokens, self.mode = batch_size, max_new_tokens, mode
        super().__init__(model, cast(Any, tokenizer), **kwargs)

    def __call__(
        self,
        inputs: Any,
        *,
        mode: str | None = None,
        batch_size: int | None = None,
        **settings: Any,
    ) -> Any:
        """What the mode makes of one input, of a list of them, or of a stream, lazily.

        Args:
            inputs: a text, or texts; for interpolate a pair of them, or pairs; for sample a number.
            mode: "reconstruct", "sample", "interpolate" or "embed".
            batch_size: of this call.
            **settings: what the mode takes, and `generate`. num_return_sequences=R gives R texts
                for one, in a list. With a seed, batch k of a stream is seeded by seed + k.

        Raises:
            ValueError: a mode that is none, or inputs that are none of its own.
        """
        mode = self.mode if mode is None else mode
        _check_mode(mode)
        if settings.get("return_dict_in_generate"):
            raise ValueError("return_dict_in_generate is for model.generate: here texts come out.")
        if mode != "embed":
            settings = self._forward_params | settings
        space = TextSpace(
            self.model,
            self.tokenizer,
            decoder_tokenizer=self.decoder_tokenizer,
            batch_size=self.batch_size if batch_size is None else batch_size,
            max_new_tokens=self.max_new_tokens,
        )
        settings |= {"mode": mode, "space": space}
        if _is_one(inputs, mode):
            return self.run_single([inputs], {"mode": mode}, settings, {})[0]
        if not isinstance(inputs, Iterable | Dataset):
            raise ValueError(f"{mode} takes texts, got {type(inputs).__name__}: {inputs!r}.")
        if isinstance(inputs, Sequence):
            return self.run_single(list(inputs), {"mode": mode}, settings, {})
        return self._stream(inputs, settings)

    def sample(self, n: int, **settings: Any) -> list[str]:
        """n texts of the prior, as `TextSpace.sample` draws them (temperature, seed)."""
        return self(n, mode="sample", **settings)

    def interpolate(self, a: str, b: str, **settings: Any) -> list[str]:
        """The texts from a to b, as `TextSpace.interpolate` finds them (steps, method)."""
        return self((a, b), mode="interpolate", **settings)

    def embed(self, texts: str | Iterable[str], **settings: Any) -> Any:
        """Posterior means: Z floats for a text, a list of such for a list.

        With return_tensors=True (Z,) for a text, (N, Z) for N of them.
        """
        return self(texts, mode="embed", **settings)

    def save_pretrained(self, save_directory: str | os.PathLike, **kwargs: Any) -> None:
        """Writes model, tokenizers and all code: a folder that needs no package to be loaded.

        Args:
            save_directory: the folder.
            **kwargs: of the model's save_pretrained, such as max_shard_size.
        """
        folder = Path(save_directory)
        self.model.save_pretrained(folder, **kwargs)
        self.tokenizer.save_pretrained(folder)
        if self.decoder_tokenizer is not self.tokenizer:
            self.decoder_tokenizer.save_pretrained(folder / DECODER_TOKENIZER)
        add_code(folder, type(self.model))

    # -- the stages of one batch, which transformers' run_single() goes through

    def _sanitize_parameters(self, **settings: Any) -> tuple[dict, dict, dict]:
        return {}, settings, {}

    def preprocess(self, input_: list, mode: str) -> dict[str, Any]:
        """The inputs of one batch, each of the mode's own kind."""
        for given in input_:
            _check_input(given, mode)
        return {"inputs": input_}

    def _forward(
        self, input_tensors: dict[str, Any], *, mode: str, space: TextSpace, **settings: Any
    ) -> dict[str, Any]:
        return {"outputs": MODES[mode](space, input_tensors["inputs"], **settings)}

    def postprocess(self, model_outputs: dict[str, Any]) -> Any:
        """What was made of each input, in order."""
        return model_outputs["outputs"]

    def _stream(self, inputs: Any, settings: dict[str, Any]) -> Iterator[Any]:
        rows = iter(inputs)
        while batch := list(islice(rows, settings["space"].batch_size)):
            yield from self.run_single(batch, {"mode": settings["mode"]}, settings, {})
            if settings.get("seed") is not None:
                settings = settings | {"seed": settings["seed"] + 1}


def _reconstruct(space: TextSpace, texts: list[str], **settings: Any) -> list:
    written = space.reconstruct(texts, **settings)
    each = len(written) // len(texts)
    if each == 1:
        return written
    return [written[start : start + each] for start in range(0, len(written), each)]


def _sample(space: TextSpace, numbers: list[int], **settings: Any) -> list[list[str]]:
    return [space.sample(n, **settings) for n in numbers]


def _interpolate(space: TextSpace, pairs: list, **settings: Any) -> list[list[str]]:
    return space.interpolate_pairs(pairs, **settings)


def _embed(
    space: TextSpace, texts: list[str], *, return_tensors: bool = False, **settings: Any
) -> Tensor | list[list[float]]:
    if settings:
        raise ValueError(f"embed takes return_tensors alone, got {sorted(settings)}.")
    means = space.encode(texts)
    return means if return_tensors else means.tolist()


MODES: dict[str, Callable] = {
    "reconstruct": _reconstruct,
    "sample": _sample,
    "interpolate": _interpolate,
    "embed": _embed,
}


def _check_mode(mode: str) -> None:
    if mode not in MODES:
        raise ValueError(f"mode must be one of {sorted(MODES)}, got {mode!r}.")


def _is_one(inputs: Any, mode: str) -> bool:
    """Whether this is one input; in interpolate a sequence that begins with a text is a pair."""
    if mode == "interpolate" and isinstance(inputs, Sequence) and len(inputs):
        return isinstance(inputs[0], str)
    return mode == "sample" or isinstance(inputs, str)


def _check_input(given: Any, mode: str) -> None:
    """What TextSpace cannot know: texts are checked there, what is none of a mode's inputs here."""
    if mode == "sample" and (isinstance(given, bool) or not isinstance(given, int)):
        raise ValueError(
            f"sample takes the number of texts to draw, got {given!r}. Texts are for reconstruct, "
            "interpolate and embed."
        )
    if mode == "interpolate":
        is_pair = isinstance(given, Sequence) and not isinstance(given, str) and len(given) == 2
        if not is_pair:
            raise ValueError(f"interpolate takes a pair of texts, (a, b), got {given!r}.")
    if isinstance(given, dict):
        raise ValueError(
            f"{mode} takes texts, got a row with the columns {sorted(given)}. Name the column: "
            'pipe(data["text"]), or KeyDataset(data, "text") of transformers.'
        )
