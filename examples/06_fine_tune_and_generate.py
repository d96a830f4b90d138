"""Fine-tune a checkpoint with Seq2SeqTrainer, judged by how it writes each sentence again."""

# %% A checkpoint to begin with, here small and untrained: any folder or Hub id does.
import tempfile
from statistics import mean

from transformers import AutoModelForSeq2SeqLM, AutoTokenizer, Seq2SeqTrainer
from transformers import Seq2SeqTrainingArguments as Arguments

from hf_seqvae import SeqVAEConfig, SeqVAEModel, everyday
from hf_seqvae.data import Collator, load_splits, tokenize, tokenizer_from_words

checkpoint, output = tempfile.mkdtemp(), tempfile.mkdtemp()
tokenizer = tokenizer_from_words(everyday.vocabulary())
sizes = {"vocab_size": len(tokenizer), "embedding_size": 64, "hidden_size": 128}
SeqVAEModel(SeqVAEConfig(encoder=sizes, decoder=sizes, latent_size=32)).save_pretrained(checkpoint)
tokenizer.save_pretrained(checkpoint)

# %% Load it, and turn text into token ids. load_splits also reads files and Hub data sets.
model = AutoModelForSeq2SeqLM.from_pretrained(checkpoint, kl_weight=0.01)
tokenizer = AutoTokenizer.from_pretrained(checkpoint)
splits = load_splits(dataset="everyday", num_train=1600, num_validation=50, num_test=1)
rows = [tokenize(splits[name], tokenizer) for name in ("train", "validation")]


# %% Sentences are decoded greedily from the posterior mean: how many words are in their place?
def judge(prediction):
    ids = (array.clip(min=0) for array in prediction)  # written, meant; -100 and 0 are padding
    texts = (tokenizer.batch_decode(rows, skip_special_tokens=True) for rows in ids)
    pairs = [zip(a.split(), b.split(), strict=False) for a, b in zip(*texts, strict=True)]
    return {"same_words": mean(a == b for pair in pairs for a, b in pair)}


steps = {"num_train_epochs": 5, "learning_rate": 5e-3, "per_device_train_batch_size": 32}
written = {"predict_with_generate": True, "generation_max_length": 24, "use_cpu": True}
args, collate = Arguments(output, **steps, **written), Collator.from_tokenizer(tokenizer)
trainer = Seq2SeqTrainer(model, args, collate, *rows, compute_metrics=judge)
trainer.train()
print(f"{trainer.evaluate()['eval_same_words']:.0%} of the words are the same")
