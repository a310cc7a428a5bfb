"""Ten models on crossbars: how much of each, how exactly, at what cost. Nothing is downloaded.

    python examples/models/table.py [NAME …] [--quick] [--markdown] [--out FOLDER]

For each model, at random weights:

* the share of its matrix weights that are on crossbars (embeddings aside),
* the largest difference of an ideal read from the digital model, relative to the largest output,
* what float32 itself is off: the largest error of torch, its weights moved by one rounding, from
  float64, likewise,
* the same as root mean square with 8-bit converters, programming error and read noise,
* whether one step of fine-tuning through that hardware lowers the loss of its batch,
* whether a new process, from the saved state, gives the same bits,
* tiles of 256 × 256, and energy and latency of an inference by `mho.analysis.cost`.

Errors and energies are drawn, too. With ``--quick`` the models have the same layers, fewer and
narrower, and where none is named it takes every other one.
"""

from __future__ import annotations

import copy
import importlib.util
import multiprocessing
import sys
import tempfile
import time
import warnings
from pathlib import Path
from typing import NamedTuple

import matplotlib.pyplot as plt
import torch
from torch import Tensor, nn

import mho
from mho.analysis import Technology, cost
from mho.plot import style

sys.path.insert(0, str(Path(__file__).parents[1]))
sys.path.insert(0, str(Path(__file__).parent))
from zoo import MODELS, Entry, settled

from example_options import parsed, save_figure

ARRAY = mho.Array(rows=256, cols=256)
IDEAL = mho.Hardware(array=ARRAY)
NOISY = mho.Hardware(
    array=ARRAY,
    dac=mho.DAC(bits=8),
    adc=mho.ADC(bits=8),
    effects=(mho.effects.WriteNoise(0.01), mho.effects.ReadNoise(0.005)),
)
TECHNOLOGY = Technology(read_time=100e-9, conversion_rate=1e9, columns_per_adc=8)


def on_crossbars(analog: nn.Module, inputs: dict[str, Tensor]) -> float:
    """Return the share of matrix weights on crossbars; tables that are looked up do not count."""
    shares = mho.summary(analog, inputs).shares
    return shares.weights / shares.of_weights


def put_on(entry: Entry, hardware: mho.Hardware, small: bool) -> nn.Module:
    """Build a model of the zoo and put it on crossbars, calibrated; the same in every process."""
    torch.manual_seed(0)
    model = settled(entry.build(small), entry.inputs(16, small))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # what stays digital: the table says how much
        analog = mho.convert(model, hardware, seed=0)
    if hardware.adc is not None:
        mho.calibrate(analog, [entry.inputs(4, small)])
    return analog


def answer(entry: Entry, model: nn.Module, inputs: dict[str, Tensor]) -> Tensor:
    """Return what a model puts out in ``eval()`` mode."""
    with torch.no_grad():
        return entry.output(model.eval()(**inputs))


def of_float32(entry: Entry, model: nn.Module, inputs: dict[str, Tensor]) -> float:
    """Return the largest error of torch's float32, relative to the largest output.

    That of the digital model in float64 is exact, beside it; each weight of the one in float32 is
    moved by a rounding (2⁻²³ of it, at most), as cells that hold it may.
    """
    source = torch.Generator().manual_seed(0)
    moved = copy.deepcopy(model)
    for parameter in moved.parameters():
        if parameter.dim() > 1:
            up = torch.rand(parameter.shape, generator=source, dtype=torch.float64) * 2.0 - 1.0
            parameter.data.copy_(parameter.detach().double() * (1.0 + up * 2.0**-23))
    wide = {k: v.double() if v.is_floating_point() else v for k, v in inputs.items()}
    found = answer(entry, moved, inputs)
    del moved
    exact = answer(entry, copy.deepcopy(model).double(), wide)
    return float((found - exact).abs().max() / exact.abs().max())


def fine_tune(entry: Entry, analog: nn.Module, inputs: dict[str, Tensor], chips: int = 1) -> bool:
    """Make one step through the hardware; return whether the loss falls.

    The loss is the mean over some chips, the same ones before and after. The step is down the
    gradient, as long as would lower a linear loss by a twentieth; a tenth of that, or a hundredth,
    where the loss bends too much.
    """
    target = torch.randn_like(answer(entry, analog, inputs))

    def loss(learn: bool = False) -> float:
        total = 0.0
        for chip in range(chips):
            torch.manual_seed(1 + chip)  # the same chip and dropout before and after
            one = nn.functional.mse_loss(entry.output(analog.train()(**inputs)), target) / chips
            if learn:
                one.backward()
            total += float(one)
        return total

    before = loss(learn=True)
    moved = [p for p in analog.parameters() if p.grad is not None]
    steepness = sum(p.grad.square().sum() for p in moved)
    with torch.no_grad():
        reached = 0.0
        for length in (0.05, 0.005, 0.0005):
            for parameter in moved:
                parameter.sub_((length - reached) * before / steepness * parameter.grad)
            reached = length
            if loss() < before:
                return True
    return False


def in_another_process(name: str, small: bool, folder: str) -> bool:
    """Load what was saved into a model built anew, and compare what it puts out, bit for bit."""
    torch.set_num_threads(1)
    entry = next(e for e in MODELS if e.name == name)
    saved = torch.load(Path(folder) / "model.pt", weights_only=True)
    analog = put_on(entry, NOISY, small)
    for layer in analog.parameters():
        layer.data.zero_()
    analog.load_state_dict(saved["state"])
    return torch.equal(answer(entry, analog, saved["inputs"]), saved["outputs"])


def save(entry: Entry, analog: nn.Module, inputs: dict[str, Tensor], folder: Path) -> None:
    """Save a model, inputs, and what it puts out for them."""
    state = copy.deepcopy(analog.state_dict())  # as it is before the read draws its noise
    outputs = answer(entry, analog, inputs)
    torch.save({"state": state, "inputs": inputs, "outputs": outputs}, folder / "model.pt")


def same_elsewhere(entry: Entry, analog: nn.Module, inputs: dict[str, Tensor], small: bool) -> bool:
    """Save a model, read it here, and again in a process of its own."""
    with tempfile.TemporaryDirectory() as folder:
        save(entry, analog, inputs, Path(folder))
        with multiprocessing.get_context("spawn").Pool(1) as pool:
            return pool.apply(in_another_process, (entry.name, small, folder))


class Row(NamedTuple):
    """A line of the table, and the numbers of it that are drawn."""

    cells: tuple[str, ...]
    error: float
    energy: float


def row(entry: Entry, small: bool) -> Row:
    """Measure one model."""
    torch.manual_seed(0)
    model = settled(entry.build(small), entry.inputs(16, small))
    inputs = entry.inputs(2, small)
    digital = answer(entry, model, inputs)
    ideal = put_on(entry, IDEAL, small)
    error = float((answer(entry, ideal, inputs) - digital).abs().max() / digital.abs().max())
    share = on_crossbars(ideal, inputs)
    del ideal
    rounding = of_float32(entry, model, inputs)
    noisy = put_on(entry, NOISY, small)
    spread = answer(entry, noisy, inputs) - digital
    loss = float(spread.square().mean().sqrt() / digital.square().mean().sqrt())
    tiles = mho.summary(noisy).tiles
    found = cost(noisy, [entry.inputs(1, small)], TECHNOLOGY)
    saved = same_elsewhere(entry, noisy, inputs, small)
    falls = fine_tune(entry, noisy, inputs)
    weights = sum(p.numel() for p in model.parameters())
    known = found.counted("energy")
    energy = (known.low + known.high) / 2
    cells = (
        entry.name,
        f"{weights / 1e6:,.1f}" if not small else f"{weights / 1e6:.3f}",
        f"{100 * share:.2f} %",
        f"{error:.0e}",
        f"{rounding:.0e}",
        f"{100 * loss:.1f} %",
        "yes" if falls else "no",
        "yes" if saved else "no",
        f"{tiles:,}",
        f"{1e6 * energy:,.3g} µJ",
        f"{1e6 * found.latency.typical:,.3g} µs",
    )
    return Row(cells, loss, energy)


def draw(rows: list[Row], path: Path) -> None:
    """Draw the error through noisy cells and converters, and the energy of an inference."""
    names = [one.cells[0] for one in rows]
    with style():
        size = (8.4, 1.2 + 0.36 * len(rows))
        figure, (left, right) = plt.subplots(1, 2, figsize=size, sharey=True, layout="constrained")
        left.barh(names, [100 * one.error for one in rows])
        left.set(xlabel="error of the outputs, 8 bits, noisy (%)")
        right.barh(names, [1e6 * one.energy for one in rows])
        right.set(xlabel="energy of an inference (µJ)", xscale="log")
        left.invert_yaxis()
        save_figure(figure, path)


HEAD = (
    *("model", "weights (10⁶)", "on crossbars", "ideal error", "of float32", "8 bits, noisy"),
    *("step learns", "loads alike", "tiles", "energy", "latency"),
)


def main() -> None:
    """Print the table."""
    more = {
        "names": {"nargs": "*", "help": "of models; all if none is given"},
        "--markdown": {"action": "store_true", "help": "print the table of the documents"},
    }
    told = "the same layers, fewer and narrower; every other model if none is named"
    options = parsed(__doc__, "models_table", quick=told, more=more)
    known = {entry.name: entry for entry in MODELS}
    unknown = [name for name in options.names if name not in known]
    if unknown:
        sys.exit(f"no model {', '.join(unknown)}; there are {', '.join(known)}")
    chosen = [known[name] for name in options.names] or list(MODELS[:: 1 + options.quick])
    between = " | " if options.markdown else "  "
    widths = [max(len(head), 10) for head in HEAD]
    widths[0] = max(len(entry.name) for entry in MODELS)

    def show(cells: tuple[str, ...]) -> None:
        padded = [cells[0].ljust(widths[0]), *map(str.rjust, cells[1:], widths[1:])]
        line = between.join(padded)
        print(f"| {line} |" if options.markdown else line, flush=True)

    rows: list[Row] = []
    show(HEAD)
    if options.markdown:
        print("|---" + "|--:" * (len(HEAD) - 1) + "|")
    for entry in chosen:
        if entry.needs and importlib.util.find_spec(entry.needs) is None:
            print(f'{entry.name}: needs {entry.needs}, pip install "mho[hf]"')
            continue
        start = time.perf_counter()
        rows.append(row(entry, options.quick))
        show(rows[-1].cells)
        print(f"  {time.perf_counter() - start:.0f} s", file=sys.stderr)
    draw(rows, options.out / "models.png")


if __name__ == "__main__":
    main()
