"""Train a small text VAE from Python: a recipe, a training run, and its figures."""

# %% A recipe says everything about a run. This one is the packaged quickstart, made smaller.
import tempfile

from hf_seqvae import LatentSpace, recipe
from hf_seqvae.engine import train

folder = tempfile.mkdtemp(prefix="hf_seqvae_")
small = recipe.load(
    "quickstart",
    [
        f"output_dir={folder}",
        "data.num_train=1000",
        "data.num_validation=200",
        "data.num_test=200",
        "data.batch_size=32",
        "training.epochs=2",
        "training.learning_rate=0.01",
        "objective.beta={schedule: constant, value: 0.2}",
        "model.encoder.hidden_size=64",
        "model.decoder.hidden_size=64",
    ],
)

# %% Train. The same call goes on where a killed run stopped.
result = train(small, progress=False)
print(f"{result.progress.step} steps; the best weights are in {result.best_dir}")

# %% The report holds each figure with its standard error, its cap and its definition.
for name in ("negative_elbo", "reconstruction_nll", "kl", "mutual_information"):
    figure = result.report["test"][name]
    print(f"{name:<20} {figure.value:6.2f} ± {figure.standard_error:.2f}   {figure.definition}")

# %% The run folder is all that is needed to use the model.
space = LatentSpace.from_pretrained(folder)
print(*space.sample(3, temperature=0.8), sep="\n")
