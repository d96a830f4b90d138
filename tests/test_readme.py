"""What README.md says runs, and its file tree is the tree."""

import re
import subprocess
from pathlib import Path

import pytest
import torch
from tokenizers import Tokenizer
from tokenizers.models import WordLevel
from tokenizers.pre_tokenizers import WhitespaceSplit
from tokenizers.processors import TemplateProcessing
from transformers import PreTrainedTokenizerFast

from hf_seqvae import SeqVAEConfig, SeqVAEModel, everyday, recipe

ROOT = Path(__file__).resolve().parent.parent
README = (ROOT / "README.md").read_text(encoding="utf-8")


def blocks(language: str) -> list[str]:
    """The fenced blocks of README of one language; "" for those that name none."""
    found: list[str] = []
    fence = None
    for line in README.splitlines():
        if fence is None and line.startswith("```"):
            fence = line.removeprefix("```")
            if fence == language:
                found.append("")
        elif line == "```":
            fence = None
        elif fence == language:
            found[-1] += line + "\n"
    return found


def everyday_tokenizer() -> PreTrainedTokenizerFast:
    """A word-level tokenizer of the embedded corpus."""
    words = ["<pad>", "<s>", "</s>", "<unk>", *everyday.vocabulary()]
    model = WordLevel({word: index for index, word in enumerate(words)}, unk_token="<unk>")
    tokenizer = Tokenizer(model)
    tokenizer.pre_tokenizer = WhitespaceSplit()
    tokenizer.post_processor = TemplateProcessing(
        single="<s> $A </s>", special_tokens=[("<s>", 1), ("</s>", 2)]
    )
    return PreTrainedTokenizerFast(
        tokenizer_object=tokenizer,
        pad_token="<pad>",
        bos_token="<s>",
        eos_token="</s>",
        unk_token="<unk>",
    )


@pytest.fixture
def trained_folder(tmp_path, monkeypatch) -> Path:
    """runs/quickstart/best below the current folder, its weights random: what training leaves."""
    monkeypatch.chdir(tmp_path)
    folder = tmp_path / "runs" / "quickstart" / "best"
    tokenizer = everyday_tokenizer()
    part = {"vocab_size": len(tokenizer), "embedding_size": 8, "hidden_size": 8}
    torch.manual_seed(0)
    config = SeqVAEConfig(
        encoder=part,
        decoder=part,
        latent_size=4,
        pad_token_id=0,
        bos_token_id=1,
        eos_token_id=2,
        unk_token_id=3,
    )
    SeqVAEModel(config).save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return folder


def test_the_python_blocks_run_as_written(trained_folder, capsys):
    code = blocks("python")
    assert code, "README shows no Python"
    namespace: dict = {"__name__": "readme"}
    for block in code:
        exec(compile(block, "README.md", "exec"), namespace)
    assert capsys.readouterr().out.count("\n") >= 5


def test_the_sentences_of_the_python_blocks_belong_to_the_embedded_corpus():
    sentences = re.findall(r'"([^"]+ [.?])"', "".join(blocks("python")))
    assert sentences
    for sentence in sentences:
        assert everyday.log_prob(sentence) < 0.0


def test_the_settings_of_the_train_commands_make_a_recipe():
    commands = [block for block in blocks("bash") if block.startswith("hf-seqvae train --set")]
    assert commands
    for command in commands:
        recipe.load("quickstart", re.findall(r"--set (\S+)", command))


def test_continuous_integration_finds_both_commands_by_their_markers():
    script = (ROOT / ".ci" / "run").read_text(encoding="utf-8")
    function = re.search(r"^readme_command\(\) \{\n.*?^\}$", script, re.MULTILINE | re.DOTALL)
    assert function is not None
    for name, ends in (("train", "hf-seqvae train"), ("test", "python -m pytest -n 2")):
        assert f"run_readme_command {name}" in script
        assert README.count(f"<!-- command: {name} -->\n```bash\n") == 1
        found = subprocess.run(
            ["bash", "-c", f"{function[0]}\nreadme_command {name}"],
            capture_output=True,
            text=True,
            check=True,
            cwd=ROOT,
        ).stdout
        assert found in blocks("bash")
        assert found.startswith("python -m pip install -c constraints.txt ")
        assert found.endswith(f" && {ends}\n")


def tree_paths() -> list[str]:
    """The paths of the file tree: two spaces a level, folders end in a slash."""
    (text,) = [block for block in blocks("") if block.startswith("hf_seqvae/")]
    paths, folders = [], []
    for line in text.splitlines():
        depth, name = (len(line) - len(line.lstrip())) // 2, line.split()[0]
        folders = [*folders[:depth], name]
        paths.append("".join(folders))
    return paths


def test_every_path_of_the_file_tree_exists():
    paths = tree_paths()
    assert len(paths) > 10
    missing = [path for path in paths if not (ROOT / path).exists()]
    assert not missing, f"README's tree names {missing}"


def test_every_file_and_folder_of_the_package_is_in_the_file_tree():
    package = ROOT / "hf_seqvae"
    there = [f"hf_seqvae/{path.name}" for path in package.glob("*.py")]
    there += [f"hf_seqvae/model/{path.name}" for path in (package / "model").glob("[!_]*.py")]
    there += [f"hf_seqvae/{path.name}/" for path in package.glob("[!_]*") if path.is_dir()]
    missing = sorted(set(there) - set(tree_paths()))
    assert not missing, f"README's tree lacks {missing}"


def test_readme_stays_under_200_lines():
    assert len(README.splitlines()) < 200
