"""What was tried to make a training step faster, each beside the step that is kept.

    python training/benchmarks/tried.py --output training/results/tried.json

Medians over rounds of CPU and wall seconds over those of the kept step in the same round.
"""

import argparse
from collections.abc import Callable
from pathlib import Path

import torch
from rounds import publish, ratios
from sizes import HIDDEN, SIZES, build_batch, build_model, timed
from torch import Tensor, nn

from hf_seqvae import SeqVAEModel


def kept(model: SeqVAEModel) -> torch.optim.Optimizer:
    """Adam in one kernel, as recipes build it."""
    return torch.optim.Adam(model.parameters(), lr=1e-3, fused=True)


def not_fused(model: SeqVAEModel) -> torch.optim.Optimizer:
    """Adam as torch chooses on a CPU: a loop over parameters."""
    return torch.optim.Adam(model.parameters(), lr=1e-3)


def foreach(model: SeqVAEModel) -> torch.optim.Optimizer:
    """Adam over lists of tensors."""
    return torch.optim.Adam(model.parameters(), lr=1e-3, foreach=True)


class ByRows:
    """SparseAdam for the embeddings, whose gradients then hold a batch's rows, fused for the rest.

    No longer Adam: the moments of a row rest while it is not read.
    """

    def __init__(self, model: SeqVAEModel):
        embeddings = [module for module in model.modules() if isinstance(module, nn.Embedding)]
        for module in embeddings:
            module.sparse = True
        rows = [module.weight for module in embeddings]
        whole = [value for value in model.parameters() if all(value is not row for row in rows)]
        self.optimizers = [
            torch.optim.SparseAdam(rows, lr=1e-3),
            torch.optim.Adam(whole, lr=1e-3, fused=True),
        ]

    def step(self) -> None:
        """Update rows and the rest."""
        for optimizer in self.optimizers:
            optimizer.step()

    def zero_grad(self) -> None:
        """Drop the gradients."""
        for optimizer in self.optimizers:
            optimizer.zero_grad()


def build_step(
    size: str, optimizer: Callable = kept, *, clip: bool | None = None, compiled: bool = False
) -> Callable[[], tuple[float, float]]:
    """A timed step; `clip` is clip_grad_norm_'s foreach."""
    model, batch = build_model(size), build_batch(size)
    updates = optimizer(model)
    if compiled:
        model.compile()

    def step() -> None:
        model(**batch).loss.backward()
        dense = [value for value in model.parameters() if not value.grad.is_sparse]
        nn.utils.clip_grad_norm_(dense, 5.0, foreach=clip)
        updates.step()
        updates.zero_grad()

    step()  # allocates the optimiser's state, compiles
    return lambda: timed(step)


class LoopedLSTM(torch.autograd.Function):
    """An LSTM with all inputs' products, and all gradients of a weight, in one product each."""

    @staticmethod
    def forward(ctx, inputs, of_input, of_hidden, bias) -> Tensor:
        """Inputs (T, B, I), weights (4H, I) and (4H, H), bias (4H,) -> outputs (T, B, H)."""
        steps, rows, _ = inputs.shape
        size = of_hidden.shape[1]
        gates = torch.addmm(bias, inputs.flatten(0, 1), of_input.t()).view(steps, rows, -1)
        hidden, cell = inputs.new_zeros(2, steps + 1, rows, size)
        squashed = inputs.new_empty(steps, rows, size)
        for t in range(steps):
            gates[t].addmm_(hidden[t], of_hidden.t())
            enter, forget, new, leave = gates[t].chunk(4, dim=1)
            gates[t, :, : 2 * size].sigmoid_()
            new.tanh_()
            leave.sigmoid_()
            torch.mul(forget, cell[t], out=cell[t + 1]).addcmul_(enter, new)
            torch.tanh(cell[t + 1], out=squashed[t])
            torch.mul(leave, squashed[t], out=hidden[t + 1])
        ctx.save_for_backward(inputs, of_input, of_hidden, gates, hidden, cell, squashed)
        return hidden[1:]

    @staticmethod
    def backward(ctx, upstream: Tensor) -> tuple[Tensor, ...]:
        """Gradients of the inputs, the weights and the bias."""
        inputs, of_input, of_hidden, gates, hidden, cell, squashed = ctx.saved_tensors
        slopes = torch.empty_like(gates)
        of_h, of_c = torch.zeros_like(hidden[0]), torch.zeros_like(cell[0])
        for t in reversed(range(len(gates))):
            enter, forget, new, leave = gates[t].chunk(4, dim=1)
            by_enter, by_forget, by_new, by_leave = slopes[t].chunk(4, dim=1)
            of_h = of_h + upstream[t]
            by_leave.copy_(of_h * squashed[t] * leave * (1 - leave))
            of_c = of_c + of_h * leave * (1 - squashed[t].square())
            by_enter.copy_(of_c * new * enter * (1 - enter))
            by_forget.copy_(of_c * cell[t] * forget * (1 - forget))
            by_new.copy_(of_c * enter * (1 - new.square()))
            of_c = of_c * forget
            of_h = slopes[t] @ of_hidden
        flat = slopes.flatten(0, 1)
        return (
            (flat @ of_input).view_as(inputs),
            flat.t() @ inputs.flatten(0, 1),
            flat.t() @ hidden[:-1].flatten(0, 1),
            flat.sum(dim=0),
        )


def build_lstm(size: str, kind: str) -> Callable[[], tuple[float, float]]:
    """A timed forward and backward pass of an LSTM: torch's (oneDNN's), torch's own, or the loop.

    Raises:
        RuntimeError: their gradients are not equal.
    """
    torch.manual_seed(0)
    lstm = nn.LSTM(HIDDEN, HIDDEN)
    weights = lstm.weight_ih_l0, lstm.weight_hh_l0
    inputs = torch.randn(SIZES[size]["longest"] + 2, SIZES[size]["sentences"], HIDDEN)
    inputs.requires_grad_()

    def run(kind: str = kind) -> None:
        lstm.zero_grad()
        inputs.grad = None
        if kind == "loop":
            outputs = LoopedLSTM.apply(inputs, *weights, lstm.bias_ih_l0 + lstm.bias_hh_l0)
        else:
            with torch.backends.mkldnn.flags(enabled=kind == "onednn"):
                outputs, _ = lstm(inputs)
        outputs.sum().backward()

    gradients = []
    for each in (kind, "onednn"):
        run(each)
        gradients.append([inputs.grad, *(value.grad.clone() for value in lstm.parameters())])
    for one, other in zip(*gradients, strict=True):
        if not torch.allclose(one, other, rtol=1e-3, atol=1e-4):
            raise RuntimeError(f"the LSTM {kind!r} has other gradients than oneDNN's.")
    return lambda: timed(run)


def main() -> None:
    """Run every contestant at both sizes and print the ratios as JSON."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--repeats", type=int, default=15)
    parser.add_argument("--compile", action="store_true", help="torch.compile too: minutes")
    parser.add_argument("--output", type=Path, help="JSON file to write")
    options = parser.parse_args()
    torch.set_num_threads(1)
    results: dict = {}
    for size in SIZES:
        contestants = {
            "kept": build_step(size),
            "kept_again": build_step(size),
            "adam_not_fused": build_step(size, not_fused),
            "adam_foreach": build_step(size, foreach),
            "clip_not_foreach": build_step(size, clip=False),
            "embeddings_by_rows": build_step(size, ByRows),
        }
        if options.compile:
            contestants["compiled"] = build_step(size, compiled=True)
        kinds = ("onednn", "aten", "loop")
        lstms = {kind: build_lstm(size, kind) for kind in kinds}
        results[size] = {
            "step_over_kept": ratios(contestants, options.repeats, "kept"),
            "lstm_over_onednn": ratios(lstms, options.repeats, "onednn"),
        }
    results |= {
        "repeats": options.repeats,
    }
    publish(results, options.output)


if __name__ == "__main__":
    main()
