"""Sizes that no model has: a damaged or hostile config is refused before memory is asked for."""

from typing import Any

MAX_WEIGHTS = 10**11  # 400 GB in float32
MAX_LAYERS = 1_000  # each is an object in memory, however narrow


def check_size(num_weights: int, named: str) -> None:
    """Raises where a part of a model has more weights than any machine would hold.

    Args:
        num_weights: at least so many there are.
        named: the fields that make it so many, with their values.
    """
    if num_weights > MAX_WEIGHTS:
        raise ValueError(
            f"a model may have at most {MAX_WEIGHTS:.0e} weights, and these sizes make "
            f"{num_weights:.0e}: {named}. The config is damaged, or no machine holds this model."
        )


def check_layers(values: Any) -> None:
    """Raises where a part of a config, not built yet, names more layers than any model has.

    Many configs list a word for each of their layers as soon as they are made.
    """
    for name, value in values.items() if isinstance(values, dict) else ():
        if "layer" in str(name) and isinstance(value, int) and value > MAX_LAYERS:
            raise ValueError(
                f"{name} must be at most {MAX_LAYERS}, got {value}: the config is damaged."
            )


def check_backbone(config: Any) -> None:
    """Raises where embeddings and the narrowest layers alone are more than a machine would hold.

    Args:
        config: of any model; a layer has at least the square of its width of weights.
    """
    names = ("vocab_size", "embedding_size", "hidden_size", "num_hidden_layers")
    sizes = {name: getattr(config, name, None) for name in names}
    sizes = {name: size for name, size in sizes.items() if isinstance(size, int)}
    check_layers(sizes)
    width = sizes.get("hidden_size", 0)
    embeddings = sizes.get("vocab_size", 0) * sizes.get("embedding_size", width)
    check_size(
        embeddings + sizes.get("num_hidden_layers", 0) * width**2,
        ", ".join(f"{name}={size}" for name, size in sizes.items()),
    )
