"""Small parts for the tests of SeqVAETrainer: rows, a tiny model, arguments."""

import inspect

import torch
from datasets import Dataset
from transformers import TrainingArguments

from hf_seqvae import SeqVAEConfig, SeqVAEModel

VOCABULARY = 20


def rows(count: int, seed: int = 0) -> Dataset:
    """Sentences of 2 to 7 random tokens, in the columns that tokenize() makes."""
    generator = torch.Generator().manual_seed(seed)
    lengths = torch.randint(2, 8, (count,), generator=generator).tolist()
    texts = [torch.randint(4, VOCABULARY, (n,), generator=generator).tolist() for n in lengths]
    return Dataset.from_dict(
        {
            "input_ids": [[1, *text, 2] for text in texts],
            "labels": [[*text, 2] for text in texts],
            "length": [len(text) + 1 for text in texts],
        }
    )


def tiny_model(seed: int = 0, **config) -> SeqVAEModel:
    torch.manual_seed(seed)
    lstm = {"vocab_size": VOCABULARY, "embedding_size": 8, "hidden_size": 12}
    return SeqVAEModel(SeqVAEConfig(encoder=lstm, decoder=lstm, latent_size=4, **config))


def arguments(folder, *, kind=TrainingArguments, **settings) -> TrainingArguments:
    defaults = {
        "per_device_train_batch_size": 8,
        "per_device_eval_batch_size": 8,
        "max_steps": 6,
        "learning_rate": 1e-2,
        "logging_steps": 2,
        "save_strategy": "no",
        "report_to": [],
        "disable_tqdm": True,
        "use_cpu": True,
    }
    return kind(str(folder), **(defaults | settings))


def weights(model) -> list[torch.Tensor]:
    return [parameter.detach().clone() for parameter in model.parameters()]


class Quiet(SeqVAEModel):
    """The model at its posterior means, so that two runs differ in nothing but how they batch."""

    def forward(self, *args, **kwargs):
        return super().forward(*args, **{"sample_posterior": False} | kwargs)


# a stock Trainer reads the names of what the model takes
Quiet.forward.__signature__ = inspect.signature(SeqVAEModel.forward)


def quiet_model(**config) -> Quiet:
    model = tiny_model(**config)
    model.__class__ = Quiet
    return model
