"""ResNet-18 and a small decoder on the 64 cores of a published chip: room, time, pictures.

The chip is that of Le Gallo et al. 2023 (doi 10.1038/s41928-023-01010-1): 64 cores of 256 × 256
unit cells, a read of a core every 133 ns, which follow from the throughput it reaches with one read
for both signs. ResNet-18 needs three times as many cores: a larger chip, or turns.

python examples/resnet_on_cores.py [folder] [--small]

Needs transformers and matplotlib: pip install "mho[hf,viz]".
"""

import sys
from pathlib import Path

import matplotlib.pyplot as plt
import torch
from transformers import LlamaConfig, LlamaForCausalLM, ResNetConfig, ResNetForImageClassification

import mho
from mho.chip import Chip, Cores, Rewriting, place
from mho.plot import core_plan, core_timeline, floor_plan, style

small = "--small" in sys.argv
given = [argument for argument in sys.argv[1:] if not argument.startswith("--")]
folder = Path(given[0] if given else "resnet_on_cores")
folder.mkdir(exist_ok=True)
HERMES = Cores(count=64, rows=256, cols=256, arrays=2, read_time=133e-9)
hardware = mho.Hardware(
    device=mho.devices.presets.get("pcm_hermes_1"),
    array=mho.Array(256, 256, whole_lines=True),
    dac=mho.DAC(bits=8),
    adc=mho.ADC(bits=8),
)


def picture(name: str, draw, *arguments, size=(9.0, 6.0), **options) -> None:
    with style():
        ax = draw(*arguments, plt.subplots(figsize=size, layout="constrained")[1], **options)
        ax.figure.savefig(folder / f"{name}.png")
        plt.close(ax.figure)


# ── ResNet-18: only shapes are needed ─────────────────────────────────────────────────────────
with torch.device("meta"):
    resnet = ResNetForImageClassification(
        ResNetConfig(
            embedding_size=64,
            hidden_sizes=[64, 128, 256, 512],
            depths=[2, 2, 2, 2],
            layer_type="basic",
            num_labels=1000,
        )
    ).eval()
    image = {"pixel_values": torch.empty(1, 3, 224, 224)}

try:
    place(resnet, HERMES, hardware=hardware, inputs=image)
except ValueError as error:
    print(f"ResNet-18 on one chip: {error}\n")

print("a chip of 256 such cores, a layer on its own cores, copies on those that are left:")
larger = HERMES.replace(count=256)
alone = place(resnet, larger, "layer", hardware=hardware, inputs=image)
balanced = place(resnet, larger, "layer", hardware=hardware, inputs=image, copies="balanced")
print(balanced)
print(f"{balanced.throughput / alone.throughput:.3g} times as fast as without copies\n")
picture("resnet_cores", core_plan, balanced)
picture("resnet_timeline", core_timeline, balanced)

print("64 cores, in turns; a row written in 10 µs, 100 pJ and 8 pulses a cell (examples):")
turns = Rewriting(16, row_time=10e-6, cell_energy=100e-12, cell_pulses=8.0, endurance=1e8)
in_turns = place(resnet, HERMES, hardware=hardware, inputs=image, turns=turns, copies="balanced")
print(in_turns, "\n")
picture("resnet_in_turns", core_timeline, in_turns)
picture("resnet_first_turn", core_plan, in_turns)

# ── a small decoder, on cells ─────────────────────────────────────────────────────────────────
torch.manual_seed(0)
width = 64 if small else 256
decoder = LlamaForCausalLM(
    LlamaConfig(
        hidden_size=width,
        intermediate_size=2 * width,
        num_hidden_layers=2 if small else 4,
        num_attention_heads=4,
        num_key_value_heads=2,
        vocab_size=512,
    )
).eval()
tokens = {"input_ids": torch.randint(512, (1, 32))}
analog = mho.convert(decoder, hardware)
mapping = place(analog, HERMES, "packed", inputs=tokens)
print("a decoder, 32 tokens at once, its layers packed:")
print(mapping)
picture("decoder_cores", core_plan, mapping)
picture("decoder_timeline", core_timeline, mapping, by="core")

chip = Chip(cores=HERMES, hardware=hardware)
chip.place(analog, mapping, name="decoder")
picture("decoder_chip", floor_plan, chip, defects=False)
mho.calibrate(analog, tokens)
print(
    f"\n{len(mho.crossbars(analog))} crossbars on the chip, {chip.occupancy:.1%} of its cells taken"
)
with torch.no_grad():
    error = (analog(**tokens).logits - decoder(**tokens).logits).norm()
    print(f"relative error of its logits: {error / decoder(**tokens).logits.norm():.3f}")
