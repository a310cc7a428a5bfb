"""Two processes train a network on the digits and exchange factors instead of gradients.

Run it as it is: it starts both processes on this machine (gloo, a file to meet at). In your own
distributed training, the two lines after "here" are all there is to add.
"""

import tempfile

import torch
import torch.distributed as dist
import torch.multiprocessing as mp
from sklearn.datasets import load_digits
from torch import nn
from torch.nn.parallel import DistributedDataParallel

from mho.decomposition import TruncatedSVD
from mho.train.distributed import LowRankState, low_rank_hook

PROCESSES, BATCH, EPOCHS = 2, 64, 15


def digits() -> tuple[torch.Tensor, torch.Tensor]:
    images, labels = load_digits(return_X_y=True)
    return torch.tensor(images / 16, dtype=torch.float32), torch.tensor(labels)


def train(process: int, rank: int | None) -> tuple[float, LowRankState | None]:
    torch.manual_seed(0)
    x, y = digits()
    network = nn.Sequential(nn.Linear(64, 256), nn.ReLU(), nn.Linear(256, 10))
    model, state = DistributedDataParallel(network), None
    if rank is not None:  # here
        state = LowRankState(model, TruncatedSVD(rank))
        model.register_comm_hook(state, low_rank_hook)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1, momentum=0.9)
    shuffle = torch.Generator().manual_seed(0)
    for _ in range(EPOCHS):
        for batch in torch.randperm(1500, generator=shuffle).split(BATCH):
            own = batch[process::PROCESSES]
            optimizer.zero_grad()
            nn.functional.cross_entropy(model(x[own]), y[own]).backward()
            optimizer.step()
    accuracy = (network(x[1500:]).argmax(1) == y[1500:]).float().mean()
    return float(accuracy), state


def work(process: int, meeting_point: str) -> None:
    torch.set_num_threads(1)
    dist.init_process_group(
        "gloo", init_method=f"file://{meeting_point}", rank=process, world_size=PROCESSES
    )
    for rank in (None, 1, 2, 4, 10):
        accuracy, state = train(process, rank)
        if process == 0:
            name = "whole gradients" if rank is None else f"rank {rank}"
            share = 1.0 if state is None else state.bytes_sent / state.bytes_full
            print(f"{name:>16}: accuracy {100 * accuracy:.1f} %, {100 * share:5.1f} % of the bytes")
    dist.destroy_process_group()


if __name__ == "__main__":
    with tempfile.TemporaryDirectory() as folder:
        mp.spawn(work, (f"{folder}/meeting_point",), nprocs=PROCESSES)
