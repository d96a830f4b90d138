"""Train a recipe: what `hf-seqvae train` does, for the launchers of several processes.

    python training/train.py RECIPE
    accelerate launch --num_processes 4 --multi_gpu training/train.py RECIPE
    python -m torch.distributed.run --nproc_per_node 2 training/train.py RECIPE     # on the CPU

RECIPE is a YAML file or a packaged name. Started again, the same command goes on from the newest
checkpoint. Ends with 130 after Ctrl-C, 143 after SIGTERM, 1 after an error that it names.
"""

import argparse
import dataclasses
import logging
import sys

from hf_seqvae import recipe as recipes
from hf_seqvae.engine import TrainingError, TrainingInterrupted, train
from hf_seqvae.engine.launch import is_first_process


def main(arguments: list[str] | None = None) -> int:
    options = _parse(arguments)
    logging.basicConfig(level=logging.WARNING, format="%(levelname)s %(name)s: %(message)s")
    try:
        recipe = recipes.load(options.recipe, options.set)
        if options.num_processes is not None:
            training = dataclasses.replace(recipe.training, num_processes=options.num_processes)
            recipe = dataclasses.replace(recipe, training=training)
        resume = False if options.fresh else (options.resume or True)
        result = train(recipe, resume=resume, progress=not options.quiet)
    except TrainingInterrupted as stop:
        _say(stop)
        return stop.exit_code
    except (ValueError, FileNotFoundError, TrainingError) as error:
        _say(f"error: {error}")
        return 1
    for split, report in result.report.items():
        print(f"\n{split}: {report.num_sentences} sentences, best weights")
        for name, value, error, cap, definition in report.rows():
            print(f"  {name:32} {value:>20} {error:>10} {cap:>8}  {definition}")
    if is_first_process():
        print(f"\nmodel: {result.best_dir}")
    return 0


def _parse(arguments: list[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description="Train a recipe.")
    parser.add_argument("recipe", nargs="?", default="quickstart", help="YAML file or name")
    parser.add_argument(
        "--set", action="append", default=[], metavar="KEY=VALUE", help="e.g. training.epochs=3"
    )
    parser.add_argument("--num-processes", type=int, help="fail unless as many were started")
    parser.add_argument("--quiet", action="store_true", help="no progress bar")
    start = parser.add_mutually_exclusive_group()
    start.add_argument("--fresh", action="store_true", help="remove the old run in the folder")
    start.add_argument("--resume", metavar="CHECKPOINT", help="go on from this one, not the newest")
    return parser.parse_args(arguments)


def _say(message: object) -> None:
    if is_first_process():
        print(message, file=sys.stderr)


if __name__ == "__main__":
    sys.exit(main())
