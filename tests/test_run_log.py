"""What is read from a log that a kill cut off."""

import pytest

from hf_seqvae.run_log import read_log


@pytest.mark.parametrize("end", [b'{"step": 2, "train/el', b'{"name": "\xce', b"{", b""])
def test_a_last_line_cut_off_by_a_kill_is_left_out(tmp_path, end):
    log = tmp_path / "log.jsonl"
    log.write_bytes(b'{"step": 1}\n' + end)
    assert read_log(log) == [{"step": 1}]


def test_a_last_line_that_only_misses_its_end_is_read(tmp_path):
    log = tmp_path / "log.jsonl"
    log.write_text('{"step": 1}\n\n{"step": 2}')
    assert read_log(log) == [{"step": 1}, {"step": 2}]


@pytest.mark.parametrize("rest", ['{"step": 3}\n', ""])
def test_a_broken_line_that_was_ended_is_an_error_that_names_it(tmp_path, rest):
    log = tmp_path / "log.jsonl"
    log.write_text('{"step": 1}\n{"step": 2, "tra\n' + rest)
    with pytest.raises(ValueError, match="line 2, is not JSON"):
        read_log(log)
