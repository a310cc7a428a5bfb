"""Reads and training steps on an accelerator, beside plain torch in the same run.

::

    python benchmarks/gpu.py                        # one GPU of 24 GB or more, at most 8 minutes
    python benchmarks/gpu.py --device cpu --quick   # the same cases, tiny, in seconds

Each case prints a JSON line with milliseconds and the ratio to plain torch; one that fails prints
its error and the next goes on. Every case has its share of the time: where calls are slow there
are fewer rounds, and what does not fit any more is skipped and says so. On CUDA reads and steps run
under ``torch.cuda.set_sync_debug_mode("error")``, and one read is captured as a CUDA graph. Where
aihwkit-lightning can be imported its linear layer stands beside ours; its steps wait, so there
neither's are watched.
"""

from __future__ import annotations

import gc
import importlib.util
import itertools
import statistics
import time
from collections.abc import Callable
from contextlib import contextmanager

import torch
from torch import nn
from torch.nn import functional as F

import mho
from mho.effects import ReadNoise, WriteNoise
from other_tools import beside_lightning
from timing import options, report

CONVERTED = mho.Hardware(array=mho.Array(512, 512), dac=mho.DAC(8), adc=mho.ADC(8))
HARDWARE = {
    "ideal": mho.Hardware(),
    "8 bits": CONVERTED,
    "8 bits, noise": CONVERTED.replace(effects=(WriteNoise(0.02), ReadNoise(0.01))),
}


_CASE_SECONDS = 15.0  # of timed rounds


class Block(nn.Module):
    """A decoder block: causal attention and a gated feed-forward part."""

    def __init__(self, width: int, heads: int, inner: int) -> None:
        super().__init__()
        self.heads = heads
        self.before, self.between = nn.RMSNorm(width), nn.RMSNorm(width)
        self.qkv, self.out = nn.Linear(width, 3 * width, False), nn.Linear(width, width, False)
        self.gate, self.up = nn.Linear(width, inner, False), nn.Linear(width, inner, False)
        self.down = nn.Linear(inner, width, False)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Map ``[batch, tokens, width]`` to the same."""
        parts = self.qkv(self.before(x)).unflatten(-1, (3, self.heads, -1)).transpose(1, 3)
        q, k, v = parts.unbind(2)
        seen = F.scaled_dot_product_attention(q, k, v, is_causal=True)
        x = x + self.out(seen.transpose(1, 2).flatten(2))
        h = self.between(x)
        return x + self.down(F.silu(self.gate(h)) * self.up(h))


class Residual(nn.Module):
    """The basic block of ResNet-18."""

    def __init__(self, before: int, after: int, stride: int) -> None:
        super().__init__()
        self.one = nn.Conv2d(before, after, 3, stride, 1, bias=False)
        self.two = nn.Conv2d(after, after, 3, 1, 1, bias=False)
        self.norms = nn.ModuleList([nn.BatchNorm2d(after), nn.BatchNorm2d(after)])
        self.short = nn.Conv2d(before, after, 1, stride, bias=False) if stride > 1 else None

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Map ``[batch, channels, height, width]`` to as many channels as it has kernels."""
        y = self.norms[1](self.two(F.relu(self.norms[0](self.one(x)))))
        return F.relu(y + (x if self.short is None else self.short(x)))


def resnet(width: int) -> nn.Module:
    """ResNet-18 (He et al. 2016), of another width where it is to be small."""
    layers: list[nn.Module] = [nn.Conv2d(3, width, 7, 2, 3, bias=False), nn.BatchNorm2d(width)]
    layers += [nn.ReLU(), nn.MaxPool2d(3, 2, 1)]
    before = width
    for level in range(4):
        after = width * 2**level
        layers += [Residual(before, after, 1 + (level > 0)), Residual(after, after, 1)]
        before = after
    return nn.Sequential(*layers, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(before, 1000))


def mlp(width: int) -> nn.Module:
    sizes = [width] * 4
    pairs = itertools.pairwise(sizes)
    return nn.Sequential(*[m for a, b in pairs for m in (nn.Linear(a, b), nn.ReLU())])


def decoder(width: int, depth: int) -> nn.Module:
    return nn.Sequential(*[Block(width, width // 64, 4 * width) for _ in range(depth)])


class Bench:
    """What all cases share: the device, timing, and the watch over synchronisation."""

    def __init__(self, device: str, rounds: int, minutes: float) -> None:
        self.device, self.rounds = torch.device(device), rounds
        self.cuda = self.device.type == "cuda"
        self.end = time.perf_counter() + 60 * minutes

    @property
    def left(self) -> float:
        """Seconds that are left to all cases."""
        return self.end - time.perf_counter()

    def wait(self) -> None:
        """Wait for all work under way."""
        if self.device.type != "cpu":
            getattr(torch, self.device.type).synchronize()

    @contextmanager
    def watched(self, refuses: bool):
        """Refuse whatever makes the host wait, if so wanted."""
        if self.cuda and refuses:
            torch.cuda.set_sync_debug_mode("error")
        try:
            yield
        finally:
            if self.cuda:
                torch.cuda.set_sync_debug_mode("default")

    def times(
        self, work: dict[str, Callable[[], object]], *, waits: bool = False
    ) -> dict[str, float]:
        """Return median milliseconds of each piece of work, one after the other round by round.

        If some of it ``waits``, none of it is watched for that.

        The first calls are not timed: constants are copied, kernels loaded and memory reserved.
        """
        seen: dict[str, list[float]] = {name: [] for name in work}
        for function in work.values():
            for _ in range(3):
                function()
            self.wait()
        end = time.perf_counter() + min(_CASE_SECONDS, self.left)
        for done in range(self.rounds):
            if done and time.perf_counter() > end:
                break
            for name, function in work.items():
                self.wait()
                start = time.perf_counter()
                with self.watched(not waits):
                    function()
                self.wait()
                seen[name].append(1e3 * (time.perf_counter() - start))
        return {name: statistics.median(values) for name, values in seen.items()}

    def memory(self, work: dict[str, Callable[[], object]]) -> dict[str, float]:
        """Return what each piece of work takes while it runs, in GB beyond what was there before.

        Gradients that a step leaves behind are counted as taken by it.
        """
        found = {}
        for name, function in work.items() if self.cuda else ():
            self.wait()
            torch.cuda.reset_peak_memory_stats()
            before = torch.cuda.memory_allocated()
            function()
            self.wait()
            taken = torch.cuda.max_memory_allocated() - before
            found[f"{name}_takes_gb"] = round(taken / 1e9, 3)
        return found

    def case(self, name: str, run: Callable[[], dict[str, object]]) -> None:
        """Print what a case found, or why it failed."""
        start = time.perf_counter()
        if self.cuda:
            torch.cuda.reset_peak_memory_stats()
        try:
            found = run() if self.left > 0 else {"skipped": "the time is over"}
        except Exception as error:
            found = {"error": f"{type(error).__name__}: {str(error)[:300]}"}
        where = torch.cuda.get_device_name() if self.cuda else str(self.device)
        seconds = round(time.perf_counter() - start, 1)
        report(f"gpu: {name}", device=where, case_seconds=seconds, **found)
        gc.collect()
        if self.cuda:
            torch.cuda.empty_cache()


def step_of(model: nn.Module, x: torch.Tensor) -> Callable[[], None]:
    """Return a training step."""
    model.train()
    optimizer = torch.optim.SGD(model.parameters(), lr=1e-4)

    def step() -> None:
        optimizer.zero_grad(set_to_none=True)
        model(x).square().mean().backward()
        optimizer.step()

    return step


def read_of(model: nn.Module, x: torch.Tensor) -> Callable[[], None]:
    """Return a read."""
    model.eval()

    def read() -> None:
        with torch.no_grad():
            model(x)

    return read


def compared(bench: Bench, model: nn.Module, x: torch.Tensor, kind: str, *, trains: bool) -> dict:
    """Time a model on crossbars beside itself."""
    work_of = step_of if trains else read_of
    plain = model.to(bench.device)
    analog = mho.convert(plain, HARDWARE[kind], seed=0)
    if not trains:
        mho.calibrate(analog, x)
    work = {"plain": work_of(plain, x), "mho": work_of(analog, x)}
    return rounded(bench.times(work)) | bench.memory(work)


def rounded(found: dict[str, float]) -> dict[str, object]:
    ratios = {f"{n}_ratio": v / found["plain"] for n, v in found.items() if n != "plain"}
    return {f"{n}_ms": round(v, 3) for n, v in found.items()} | {
        n: round(v, 3) for n, v in ratios.items()
    }


def without_cells(model: nn.Module, hardware: mho.Hardware) -> nn.Module:
    """Convert for training alone: no cells are stored."""
    return mho.convert(model, hardware, seed=0, program=False)


def on_meta(width: int, depth: int) -> nn.Module:
    """Return a decoder in bf16 without weights."""
    with torch.device("meta"):
        return decoder(width, depth).to(torch.bfloat16)


@torch.no_grad()
def materialised(model: nn.Module, device: torch.device) -> nn.Module:
    """Give a model of the meta device weights."""
    model.to_empty(device=device)
    for parameter in model.parameters():
        parameter.normal_(std=0.02) if parameter.dim() > 1 else parameter.fill_(1.0)
    return model


def expected(width: int, depth: int, tokens: int) -> dict[str, float]:
    """Return the GB that a decoder's training step in bf16 takes, of a model and of both.

    Plain: weights and gradients, 2 bytes each (SGD keeps nothing), and what blocks keep for their
    backward pass, about 40 numbers a token and channel. On crossbars without cells: also one matrix
    with noise for each layer, 2 bytes a weight, kept for the backward pass; while one is drawn, its
    noise and sum in float32.
    """
    weights = 16.0 * depth * width**2
    plain = 4 * weights + 2 * 40 * depth * tokens * width
    analog = plain + 2 * weights + 3 * 4 * 4 * width**2
    both = {"plain_gb": plain, "mho_gb": analog, "both_gb": plain + analog}
    return {name: round(value / 1e9, 4) for name, value in both.items()}


def large(bench: Bench, width: int, depth: int, tokens: int) -> dict[str, object]:
    """Train a decoder in bf16, made on the meta device; no cells are stored."""
    torch.manual_seed(0)
    need = expected(width, depth, tokens)
    if bench.cuda:
        free = torch.cuda.mem_get_info()[0] / 1e9
        if need["both_gb"] > 0.9 * free:
            return {"skipped": f"{free:.1f} GB are free", "expected": need}
    empty = on_meta(width, depth)
    analog = without_cells(empty, mho.Hardware(effects=(WriteNoise(0.02),)))
    plain = materialised(empty, bench.device)
    analog.to_empty(device=bench.device).load_state_dict(plain.state_dict())
    x = torch.randn(1, tokens, width, dtype=torch.bfloat16, device=bench.device)
    work = {"plain": step_of(plain, x), "mho": step_of(analog, x)}
    found = rounded(bench.times(work))
    parameters = sum(p.numel() for p in plain.parameters())
    return {"parameters": parameters, **found, **bench.memory(work), "expected": need}


def large_read(bench: Bench, width: int, tokens: int) -> dict[str, object]:
    """Read one block of it, in bf16."""
    torch.manual_seed(0)
    plain = materialised(on_meta(width, 1), bench.device)
    x = torch.randn(1, tokens, width, dtype=torch.bfloat16, device=bench.device)
    analog = mho.convert(plain, HARDWARE["8 bits"], seed=0)
    mho.calibrate(analog, x)
    return rounded(bench.times({"plain": read_of(plain, x), "mho": read_of(analog, x)}))


def captured(bench: Bench, width: int, batch: int) -> dict[str, object]:
    """Capture a read as a CUDA graph; noise is new at every replay, cells are those of now."""
    if not bench.cuda:
        return {"skipped": "CUDA graphs need CUDA"}
    analog = mho.convert(mlp(width).to(bench.device), HARDWARE["8 bits, noise"], seed=0).eval()
    x = torch.randn(batch, width, device=bench.device)
    mho.calibrate(analog, x)
    read = read_of(analog, x)
    side = torch.cuda.Stream()
    side.wait_stream(torch.cuda.current_stream())
    with torch.cuda.stream(side):  # constants are copied, libraries wake up
        for _ in range(3):
            read()
    torch.cuda.current_stream().wait_stream(side)
    graph = torch.cuda.CUDAGraph()
    with torch.no_grad(), torch.cuda.graph(graph):
        y = analog(x)
    graph.replay()
    first = y.clone()
    graph.replay()
    found = bench.times({"plain": read, "graph": graph.replay})
    return {"noise_is_new": not torch.equal(first, y), **rounded(found)}


def lightning(bench: Bench, width: int, batch: int) -> dict[str, object]:
    """A training step of the MLP beside that of aihwkit-lightning, on the same hardware."""
    if importlib.util.find_spec("aihwkit_lightning") is None:
        return {"skipped": "aihwkit-lightning is not installed"}
    plain = mlp(width).to(bench.device)
    (there, clip), (here, after_step) = beside_lightning(plain)
    x = torch.randn(batch, width, device=bench.device)

    def also(step: Callable[[], None], after: Callable[[], None]) -> Callable[[], None]:
        def both() -> None:
            step()
            after()

        return both

    work = {
        "plain": step_of(plain, x),
        "mho": also(step_of(here, x), after_step),
        "lightning": also(step_of(there, x), clip),
    }
    return rounded(bench.times(work, waits=True)) | bench.memory(work)  # theirs does


def main() -> None:
    where = "cuda" if torch.cuda.is_available() else "cpu"
    given = options(
        __doc__,
        rounds=10,
        quick=2,
        device={"default": where},
        minutes={"type": float, "default": 8.0, "help": "for all cases together"},
    )
    small = given.quick
    bench = Bench(given.device, given.rounds, given.minutes)
    width, batch = (64, 4) if small else (4096, 256)
    size, images = (8, 2) if small else (64, 32)
    for kind in HARDWARE:
        for trains in (False, True):
            what = f"{'step' if trains else 'read'}, {kind}"
            x = torch.randn(batch, width, device=bench.device)
            bench.case(
                f"MLP, {what}",
                lambda x=x, k=kind, t=trains: compared(bench, mlp(width), x, k, trains=t),
            )
            pixels = torch.randn(images, 3, 32 if small else 224, 32 if small else 224)
            bench.case(
                f"ResNet-18, {what}",
                lambda x=pixels, k=kind, t=trains: compared(
                    bench, resnet(size), x.to(bench.device), k, trains=t
                ),
            )
    # 16 · width² a block: 1.07 billion at 2048 and 16.
    wide, depth, tokens = (64, 2, 8) if small else (2048, 16, 1024)
    bench.case("decoder in bf16, step", lambda: large(bench, wide, depth, tokens))
    bench.case("decoder block in bf16, read", lambda: large_read(bench, wide, tokens))
    bench.case("MLP, read as a CUDA graph", lambda: captured(bench, width, batch))
    bench.case("aihwkit-lightning, step", lambda: lightning(bench, width, batch))


if __name__ == "__main__":
    main()
