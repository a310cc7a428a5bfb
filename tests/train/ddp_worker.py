"""One of two processes that train together: ``ddp_worker.py rank init_file result_file``."""

import contextlib
import gc
import sys

import torch
import torch.distributed as dist
from torch import nn
from torch.nn.parallel import DistributedDataParallel

from mho.decomposition import NMF, FullSVD, StreamingBatchPCA, TruncatedSVD
from mho.train.distributed import LowRankState, low_rank_hook

STEPS, BATCH, RANKS = 12, 16, 2


@contextlib.contextmanager
def group(rank, store):
    """Be one of a group that nobody leaves before all are done.

    Torch keeps the group's threads after it has been destroyed. One that is still letting go of a
    hook's result when Python ends takes the process down with it ("terminate called without an
    active exception"): all have come to rest once a last exchange has passed.
    """
    dist.init_process_group("gloo", init_method=f"file://{store}", rank=rank, world_size=RANKS)
    try:
        yield
        gc.collect()  # models and their hooks hold one another
        dist.barrier()
    finally:
        dist.destroy_process_group()


def network():
    torch.manual_seed(0)
    return nn.Sequential(
        nn.Conv2d(1, 8, 3),
        nn.ReLU(),
        nn.Flatten(),
        nn.Linear(288, 32),
        nn.ReLU(),
        nn.Linear(32, 10),
    ).double()


def data():
    source = torch.Generator().manual_seed(1)
    x = torch.randn(STEPS, BATCH, 1, 8, 8, generator=source, dtype=torch.float64)
    return x, torch.randint(10, (STEPS, BATCH), generator=source)


def train(model, part, steps=range(STEPS), lr=0.1):
    optimizer = torch.optim.SGD(model.parameters(), lr=lr)
    x, y = data()
    for i in steps:
        optimizer.zero_grad()
        nn.functional.cross_entropy(model(x[i][part]), y[i][part]).backward()
        optimizer.step()
    return torch.cat([p.detach().flatten() for p in model.parameters()])


def with_hook(decomposition, **options):
    # Small buckets: several a step, and rebuilt after the first.
    model = DistributedDataParallel(network(), bucket_cap_mb=0.03)
    state = LowRankState(model, decomposition, **options)
    model.register_comm_hook(state, low_rank_hook)
    return model, state


def resumed(part):
    """Stop after half of the steps, go on in new objects."""
    model, state = with_hook(StreamingBatchPCA(3))
    train(model, part, range(STEPS // 2))
    other, new = with_hook(StreamingBatchPCA(3))
    other.load_state_dict(model.state_dict())
    new.load_state_dict(state.state_dict())
    return train(other, part, range(STEPS // 2, STEPS)), new


def poisoned(rank):
    """One process has a gradient that is not finite: both must see it, and go on afterwards."""
    model, state = with_hook(TruncatedSVD(4))
    x, y = data()
    bad = x[0][rank::RANKS].clone()
    if rank == 1:
        bad[0] = torch.nan
    nn.functional.cross_entropy(model(bad), y[0][rank::RANKS]).backward()
    seen = all(bool(p.grad.isnan().any()) for p in model.parameters() if p.dim() > 1)
    clean = not any(bool(v.isnan().any()) for v in state.state_dict()["residuals"].values())
    return {"seen": seen, "clean": clean, "weights": train(model, slice(rank, None, RANKS))}


def find(rank):
    part = slice(rank, None, RANKS)
    runs = {
        "plain": (None, {}),
        "full": (FullSVD(), {"only_if_smaller": False}),
        "svd": (TruncatedSVD(4), {}),
        "svd without feedback": (TruncatedSVD(4), {"error_feedback": False}),
        "sbpca": (StreamingBatchPCA(3), {}),
        "nmf": (NMF(2, streaming=True), {}),
        "rank too large": (TruncatedSVD(20), {}),
    }
    found = {}
    for name, (decomposition, options) in runs.items():
        if decomposition is None:
            found[name] = {"weights": train(DistributedDataParallel(network()), part)}
            continue
        model, state = with_hook(decomposition, **options)
        weights = train(model, part)
        found[name] = {"weights": weights, "sent": state.bytes_sent, "full": state.bytes_full}
    weights, state = resumed(part)
    found["resumed"] = {"weights": weights, "sent": state.bytes_sent, "full": state.bytes_full}
    found["poisoned"] = poisoned(rank)
    return found


def main():
    rank, store, result = int(sys.argv[1]), sys.argv[2], sys.argv[3]
    torch.set_num_threads(1)
    with group(rank, store):
        torch.save(find(rank), result)


if __name__ == "__main__":
    main()
