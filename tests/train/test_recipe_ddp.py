"""Noise-aware training in two processes: each its own noise, one gradient."""

import os
import subprocess
import sys

import pytest
import torch

if not torch.distributed.is_available():
    pytest.skip("this torch has no torch.distributed", allow_module_level=True)

WORKER = """
import sys, torch
import torch.distributed as dist
from torch import nn
from torch.nn import functional as F
import mho
from mho.train import Practice, Recipe

rank, store, out = int(sys.argv[1]), sys.argv[2], sys.argv[3]
torch.set_num_threads(1)
dist.init_process_group("gloo", init_method=f"file://{store}", rank=rank, world_size=2)
torch.manual_seed(0)
model = nn.Sequential(nn.Linear(6, 8), nn.Tanh(), nn.Linear(8, 3))
x, y = torch.randn(20, 6), torch.arange(20) % 3
hardware = mho.Hardware(effects=(mho.effects.WriteNoise(0.05),), adc=mho.ADC(bits=8))
recipe = Recipe(practice=Practice(noise=2.0), ranges="learned", clip=2.0)
analog = recipe.prepare(model, hardware, x, seed=rank)  # a chip, and noise, of its own
ddp = nn.parallel.DistributedDataParallel(analog, broadcast_buffers=False)
optimizer = torch.optim.Adam(ddp.parameters(), lr=0.02)
mine = slice(10 * rank, 10 * rank + 10)
losses, seen = [], ddp(x[:2]).detach()
for _ in range(25):
    optimizer.zero_grad()
    loss = F.cross_entropy(ddp(x[mine]), y[mine])
    loss.backward()
    optimizer.step()
    recipe.after_step(analog)
    losses.append(loss.item())
grads = {n: p.grad.clone() for n, p in analog.named_parameters()}
weights = {n: p.detach().clone() for n, p in analog.named_parameters()}
torch.save({"losses": losses, "seen": seen, "grads": grads, "weights": weights}, out)
dist.destroy_process_group()
"""


@pytest.mark.slow
def test_two_processes_train_one_model_each_with_its_own_noise(tmp_path):
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    outs = [tmp_path / f"out{rank}.pt" for rank in range(2)]
    processes = [
        subprocess.Popen(
            [sys.executable, "-c", WORKER, str(rank), str(tmp_path / "store"), str(out)],
            env=environment,
            stderr=subprocess.PIPE,
            text=True,
        )
        for rank, out in enumerate(outs)
    ]
    for process in processes:
        _, errors = process.communicate(timeout=120)
        assert process.returncode == 0, errors
    one, two = (torch.load(out, weights_only=True) for out in outs)
    assert not torch.equal(one["seen"], two["seen"])
    for name, grad in one["grads"].items():
        assert torch.equal(grad, two["grads"][name]), name
        assert torch.equal(one["weights"][name], two["weights"][name]), name
    assert sum(one["losses"][-5:]) < 0.9 * sum(one["losses"][:5])
