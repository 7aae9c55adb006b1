"""What torchrun and srun say; the names of their variables are those of their manuals."""

from __future__ import annotations

import pytest

from danlu.errors import InputError
from danlu.parallel.world import PORTS, World, first_node, read_world, speaks

TORCHRUN = {"RANK": "3", "WORLD_SIZE": "4", "LOCAL_RANK": "1", "MASTER_ADDR": "10.0.0.1", "MASTER_PORT": "29500"}
SRUN = {
    "SLURM_STEP_ID": "0", "SLURM_PROCID": "5", "SLURM_NTASKS": "8", "SLURM_LOCALID": "1", "SLURM_JOB_ID": "4711",
    "SLURM_JOB_NODELIST": "gpu[03-05,9],cpu1",
}  # fmt: skip


def test_alone() -> None:
    assert read_world({"PATH": "/bin"}) is None
    assert read_world({**TORCHRUN, "RANK": "0", "WORLD_SIZE": "1"}) is None


def test_torchrun() -> None:
    assert read_world(TORCHRUN) == World(3, 4, 1, "10.0.0.1", 29500, hosted=False)
    world = read_world({**TORCHRUN, "TORCHELASTIC_USE_AGENT_STORE": "True"})
    assert world is not None
    assert (world.hosted, world.attempt) == (True, 0)
    again = read_world({**TORCHRUN, "TORCHELASTIC_RESTART_COUNT": "2"})
    assert again is not None
    assert again.attempt == 2


def test_srun() -> None:
    world = read_world(SRUN)
    assert world is not None
    assert (world.rank, world.size, world.local_rank, world.address) == (5, 8, 1, "gpu03")
    assert world.port in PORTS
    other = read_world({**SRUN, "SLURM_JOB_ID": "4712"})
    assert other is not None
    assert other.port != world.port
    told = read_world({**SRUN, "MASTER_ADDR": "10.0.0.9", "MASTER_PORT": "1234", "SLURM_STEP_NUM_TASKS": "6"})
    assert told == World(5, 6, 1, "10.0.0.9", 1234)


def test_a_batch_script_without_srun_is_alone() -> None:
    """There Slurm sets the number of tasks, and nobody starts them."""
    assert read_world({name: value for name, value in SRUN.items() if name != "SLURM_STEP_ID"}) is None


@pytest.mark.parametrize(
    ("nodes", "first"),
    [("gpu03", "gpu03"), ("a,b", "a"), ("n[1-4]", "n1"), ("gpu[003,9],c", "gpu003"), ("r[2-3]-ib", "r2-ib")],
)
def test_the_first_node(nodes: str, first: str) -> None:
    assert first_node(nodes) == first


@pytest.mark.parametrize(
    ("environ", "problem"),
    [
        ({"RANK": "0", "WORLD_SIZE": "2"}, "LOCAL_RANK, MASTER_ADDR, MASTER_PORT missing"),
        ({**TORCHRUN, "MASTER_PORT": "many"}, "MASTER_PORT must be a number; got 'many'"),
        ({**TORCHRUN, "RANK": "4"}, "rank 4 of 4"),
        ({"SLURM_STEP_ID": "0", "SLURM_PROCID": "0"}, "srun's environment is not whole"),
    ],
)
def test_what_is_not_whole_is_named(environ: dict[str, str], problem: str) -> None:
    with pytest.raises(InputError, match=problem):
        read_world(environ)


def test_one_of_all_speaks() -> None:
    assert speaks({})
    assert not speaks(TORCHRUN)
    assert speaks({**TORCHRUN, "RANK": "0"})
    assert not speaks(SRUN)
    assert speaks({"SLURM_PROCID": "5"})  # of the shell that started this one
