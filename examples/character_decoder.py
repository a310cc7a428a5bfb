"""A character-level decoder, trained here, on phase-change memory for a year.

A small Llama-style transformer (root-mean-square norms, rotary positions, gated feed-forward)
learns to continue English: the docstrings of Python's own standard library, about a megabyte of
technical prose that every Python has on its disk, so nothing is downloaded and perplexity per
character means what it means for any text. Modules in the test set are not trained on.

Two models are programmed on the same kind of chip: one trained in software alone, and that one
taken on by the recipe of the analog foundation models (weight noise, learned input ranges, clipped
weights, 8-bit converters), with itself as the teacher. The chips' phase-change cells have
programming error, drift and read noise. Prints perplexity against time and saves
``character_decoder.png`` and ``character_decoder.json``. What was trained is kept, too, and a run
that was killed goes on from there.

    python examples/character_decoder.py [--quick] [--out decoder]
"""

from __future__ import annotations

import ast
import copy
import json
import sys
import sysconfig
import time
import warnings
from pathlib import Path

import matplotlib.pyplot as plt
import torch
from torch import nn
from torch.nn import functional as F

import mho
from example_options import parsed
from mho.core.text import duration
from mho.plot import style, time_axis
from mho.study import over_chips
from mho.train import InputRangeRule, recipes

CHARACTERS = "\n" + "".join(map(chr, range(32, 127)))
TIMES = {"25 s": 25.0, "1 h": 3600.0, "1 day": 86_400.0, "1 month": 2.592e6, "1 year": 3.154e7}
CONTEXT = 64

# Of the published recipe the width of the network decides two numbers: inputs of a large language
# model have outliers that 18 deviations hold, and columns of thousands of weights add up to more.
RECIPE = recipes.ANALOG_FOUNDATION_MODEL
RECIPE = RECIPE.replace(
    ranges=InputRangeRule(batches=50, deviations=4.0),
    periphery=RECIPE.periphery.replace(adc_bound=6.0),
)
COLOURS = {"trained in software": "#6B6B6B", "trained for analog cells": "#D55E00"}


# ── text ─────────────────────────────────────────────────────────────────────────────────────


def docstrings(path):
    """All docstrings of one file, as they stand in it."""
    try:
        tree = ast.parse(path.read_text(encoding="utf-8"))
    except (SyntaxError, UnicodeDecodeError, ValueError):
        return []
    kinds = (ast.Module, ast.ClassDef, ast.FunctionDef, ast.AsyncFunctionDef)
    found = (ast.get_docstring(node) for node in ast.walk(tree) if isinstance(node, kinds))
    return [text for text in found if text]


def text(limit):
    """Training and test text as codes ``[characters]`` (uint8); every tenth file is for testing.

    Args:
        limit: characters to train on, at most; a fifth as many are for testing.
    """
    library = Path(sysconfig.get_path("stdlib"))
    files = sorted(p for p in library.rglob("*.py") if not {"site-packages", "test"} & set(p.parts))
    code = {c: i for i, c in enumerate(CHARACTERS)}
    parts, limits = ("", ""), (limit, limit // 5)
    for number, path in enumerate(files):
        testing = number % 10 == 0
        if len(parts[testing]) < limits[testing]:
            more = "".join(f"{text}\n\n" for text in docstrings(path))
            parts = (parts[0], parts[1] + more) if testing else (parts[0] + more, parts[1])
    return [
        torch.tensor([code[c] for c in part[:most] if c in code], dtype=torch.uint8)
        for part, most in zip(parts, limits, strict=True)
    ]


def batch(codes, count, source):
    """``count`` random pieces ``[count, CONTEXT + 1]`` of a text."""
    start = torch.randint(len(codes) - CONTEXT, (count, 1), generator=source)
    return codes[start + torch.arange(CONTEXT + 1)].long()


# ── model ────────────────────────────────────────────────────────────────────────────────────


def rotated(x):
    """Turn pairs of features ``[..., time, features]`` by angles that grow with time."""
    steps, half = x.shape[-2], x.shape[-1] // 2
    speed = 1e-3 ** (torch.arange(half, device=x.device) / half)
    angle = torch.arange(steps, device=x.device).unsqueeze(1) * speed
    a, b = x.split(half, -1)
    return torch.cat((a * angle.cos() - b * angle.sin(), a * angle.sin() + b * angle.cos()), -1).to(
        x.dtype
    )


class Block(nn.Module):
    """Attention to what came before, and a gated feed-forward network."""

    def __init__(self, width, heads):
        super().__init__()
        self.heads = heads
        self.before_attention, self.before_feed = nn.RMSNorm(width), nn.RMSNorm(width)
        self.query_key_value = nn.Linear(width, 3 * width, bias=False)
        self.attended = nn.Linear(width, width, bias=False)
        self.gate_up = nn.Linear(width, 6 * width, bias=False)
        self.down = nn.Linear(3 * width, width, bias=False)

    def forward(self, x):
        """Map ``[batch, time, width]`` to the same."""
        split = self.query_key_value(self.before_attention(x)).unflatten(-1, (3, self.heads, -1))
        query, key, value = split.permute(2, 0, 3, 1, 4)
        seen = F.scaled_dot_product_attention(rotated(query), rotated(key), value, is_causal=True)
        x = x + self.attended(seen.transpose(1, 2).flatten(2))
        gate, up = self.gate_up(self.before_feed(x)).chunk(2, -1)
        return x + self.down(F.silu(gate) * up)


class Decoder(nn.Module):
    """Characters in, logits of the next character out."""

    def __init__(self, width=64, blocks=3, heads=4):
        super().__init__()
        self.characters = nn.Embedding(len(CHARACTERS), width)
        self.blocks = nn.Sequential(*(Block(width, heads) for _ in range(blocks)))
        self.norm = nn.RMSNorm(width)
        self.head = nn.Linear(width, len(CHARACTERS), bias=False)

    def forward(self, codes):
        """Map codes ``[batch, time]`` to logits ``[batch, time, characters]``."""
        return self.head(self.norm(self.blocks(self.characters(codes))))


# ── training and testing ─────────────────────────────────────────────────────────────────────


def train(model, codes, steps, lr, *, teacher=None, size=32, label=""):
    """Train in place: on the text, or by the recipe on what a teacher says about it."""
    source = torch.Generator().manual_seed(1)
    optimizer = RECIPE.optimizer(model.parameters(), lr=lr)
    schedule = RECIPE.schedule(optimizer, steps)
    began = time.time()
    for step in range(1, steps + 1):
        pieces = batch(codes, size, source)
        inputs, targets = pieces[:, :-1], pieces[:, 1:]
        optimizer.zero_grad()
        logits = model(inputs)
        if teacher is None:
            loss = F.cross_entropy(logits.flatten(0, 1), targets.flatten())
        else:
            with torch.no_grad():
                taught = teacher(inputs)
            loss = RECIPE.loss(logits, targets, taught)
        loss.backward()
        RECIPE.optimisation.clip_gradients(model)
        optimizer.step()
        schedule.step()
        if teacher is not None:
            RECIPE.after_step(model)
        if step % max(steps // 10, 1) == 0:
            spent = time.time() - began
            print(
                f"  {label} step {step}/{steps}, loss {loss.item():.3f}, {spent:.0f} s", flush=True
            )
    return model.eval()


def once(path, model, steps, training):
    """Train unless a file has the outcome of as many steps; then keep it there."""
    if path.exists():
        kept = torch.load(path, weights_only=True)
        if kept["steps"] == steps:
            model.load_state_dict(kept["state"])
            return model.eval()
    training(model)
    torch.save({"steps": steps, "state": model.state_dict()}, path)
    return model


@torch.no_grad()
def perplexity(model, pieces):
    """Per character, of the test pieces ``[count, CONTEXT + 1]``."""
    logits = model(pieces[:, :-1]).flatten(0, 1)
    return F.cross_entropy(logits, pieces[:, 1:].flatten()).exp().item()


def over_a_year(analog, pieces, chips):
    """Perplexities ``[chips, 2, times]``: as the cells drift, and with drift compensated."""

    def evaluate(chip):
        found = []
        for when in TIMES.values():
            mho.age(chip, when - next(iter(mho.crossbars(chip).values())).seconds)
            mended = copy.deepcopy(chip)
            mho.compensate(mended)
            found.append([perplexity(chip, pieces), perplexity(mended, pieces)])
        print(f"  a chip: {[f'{c:.2f}' for _, c in found]} compensated", flush=True)
        return torch.tensor(found).T

    return over_chips(analog, evaluate, range(1, chips + 1))


# ── what came of it ──────────────────────────────────────────────────────────────────────────


def table(found, digital):
    """Print perplexities against time; return them as rows."""
    head = "".join(name.rjust(15) for name in ("digital", *TIMES))
    print(f"\n{'perplexity per character':<44}{head}")
    rows = []
    for name, values in found.items():
        for kind, part in zip(("drifting", "compensated"), values.unbind(1), strict=True):
            mean, spread = part.mean(0), part.std(0, unbiased=len(part) > 1)
            cells = [f"{m:.2f} ± {s:.2f}".rjust(15) for m, s in zip(mean, spread, strict=True)]
            print(f"{f'{name}, {kind}':<44}{digital[name]:15.2f}" + "".join(cells))
            rows.append(
                {"model": name, "cells": kind, "digital": digital[name],
                 "mean": mean.tolist(), "spread": spread.tolist()}
            )  # fmt: skip
    return rows


def draw(found, digital, path):
    """Draw perplexity against time, a panel each without and with compensation."""
    seconds = list(TIMES.values())
    titles = ("Cells as they drift", "Drift compensated, one factor a layer")
    with style():
        figure, panels = plt.subplots(1, 2, figsize=(8.6, 3.6), layout="constrained")
        for side, (ax, title) in enumerate(zip(panels, titles, strict=True)):
            for name, values in found.items():
                colour, part = COLOURS[name], values[:, side]
                mean, spread = part.mean(0), part.std(0, unbiased=len(part) > 1)
                ax.axhline(digital[name], color=colour, linestyle=":", linewidth=1.2)
                ax.fill_between(
                    seconds, mean - spread, mean + spread, color=colour, alpha=0.22, linewidth=0
                )
                ax.plot(seconds, mean, "o-", color=colour, label=name)
            time_axis(ax, seconds)
            ax.set(title=title, xlabel="time since programming", ylabel="perplexity per character")
        panels[0].legend(title="dotted: the same weights, digital", title_fontsize=9)
        figure.savefig(path)
        plt.close(figure)


def main(arguments=None):
    """Train, program, age, print, draw."""
    more = {
        "--steps": {"type": int, "help": "of training in software"},
        "--chips": {"type": int, "help": "of each model"},
    }
    options = parsed(__doc__, "decoder", arguments, "a smaller model, less text", more)
    quick = options.quick
    steps = options.steps or (1000 if quick else 1500)
    chips = options.chips or (2 if quick else 5)
    torch.manual_seed(0)
    warnings.filterwarnings("ignore", message=".*left digital.*")
    training, testing = text(300_000 if quick else 1_000_000)
    version = ".".join(map(str, sys.version_info[:2]))
    print(f"docstrings of Python {version}: {len(training)} characters, {len(testing)} for testing")
    pieces = batch(testing, 64 if quick else 128, torch.Generator().manual_seed(2))
    began = time.time()

    shape = {"width": 32, "blocks": 2, "heads": 2} if quick else {}
    model = once(
        options.out / "software.pt",
        Decoder(**shape),
        steps,
        lambda m: train(m, training, steps, 3e-3, label="software:"),
    )
    hardware = RECIPE.hardware(mho.Hardware(device=mho.devices.PCM(), array=mho.Array(256, 256)))
    more = max(steps // 3, 10)
    torch.manual_seed(0)  # the same noise, whether or not the first model was trained just now
    aware = once(
        options.out / "analog.pt",
        RECIPE.prepare(model, hardware, seed=0),
        more,
        lambda m: train(m, training, more, 1e-3, teacher=model, label="analog:"),
    )
    RECIPE.finish(aware)
    naive = mho.convert(model, hardware, seed=0).eval()
    mho.calibrate(naive, batch(training, 32, torch.Generator().manual_seed(3))[:, :-1])
    print(f"trained in {time.time() - began:.0f} s")

    models = dict(zip(COLOURS, (naive, aware), strict=True))
    plain = {name: mho.convert(m, mho.Hardware()).eval() for name, m in models.items()}
    digital = {name: perplexity(m, pieces) for name, m in plain.items()}
    found = {name: over_a_year(m, pieces, chips) for name, m in models.items()}
    rows = table(found, digital)
    (options.out / "character_decoder.json").write_text(json.dumps(rows, indent=1))
    draw(found, digital, options.out / "character_decoder.png")
    lost = {name: (v[:, 1, -1].mean() / v[:, 1, 0].mean()).item() for name, v in found.items()}
    for name, factor in lost.items():
        print(f"{name}: perplexity × {factor:.3f} in a year, drift compensated")
    print(f"\n{options.out}/character_decoder.png after {duration(time.time() - began)}")


if __name__ == "__main__":
    main()
