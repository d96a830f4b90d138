"""The exact NLL of a language model over words, once more and without the library.

    python training/lm_in_numpy.py runs/ptb_lstm_lm/best data/ptb/test.txt

The LSTM is written out in NumPy (float64) over the weights file, the tokenizer is a look-up in
tokenizer.json, and tokens are counted from the lines of the text: an end for each sentence, no
start. No later word can be read, since the loop over time has not come to it. What this prints must
be what `hf-seqvae evaluate` prints for the same folder and text, up to float32.
"""

import argparse
import json
import math
from pathlib import Path

import numpy as np
from safetensors.numpy import load_file

LSTM = "model.layers.0.lstm"
BATCH_SIZE = 256


def sigmoid(x: np.ndarray) -> np.ndarray:
    """1 / (1 + exp(-x)), without overflow."""
    return (1 + np.tanh(x / 2)) / 2


def total_nll(folder: Path, rows: list[list[int]], start: int) -> float:
    """Sum of -log p over rows of token ids that each end in the end token, in nats."""
    weights = {
        name: values.astype(np.float64)
        for name, values in load_file(folder / "model.safetensors").items()
    }
    embeddings, output = weights.pop("model.embed_tokens.weight"), weights.pop("lm_head.weight")
    read, recur = weights.pop(f"{LSTM}.weight_ih_l0"), weights.pop(f"{LSTM}.weight_hh_l0")
    bias = weights.pop(f"{LSTM}.bias_ih_l0") + weights.pop(f"{LSTM}.bias_hh_l0")
    if weights:
        raise SystemExit(f"one LSTM layer and an output map are written out here, not {[*weights]}")
    total = 0.0
    rows = sorted(rows, key=len, reverse=True)  # so that those that go on are the first ones
    for first in range(0, len(rows), BATCH_SIZE):
        batch = rows[first : first + BATCH_SIZE]
        hidden = cell = np.zeros((len(batch), recur.shape[1]))
        previous = np.full(len(batch), start)
        for time in range(len(batch[0])):
            labels = np.array([row[time] for row in batch if time < len(row)])
            hidden, cell = hidden[: len(labels)], cell[: len(labels)]
            gates = embeddings[previous[: len(labels)]] @ read.T + hidden @ recur.T + bias
            take, keep, new, show = np.split(gates, 4, axis=1)
            cell = sigmoid(keep) * cell + sigmoid(take) * np.tanh(new)
            hidden = sigmoid(show) * np.tanh(cell)
            logits = hidden @ output.T
            logits -= logits.max(1, keepdims=True)
            right = logits[np.arange(len(labels)), labels]
            total += float((np.log(np.exp(logits).sum(1)) - right).sum())
            previous = labels
    return total


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("model", type=Path, help="folder of a language model with a word tokenizer")
    parser.add_argument("text", type=Path, help="a sentence a line, words apart by white space")
    arguments = parser.parse_args()
    config, tokenizer = (
        json.loads((arguments.model / name).read_text(encoding="utf-8"))
        for name in ("config.json", "tokenizer.json")
    )
    vocabulary = tokenizer["model"]["vocab"]
    unknown, end = vocabulary[tokenizer["model"]["unk_token"]], config["eos_token_id"]
    lines = arguments.text.read_text(encoding="utf-8").splitlines()
    rows = [
        [*(vocabulary.get(word, unknown) for word in line.split()), end]
        for line in lines
        if line.strip()
    ]
    if not rows:
        raise SystemExit(f"{arguments.text} holds no sentence.")
    total, tokens = total_nll(arguments.model, rows, config["bos_token_id"]), sum(map(len, rows))
    print(
        f"{total / len(rows):.4f} nats a sentence, {len(rows):,} sentences, {tokens:,} tokens, "
        f"perplexity {math.exp(total / tokens):.4f}"
    )


if __name__ == "__main__":
    main()
