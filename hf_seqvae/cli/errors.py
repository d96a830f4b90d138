"""How a command ends when something is wrong: one line on stderr and an exit code, no traceback."""

import os
import sys
from typing import Any

import typer
from huggingface_hub.errors import StrictDataclassError
from rich.console import Console
from rich.text import Text
from typer.core import TyperGroup

# what a wrong argument, file or model gives; anything else is a fault of ours and keeps its trace
KNOWN_ERRORS = (ValueError, OSError, StrictDataclassError)
WRONG_INPUT = 2
FAILED = 1
BROKEN_PIPE = 141  # 128 + SIGPIPE, as a shell has it


class CommandFailed(Exception):
    """A command that cannot go on, with the code to exit with."""

    def __init__(self, message: str, exit_code: int = FAILED) -> None:
        self.exit_code = exit_code
        super().__init__(message)


class ErrorGroup(TyperGroup):
    """The commands of the program; a known error of one becomes a line on stderr."""

    def invoke(self, ctx: typer.Context) -> Any:  # pyright: ignore[reportIncompatibleMethodOverride]
        """Run the command that was asked for."""
        try:
            result = super().invoke(ctx)
            sys.stdout.flush()  # what fails here would otherwise fail where nothing can be told
            return result
        except BrokenPipeError as error:  # `| head` has read enough
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
            raise typer.Exit(BROKEN_PIPE) from error
        except KNOWN_ERRORS as error:
            self._report(ctx, error)
            raise typer.Exit(WRONG_INPUT) from error
        except CommandFailed as error:
            self._report(ctx, error)
            raise typer.Exit(error.exit_code) from error

    @staticmethod
    def _report(ctx: typer.Context, error: BaseException) -> None:
        if ctx.params.get("debug"):
            raise error
        line = Text("error: ", style="bold red").append(
            " ".join(str(error).split()), style="not bold red"
        )
        Console(stderr=True).print(line, soft_wrap=True)
