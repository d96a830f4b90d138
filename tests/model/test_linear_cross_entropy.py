"""Cross entropy made a block of positions at a time: torch's own values, gradients and types."""

import pytest
import torch
import torch.nn.functional as F
from tiny import batch, model
from torch import nn
from torch.testing import assert_close
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from hf_seqvae.model import linear_cross_entropy as module
from hf_seqvae.model import scoring
from hf_seqvae.model.linear_cross_entropy import linear_cross_entropy

N, H, V = 7, 5, 11


@pytest.fixture(autouse=True, params=[3, 7, 256])
def positions_at_once(request, monkeypatch):
    """Blocks that leave a rest, that fit exactly, and that are larger than what there is."""
    monkeypatch.setattr(module, "POSITIONS_AT_ONCE", request.param)


def inputs(dtype=torch.float64, bias=True):
    generator = torch.Generator().manual_seed(0)
    shapes = [(N, H), (V, H), *([(V,)] if bias else [])]
    leaves = [torch.randn(shape, generator=generator, dtype=dtype) for shape in shapes]
    leaves = [leaf.requires_grad_() for leaf in leaves]
    return [*leaves, *([] if bias else [None])], torch.randint(V, (N,), generator=generator)


def plain(features, weight, targets, bias=None):
    return F.cross_entropy(F.linear(features, weight, bias), targets, reduction="none")


def gradients(values, leaves, upstream):
    return torch.autograd.grad(values, [leaf for leaf in leaves if leaf is not None], upstream)


UPSTREAM = {
    "equal": torch.full((N,), -0.37, dtype=torch.float64),
    "unequal": torch.linspace(-1.0, 2.0, N, dtype=torch.float64),
}


@pytest.mark.parametrize("upstream", UPSTREAM)
@pytest.mark.parametrize("bias", [True, False])
def test_values_and_gradients_are_those_of_torch(upstream, bias):
    (features, weight, offset), targets = inputs(bias=bias)
    found = linear_cross_entropy(features, weight, targets, bias=offset)
    expected = plain(features, weight, targets, offset)
    assert_close(found, expected, rtol=0, atol=1e-12)
    leaves = (features, weight, offset)
    for one, other in zip(
        gradients(found, leaves, UPSTREAM[upstream]),
        gradients(expected, leaves, UPSTREAM[upstream]),
        strict=True,
    ):
        assert_close(one, other, rtol=0, atol=1e-12)


def test_gradients_agree_with_finite_differences():
    (features, weight, bias), targets = inputs()
    assert torch.autograd.gradcheck(
        lambda *leaves: linear_cross_entropy(*leaves[:2], targets, bias=leaves[2]),
        (features, weight, bias),
    )


def test_a_second_pass_through_a_retained_graph_gives_the_same_gradients():
    (features, weight, _), targets = inputs()
    nll = linear_cross_entropy(features, weight, targets)
    first = torch.autograd.grad(nll.sum(), [features, weight], retain_graph=True)
    kept = [gradient.clone() for gradient in first]
    second = torch.autograd.grad(2.0 * nll.sum(), [features, weight])
    for one, before, two in zip(first, kept, second, strict=True):
        assert torch.equal(one, before)
        assert_close(two, 2.0 * one, rtol=0, atol=1e-12)


def test_a_gradient_of_the_gradient_is_refused():
    (features, weight, _), targets = inputs()
    nll = linear_cross_entropy(features, weight, targets)
    with pytest.raises(RuntimeError, match="first derivative only.*return_logits=True"):
        torch.autograd.grad(nll.sum(), features, create_graph=True)


@pytest.mark.parametrize("upstream", UPSTREAM)
@pytest.mark.parametrize("frozen", [0, 1, 2])
def test_a_frozen_part_gets_no_gradient_and_changes_no_other(frozen, upstream):
    leaves, targets = inputs()
    expected = gradients(
        plain(leaves[0], leaves[1], targets, leaves[2]), leaves, UPSTREAM[upstream]
    )
    leaves[frozen].requires_grad_(False)
    nll = linear_cross_entropy(leaves[0], leaves[1], targets, bias=leaves[2])
    nll.backward(UPSTREAM[upstream])
    for index, leaf in enumerate(leaves):
        if index == frozen:
            assert leaf.grad is None
        else:
            assert_close(leaf.grad, expected[index], rtol=0, atol=1e-12)


def test_without_gradients_nothing_is_made_for_a_backward_pass(monkeypatch):
    (features, weight, bias), targets = inputs()
    wanted = []
    score = module._score
    monkeypatch.setattr(module, "_score", lambda *given: wanted.append(given[5]) or score(*given))
    with torch.no_grad():
        found = linear_cross_entropy(features, weight, targets, bias=bias)
    assert not found.requires_grad
    assert_close(found, plain(features, weight, targets, bias).detach(), rtol=0, atol=1e-12)
    linear_cross_entropy(features.detach(), weight.detach(), targets)
    assert wanted == [(False, False, False)] * 2


def test_no_position_has_no_nll_and_zero_gradients():
    (features, weight, _), targets = inputs()
    nll = linear_cross_entropy(features[:0], weight, targets[:0])
    nll.sum().backward()
    assert nll.shape == (0,)
    assert not features.grad.any()
    assert not weight.grad.any()


def test_large_logits_neither_overflow_nor_lose_the_loss():
    features = torch.tensor([[300.0]], requires_grad=True)
    weight = torch.tensor([[1.0], [-1.0]])
    nll = linear_cross_entropy(features, weight, torch.tensor([1]))
    nll.sum().backward()
    assert nll.tolist() == [600.0]
    assert features.grad.tolist() == [[2.0]]


def test_autocast_multiplies_in_bf16_and_sums_in_float32():
    (features, weight, bias), targets = inputs(torch.float32)
    expected = gradients(plain(features, weight, targets, bias), [features, weight], torch.ones(N))
    with torch.autocast("cpu", torch.bfloat16):
        nll = linear_cross_entropy(features, weight, targets, bias=bias)
    rounded = plain(features.bfloat16().float(), weight.bfloat16().float(), targets, bias)
    assert nll.dtype == torch.float32
    assert_close(nll, rounded, rtol=0, atol=0.05)  # the logits alone are rounded again
    assert not torch.equal(nll, plain(features, weight, targets, bias))
    for one, other in zip(gradients(nll, [features, weight], torch.ones(N)), expected, strict=True):
        assert one.dtype == torch.float32
        assert torch.cosine_similarity(one.flatten(), other.flatten(), dim=0) > 0.999


class Shapes(TorchDispatchMode):
    """The shapes of all tensors that are made."""

    def __init__(self):
        super().__init__()
        self.seen = set()

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        made = func(*args, **(kwargs or {}))
        self.seen |= {tuple(value.shape) for value in tree_leaves(made) if torch.is_tensor(value)}
        return made


@pytest.mark.parametrize("bf16", [False, True])
def test_no_more_logits_than_a_block_ever_exist(bf16):
    (features, weight, _), targets = inputs(torch.float32)
    with Shapes() as shapes:
        with torch.autocast("cpu", torch.bfloat16, enabled=bf16):
            nll = linear_cross_entropy(features, weight, targets)
        nll.backward(torch.arange(N, dtype=torch.float32))
    rows = {shape[0] for shape in shapes.seen if len(shape) == 2 and shape[1] == V}
    # the transposed weight is (H, V)
    assert max(rows - {H}) == min(N, module.POSITIONS_AT_ONCE)


def test_the_gradient_of_a_bf16_weight_does_not_lose_late_blocks():
    """A sum kept in bf16 stops growing at 256: 512 equal gradients of 1 must come to 512."""
    num = 512
    weight = torch.zeros(2, 1, dtype=torch.bfloat16, requires_grad=True)
    features = torch.full((num, 1), 2.0, dtype=torch.bfloat16)
    nll = linear_cross_entropy(features, weight, torch.zeros(num, dtype=torch.long))
    nll.sum().backward()
    assert weight.grad.dtype == torch.bfloat16
    assert weight.grad.tolist() == [[-512.0], [512.0]]


def test_training_scores_by_blocks_and_an_adapter_or_hook_is_still_called(monkeypatch):
    texts = batch(4)
    expected = model().train()(**texts, sample_posterior=False, return_logits=True)
    made, calls = model().train(), []
    monkeypatch.setattr(
        scoring,
        "linear_cross_entropy",
        lambda *given, **named: (
            calls.append(len(given[0])) or linear_cross_entropy(*given, **named)
        ),
    )
    plain_nll = made(**texts, sample_posterior=False).reconstruction_nll
    assert calls == [int((texts["labels"] != -100).sum())]
    assert_close(plain_nll, expected.reconstruction_nll)
    made.decoder.lm_head.register_forward_hook(lambda *_: calls.append("hook"))
    assert_close(made(**texts, sample_posterior=False).reconstruction_nll, plain_nll)
    made.decoder.lm_head = nn.Sequential(made.decoder.lm_head)
    assert_close(made(**texts, sample_posterior=False).reconstruction_nll, plain_nll)
    assert calls[1:] == ["hook", "hook"]
