"""Small work and whole blocks beside plain PyTorch, in one run. Prints JSON lines.

    python benchmarks/models.py [--rounds 60] [--only sequences vectors blocks other] [--quick]

Sequences through recurrent layers, single vectors through small layers, and transformer blocks:
work whose cost is that of calls rather than of arithmetic, or of many reads after one another.
Ratios compare medians of interleaved rounds. With aihwkit-lightning installed the last lines
compare with it, on the same work.
"""

from __future__ import annotations

import importlib
import importlib.util
import warnings
from collections.abc import Callable
from functools import partial

import torch
import torch.nn.functional as F
from torch import Tensor, nn

import mho
from timing import medians, options, report

CONVERTERS = {"dac": mho.DAC(bits=8), "adc": mho.ADC(bits=8)}
READ_NOISE = (mho.effects.ReadNoise(sigma=0.01),)
WRITE_NOISE = (mho.effects.WriteNoise(sigma=0.01),)
KINDS: dict[str, dict[str, object]] = {
    "ideal": {},
    "converters": CONVERTERS,
    "converters + read noise": {**CONVERTERS, "effects": READ_NOISE},
}
TRAINED = {"write noise + converters": {**CONVERTERS, "effects": WRITE_NOISE}}


class Last(nn.Module):
    """A forecaster: a recurrent layer, and a head on its last output."""

    def __init__(self, layer: nn.Module, width: int) -> None:
        super().__init__()
        self.layer, self.head = layer, nn.Linear(width, 1)

    def forward(self, x: Tensor) -> Tensor:
        """Map ``[time, batch, features]`` to ``[batch, 1]``."""
        return self.head(self.layer(x)[0][-1])


class Attention(nn.Module):
    """Causal attention of four `nn.Linear` products (or GPT-2's: three of them are one)."""

    def __init__(self, width: int, heads: int, *, joint: bool) -> None:
        super().__init__()
        sizes = [3 * width] if joint else [width] * 3
        self.parts = nn.ModuleList(nn.Linear(width, size) for size in sizes)
        self.out, self.heads = nn.Linear(width, width), heads

    def forward(self, x: Tensor) -> Tensor:
        """Map ``[batch, tokens, width]`` to the same shape."""
        q, k, v = torch.cat([part(x) for part in self.parts], -1).chunk(3, -1)
        q, k, v = (t.unflatten(-1, (self.heads, -1)).transpose(1, 2) for t in (q, k, v))
        y = F.scaled_dot_product_attention(q, k, v, is_causal=True)
        return self.out(y.transpose(1, 2).flatten(2))


class Block(nn.Module):
    """A transformer block, normed first."""

    def __init__(self, width: int = 512, heads: int = 8, *, joint: bool = False) -> None:
        super().__init__()
        self.attention = Attention(width, heads, joint=joint)
        self.one, self.two = nn.LayerNorm(width), nn.LayerNorm(width)
        act = nn.GELU(approximate="tanh") if joint else nn.GELU()
        self.mlp = nn.Sequential(nn.Linear(width, 4 * width), act, nn.Linear(4 * width, width))

    def forward(self, x: Tensor) -> Tensor:
        """Map ``[batch, tokens, width]`` to the same shape."""
        x = x + self.attention(self.one(x))
        return x + self.mlp(self.two(x))


def on_crossbars(model: nn.Module, inputs: Tensor, **parts: object) -> nn.Module:
    analog = mho.convert(model, mho.Hardware(**parts))
    with torch.no_grad():
        mho.calibrate(analog, inputs)
    return analog


def step(model: nn.Module, x: Tensor) -> Callable[[], None]:
    optimizer = torch.optim.SGD(model.train().parameters(), lr=1e-3)

    def one() -> None:
        optimizer.zero_grad()
        y = model(x)
        (y if isinstance(y, Tensor) else y[0]).square().mean().backward()
        optimizer.step()

    return one


def show(name: str, times: dict[str, float]) -> None:
    plain = times.pop("plain")
    for kind, seconds in times.items():
        found = {"plain_us": round(plain * 1e6, 1), "microseconds": round(seconds * 1e6, 1)}
        report(name, hardware=kind, **found, ratio=round(seconds / plain, 2))


def read(name: str, model: nn.Module, x: Tensor, rounds: int, **parts: object) -> None:
    """Compare reads on all kinds of hardware; ``parts`` are added to each."""
    model = model.eval()
    work: dict[str, Callable[[], object]] = {"plain": partial(model, x)}
    for kind, given in KINDS.items():
        work[kind] = partial(on_crossbars(model, x, **given, **parts).eval(), x)
    with torch.no_grad():
        show(f"read, {name}", medians(work, rounds))


def train(name: str, model: nn.Module, x: Tensor, rounds: int, **parts: object) -> None:
    kinds = {
        kind: step(on_crossbars(model, x, **given, **parts), x) for kind, given in TRAINED.items()
    }
    show(f"training step, {name}", medians({"plain": step(model, x), **kinds}, rounds))


def sequences(rounds: int, quick: bool) -> None:
    x = torch.randn(50, 32, 64)
    shape = "50 × 32 × 64"
    if quick:
        read(f"LSTM(64, 64), {shape}", nn.LSTM(64, 64), x, rounds)
        return
    for kind in (nn.LSTM, nn.GRU, nn.RNN):
        read(f"{kind.__name__}(64, 64), {shape}", kind(64, 64), x, rounds)
    read(f"LSTM(64, 64), two layers, {shape}", nn.LSTM(64, 64, 2), x, rounds)
    read(f"LSTM(64, 64), both ways, {shape}", nn.LSTM(64, 64, bidirectional=True), x, rounds)
    train(f"LSTM(64, 64), {shape}", nn.LSTM(64, 64), x, rounds)
    train(f"GRU(64, 64), {shape}", nn.GRU(64, 64), x, rounds)
    for time, batch in ((24, 8), (168, 32)):
        model, x = Last(nn.LSTM(8, 64, 2), 64), torch.randn(time, batch, 8)
        read(f"LSTM forecaster, {time} × {batch} × 8", model, x, rounds)
        model = Last(nn.GRU(8, 64, 2), 64)
        read(f"GRU forecaster, {time} × {batch} × 8", model, x, rounds)


def vectors(rounds: int, quick: bool) -> None:
    for rows, cols in ((64, 10), (256, 256)):
        for batch in (1, 4):
            layer, x = nn.Linear(rows, cols), torch.randn(batch, rows)
            read(f"{batch} × Linear({rows}, {cols})", layer, x, 10 * rounds)


def blocks(rounds: int, quick: bool) -> None:
    batch, tokens = (1, 32) if quick else (8, 128)
    x, array = torch.randn(batch, tokens, 512), mho.Array(512, 512)
    for name, joint in (("transformer block", False), ("GPT-2 block", True)):
        model = Block(joint=joint)
        shape = f"d = 512, {batch} × {tokens} tokens, 512² tiles"
        read(f"{name}, {shape}", model, x, max(rounds // 4, 5), array=array)
        train(f"{name}, {shape}", model, x, max(rounds // 4, 5), array=array)


def other(rounds: int, quick: bool) -> None:
    """The same work with aihwkit-lightning: 8-bit inputs and outputs by tile, noise of weights."""
    if quick or importlib.util.find_spec("aihwkit_lightning") is None:
        report("aihwkit-lightning is left out" if quick else "aihwkit-lightning is not installed")
        return
    mlp = nn.Sequential(nn.Linear(784, 512), nn.ReLU(), nn.Linear(512, 10))
    tokens = torch.randn(8, 128, 512)
    for name, model, x, side, times in (
        ("MLP, batch 256, 128² tiles", mlp, torch.rand(256, 784), 128, rounds),
        ("MLP, batch 256, 512² tiles", mlp, torch.rand(256, 784), 512, rounds),
        ("transformer block, 8 × 128 tokens, 128² tiles", Block(), tokens, 128, rounds // 4),
        ("transformer block, 8 × 128 tokens, 512² tiles", Block(), tokens, 512, rounds // 4),
    ):
        array = mho.Array(side, side)
        ours = on_crossbars(model, x, **CONVERTERS, effects=WRITE_NOISE, array=array)
        theirs = lightning(model, side)
        theirs.train()(x)  # input ranges are found from data
        reads = {
            "plain": partial(model.eval(), x),
            "mho": partial(ours.eval(), x),
            "aihwkit-lightning": partial(theirs.eval(), x),
        }
        with torch.no_grad():
            beside(f"read, {name}", medians(reads, max(times, 5)))
        steps = {
            "plain": step(model, x),
            "mho": step(ours, x),
            "aihwkit-lightning": step(theirs, x),
        }
        beside(f"training step, {name}", medians(steps, max(times, 5)))


def beside(name: str, times: dict[str, float]) -> None:
    report(
        f"{name}, beside aihwkit-lightning",
        **{f"{kind} us": round(seconds * 1e6) for kind, seconds in times.items()},
        times_faster=round(times["aihwkit-lightning"] / times["mho"], 2),
    )


def lightning(model: nn.Module, side: int) -> nn.Module:
    conversion = importlib.import_module("aihwkit_lightning.nn.conversion")
    configs = importlib.import_module("aihwkit_lightning.simulator.configs")
    config = configs.TorchInferenceRPUConfig()
    config.forward.inp_res = config.forward.out_res = 2**8 - 2
    config.forward.out_bound = 10.0
    config.mapping.max_input_size = side
    config.pre_post.input_range.enable = True
    config.modifier.type = configs.WeightModifierType.ADD_NORMAL
    config.modifier.std_dev = 0.01
    analog: nn.Module = conversion.convert_to_analog(model, config)
    return analog


def main() -> None:
    parts = {"sequences": sequences, "vectors": vectors, "blocks": blocks, "other": other}
    given = options(
        __doc__, rounds=60, only={"nargs": "+", "choices": [*parts], "default": [*parts]}
    )
    warnings.simplefilter("ignore")
    torch.manual_seed(0)
    for name in given.only:
        parts[name](given.rounds, given.quick)


if __name__ == "__main__":
    main()
