"""Two processes, each with a chip of its own, learn the digits together, on chips that differ.

What is shared are the inputs and errors behind each update (or, now and then, the models); what is
not are the cells: each chip has its own spread, noise and pulses, and its own weights. The one
process sees small numbers, the other large ones; where that is so, nobody sees what the first chip,
as it is, makes of large ones, and sharing samples helps less than with mixed halves.

    python examples/federated_chips.py [--quick] [--out federated_chips]
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
from mho.devices import SoftBoundsDevice
from mho.plot import style
from mho.train import InSitu, PulsedSGD, SharedSamples, TikiTaka, TikiTakaV2, average_models

PROCESSES, BATCH, TRAINED = 2, 32, 1500
CELLS = SoftBoundsDevice(g_min=1e-6, g_max=101e-6, step=1e-7, d2d=0.3, c2c=0.3)


def digits() -> tuple[torch.Tensor, torch.Tensor]:
    images, labels = load_digits(return_X_y=True)
    return torch.tensor(images / 16, dtype=torch.float32), torch.tensor(labels)


def network() -> nn.Sequential:
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(64, 48), nn.Tanh(), nn.Linear(48, 10))


def optimizer_of(kind: str, model: nn.Module, seed: int) -> torch.optim.Optimizer:
    if kind == "InSitu":
        sgd = torch.optim.SGD(model.parameters(), 0.1)
        return InSitu(sgd, CELLS, seed=seed)
    if kind == "TikiTaka":
        return TikiTaka(model, 0.1, device=CELLS, rule=TikiTakaV2(columns=8), seed=seed)
    return PulsedSGD(model, 0.1, device=CELLS, seed=seed)


def parts(how: str, process: int, epochs: int) -> list[torch.Tensor]:
    """Batches of all epochs: of all data, or of one process's half."""
    large = digits()[1][:TRAINED] >= 5
    if how == "one chip":
        half, size = torch.arange(TRAINED), BATCH * PROCESSES
    elif how == "shared, mixed halves":
        half, size = torch.arange(process, TRAINED, PROCESSES), BATCH
    else:
        half, size = (large == bool(process)).nonzero().squeeze(1), BATCH
    shuffle = torch.Generator().manual_seed(0)
    count = TRAINED // (BATCH * PROCESSES)  # processes step together, as often
    order = [half[torch.randperm(len(half), generator=shuffle)] for _ in range(epochs)]
    return [part for each in order for part in each.repeat(2).split(size)[:count]]


def accuracy(model: nn.Module) -> float:
    x, y = digits()
    with torch.no_grad():
        return 100 * float((model(x[TRAINED:]).argmax(1) == y[TRAINED:]).float().mean())


def train(kind: str, how: str, process: int, epochs: int) -> tuple[float, nn.Module, str]:
    """Train one chip; ``how`` says alone, on all data, or together with the other one."""
    x, y = digits()
    model = network()
    reads = (
        DistributedDataParallel(model) if kind == "InSitu" and how.startswith("shared") else model
    )
    optimizer = optimizer_of(kind, model, seed=process)
    exchange = SharedSamples(TruncatedSVD(8) if how == "shared, rank 8" else None)
    if how.startswith("shared") and kind != "InSitu":
        optimizer.exchange = exchange
    steps = parts(how, process, epochs)
    often = max(len(steps) // 10, 1)
    for number, part in enumerate(steps, 1):
        optimizer.zero_grad()
        nn.functional.cross_entropy(reads(x[part]), y[part]).backward()
        optimizer.step()
        if how == "averaged" and number % often == 0:
            average_models(optimizer)
    sent = f"{exchange.bytes_sent / 1e6:.1f} MB sent" if exchange.bytes_sent else ""
    return accuracy(model), model, sent


RUNS = {
    "PulsedSGD": (
        "one chip",
        "apart",
        "averaged",
        "shared",
        "shared, mixed halves",
        "shared, rank 8",
    ),
    "TikiTaka": ("shared, mixed halves",),
    "InSitu": ("shared, mixed halves",),
}


def work(process: int, folder: str, epochs: int) -> None:
    torch.set_num_threads(1)
    dist.init_process_group(
        "gloo", init_method=f"file://{folder}/meeting_point", rank=process, world_size=PROCESSES
    )
    found = {}
    for kind, ways in RUNS.items():
        for how in ways:
            percent, model, sent = train(kind, how, process, epochs)
            weight = model[0].weight.detach().clone()
            both = [torch.empty_like(weight) for _ in range(PROCESSES)]
            dist.all_gather(both, weight)
            scores = [torch.zeros(1) for _ in range(PROCESSES)]
            dist.all_gather(scores, torch.tensor([percent]))
            found[kind, how] = [float(s) for s in scores], both
            apart = float((both[0] - both[1]).abs().mean() / both[0].std())
            if process == 0:
                print(
                    f"{kind:>9}, {how:<20}: chips at {found[kind, how][0][0]:.1f} and "
                    f"{found[kind, how][0][1]:.1f} %, weights {apart:.2f} σ apart {sent}",
                    flush=True,
                )
    dist.barrier()
    dist.destroy_process_group()
    if process == 0:
        torch.save(found, f"{folder}/found.pt")


def draw(found: dict, path: Path) -> None:
    """Draw both chips' accuracies, and the weights of one over those of the other."""
    with style():
        figure, (left, right) = plt.subplots(
            1, 2, figsize=(9.0, 3.4), layout="constrained", width_ratios=(1.5, 1)
        )
        names = [f"{kind}, {how}" for kind, how in found]
        for chip, marker in enumerate("os"):
            scores = [scores[chip] for scores, _ in found.values()]
            left.plot(scores, names, marker, markersize=7, label=f"chip {chip + 1}")
        left.invert_yaxis()
        left.set_xlabel("test accuracy (%)")
        left.legend()
        both = found["PulsedSGD", "shared"][1]
        right.plot(both[0].flatten(), both[1].flatten(), ".", markersize=2)
        right.axline((0, 0), slope=1, linewidth=0.8, color="0.5")
        right.set(xlabel="weights of chip 1", ylabel="weights of chip 2", title="shared samples")
        save_figure(figure, path)


def main() -> None:
    options = parsed(__doc__, "federated_chips", quick="two epochs instead of eight")
    with tempfile.TemporaryDirectory() as folder:
        mp.spawn(work, (folder, 2 if options.quick else 8), nprocs=PROCESSES)
        found = torch.load(f"{folder}/found.pt")
    draw(found, options.out / "federated_chips.png")


if __name__ == "__main__":
    main()
