"""What the tables on a terminal do where there is no room."""

import io

from rich.console import Console

from hf_seqvae.cli.screen import keep_on_a_line, plain_table


def printed(table, width):
    console = Console(file=io.StringIO(), width=width)
    console.print(table)
    return console.file.getvalue()


def test_a_word_longer_than_the_terminal_is_folded_and_not_cut():
    table = plain_table("run", "folder")
    folder = "/".join(f"part-{number}" for number in range(20))
    table.add_row("last", folder)
    shown = printed(table, 40)
    assert folder in "".join(shown.split("last")[1].split())
    assert max(map(len, shown.splitlines())) <= 40


def test_a_figure_that_has_no_room_says_so():
    table = plain_table("figure")
    keep_on_a_line(*table.columns)
    table.add_row("101.61 ± 1.23")
    assert "101.61 ± 1.23" in printed(table, 40)
    shown = printed(table, 10)
    assert "…" in shown and "1.23" not in shown
