"""The floors of the house hold; and each rule that says so is shown a tree that breaks it."""

from pathlib import Path

import pytest
from architecture_rules import (
    RULES,
    every_file_has_a_floor,
    every_file_says_its_subject_first,
    files_stay_short,
    imports_go_down,
    model_files_go_down,
    model_imports_siblings_by_name,
    nothing_is_caught_wholesale,
    only_the_command_line_prints,
    relative_imports_stay_in_their_folder,
    the_model_file_imports_every_sibling_itself,
    there_is_no_circle,
    third_party_packages_are_allowed_on_the_floor,
    third_party_packages_are_declared,
    transformers_copies_the_whole_model_folder,
)

ROOT = Path(__file__).resolve().parent.parent


@pytest.mark.parametrize("rule", RULES, ids=lambda rule: rule.__name__)
def test_the_tree_keeps(rule):
    wrong = list(rule(ROOT))
    assert not wrong, "\n".join(wrong)


# Small trees: one that keeps every rule, then the same with one file changed.
SOUND = {
    "pyproject.toml": '[project]\ndependencies = ["torch>=2", "transformers", "numpy", "datasets"]',
    "hf_seqvae/__init__.py": '"""P."""\nfrom typing import TYPE_CHECKING\n'
    "from hf_seqvae.objectives import o\nif TYPE_CHECKING:\n    from hf_seqvae.trainer import t\n",
    "hf_seqvae/model/__init__.py": '"""M."""\n',
    "hf_seqvae/model/pooling.py": '"""P."""\nimport torch\n',
    "hf_seqvae/model/modeling_lstm.py": '"""L."""\nimport math\n',
    "hf_seqvae/model/modeling_seqvae.py": '"""S."""\nfrom .modeling_lstm import a\n'
    "from .pooling import (\n    b,\n)\n",
    "hf_seqvae/objectives.py": '"""O."""\nimport numpy\n',
    "hf_seqvae/metrics/__init__.py": '"""M."""\nfrom .text import t\n',
    "hf_seqvae/metrics/text.py": '"""T."""\nfrom hf_seqvae.objectives import o\n',
    "hf_seqvae/data.py": '"""D."""\nimport datasets\nfrom hf_seqvae.metrics import t\n',
    "hf_seqvae/trainer.py": '"""T."""\nfrom hf_seqvae import data\n',
    "hf_seqvae/cli.py": '"""C."""\nfrom hf_seqvae import trainer, __version__\nprint(1)\n',
    "training/train.py": '"""T."""\nprint(1)\n',
}
BROKEN = [
    (every_file_has_a_floor, "hf_seqvae/attic.py", '"""A."""', "attic is on no floor"),
    (imports_go_down, "hf_seqvae/objectives.py", "from hf_seqvae.data import d", "data, which"),
    (imports_go_down, "hf_seqvae/objectives.py", "from hf_seqvae import metrics", "metrics, which"),
    (imports_go_down, "hf_seqvae/data.py", "import hf_seqvae.cli", "cli, which stands above"),
    (imports_go_down, "hf_seqvae/data.py", "def f():\n    from hf_seqvae.cli import c", ".py:2"),
    (imports_go_down, "hf_seqvae/data.py", "import_module('hf_seqvae.trainer')", "trainer, which"),
    (imports_go_down, "hf_seqvae/data.py", "from hf_seqvae import Objective", "hf_seqvae itself"),
    (imports_go_down, "hf_seqvae/__init__.py", "import hf_seqvae.data", "heavy floor"),
    (model_files_go_down, "hf_seqvae/model/pooling.py", "from .modeling_lstm import a", "after it"),
    (model_files_go_down, "hf_seqvae/model/extra.py", '"""E."""', "not in MODEL_FILES"),
    (
        model_imports_siblings_by_name,
        "hf_seqvae/model/modeling_lstm.py",
        "from hf_seqvae.model.pooling import b",
        "modeling_lstm.py:1",
    ),
    (model_imports_siblings_by_name, "hf_seqvae/model/pooling.py", "from . import x", "only"),
    (model_imports_siblings_by_name, "hf_seqvae/model/pooling.py", "from ..data import x", "only"),
    (
        relative_imports_stay_in_their_folder,
        "hf_seqvae/metrics/text.py",
        "from ..data import d",
        "out of its folder",
    ),
    (
        relative_imports_stay_in_their_folder,
        "hf_seqvae/data.py",
        "from .trainer import t",
        "out of its folder",
    ),
    (
        third_party_packages_are_allowed_on_the_floor,
        "hf_seqvae/model/pooling.py",
        "import numpy",
        "numpy is not allowed in model",
    ),
    (
        third_party_packages_are_allowed_on_the_floor,
        "hf_seqvae/objectives.py",
        "def f():\n    import datasets.load",
        "datasets is not allowed in objectives",
    ),
    (
        third_party_packages_are_allowed_on_the_floor,
        "hf_seqvae/trainer.py",
        "from typer import Typer",
        "typer is not allowed in trainer",
    ),
    (third_party_packages_are_declared, "hf_seqvae/cli.py", "import yaml", "yaml is no dependency"),
    (
        there_is_no_circle,
        "hf_seqvae/metrics/text.py",
        "from hf_seqvae.metrics import t",
        "circle: hf_seqvae.metrics -> hf_seqvae.metrics.text -> hf_seqvae.metrics",
    ),
    (
        transformers_copies_the_whole_model_folder,
        "hf_seqvae/model/modeling_seqvae.py",
        "from .pooling import b",
        "modeling_lstm.py:1: is not copied",
    ),
    (
        transformers_copies_the_whole_model_folder,
        "hf_seqvae/model/pooling.py",
        "from .attic import x",
        "attic.py:1: is imported in model/ and is not there",
    ),
    (
        transformers_copies_the_whole_model_folder,
        "hf_seqvae/model/modeling_seqvae.py",
        "from .modeling_lstm import a\nimport pooling",
        "pooling.py:1: is not copied",
    ),
    (
        the_model_file_imports_every_sibling_itself,
        "hf_seqvae/model/modeling_seqvae.py",
        "from .modeling_lstm import a",
        "pooling.py:1: modeling_seqvae.py does not import it itself",
    ),
    (files_stay_short, "training/train.py", "\n" * 351, "351 lines"),
    (every_file_says_its_subject_first, "training/train.py", "import os\n'''D.'''", "docstring"),
    (every_file_says_its_subject_first, "hf_seqvae/model/__init__.py", "", "docstring"),
    (nothing_is_caught_wholesale, "training/train.py", "try: f()\nexcept: g()", "train.py:2"),
    (nothing_is_caught_wholesale, "hf_seqvae/data.py", "try: f()\nexcept Exception: g()", ":2"),
    (nothing_is_caught_wholesale, "hf_seqvae/cli.py", "try: f()\nexcept (A, Exception): g()", ":2"),
    (nothing_is_caught_wholesale, "hf_seqvae/cli.py", "with suppress(Exception): f()", ":1"),
    (only_the_command_line_prints, "hf_seqvae/data.py", "def f():\n    print('x')", "data.py:2"),
]


def write_tree(root: Path, files: dict[str, str]) -> None:
    for name, text in files.items():
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")


@pytest.mark.parametrize("rule", RULES, ids=lambda rule: rule.__name__)
def test_a_sound_tree_keeps(rule, tmp_path):
    write_tree(tmp_path, SOUND)
    assert list(rule(tmp_path)) == []


@pytest.mark.parametrize(
    ("rule", "name", "text", "message"), BROKEN, ids=[f"{b[0].__name__}-{b[2]!r}" for b in BROKEN]
)
def test_a_broken_tree_is_found_out(rule, name, text, message, tmp_path):
    write_tree(tmp_path, SOUND | {name: text})
    wrong = list(rule(tmp_path))
    assert any(message in line for line in wrong), wrong


def test_no_rule_lacks_a_tree_that_breaks_it():
    assert {rule for rule, *_ in BROKEN} == set(RULES)
