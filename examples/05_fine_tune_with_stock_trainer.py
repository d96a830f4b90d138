"""Fine-tune a checkpoint with transformers' own Trainer: beta by schedule, figures of z."""

# %% A checkpoint to begin with, here small and untrained: any folder or Hub id does.
import tempfile

from transformers import AutoModel, AutoTokenizer, Trainer, TrainingArguments

from hf_seqvae import SeqVAEConfig, SeqVAEModel, everyday
from hf_seqvae.callbacks import KLScheduleCallback
from hf_seqvae.data import Collator, load_splits, tokenize, tokenizer_from_words
from hf_seqvae.evaluation import trainer_metrics
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

# %% The callback weighs the KL; trainer_metrics keeps what says how far z is used, and no logits.
steps = {"num_train_epochs": 2, "learning_rate": 5e-3, "per_device_train_batch_size": 32}
trainer = Trainer(
    model,
    TrainingArguments(output, **steps, save_strategy="no", disable_tqdm=True, use_cpu=True),
    train_dataset=rows["train"],
    eval_dataset=rows["validation"],
    data_collator=Collator.from_tokenizer(tokenizer),
    callbacks=[KLScheduleCallback(LinearSchedule(start=0.1, end=1.0, num_steps=50))],
    **trainer_metrics(),
)
trainer.train()
print({k: round(v, 2) for k, v in trainer.evaluate().items() if k.startswith("eval_")})
