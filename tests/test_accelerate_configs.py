"""The files for `accelerate launch`: read by accelerate's own loader, and true to their names."""

from pathlib import Path

import pytest
from accelerate.commands.config.config_args import ClusterConfig, load_config_from_file
from accelerate.commands.launch import launch_command_parser
from accelerate.utils import DistributedType

FOLDER = Path(__file__).parents[1] / "training" / "accelerate"
NAMES = ["cpu", "fsdp", "multi_gpu", "one_gpu"]


def load(name):
    return load_config_from_file(str(FOLDER / f"{name}.yaml"))


def test_every_file_is_tested():
    assert sorted(path.stem for path in FOLDER.glob("*.yaml")) == NAMES


@pytest.mark.parametrize("name", NAMES)
def test_accelerate_reads_the_file(name):
    config = load(name)
    assert isinstance(config, ClusterConfig)
    assert config.num_machines == 1 and config.num_processes >= 1


@pytest.mark.parametrize(
    ("name", "kind", "on_cpu", "precision"),
    [
        ("cpu", DistributedType.MULTI_CPU, True, "no"),
        ("one_gpu", DistributedType.NO, False, "bf16"),
        ("multi_gpu", DistributedType.MULTI_GPU, False, "bf16"),
        ("fsdp", DistributedType.FSDP, False, "bf16"),
    ],
)
def test_the_file_is_what_its_name_says(name, kind, on_cpu, precision):
    config = load(name)
    assert config.distributed_type == kind
    assert (config.use_cpu, config.mixed_precision) == (on_cpu, precision)
    assert (config.num_processes == 1) == (name == "one_gpu")


def test_every_fsdp_key_is_an_option_of_accelerate_launch():
    options = {action.dest for action in launch_command_parser()._actions}
    config = load("fsdp").fsdp_config
    assert config is not None and config["fsdp_version"] == 2
    assert set(config) <= options


@pytest.mark.parametrize("name", NAMES)
def test_the_file_opens_with_the_command_that_uses_it(name):
    command = (FOLDER / f"{name}.yaml").read_text(encoding="utf-8").splitlines()[0]
    assert "training/train.py" in command
    # CPU processes are torch's launcher's: accelerate's wants mpirun for them
    launcher = "torchrun" if name == "cpu" else f"--config_file training/accelerate/{name}.yaml"
    assert launcher in command


@pytest.mark.parametrize("name", ["one_gpu", "multi_gpu", "fsdp"])
def test_the_command_says_the_precision_of_the_file_to_the_recipe(name):
    text = (FOLDER / f"{name}.yaml").read_text(encoding="utf-8")
    assert f"--set training.mixed_precision={load(name).mixed_precision}" in text
