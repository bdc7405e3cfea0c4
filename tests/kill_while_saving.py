"""Kills processes while they save, and says what was found on the disk each time.

    python tests/kill_while_saving.py FOLDER KILLS SEED [--in-place]

Each child goes on from the checkpoint that it finds, saves step after step in a loop,
and is killed with SIGKILL at a random moment; then the checkpoint is loaded. It must be
of a step at or after the one before, with every value that belongs to this step. The
children are forks of this process, which has imported everything, so that a kill costs
milliseconds. The last line of the output is what happened, as JSON.

--in-place: save by writing to the file itself, and stop at the first kill that shows.
"""

from __future__ import annotations

import json
import os
import random
import signal
import sys
import time
from pathlib import Path

import numpy as np

import tinygrad_softmax as tg
from tinygrad_softmax.saving import tensor_files

SIZE = 3 << 17  # of each of two arrays of 32 bits: 3 MB together


def checkpoint(step: int) -> dict:
    """A tree in which every value follows from the step."""
    down = np.arange(SIZE, dtype=np.uint32) * np.uint32(2654435761) + np.uint32(step)
    return {
        "model": {"weight": tg.tensor(down), "bias": tg.tensor(~down)},
        "step": step,
    }


def step_of(path: Path) -> int:
    """The step of a checkpoint that is whole; else an AssertionError, or load's own."""
    found = tg.load(path)
    expected = checkpoint(found["step"])
    assert found.keys() == expected.keys()
    for name, value in expected["model"].items():
        assert np.array_equal(found["model"][name].numpy(), value.numpy()), name
    return found["step"]


def child(path: Path, step: int) -> None:
    """Save for ever. Both trees are made ahead, so that the time goes into saving."""
    trees = checkpoint(step + 1), checkpoint(step + 2)
    while True:
        for tree in trees:
            tg.save(tree, path)


def main(folder: Path, kills: int, seed: int, in_place: bool) -> dict:
    if in_place:
        tensor_files.write_atomically = lambda path, content: path.write_bytes(content)
    path = folder / "checkpoint.safetensors"
    tg.save(checkpoint(0), path)
    draw = random.Random(seed)
    start = time.perf_counter()
    for _ in range(3):
        tg.save(checkpoint(0), path)
    once = (time.perf_counter() - start) / 3
    found = {"kills": 0, "while a temporary file existed": 0, "steps": 0, "damage": ""}
    step = 0
    for _ in range(kills):
        pid = os.fork()
        if not pid:
            try:
                child(path, step)
            finally:
                os._exit(1)  # an exception: never back into the loop above
        time.sleep(draw.uniform(0.0, 2.5 * once))
        os.kill(pid, signal.SIGKILL)
        _, status = os.waitpid(pid, 0)
        assert os.WIFSIGNALED(status), "the child failed by itself"
        found["kills"] += 1
        found["while a temporary file existed"] += len(os.listdir(folder)) > 1
        try:
            after = step_of(path)
            assert step <= after <= step + 2, f"{after} after {step}"
        except Exception as error:
            found["damage"] = f"{type(error).__name__}: {error}"
            break
        found["steps"] += after != step
        step = after
    if not found["damage"]:
        tg.save(checkpoint(step), path)
    return found | {"files": sorted(os.listdir(folder)), "seconds a save": once}


if __name__ == "__main__":
    report = main(
        Path(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3]), "--in-place" in sys.argv
    )
    sys.stdout.write(json.dumps(report) + "\n")
