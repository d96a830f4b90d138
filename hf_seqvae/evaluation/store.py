"""Results of an evaluation sentence by sentence, on the disk as they come: a kill loses seconds."""

import json
import logging
import os
import time
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor

logger = logging.getLogger(__name__)

Table = dict[str, Tensor]  # columns (n, ...), among them "row" (n,)
_KEY = "evaluation.json"


class Store:
    """Tables of finished sentences by stage ("encoded", "decoded"), in a folder or in memory.

    Args:
        folder: where they go; None keeps them in memory alone.
        key: plain values that every result depends on. A folder with another key is refused.
        rank: this process, which has files of its own.
        count: processes of this sitting; earlier ones may have had more or fewer.
        fresh: drop what is in the folder.
        seconds: between two files.

    Raises:
        ValueError: the folder holds another evaluation.
    """

    def __init__(
        self,
        folder: str | Path | None,
        key: Mapping[str, Any],
        *,
        rank: int = 0,
        count: int = 1,
        fresh: bool = False,
        seconds: float = 5.0,
    ):
        self.folder = None if folder is None else Path(folder)
        self.key = dict(key)
        self.rank = rank
        self.count = count
        self.seconds = seconds
        self.wall_seconds = self.cpu_seconds = 0.0
        self._tables: dict[str, list[Table]] = {}
        self._pending: list[Table] = []
        self._wall, self._cpu = time.monotonic(), time.process_time()
        if self.folder is None:
            return
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise ValueError(
                f"--output-dir must be a folder that can be written to, got {str(folder)!r}: "
                f"{error.strerror or error}. Choose another."
            ) from error
        if fresh and rank == 0:
            remove_parts(self.folder)
            (self.folder / _KEY).unlink(missing_ok=True)
        self._check_key()

    def load(self, stage: str) -> None:
        """Takes up what earlier sittings left of a stage; a damaged file is measured again."""
        tables = self._tables.setdefault(stage, [])
        for path in self._parts(f"{stage}-*"):
            try:
                with safe_open(path, framework="pt") as file:
                    tables.append({name: file.get_tensor(name) for name in file.keys()})  # noqa: SIM118
                    spent = file.metadata() or {}
            except (SafetensorError, FileNotFoundError) as error:  # another process may remove it
                logger.warning("%s is damaged (%s): its sentences are measured again", path, error)
                path.unlink(missing_ok=True)
                continue
            rank = int(spent.get("rank", 0))
            if rank == self.rank:
                self.wall_seconds += float(spent.get("wall_seconds", 0))
            if rank % self.count == self.rank:
                self.cpu_seconds += float(spent.get("cpu_seconds", 0))

    def rows(self, stage: str) -> Tensor:
        """The sentences that a stage has, sorted, (n,) int64."""
        found = [table["row"] for table in self._tables.get(stage, [])]
        return torch.cat(found).unique() if found else torch.empty(0, dtype=torch.int64)

    def add(self, stage: str, table: Table) -> None:
        """Takes the results of some sentences, and writes what came in the last seconds."""
        table = {name: value.cpu().contiguous() for name, value in table.items()}
        self._tables.setdefault(stage, []).append(table)
        self._pending.append(table)
        if time.monotonic() - self._wall > self.seconds:
            self.flush(stage)

    def flush(self, stage: str) -> None:
        """Writes what is not on the disk yet.

        Raises:
            OSError: the disk is full or not writable; what was written before stays.
        """
        now = time.monotonic(), time.process_time()
        wall, cpu = now[0] - self._wall, now[1] - self._cpu
        self._wall, self._cpu = now
        self.wall_seconds += wall
        self.cpu_seconds += cpu
        if self.folder is None or not self._pending:
            self._pending = []
            return
        before = [
            int(path.stem.rsplit("-", 1)[1]) for path in self._parts(f"{stage}-{self.rank}-*")
        ]
        number = max(before, default=-1) + 1
        path = self.folder / f"{stage}-{self.rank}-{number:05}.safetensors"
        metadata = {"rank": str(self.rank), "wall_seconds": str(wall), "cpu_seconds": str(cpu)}
        draft = path.with_suffix(".draft")
        try:
            save_file(joined([dict(table) for table in self._pending]), draft, metadata)
            os.replace(draft, path)
        except (OSError, SafetensorError) as error:
            draft.unlink(missing_ok=True)
            raise OSError(
                f"{self.folder} could not be written to: {error}. Free some disk space and start "
                f"the same command again: {self._on_disk(stage)} sentences are kept and not "
                "measured again."
            ) from error
        self._pending = []

    def take(self, stage: str) -> Table:
        """All results of a stage that this process knows, which the store then lets go of."""
        return joined(self._tables.pop(stage, []))

    def _parts(self, pattern: str) -> list[Path]:
        if self.folder is None:
            return []
        return sorted(self.folder.glob(f"{pattern}.safetensors"))

    def _on_disk(self, stage: str) -> int:
        pending = sum(len(table["row"]) for table in self._pending)
        return sum(len(table["row"]) for table in self._tables[stage]) - pending

    def _check_key(self) -> None:
        assert self.folder is not None
        path = self.folder / _KEY
        if not path.exists():
            if self.rank == 0:
                write_atomically(path, json.dumps(self.key, indent=2) + "\n")
            return
        try:
            kept = json.loads(path.read_text(encoding="utf-8"))
        except ValueError as error:
            raise ValueError(
                f"{path} is damaged ({error}), so nobody knows what is in its folder. Choose "
                "another --output-dir, or drop it with --fresh."
            ) from error
        changed = {
            name: (kept.get(name), self.key.get(name))
            for name in sorted(kept.keys() | self.key.keys())
            if kept.get(name) != self.key.get(name)
        }
        if changed:
            listed = "; ".join(
                f"{name}: {old!r} -> {new!r}" for name, (old, new) in changed.items()
            )
            raise ValueError(
                f"{self.folder} holds another evaluation; changed: {listed}. Choose another "
                "--output-dir, or drop it with --fresh."
            )


def progress_of(folder: str | Path) -> tuple[int, int] | None:
    """Sentences decoded and on the disk, and how many there are; None where nothing tells.

    For another process than the one that measures: a file that goes meanwhile counts for nothing.
    """
    done = 0
    try:
        key = json.loads((Path(folder) / _KEY).read_text(encoding="utf-8"))
        total = int(key["num_sentences"])
    except (OSError, ValueError, KeyError, TypeError):
        return None
    for path in Path(folder).glob("decoded-*.safetensors"):
        with suppress(SafetensorError, OSError), safe_open(path, framework="pt") as file:
            done += file.get_slice("row").get_shape()[0]
    return min(done, total), total


def remove_parts(folder: Path) -> None:
    """Removes the files of the stages, once a report stands in their place."""
    for stage in ("encoded", "decoded"):
        for path in folder.glob(f"{stage}-*.safetensors"):
            path.unlink()


def joined(tables: list[Table]) -> Table:
    """Tables with the same columns one below the other; those given are emptied."""
    if not tables:
        return {"row": torch.empty(0, dtype=torch.int64)}
    if len(tables) == 1:
        return tables[0]
    # each column leaves its parts before the next is joined: never twice everything in memory
    return {name: torch.cat([table.pop(name) for table in tables]) for name in list(tables[0])}


def each_row_once(table: Table) -> Table:
    """The table sorted by row, the first of repeated rows kept; the one given is emptied."""
    order = torch.argsort(table["row"], stable=True)
    rows = table["row"][order]
    first = torch.ones_like(rows, dtype=torch.bool)
    first[1:] = rows[1:] != rows[:-1]
    kept = order[first]
    return {name: table.pop(name)[kept] for name in list(table)}


def write_atomically(path: Path, text: str) -> None:
    """Puts a text file in place whole or not at all."""
    draft = path.with_name(f".{path.name}.draft")
    draft.write_text(text, encoding="utf-8")
    os.replace(draft, path)
