"""Fine-tune a checkpoint with SeqVAETrainer, and keep the epoch with the best sampled bound."""

# %% A checkpoint to begin with, here small and untrained: any folder or Hub id does.
import tempfile

from transformers import AutoModel, AutoTokenizer, TrainingArguments

from hf_seqvae import Objective, SeqVAEConfig, SeqVAEModel, SeqVAETrainer, everyday
from hf_seqvae.data import load_splits, tokenize, tokenizer_from_words
from hf_seqvae.objectives import LinearSchedule

checkpoint, output = tempfile.mkdtemp(), tempfile.mkdtemp()
tokenizer = tokenizer_from_words(everyday.vocabulary())
sizes = {"vocab_size": len(tokenizer), "embedding_size": 64, "hidden_size": 64}
SeqVAEModel(SeqVAEConfig(encoder=sizes, decoder=sizes, latent_size=16)).save_pretrained(checkpoint)
tokenizer.save_pretrained(checkpoint)

# %% Load it, and turn text into token ids. load_splits also reads files and Hub data sets.
model, tokenizer = AutoModel.from_pretrained(checkpoint), AutoTokenizer.from_pretrained(checkpoint)
splits = load_splits(dataset="everyday", num_train=800, num_validation=100, num_test=1)
rows = {name: tokenize(split, tokenizer) for name, split in splits.items()}

# %% The Objective weighs the KL by a schedule of the step; the rest is Trainer's.
steps = {"num_train_epochs": 2, "learning_rate": 5e-3, "per_device_train_batch_size": 32}
saved = {"eval_strategy": "epoch", "save_strategy": "epoch"}
best = {"load_best_model_at_end": True, "metric_for_best_model": "eval_elbo"}
trainer = SeqVAETrainer(
    model,
    TrainingArguments(output, **steps, **saved, **best, disable_tqdm=True, use_cpu=True),
    objective=Objective(beta=LinearSchedule(start=0.1, end=1.0, num_steps=50)),
    train_dataset=rows["train"],
    eval_dataset=rows["validation"],
    processing_class=tokenizer,
)
trainer.train()

# %% eval_elbo is at posterior samples, so it bounds log p(x); beta is 1 in it.
print({k: round(v, 2) for k, v in trainer.evaluate().items() if k.startswith("eval_")})
