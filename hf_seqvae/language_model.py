"""The model without latents: a language model in a text VAE's place, and what it writes."""

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn
from transformers import PreTrainedTokenizerBase

from hf_seqvae.model.modeling_lstm import SeqVAELSTMForCausalLM
from hf_seqvae.model.outputs import SeqVAEOutput
from hf_seqvae.model.writing import generated_text, seeded


class WithoutLatents(nn.Module):
    """A language model with the terms of a text VAE: -log p(x), exact, and a KL of no dimension.

    Any loop that trains the VAE trains it, on the same batches, of which it reads `labels` alone.

    Args:
        language_model: what is trained; it is saved on its own, as the model it is.
        word_dropout: share of its inputs replaced by `unk_token_id` in training. Source: Bowman et
            al., arXiv 1511.06349.
    """

    def __init__(self, language_model: SeqVAELSTMForCausalLM, *, word_dropout: float = 0.0):
        super().__init__()
        if not 0.0 <= word_dropout <= 1.0:
            raise ValueError(f"word_dropout must be in [0, 1], got {word_dropout}.")
        self.language_model = language_model
        self.word_dropout = word_dropout

    def forward(self, labels: Tensor, **unread: Any) -> SeqVAEOutput:
        """Labels (B, L) -> reconstruction_nll (B,) = -log p(x), kl (B, 0), num_tokens (B,).

        Args:
            labels: a text's tokens and one EOS, never BOS; -100 = padding.
            unread: what an encoder would read, and how it would sample.
        """
        share = self.word_dropout if self.training else 0.0
        nll = -self.language_model.log_prob({"labels": labels}, word_dropout=share)
        return SeqVAEOutput(
            reconstruction_nll=nll,
            kl=nll.new_zeros(len(nll), 0),
            num_tokens=(labels != -100).sum(dim=1),
        )

    def log_prob(self, batch: Mapping[str, Tensor]) -> Tensor:
        """log p(x) in nats, EOS included, without word dropout, (B,): see `LanguageModel`."""
        return self.language_model.log_prob(batch)


@torch.no_grad()
def sample_texts(
    model: SeqVAELSTMForCausalLM,
    tokenizer: PreTrainedTokenizerBase,
    num_samples: int,
    *,
    temperature: float = 1.0,
    seed: int = 0,
    batch_size: int = 256,
    max_new_tokens: int = 64,
) -> list[str]:
    """`num_samples` texts of a language model, token by token behind BOS.

    Args:
        model: in `eval()`.
        tokenizer: its own.
        num_samples: how many.
        temperature: logits are divided by it; 1 is the model itself.
        seed: of the tokens; the caller's generators are left as they were.
        batch_size: texts written at a time.
        max_new_tokens: of the longest text.
    """
    if num_samples < 1:
        raise ValueError(f"num_samples must be at least 1, got {num_samples}.")
    if not 0 < temperature < float("inf"):
        raise ValueError(f"temperature must be finite and above 0, got {temperature}.")
    writer: Any = model
    config = writer.config
    if config.bos_token_id is None:
        raise ValueError("a text begins behind BOS, and the config's bos_token_id is None. Set it.")
    settings = {"temperature": temperature, "max_new_tokens": max_new_tokens}
    settings |= {"do_sample": True, "top_k": 0, "top_p": 1.0}  # whatever its generation_config says
    starts = torch.full((num_samples, 1), config.bos_token_id, device=model.device)
    texts: list[str] = []
    with seeded(seed, model.device):
        for chunk in starts.split(batch_size):
            written: Any = writer.generate(chunk, attention_mask=torch.ones_like(chunk), **settings)
            texts += [
                generated_text(ids, tokenizer, start=config.bos_token_id, ends=config.eos_token_id)
                for ids in written.tolist()
            ]
    return texts
