"""What the reproductions share: the data, the options, and where a run was made.

MNIST comes from a folder with its four IDX files (gzipped or not), or from torchvision; where
neither is there, scikit-learn's digits take its place and every script says so. Numbers on digits
are no reproduction: they show that the script runs.
"""

from __future__ import annotations

import csv
import gzip
import platform
import sys
import time
from itertools import pairwise
from pathlib import Path

import numpy as np
import torch
from torch import nn
from torch.nn.functional import cross_entropy, interpolate, pad

from mho.demo.data import Samples, digits
from mho.train import fit

sys.path.insert(0, str(Path(__file__).parents[1]))
from example_options import parsed, save_figure

FILES = {"train": "train", "test": "t10k"}


def options(doc, name, arguments=None, chips=True):
    """Parse what every reproduction takes; return the options and the moment it began.

    Args:
        doc: of the script.
        name: of the figure and the table.
        arguments: of the command line; None takes them from there.
        chips: whether it simulates several.
    """
    more = {"--mnist": {"type": Path, "metavar": "FOLDER", "help": "with MNIST's IDX files"}}
    if chips:
        more["--chips"] = {"type": int, "help": "Monte-Carlo chips (10; 2 with --quick)"}
    found = parsed(doc, "reproduced", arguments, more=more)
    if chips and found.chips is None:
        found.chips = 2 if found.quick else 10
    if chips and found.chips < 1:
        sys.exit(f"--chips must be at least 1, got {found.chips}")
    found.name, found.began = name, time.perf_counter()
    return found


def data(options):
    """Return MNIST as `Samples` of ``[n, 784]`` in [0, 1], and what the data are, in words."""
    if options.mnist is not None:
        return from_folder(options.mnist), "MNIST"
    try:
        return from_torchvision(), "MNIST (torchvision)"
    except ImportError:
        print("No MNIST: neither --mnist FOLDER nor torchvision. These are scikit-learn's digits,")
        print("an easier task of 1797 images: the script runs, the numbers reproduce nothing.\n")
        return enlarged_digits(), "digits, in place of MNIST"


def from_folder(folder):
    """Read MNIST's IDX files.

    Args:
        folder: with ``train-images-idx3-ubyte``, ``train-labels-idx1-ubyte`` and the same of
            ``t10k``, each with or without ``.gz``.

    Raises:
        FileNotFoundError, ValueError: if a file is missing, or is no IDX file of bytes.
    """
    parts = []
    for name in FILES.values():
        images = read_idx(find(folder, f"{name}-images-idx3-ubyte"))
        labels = read_idx(find(folder, f"{name}-labels-idx1-ubyte"))
        if len(images) != len(labels):
            raise ValueError(f"{folder}: {len(images)} images of {name}, {len(labels)} labels")
        parts += [torch.from_numpy(images).flatten(1).float() / 255, torch.from_numpy(labels)]
    return Samples(parts[0], parts[1].long(), parts[2], parts[3].long())


def find(folder, name):
    for path in (Path(folder) / name, Path(folder) / f"{name}.gz"):
        if path.exists():
            return path
    raise FileNotFoundError(f"{folder} must hold {name} or {name}.gz")


def read_idx(path):
    """Read an IDX file of unsigned bytes: two zeros, type, rank, sizes (big-endian), data."""
    raw = Path(path).read_bytes()
    raw = gzip.decompress(raw) if raw[:2] == b"\x1f\x8b" else raw
    if len(raw) < 4 or raw[:3] != b"\x00\x00\x08":
        raise ValueError(f"{path} must be an IDX file of unsigned bytes, begins with {raw[:4]!r}")
    start = 4 + 4 * raw[3]
    shape = np.frombuffer(raw[4:start], ">u4").astype(int)
    if len(raw) - start != shape.prod():
        raise ValueError(f"{path} must hold {shape.prod()} bytes of data, holds {len(raw) - start}")
    return np.frombuffer(raw, np.uint8, offset=start).reshape(shape).copy()


def from_torchvision(root="mnist"):
    from torchvision.datasets import MNIST

    sets = [MNIST(root, train=train, download=True) for train in (True, False)]
    return Samples(*(t for s in sets for t in (s.data.flatten(1).float() / 255, s.targets)))


def enlarged_digits():
    """Return scikit-learn's digits as images of MNIST's size."""
    small = digits(0)

    def large(x):
        x = interpolate(x.view(-1, 1, 8, 8), size=(24, 24), mode="bilinear", align_corners=False)
        return pad(x, (2, 2, 2, 2)).flatten(1)

    return Samples(large(small.train_x), small.train_y, large(small.test_x), small.test_y)


def mlp(*widths, seed=0, activation=nn.ReLU):
    """Return a perceptron of these widths."""
    torch.manual_seed(seed)
    layers = []
    for inputs, outputs in pairwise(widths):
        layers += [nn.Linear(inputs, outputs), activation()]
    return nn.Sequential(*layers[:-1])


def train(model, samples, epochs, seed=0, lr=2e-3, batch=128, **given):
    """Train with Adam, and leave the model in ``eval()`` mode."""
    optimizer = torch.optim.Adam(model.parameters(), lr=lr)
    both = samples.train_x, samples.train_y
    fit(model, optimizer, both, cross_entropy, epochs=epochs, batch=batch, seed=seed, **given)
    return model


@torch.no_grad()
def accuracy(model, samples, size=None):
    """Accuracy in percent, on the first ``size`` test images (None: all of them)."""
    right = model(samples.test_x[:size]).argmax(1) == samples.test_y[:size]
    return 100.0 * float(right.float().mean())


def spread(values):
    """Mean and standard deviation, in words; of one value only that."""
    values = torch.as_tensor(values, dtype=torch.float64)
    return f"{values.mean():.1f} ± {values.std():.1f}" if len(values) > 1 else f"{values[0]:.1f}"


def row(label, cells, width=13, first=34):
    """One line of a table."""
    print(f"{label:<{first}}" + "".join(f"{cell:>{width}}" for cell in cells), flush=True)


def machine():
    """Say what this run was made on."""
    name = platform.processor() or platform.machine()
    cpuinfo = Path("/proc/cpuinfo")
    if cpuinfo.exists():
        lines = [x for x in cpuinfo.read_text(encoding="utf-8").splitlines() if "model name" in x]
        name = lines[0].split(":", 1)[1].strip() if lines else name
    return f"{name}, {torch.get_num_threads()} thread(s), PyTorch {torch.__version__}"


def finish(figure, options, columns, rows):
    """Save the figure and the numbers behind it, and say where, how long and on what.

    Args:
        figure: to the folder ``options.out``.
        options: as `options` gave them.
        columns: names of the columns of a CSV file beside the figure.
        rows: its rows.
    """
    table = options.out / f"{options.name}.csv"
    save_figure(figure, table.with_suffix(".png"), dpi=110)
    with table.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        writer.writerow(columns)
        for line in rows:
            writer.writerow([f"{v:.6g}" if isinstance(v, float) else v for v in line])
    print(f"{table}; {time.perf_counter() - options.began:.0f} s on {machine()}")
