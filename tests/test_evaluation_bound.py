"""The short evaluation of a training loop: the report's figures, exact over processes."""

import threading

import pytest
import torch
from evaluation_standins import BagOfWords, tiny_data, tiny_tokenizer, tiny_vae, tokenised
from torch import nn

from hf_seqvae.data import Collator, tokenize
from hf_seqvae.evaluation import evaluate, evaluate_bound


def batches_of(dataset, batch_size: int, rows=None, index=True):
    rows = list(range(len(dataset))) if rows is None else rows
    for start in range(0, len(rows), batch_size):
        part = rows[start : start + batch_size]
        batch = Collator(pad_token_id=0)([dataset[row] for row in part])
        yield batch | ({"index": torch.tensor(part)} if index else {})


@pytest.mark.parametrize("index", [True, False])
@pytest.mark.parametrize("num_samples", [1, 2])
def test_bound_of_the_training_loop_is_the_reports(index, num_samples):
    model, dataset = BagOfWords(), tokenised()
    report = evaluate(model, dataset, seed=9, num_samples=num_samples)
    bound = evaluate_bound(
        model, batches_of(dataset, 3, index=index), seed=9, num_samples=num_samples
    )
    names = ["elbo", "reconstruction_nll", "kl", "mutual_information", "active_units"]
    assert list(bound) == [f"eval/{name}" for name in names]
    for name in names:
        assert bound[f"eval/{name}"] == pytest.approx(report[name].value, rel=1e-5), name


def test_dispersion_of_the_training_loop_is_the_reports_whatever_the_batches():
    model, dataset = tiny_vae(), tokenize(tiny_data(), tiny_tokenizer())
    report = evaluate(model, dataset)
    bound = evaluate_bound(model, batches_of(dataset, 3))
    for name in ("pooled_variance", "pooled_relative_variance", "pooled_mean_cosine"):
        assert bound[f"eval/{name}"] == pytest.approx(report[name].value, rel=1e-4), name


def test_rows_without_labels_do_not_count():
    model, dataset = BagOfWords(), tokenised()

    def with_empty_rows():
        for batch in batches_of(dataset, 3):
            batch = {name: torch.cat([value, value[:1]]) for name, value in batch.items()}
            batch["labels"][-1] = -100
            batch["index"][-1] = -1
            yield batch

    expected = evaluate_bound(model, batches_of(dataset, 3))
    assert evaluate_bound(model, with_empty_rows()) == pytest.approx(expected, rel=1e-6)


def test_bound_gives_back_every_mode_and_touches_no_global_generator():
    model = BagOfWords().train()
    model.add_module("frozen", nn.Dropout().eval())
    torch.manual_seed(3)
    state = torch.get_rng_state()
    evaluate_bound(model, batches_of(tokenised(), 3))
    assert (model.training, model.dropout.training, model.frozen.training) == (True, True, False)
    assert torch.equal(torch.get_rng_state(), state)


def bounds_of_processes(shares: list[list[dict]]) -> list[dict[str, float]]:
    """evaluate_bound on one thread for each share, joined by a gather that demands equal shapes."""
    barrier = threading.Barrier(len(shares), timeout=30)
    posts: list = [None] * len(shares)
    results: list = [None] * len(shares)

    def gather_of(rank):
        def gather(tensor):
            posts[rank] = tensor
            barrier.wait()
            assert len({value.shape for value in posts}) == 1, "all_gather needs equal shapes"
            gathered = torch.cat(posts)
            barrier.wait()
            return gathered

        return gather

    def run(rank):
        model = BagOfWords()
        results[rank] = evaluate_bound(model, shares[rank], seed=9, gather=gather_of(rank))

    threads = [threading.Thread(target=run, args=(rank,)) for rank in range(len(shares))]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return results


def test_bound_is_exact_over_processes_with_uneven_and_repeated_rows():
    dataset = tokenised()
    empty = next(batches_of(dataset, 1))
    empty["labels"][:] = -100
    shares = [
        list(batches_of(dataset, 2, rows=[3, 6])),
        [*batches_of(dataset, 2, rows=[4, 5]), empty],
        list(batches_of(dataset, 2, rows=[2, 0, 3, 1])),  # 3 a second time
        [],
        [empty],
    ]
    alone = evaluate_bound(BagOfWords(), batches_of(dataset, 64), seed=9)
    for result in bounds_of_processes(shares):
        assert result == pytest.approx(alone, rel=1e-6)


def test_bound_over_processes_needs_the_row_numbers():
    with pytest.raises(ValueError, match="need an `index`"):
        evaluate_bound(BagOfWords(), batches_of(tokenised(), 3, index=False), gather=lambda x: x)


def test_bound_of_no_sentence_is_refused():
    with pytest.raises(ValueError, match="nothing to evaluate"):
        evaluate_bound(BagOfWords(), [])


def test_bound_of_one_sentence_leaves_comparisons_out():
    bound = evaluate_bound(BagOfWords(), batches_of(tokenised(), 1, rows=[2]))
    assert sorted(bound) == ["eval/elbo", "eval/kl", "eval/reconstruction_nll"]
