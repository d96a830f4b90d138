"""The rules of the house: which file may import which, and the marks every file carries.

Each rule is a function of a folder, so that test_architecture.py can hold the real tree to it, and
small trees with one thing wrong in each.
"""

import ast
import re
import sys
import tomllib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import NamedTuple

from transformers.dynamic_module_utils import get_relative_import_files

PACKAGE = "hf_seqvae"
MAX_LINES = 350

# A unit is a file of the package or a folder in its place. It imports from lower floors, or from
# units listed before it on its own floor.
FLOORS: list[list[str]] = [
    ["model"],
    [
        "objectives",
        "metrics",
        "everyday",
        "oracles",
        "hub_errors",
        "latent_space",
        "language_model",
    ],
    [
        "run_log",
        "data",
        "plots",
        "evaluation",
        "diagnosis",
        "selfcheck",
        "evaluate_modules",
        "recipe",
        "callbacks",
        "engine",
        "trainer",
        "study",
        "hub",
    ],
    ["cli"],
]
# Inside model/, in the same sense.
MODEL_FILES = [
    "carried_code",
    "size_limits",
    "configuration_lstm",
    "pooling",
    "linear_cross_entropy",
    "posterior",
    "posterior_families",
    "injection",
    "noising",
    "configuration_seqvae",
    "outputs",
    "scoring",
    "lstm_cache",
    "token_order",
    "backbones",
    "modeling_lstm",
    "decoder_tokenizer",
    "modeling_encoder",
    "decoding",
    "generation",
    "estimation",
    "interpolation",
    "writing",
    "text_space",
    "pipeline_seqvae",
    "modeling_seqvae",
]
MODEL_PACKAGES = {"torch", "transformers", "huggingface_hub"}
NUMERIC_PACKAGES = {"numpy", "scipy", "sklearn", "sacrebleu", "safetensors"}
TRAINING_PACKAGES = {
    "PIL",
    "accelerate",
    "datasets",
    "evaluate",
    "jinja2",
    "matplotlib",
    "rich",
    "tokenizers",
    "yaml",
}
PACKAGES: list[set[str]] = [
    MODEL_PACKAGES,
    MODEL_PACKAGES | NUMERIC_PACKAGES,
    MODEL_PACKAGES | NUMERIC_PACKAGES | TRAINING_PACKAGES,
    MODEL_PACKAGES | NUMERIC_PACKAGES | TRAINING_PACKAGES | {"typer"},
]
DISTRIBUTIONS = {
    "PIL": "pillow",
    "yaml": "pyyaml",
    "sklearn": "scikit-learn",
}  # where the names differ
RANK = {
    unit: (floor, place) for floor, units in enumerate(FLOORS) for place, unit in enumerate(units)
}


class Import(NamedTuple):
    """One imported name: `from ..a import b` is (2, "a", "b"), `import a.b` is (0, "a.b", None)."""

    line: int
    level: int
    module: str
    name: str | None


def imports(path: Path, *, skip_typing: bool = False) -> Iterator[Import]:
    """Every import of a file wherever it stands, `importlib.import_module("...")` included."""

    def visit(node: ast.AST) -> Iterator[Import]:
        if isinstance(node, ast.Import):
            for alias in node.names:
                yield Import(node.lineno, 0, alias.name, None)
        elif isinstance(node, ast.ImportFrom):
            for alias in node.names:
                yield Import(node.lineno, node.level, node.module or "", alias.name)
        elif isinstance(node, ast.Call):
            called = ast.unparse(node.func).rpartition(".")[2]
            first = node.args[0] if node.args else None
            if (
                called in ("import_module", "__import__")
                and isinstance(first, ast.Constant)
                and isinstance(first.value, str)
            ):
                yield Import(node.lineno, 0, first.value, None)
        elif skip_typing and isinstance(node, ast.If) and "TYPE_CHECKING" in ast.unparse(node.test):
            return
        for child in ast.iter_child_nodes(node):
            yield from visit(child)

    yield from visit(parse(path))


def parse(path: Path) -> ast.Module:
    return ast.parse(path.read_text(encoding="utf-8"))


def python_files(root: Path, *folders: str) -> list[Path]:
    return sorted(path for folder in folders for path in (root / folder).rglob("*.py"))


def dotted(root: Path, path: Path) -> list[str]:
    """["hf_seqvae", "data", "batches"] for hf_seqvae/data/batches.py; a folder for its __init__."""
    parts = list(path.relative_to(root).with_suffix("").parts)
    return parts[:-1] if parts[-1] == "__init__" else parts


def targets(root: Path, path: Path) -> Iterator[tuple[int, list[str]]]:
    """(line, module inside the package) of every import of our own; names of a module are cut."""
    package = dotted(root, path) if path.name == "__init__.py" else dotted(root, path)[:-1]
    is_root = path == root / PACKAGE / "__init__.py"
    for line, level, module, name in imports(path, skip_typing=is_root):
        parts = module.split(".") if module else []
        if level:
            parts = package[: len(package) - level + 1] + parts
        if parts[:1] != [PACKAGE]:
            continue
        if name is not None:
            longer = root.joinpath(*parts, name)
            if longer.is_dir() or longer.with_suffix(".py").is_file():
                parts = [*parts, name]
        yield line, parts


def unit_of(module: list[str]) -> str:
    """The unit of a module; "" for the package itself."""
    return module[1] if len(module) > 1 else ""


def where(root: Path, path: Path, line: int = 1) -> str:
    return f"{path.relative_to(root).as_posix()}:{line}"


# The rules: a folder that holds hf_seqvae/, training/, examples/ -> what is wrong in it.


def every_file_has_a_floor(root: Path) -> Iterator[str]:
    for path in python_files(root, PACKAGE):
        unit = unit_of(dotted(root, path))
        if unit and unit not in RANK:
            yield f"{where(root, path)}: {unit} is on no floor: give it a place in FLOORS"


def imports_go_down(root: Path) -> Iterator[str]:
    for path in python_files(root, PACKAGE):
        source = unit_of(dotted(root, path))
        for line, module in targets(root, path):
            target = unit_of(module)
            if target == source:
                continue
            place = where(root, path, line)
            if not source:  # the package's own __init__: light, so the two lower floors only
                if RANK.get(target, (9, 9))[0] > 1:
                    yield f"{place}: {PACKAGE}/__init__.py imports {target} of a heavy floor"
            elif not target:
                if source != "cli":
                    yield f"{place}: imports {PACKAGE} itself: name the file instead"
            elif RANK.get(target, (9, 9)) > RANK.get(source, (9, 9)):
                yield f"{place}: {source} imports {target}, which stands above it"


def model_files_go_down(root: Path) -> Iterator[str]:
    for path in python_files(root, f"{PACKAGE}/model"):
        if path.name == "__init__.py":
            continue
        if path.stem not in MODEL_FILES or path.parent.name != "model":
            yield f"{where(root, path)}: not in MODEL_FILES, or not flat in model/"
            continue
        for line, module in targets(root, path):
            target = module[-1]
            if target in MODEL_FILES[MODEL_FILES.index(path.stem) :]:
                yield f"{where(root, path, line)}: {path.stem} imports {target}, listed after it"


def model_imports_siblings_by_name(root: Path) -> Iterator[str]:
    """transformers copies what `from .sibling import name` names, and nothing else."""
    for path in python_files(root, f"{PACKAGE}/model"):
        for line, level, module, name in imports(path):
            ours = level > 0 or module.split(".")[0] == PACKAGE
            sibling = level == 1 and path.with_name(f"{module}.py").is_file() and name != "*"
            if ours and not sibling:
                yield f"{where(root, path, line)}: only `from .sibling import name` in model/"


def relative_imports_stay_in_their_folder(root: Path) -> Iterator[str]:
    for path in python_files(root, PACKAGE):
        alone = path.parent == root / PACKAGE
        for line, level, _, _ in imports(path):
            if level > 1 or (level == 1 and alone):
                yield f"{where(root, path, line)}: relative import out of its folder"


def third_party_packages_are_allowed_on_the_floor(root: Path) -> Iterator[str]:
    for path in python_files(root, PACKAGE):
        unit = unit_of(dotted(root, path))
        if unit and unit not in RANK:
            continue
        allowed = PACKAGES[RANK[unit][0]] if unit else MODEL_PACKAGES
        for line, level, module, _ in imports(path):
            package = module.split(".")[0]
            if level or package == PACKAGE or package in sys.stdlib_module_names:
                continue
            if package not in allowed:
                yield f"{where(root, path, line)}: {package} is not allowed in {unit or PACKAGE}"


def third_party_packages_are_declared(root: Path) -> Iterator[str]:
    project = tomllib.loads((root / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    names = [re.split(r"[^\w.-]", line)[0] for line in project["dependencies"]]
    declared = {name.lower().replace("_", "-") for name in names}
    for path in python_files(root, PACKAGE):
        for line, level, module, _ in imports(path):
            package = module.split(".")[0]
            if level or package == PACKAGE or package in sys.stdlib_module_names:
                continue
            if DISTRIBUTIONS.get(package, package).replace("_", "-") not in declared:
                yield f"{where(root, path, line)}: {package} is no dependency in pyproject.toml"


def there_is_no_circle(root: Path) -> Iterator[str]:
    graph: dict[str, set[str]] = {}
    for path in python_files(root, PACKAGE):
        source = ".".join(dotted(root, path))
        graph[source] = {".".join(module) for _, module in targets(root, path)} - {PACKAGE, source}
    done: set[str] = set()

    def walk(node: str, trail: list[str]) -> Iterator[str]:
        if node in trail:
            yield "circle: " + " -> ".join([*trail[trail.index(node) :], node])
        elif node not in done:
            for target in sorted(graph.get(node, ())):
                yield from walk(target, [*trail, node])
            done.add(node)

    for node in sorted(graph):
        yield from walk(node, [])


def transformers_copies_the_whole_model_folder(root: Path) -> Iterator[str]:
    folder = root / PACKAGE / "model"
    entry = folder / "modeling_seqvae.py"
    if not entry.is_file():
        yield f"{where(root, entry)}: missing"
        return
    expected = {path for path in folder.rglob("*") if path.suffix not in ("", ".pyc")}
    expected -= {folder / "__init__.py"}
    try:
        copied = {entry, *map(Path, get_relative_import_files(entry))}
    except FileNotFoundError as error:
        yield f"{where(root, Path(error.filename))}: is imported in model/ and is not there"
        return
    for path in sorted(expected - copied):
        yield f"{where(root, path)}: is not copied with modeling_seqvae.py"


def the_model_file_imports_every_sibling_itself(root: Path) -> Iterator[str]:
    folder = root / PACKAGE / "model"
    named = {module for _, _, module, _ in imports(folder / "modeling_seqvae.py")}
    for path in python_files(folder, "."):
        if path.stem not in named | {"__init__", "modeling_seqvae"}:
            yield f"{where(root, path)}: modeling_seqvae.py does not import it itself"


def files_stay_short(root: Path) -> Iterator[str]:
    for path in python_files(root, PACKAGE, "training"):
        count = len(path.read_text(encoding="utf-8").splitlines())
        if count > MAX_LINES:
            yield f"{where(root, path)}: {count} lines; a file has at most {MAX_LINES}"


def every_file_says_its_subject_first(root: Path) -> Iterator[str]:
    for path in python_files(root, PACKAGE, "training", "examples"):
        text = ast.get_docstring(parse(path)) or ""
        if not text.splitlines() or not text.splitlines()[0].strip():
            yield f"{where(root, path)}: does not begin with a docstring"


def nothing_is_caught_wholesale(root: Path) -> Iterator[str]:
    broad = {"Exception", "BaseException"}
    for path in python_files(root, PACKAGE, "training", "examples"):
        for node in ast.walk(parse(path)):
            if isinstance(node, ast.ExceptHandler):
                caught = [] if node.type is None else [node.type]
                bare = node.type is None
            elif isinstance(node, ast.Call) and ast.unparse(node.func).endswith("suppress"):
                caught, bare = node.args, False
            else:
                continue
            names = {ast.unparse(part) for kind in caught for part in getattr(kind, "elts", [kind])}
            if bare or names & broad:
                yield f"{where(root, path, node.lineno)}: catches everything: name the exception"


def only_the_command_line_prints(root: Path) -> Iterator[str]:
    for path in python_files(root, PACKAGE):
        if unit_of(dotted(root, path)) == "cli":
            continue
        for node in ast.walk(parse(path)):
            if isinstance(node, ast.Call) and ast.unparse(node.func) == "print":
                yield f"{where(root, path, node.lineno)}: print belongs to cli: log or return it"


RULES: list[Callable[[Path], Iterator[str]]] = [
    every_file_has_a_floor,
    imports_go_down,
    model_files_go_down,
    model_imports_siblings_by_name,
    relative_imports_stay_in_their_folder,
    third_party_packages_are_allowed_on_the_floor,
    third_party_packages_are_declared,
    there_is_no_circle,
    transformers_copies_the_whole_model_folder,
    the_model_file_imports_every_sibling_itself,
    files_stay_short,
    every_file_says_its_subject_first,
    nothing_is_caught_wholesale,
    only_the_command_line_prints,
]
