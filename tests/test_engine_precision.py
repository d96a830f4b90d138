"""Mixed precision, and what only a GPU can show."""

import pytest
import torch
from accelerate import Accelerator
from accelerate.state import AcceleratorState
from engine_standins import MemoryLoader, assert_same_weights, make_engine, tiny_model, weights
from torch.testing import assert_close

from hf_seqvae.engine import launch
from hf_seqvae.engine.launch import check_accelerator


@pytest.fixture
def accelerator(request):
    """An Accelerator of another precision than the other tests': its state is one per process."""
    AcceleratorState._reset_state(reset_partial_state=True)
    yield lambda precision, cpu: Accelerator(cpu=cpu, mixed_precision=precision)
    AcceleratorState._reset_state(reset_partial_state=True)


def train(folder, accelerator, **options):
    options = {"dropout": 0.0, "sample_posterior": False, "epochs": 2} | options
    engine = make_engine(folder, accelerator=accelerator, evaluator=None, **options)
    engine.fit()
    return engine


def test_bf16_on_the_cpu_trains_float32_weights_near_those_of_float32(tmp_path, accelerator):
    whole = train(tmp_path / "whole", accelerator("no", True), optimizer="SGD")
    AcceleratorState._reset_state(reset_partial_state=True)
    half = train(tmp_path / "half", accelerator("bf16", True), optimizer="SGD")
    first, second = weights(whole), weights(half)
    assert {value.dtype for value in second.values()} == {torch.float32}
    assert any(not torch.equal(first[name], second[name]) for name in first)
    assert_close(first, second, rtol=0, atol=1e-3)


@pytest.mark.parametrize("seed", [0, 1, 2])
def test_after_equal_steps_the_bound_of_bf16_is_that_of_float32(tmp_path, accelerator, seed):
    """In nats, with samples, in float32: at most 0.3 % apart, where training moved it by 2 %."""

    def bound(model):
        torch.manual_seed(0)
        losses = [model.eval()(**batch, sample_posterior=True).loss for batch in MemoryLoader()]
        return torch.stack(losses).mean().item()

    found = {}
    for precision in ("no", "bf16"):
        AcceleratorState._reset_state(reset_partial_state=True)
        options = {"model": tiny_model(seed), "sample_posterior": True, "epochs": 4}
        train(tmp_path / precision, accelerator(precision, True), **options)
        found[precision] = bound(options["model"])
    assert found["no"] < 0.98 * bound(tiny_model(seed))
    assert found["bf16"] != found["no"]
    assert found["bf16"] == pytest.approx(found["no"], rel=0.003)


def test_a_checkpoint_of_another_precision_is_refused(tmp_path, accelerator):
    train(tmp_path, accelerator("no", True), max_steps=4)
    AcceleratorState._reset_state(reset_partial_state=True)
    with pytest.raises(ValueError, match="mixed_precision: 'no' -> 'bf16'"):
        train(tmp_path, accelerator("bf16", True), max_steps=8)


def test_fp16_on_the_cpu_is_refused_rather_than_left_out(accelerator):
    with pytest.raises(ValueError, match="'fp16' needs a GPU"):
        check_accelerator(accelerator("fp16", True), "fp16", None)


@pytest.mark.parametrize(
    ("precision", "half", "warned"),
    [("bf16", 80.0, True), ("bf16", 170.0, False), ("no", 80.0, False)],
)
def test_bf16_on_a_cpu_that_is_slower_with_it_is_warned_of_with_both_speeds(
    accelerator, monkeypatch, caplog, precision, half, warned
):
    speeds = {torch.float32: 160.0, torch.bfloat16: half}
    monkeypatch.setattr(launch, "gemm_speed", speeds.get)
    monkeypatch.setattr(torch, "get_num_threads", lambda: 1)
    with caplog.at_level("WARNING"):
        check_accelerator(accelerator(precision, True), precision, None)
    assert ("bfloat16 matrices at 80 GFLOP/s a thread and float32 ones at 160" in caplog.text) is (
        warned
    )


def test_the_probe_of_speed_counts_two_operations_a_product_and_takes_the_best(monkeypatch):
    clock = iter([0.0, 9.0, 10.0, 10.5, 20.0, 20.25])
    monkeypatch.setattr(launch.time, "perf_counter", lambda: next(clock))
    assert launch.gemm_speed(torch.float32, size=10, repeats=2) == 2 * 1000 / 0.25 / 1e9


@pytest.mark.gpu
@pytest.mark.parametrize("precision", ["bf16", "fp16"])
def test_a_gpu_run_resumes_with_its_loss_scale_and_device_noise(tmp_path, accelerator, precision):
    class Crash(BaseException):
        pass

    def crash(epoch, batch):
        if (epoch, batch) == (1, 3):
            raise Crash

    device = accelerator(precision, False)
    options = {"dropout": 0.3, "sample_posterior": True, "epochs": 2}
    with pytest.raises(Crash):
        train(tmp_path / "run", device, loader=MemoryLoader(on_batch=crash), **options)
    resumed = train(tmp_path / "run", device, **options)
    whole = train(tmp_path / "whole", device, **options)
    assert_same_weights(weights(resumed), weights(whole))
    if precision == "fp16":
        assert device.scaler.get_scale() > 0
