"""A terminal, and calls of the command as a person makes them."""

import logging
from contextlib import contextmanager

from typer.testing import CliRunner

from hf_seqvae.cli import app


@contextmanager
def terminal(monkeypatch):
    """A terminal of 100 columns; loggers and bars are put back as they were."""
    from transformers.utils import logging as transformers_logging

    monkeypatch.setenv("COLUMNS", "100")
    monkeypatch.setenv("TERM", "dumb")
    ours, verbosity = logging.getLogger("hf_seqvae"), transformers_logging.get_verbosity()
    handlers, propagate = list(ours.handlers), ours.propagate
    try:
        yield
    finally:
        ours.handlers, ours.propagate = handlers, propagate
        transformers_logging.set_verbosity(verbosity)
        transformers_logging.enable_progress_bar()


def call(*arguments, code=0):
    """What a command prints and ends with."""
    result = CliRunner().invoke(app, [str(argument) for argument in arguments])
    if result.exception is not None and not isinstance(result.exception, SystemExit):
        raise result.exception
    assert result.exit_code == code, result.output
    return result


def refused(*arguments, code=2):
    """The one line that a wrong call gives on stderr; no result on stdout."""
    result = call(*arguments, code=code)
    printed = [line for line in result.stdout.splitlines() if line.strip()]
    assert [line for line in printed if not line.startswith("training ")] == []
    lines = result.stderr.splitlines()
    assert lines[-1].startswith("error: "), result.stderr
    assert not any("Traceback" in line for line in lines)
    return lines[-1]
