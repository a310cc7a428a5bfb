"""Two processes train a network on the digits and exchange factors instead of gradients.

Run it as it is: it starts both processes on this machine (gloo, a file to meet at). In your own
distributed training, the two lines after "here" are all there is to add.

    python examples/distributed_low_rank.py [--quick] [--out distributed_low_rank]
"""

import tempfile
from pathlib import Path

import matplotlib.pyplot as plt
import torch
import torch.distributed as dist
import torch.multiprocessing as mp
from sklearn.datasets import load_digits
from torch import nn
from torch.nn.parallel import DistributedDataParallel

from example_options import parsed, save_figure
from mho.decomposition import TruncatedSVD
from mho.plot import style
from mho.train.distributed import LowRankState, low_rank_hook

PROCESSES, BATCH = 2, 64


def digits() -> tuple[torch.Tensor, torch.Tensor]:
    images, labels = load_digits(return_X_y=True)
    return torch.tensor(images / 16, dtype=torch.float32), torch.tensor(labels)


def train(process: int, rank: int | None, epochs: int) -> tuple[float, LowRankState | None]:
    torch.manual_seed(0)
    x, y = digits()
    network = nn.Sequential(nn.Linear(64, 256), nn.ReLU(), nn.Linear(256, 10))
    model, state = DistributedDataParallel(network), None
    if rank is not None:  # here
        state = LowRankState(model, TruncatedSVD(rank))
        model.register_comm_hook(state, low_rank_hook)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1, momentum=0.9)
    shuffle = torch.Generator().manual_seed(0)
    for _ in range(epochs):
        for batch in torch.randperm(1500, generator=shuffle).split(BATCH):
            own = batch[process::PROCESSES]
            optimizer.zero_grad()
            nn.functional.cross_entropy(model(x[own]), y[own]).backward()
            optimizer.step()
    accuracy = (network(x[1500:]).argmax(1) == y[1500:]).float().mean()
    return float(accuracy), state


def work(process: int, folder: str, epochs: int) -> None:
    torch.set_num_threads(1)
    dist.init_process_group(
        "gloo", init_method=f"file://{folder}/meeting_point", rank=process, world_size=PROCESSES
    )
    found = {}
    for rank in (None, 1, 2, 4, 10):
        accuracy, state = train(process, rank, epochs)
        name = "whole gradients" if rank is None else f"rank {rank}"
        share = 1.0 if state is None else state.bytes_sent / state.bytes_full
        found[name] = 100 * share, 100 * accuracy
        if process == 0:
            print(f"{name:>16}: accuracy {100 * accuracy:.1f} %, {100 * share:5.1f} % of the bytes")
    dist.destroy_process_group()
    if process == 0:
        torch.save(found, f"{folder}/found.pt")


def draw(found: dict[str, tuple[float, float]], path: Path) -> None:
    """Draw accuracy over the bytes that were exchanged."""
    with style():
        figure, ax = plt.subplots(figsize=(5.6, 3.4), layout="constrained")
        for marker, (name, point) in zip("os^vD", found.items(), strict=True):
            ax.plot(*point, marker, markersize=8, label=name)
        ax.set(xlabel="exchanged, of the bytes of whole gradients (%)", ylabel="test accuracy (%)")
        ax.legend()
        save_figure(figure, path)


def main() -> None:
    options = parsed(__doc__, "distributed_low_rank", quick="five epochs instead of fifteen")
    with tempfile.TemporaryDirectory() as folder:
        mp.spawn(work, (folder, 5 if options.quick else 15), nprocs=PROCESSES)
        found = torch.load(f"{folder}/found.pt")
    draw(found, options.out / "distributed_low_rank.png")


if __name__ == "__main__":
    main()
