"""ResNet-18 and a small decoder on the cores of a published chip: room, time, cost, pictures.

The chip is ``mho.analysis.chips.hermes`` (Le Gallo et al. 2023, doi 10.1038/s41928-023-01010-1): 64
cores of 256 × 256 unit cells, and a read of a core in 130 ns, that of the earlier chip with one
such core. ResNet-18 needs three times as many cores: a larger chip, or turns. TOPS/W and mm² are of
the cores: what digital units between them and links take was not at hand, nor was it counted.

    python examples/resnet_on_cores.py [--quick] [--out resnet_on_cores]

Needs transformers and matplotlib: pip install "mho[hf,viz]".
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import matplotlib.pyplot as plt
import torch
from torch import nn
from transformers import LlamaConfig, LlamaForCausalLM, ResNetConfig, ResNetForImageClassification

import mho
from example_options import parsed
from mho.analysis import ChipArchitecture, Cost, chips, cost
from mho.chip import Chip, CoreMapping, Rewriting, place
from mho.core.text import quantity
from mho.plot import core_plan, core_timeline, floor_plan, style

HERMES = chips.get("hermes")
HARDWARE = mho.Hardware(
    device=mho.devices.presets.get("pcm_hermes_1"),
    array=mho.Array(256, 256, whole_lines=True),
    dac=mho.DAC(bits=8),
    adc=mho.ADC(bits=8),
)
CORES = HERMES.cores_for(HARDWARE)
# What writing takes are examples: 10 µs a row, 100 pJ and 8 pulses a cell.
WRITING = Rewriting(16, row_time=10e-6, cell_energy=100e-12, cell_pulses=8.0, endurance=1e8)


def picture(file: Path, draw: Callable[..., Any], shown: Any, **options: Any) -> None:
    """Draw something into a file."""
    with style():
        figure, ax = plt.subplots(figsize=(9.0, 6.0), layout="constrained")
        draw(shown, ax, **options)
        figure.savefig(file)
        plt.close(figure)


def resnet(small: bool) -> nn.Module:
    """Return an untrained ResNet-18; what it costs hardly goes by what it knows."""
    torch.manual_seed(0)
    config = ResNetConfig(
        embedding_size=64,
        hidden_sizes=[64, 128, 256, 512],
        depths=[1, 1, 1, 1] if small else [2, 2, 2, 2],
        layer_type="basic",
        num_labels=1000,
    )
    return ResNetForImageClassification(config).eval()


def tell(
    model: nn.Module, inputs: dict[str, torch.Tensor], chip: ChipArchitecture, mapping: CoreMapping
) -> Cost:
    """Print what a converted model costs where it lies; return it."""
    found = cost(model, inputs, chip, mapping=mapping)
    area, energy = (found.counted(name).typical for name in ("area", "energy"))
    print(
        f"{found.throughput.typical:,.0f} inferences/s, {found.tops.typical:.3g} TOPS of the "
        f"network; at most {2e-12 * found.macs / energy:.3g} TOPS/W (counted: "
        f"{quantity(energy, 'J')} an inference), {area * 1e6:.3g} mm² of cores"
    )
    print(f"not counted: {', '.join(found.missing)}")
    return found


def on_a_larger_chip(model: nn.Module, image: dict[str, torch.Tensor], out: Path) -> CoreMapping:
    """Every layer on cores of its own, and copies on those that are left."""
    chip = HERMES.replace(cores=256)
    larger = chip.cores_for(HARDWARE)
    alone = place(model, larger, "layer", inputs=image)
    copied = place(model, larger, "layer", inputs=image, copies="balanced")
    print("\na chip of 256 such cores, a layer on its own cores, copies on those that are left:")
    print(copied)
    print(f"{alone.interval / copied.interval:.3g} times as fast as without copies")
    tell(model, image, chip, copied)
    picture(out / "resnet_cores.png", core_plan, copied)
    picture(out / "resnet_timeline.png", core_timeline, copied)
    return copied


def in_turns(model: nn.Module, image: dict[str, torch.Tensor], out: Path) -> CoreMapping:
    """Sixteen images at a time, with layers written in turns."""
    found = place(model, CORES, turns=WRITING, inputs=image, copies="balanced")
    print("\n64 cores, in turns, 16 images at a time:")
    print(found)
    tell(model, image, HERMES, found)
    picture(out / "resnet_first_turn.png", core_plan, found)
    picture(out / "resnet_in_turns.png", core_timeline, found)
    return found


def decoder_on_cells(small: bool, out: Path) -> CoreMapping:
    """A decoder of 32 tokens: mapped, put on the cells of a chip, and compared."""
    torch.manual_seed(0)
    width = 64 if small else 256
    config = LlamaConfig(
        hidden_size=width,
        intermediate_size=2 * width,
        num_hidden_layers=2 if small else 4,
        num_attention_heads=4,
        num_key_value_heads=2,
        vocab_size=512,
    )
    decoder = LlamaForCausalLM(config).eval()
    tokens = {"input_ids": torch.randint(512, (1, 32))}
    analog = mho.convert(decoder, HARDWARE)
    mapping = place(analog, CORES, "packed", inputs=tokens)
    print("\na decoder, 32 tokens at once, packed:")
    print(mapping)
    picture(out / "decoder_cores.png", core_plan, mapping)
    picture(out / "decoder_timeline.png", core_timeline, mapping, by="core")
    tell(analog, tokens, HERMES, mapping)
    chip = Chip(cores=CORES, hardware=HARDWARE)
    chip.place(analog, mapping, name="decoder")
    picture(out / "decoder_chip.png", floor_plan, chip, defects=False)
    mho.calibrate(analog, tokens)
    with torch.no_grad():
        wanted, found = (model(**tokens).logits for model in (decoder, analog))
    error = float((found - wanted).norm() / wanted.norm())
    print(f"on the chip's cells its logits are {error:.2f} of themselves off (it is untrained)")
    return mapping


def main(arguments: Sequence[str] | None = None) -> dict[str, CoreMapping]:
    """Run everything; return the mappings."""
    options = parsed(__doc__ or "", "resnet_on_cores", arguments, quick="half as many layers")
    model = mho.convert(resnet(options.quick), HARDWARE)
    image = {"pixel_values": torch.rand(1, 3, 224, 224)}
    try:
        place(model, CORES, inputs=image)
    except ValueError as error:
        print(f"ResNet-18: {error}")
    return {
        "copied": on_a_larger_chip(model, image, options.out),
        "in turns": in_turns(model, image, options.out),
        "decoder": decoder_on_cells(options.quick, options.out),
    }


if __name__ == "__main__":
    main()
