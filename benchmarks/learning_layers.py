"""What training in place costs by kind of layer: steps on cells beside plain ones, in one run.

    python benchmarks/learning_layers.py [--rounds 15] [--only KIND] [--tables FOLDER [--epochs 15]]

A step is gradients to zero, forward, backward and update. A weight of a convolution counts one
sample for every output position, one of a recurrent layer or of attention one for every time step.
Prints one JSON line a kind of layer and way of training: processor time (medians, interleaved), the
ratio to the plain step, and picoseconds per weight and sample.
"""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable
from pathlib import Path

import torch
from torch import Tensor, nn
from torch.utils.data import DataLoader, TensorDataset

from mho.demo.data import digits
from mho.devices import SoftBoundsDevice, TabularDevice
from mho.train import InSitu, MultiCell, PulsedSGD
from timing import options, report

DEVICE = SoftBoundsDevice(g_min=1e-6, g_max=101e-6, step=100e-9)
LR = 0.1

Kind = tuple[Callable[[], nn.Module], tuple[int, ...], int]
"""Makes the layer, shape of its input, samples of each weight."""

KINDS: dict[str, Kind] = {
    "linear 784-512": (lambda: nn.Linear(784, 512), (128, 784), 128),
    "linear 64-64, 4096 samples": (lambda: nn.Linear(64, 64), (4096, 64), 4096),
    "convolution 16-32, 3×3 on 8×8": (
        lambda: nn.Conv2d(16, 32, 3, padding=1),
        (128, 16, 8, 8),
        128 * 64,
    ),
    "convolution 1-16, 3×3 on 8×8": (
        lambda: nn.Conv2d(1, 16, 3, padding=1),
        (128, 1, 8, 8),
        128 * 64,
    ),
    "RNN 64-64, 16 steps": (lambda: nn.RNN(64, 64, batch_first=True), (64, 16, 64), 64 * 16),
    "LSTM 64-64, 16 steps": (lambda: nn.LSTM(64, 64, batch_first=True), (64, 16, 64), 64 * 16),
    "GRU 64-64, 16 steps": (lambda: nn.GRU(64, 64, batch_first=True), (64, 16, 64), 64 * 16),
    "attention 64, 4 heads, 16 steps": (
        lambda: Attention(),
        (64, 16, 64),
        64 * 16,
    ),
}


class Attention(nn.MultiheadAttention):
    """Attention of a sequence to itself."""

    def __init__(self) -> None:
        super().__init__(64, 4, batch_first=True)


def loss_of(model: nn.Module, x: Tensor) -> Tensor:
    if isinstance(model, nn.MultiheadAttention):
        output = model(x, x, x, need_weights=False)
    else:
        output = model(x)
    y: Tensor = output[0] if isinstance(output, tuple) else output
    return y.square().mean()


def ways() -> dict[str, Callable[[nn.Module], torch.optim.Optimizer]]:
    def plain(model: nn.Module) -> torch.optim.Optimizer:
        return torch.optim.SGD(model.parameters(), lr=LR)

    return {
        "plain": plain,
        "in situ": lambda m: InSitu(plain(m), DEVICE),
        "rank-one pulses": lambda m: PulsedSGD(m, LR, device=DEVICE),
    }


def stepper(
    make: Callable[[], nn.Module],
    shape: tuple[int, ...],
    optimizer_of: Callable[[nn.Module], torch.optim.Optimizer],
) -> Callable[[], None]:
    torch.manual_seed(0)
    model = make()
    optimizer = optimizer_of(model)
    x = torch.rand(shape)

    def step() -> None:
        optimizer.zero_grad()
        loss_of(model, x).backward()
        optimizer.step()

    return step


def epochs_of_a_cnn(folder: str, epochs: int) -> None:
    """Time epochs of a small CNN on the digits, on every device measured as tables in a folder."""
    data = digits(0)
    samples = TensorDataset(data.train_x.view(-1, 1, 8, 8), data.train_y)
    for stem in sorted(Path(folder).glob("**/*_set_cdf.txt")):
        name = stem.name.removesuffix("_set_cdf.txt")
        device = TabularDevice.from_tables(stem.parent / name)
        torch.manual_seed(0)
        model = nn.Sequential(
            nn.Conv2d(1, 16, 3, padding=1),
            nn.ReLU(),
            nn.MaxPool2d(2),
            nn.Conv2d(16, 32, 3, padding=1),
            nn.ReLU(),
            nn.MaxPool2d(2),
            nn.Flatten(),
            nn.Linear(128, 10),
        )
        sgd = torch.optim.SGD(model.parameters(), lr=0.3)
        try:
            optimizer = InSitu(sgd, device, layout=MultiCell(8), threshold=1.0)
        except ValueError as refused:  # a device whose set pulses move it down, say
            report(f"learning_layers: a digits CNN on {name}", refused=str(refused))
            continue
        start = time.process_time()
        for epoch in range(epochs):
            shuffle = torch.Generator().manual_seed(epoch)
            for x, y in DataLoader(samples, 32, shuffle=True, generator=shuffle):
                optimizer.zero_grad()
                nn.functional.cross_entropy(model(x), y).backward()
                optimizer.step()
        with torch.no_grad():
            right = model(data.test_x.view(-1, 1, 8, 8)).argmax(1) == data.test_y
        report(
            f"learning_layers: {epochs} epochs of a digits CNN on {name}",
            seconds=round(time.process_time() - start, 1),
            accuracy=round(100 * float(right.float().mean()), 1),
        )


def main() -> None:
    given = options(
        __doc__,
        rounds=15,
        only={"default": "", "help": "part of the kinds' names"},
        tables={"default": "", "help": "folder of jump tables to train a CNN on"},
        epochs={"type": int, "default": 15, "help": "of that CNN (%(default)s)"},
    )
    if given.tables:
        epochs_of_a_cnn(given.tables, given.epochs)
        return
    for kind, (make, shape, samples) in KINDS.items():
        if given.only in kind:
            measure(kind, make, shape, samples, given.rounds)


def measure(
    kind: str, make: Callable[[], nn.Module], shape: tuple[int, ...], samples: int, rounds: int
) -> None:
    """Time steps of one kind of layer, the ways of training in turns; print a line for each."""
    work = {way: stepper(make, shape, of) for way, of in ways().items()}
    seconds: dict[str, list[float]] = {way: [] for way in work}
    for step in work.values():
        for _ in range(3):
            step()
    for _ in range(rounds):
        for way, step in work.items():
            start = time.process_time()
            step()
            seconds[way].append(time.process_time() - start)
    weights = sum(p.numel() for p in make().parameters() if p.dim() > 1)
    found = {way: statistics.median(times) for way, times in seconds.items()}
    for way, median in found.items():
        report(
            f"learning_layers: {kind}",
            way=way,
            ms=round(1e3 * median, 2),
            ratio=round(median / found["plain"], 2),
            ps_per_weight_and_sample=round(1e12 * median / weights / samples, 1),
        )


if __name__ == "__main__":
    main()
