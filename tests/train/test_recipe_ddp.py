"""Noise-aware training in two processes: each its own noise, one gradient."""

import os
import pathlib
import subprocess
import sys

import pytest
import torch

if not torch.distributed.is_available():
    pytest.skip("this torch has no torch.distributed", allow_module_level=True)

WORKER = pathlib.Path(__file__).with_name("recipe_worker.py")


@pytest.mark.slow
def test_two_processes_train_one_model_each_with_its_own_noise(tmp_path):
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    outs = [tmp_path / f"out{rank}.pt" for rank in range(2)]
    processes = [
        subprocess.Popen(
            [sys.executable, WORKER, str(rank), tmp_path / "store", out],
            env=environment,
            stderr=subprocess.PIPE,
            text=True,
        )
        for rank, out in enumerate(outs)
    ]
    for process in processes:
        _, errors = process.communicate(timeout=300)
        assert process.returncode == 0, errors
    one, two = (torch.load(out, weights_only=True) for out in outs)
    # Ranks that are seeded alike draw noise of their own.
    assert not torch.equal(one["seen"], two["seen"])
    assert one["losses"] != two["losses"]
    for name, g in one["cells"].items():  # the chip is one and the same
        assert torch.equal(g, two["cells"][name])
    assert torch.equal(one["read"], two["read"])
    for name, grad in one["grads"].items():
        assert torch.equal(grad, two["grads"][name]), name
        assert torch.equal(one["weights"][name], two["weights"][name]), name
    assert sum(one["losses"][-5:]) < 0.9 * sum(one["losses"][:5])
    # Input ranges that each found in its own first batches are the mean of all.
    assert torch.equal(one["ranges"], two["ranges"])
    mean = torch.cat([found["seen"][:3] for found in (one, two)]).mean()
    assert torch.allclose(one["ranges"][0], mean)
