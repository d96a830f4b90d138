"""Find the direction of an attribute in the latent space, and move sentences along it."""

# %% The grammar of the embedded corpus knows the factors of each of its sentences.
import torch

from hf_seqvae import LatentSpace, SeqVAEConfig, SeqVAEModel, everyday
from hf_seqvae.data import Collator, encode_texts, tokenizer_from_words

sentences, factors = everyday.generate(2000, seed=0)
print(sentences[0], factors[0], sep="\n")

# %% A small model of them.
torch.manual_seed(0)
tokenizer = tokenizer_from_words(everyday.vocabulary())
sizes = {"vocab_size": len(tokenizer), "embedding_size": 64, "hidden_size": 96}
model = SeqVAEModel(SeqVAEConfig(encoder=sizes, decoder=sizes, latent_size=16, kl_weight=0.05))
rows, collate = encode_texts(sentences, tokenizer), Collator.from_tokenizer(tokenizer)
optimizer = torch.optim.Adam(model.parameters(), lr=5e-3)
model.train()
for _ in range(150):
    batch = collate([rows[i] for i in torch.randint(len(rows), (48,)).tolist()])
    model(**batch).loss.backward()
    optimizer.step()
    optimizer.zero_grad()

# %% Negated sentences less plain ones: the difference of their mean latents.
space = LatentSpace(model, tokenizer)
pairs = list(zip(sentences, factors, strict=True))
negated = [text for text, factor in pairs if factor["polarity"] == "negative"]
plain = [text for text, factor in pairs if factor["polarity"] == "affirmative"]
direction = space.attribute_direction(negated[:200], plain[:200])
print(f"{len(negated)} negated sentences, {len(plain)} plain ones; length {direction.norm():.2f}")

# %% How well one number, the coordinate along it, tells them apart among sentences not used above.
unit = direction / direction.norm()
first, second = space.encode(negated[200:]) @ unit, space.encode(plain[200:]) @ unit
middle = (first.mean() + second.mean()) / 2
right = ((first > middle).sum() + (second < middle).sum()) / (len(first) + len(second))
print(f"told apart: {right:.0%}")

# %% Plain sentences moved along it come to say no.
latents = space.encode(plain[:4])
for weight in (0.0, 1.0, 2.0):
    print(f"\n{weight:.0f} x direction")
    print(*space.decode(latents + weight * direction), sep="\n")
