"""The code that goes to the Hub with a model: its own files, named in its config.json."""

import json
import shutil
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any, ClassVar

from transformers.dynamic_module_utils import get_relative_import_files
from transformers.utils import CONFIG_NAME


class CarriesCode:
    """Base of models whose `push_to_hub` sends their code, so that they load without the package.

    Attributes:
        auto_classes: "module.Class" by Auto class, as config.json names them in `auto_map`. A
            subclass of another file does not inherit it: its code is its author's to register.
        pipelines: the same for `custom_pipelines`; one whose file is not there is left out.
    """

    auto_classes: ClassVar[Mapping[str, str]] = {}
    pipelines: ClassVar[Mapping[str, Mapping[str, Any]]] = {}

    def _upload_modified_files(self, working_dir: str, *args: Any, **kwargs: Any) -> Any:
        """What `push_to_hub` and `save_pretrained(push_to_hub=True)` call once all is saved."""
        self.carry_code(working_dir)
        upload = super()._upload_modified_files  # pyright: ignore[reportAttributeAccessIssue]
        return upload(working_dir, *args, **kwargs)

    def carry_code(self, folder: str | Path) -> None:
        """Put the code beside the model, which is saved in `folder`, if its class names any."""
        if "auto_classes" in vars(type(self)):
            add_code(folder, type(self))


def add_code(folder: str | Path, model: type[CarriesCode]) -> None:
    """Put the code of a class beside its saved model; no class and no object changes by it."""
    module = sys.modules[model.__module__].__file__
    assert module is not None
    entries = {"auto_map": model.auto_classes, "custom_pipelines": model.pipelines}
    copy_code(Path(module).parent, Path(folder), entries)


def copy_code(source: Path, folder: Path, entries: Mapping[str, Any]) -> None:
    """Copy the files that `entries` need to `folder`, and name them in its config.json.

    Args:
        source: where the code is.
        folder: of a saved model.
        entries: `auto_map` and `custom_pipelines`, as in config.json.

    Raises:
        ValueError: a file that another one imports is not in `source`.
    """
    pipelines = {
        task: dict(entry)
        for task, entry in entries.get("custom_pipelines", {}).items()
        if (source / _file_of(entry["impl"])).is_file()
    }
    kept = {"auto_map": dict(entries["auto_map"]), "custom_pipelines": pipelines}
    for path in code_files(source, kept):
        if path.parent.resolve() != folder.resolve():
            shutil.copyfile(path, folder / path.name)
    config = json.loads((folder / CONFIG_NAME).read_text(encoding="utf-8"))
    config.pop("custom_pipelines", None)
    config |= {key: value for key, value in kept.items() if value}
    text = json.dumps(config, indent=2, sort_keys=True) + "\n"
    (folder / CONFIG_NAME).write_text(text, encoding="utf-8")


def code_files(source: Path, entries: Mapping[str, Any]) -> list[Path]:
    """The files of `source` that `entries` name, and all that these import from beside them.

    Raises:
        ValueError: one is missing.
    """
    names = [*entries.get("auto_map", {}).values()]
    names += [entry["impl"] for entry in entries.get("custom_pipelines", {}).values()]
    found: set[Path] = set()
    for name in names:
        if "--" in name:  # lies in another repository
            continue
        path = source / _file_of(name)
        try:
            found |= {path, *map(Path, get_relative_import_files(path))}
        except FileNotFoundError as error:
            raise ValueError(
                f"the model's code in {source} is not whole: {name} needs "
                f"{Path(error.filename).name}. Copy it there, or save the model again."
            ) from error
    return sorted(found)


def _file_of(name: str) -> str:
    """ "module.Class" -> "module.py"."""
    return name.partition(".")[0] + ".py"
