"""Train with transformers' Trainer API: the same objective, a sampled bound at each evaluation."""

# %% Any config, or from_pretrained(...) to fine-tune a model that is there already.
import tempfile

from transformers import TrainingArguments

from hf_seqvae import Objective, SeqVAEConfig, SeqVAEModel, SeqVAETrainer, everyday
from hf_seqvae.data import load_splits, tokenize, tokenizer_from_words
from hf_seqvae.objectives import LinearSchedule

tokenizer = tokenizer_from_words(everyday.vocabulary())
sizes = {"vocab_size": len(tokenizer), "embedding_size": 64, "hidden_size": 64}
model = SeqVAEModel(SeqVAEConfig(encoder=sizes, decoder=sizes, latent_size=16))

# %% Text -> token ids. load_splits also reads files and Hub data sets.
splits = load_splits(dataset="everyday", num_train=800, num_validation=100, num_test=1)
train_rows = tokenize(splits["train"], tokenizer)
validation_rows = tokenize(splits["validation"], tokenizer)

# %% The Objective weighs the KL by a schedule of the step; the rest is Trainer's.
trainer = SeqVAETrainer(
    model=model,
    args=TrainingArguments(
        output_dir=tempfile.mkdtemp(prefix="hf_seqvae_"),
        num_train_epochs=2,
        per_device_train_batch_size=32,
        learning_rate=5e-3,
        logging_steps=25,
        save_strategy="no",
        report_to="none",
        disable_tqdm=True,
        use_cpu=True,
    ),
    train_dataset=train_rows,
    eval_dataset=validation_rows,
    objective=Objective(beta=LinearSchedule(start=0.1, end=1.0, num_steps=50)),
    processing_class=tokenizer,
)
trainer.train()

# %% eval_elbo is at posterior samples, so it bounds log p(x); beta is 1 in it.
figures = trainer.evaluate()
print({name: round(value, 2) for name, value in figures.items() if name.startswith("eval_")})
