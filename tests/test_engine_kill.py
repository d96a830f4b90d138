"""Runs that are really killed, by the script that stays for the long test."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

SCRIPT = Path(__file__).resolve().parent.parent / "training" / "kill_test.py"


@pytest.mark.skipif(not hasattr(os, "fork"), reason="the script forks, which this system cannot")
def test_killed_runs_end_as_the_uninterrupted_run_does():
    command = [sys.executable, str(SCRIPT), "--kills", "4", "--seed", "3"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stdout + done.stderr
    summary = json.loads(done.stdout.splitlines()[-1])
    assert summary["kills"] >= 4 and summary["different"] == 0
