"""Draw sentences from the prior and walk between two of them."""

# %% A model to play with: everyday sentences, a plain PyTorch loop.
import torch

from hf_seqvae import LatentSpace, SeqVAEConfig, SeqVAEModel, everyday
from hf_seqvae.data import Collator, encode_texts, tokenizer_from_words

torch.manual_seed(0)
tokenizer = tokenizer_from_words(everyday.vocabulary())
sizes = {"vocab_size": len(tokenizer), "embedding_size": 64, "hidden_size": 96}
model = SeqVAEModel(SeqVAEConfig(encoder=sizes, decoder=sizes, latent_size=16, kl_weight=0.1))

sentences, factors = everyday.generate(2000, seed=0)
rows, collate = encode_texts(sentences, tokenizer), Collator.from_tokenizer(tokenizer)
optimizer = torch.optim.Adam(model.parameters(), lr=5e-3)
model.train()
for _ in range(150):
    batch = collate([rows[i] for i in torch.randint(len(rows), (48,)).tolist()])
    loss = model(**batch).loss  # -ELBO a token, the KL weighed by config.kl_weight
    loss.backward()
    optimizer.step()
    optimizer.zero_grad()
print(f"loss {loss.item():.2f} nats a token")

# %% Samples: lower temperatures stay closer to the middle of the prior.
space = LatentSpace(model, tokenizer)
for temperature in (0.5, 1.0):
    print(f"\ntemperature {temperature}")
    print(*space.sample(3, temperature=temperature, seed=1), sep="\n")

# %% A straight line and an arc between two sentences.
a, b = sentences[0], sentences[1]
for method in ("lerp", "slerp"):
    print(f"\n{method}: {a}  ->  {b}")
    print(*space.interpolate(a, b, steps=5, method=method), sep="\n")

# %% Around a sentence: the nearer, the more alike.
print(f"\naround: {a}")
print(*space.neighbours(a, scale=0.3, n=4), sep="\n")
