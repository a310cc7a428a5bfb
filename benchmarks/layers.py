"""Reads of attention, convolutions and GPT-2's block against plain PyTorch, one thread.

    python benchmarks/layers.py [--rounds 15]

Prints a JSON line for each: median milliseconds of torch's own module and of the converted one in
``eval()`` on ideal hardware, and behind 8-bit converters on tiles of 512², in one run, interleaved;
and their ratios. Torch is timed twice for encoder layers: as it comes, with its fused inference
kernel, and with that switched off. ``--quick``: an eighth of the samples, a quarter of the tokens.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable

import torch
from torch import Tensor, nn

import mho
from timing import medians, options, report

IDEAL = mho.Hardware()
EIGHT_BITS = mho.Hardware(array=mho.Array(512, 512), dac=mho.DAC(8), adc=mho.ADC(8))


def encoder_layer(batch: int, tokens: int) -> tuple[nn.Module, Tensor]:
    """A `torch.nn.TransformerEncoderLayer` of width 512 on 8 × 128 tokens."""
    layer = nn.TransformerEncoderLayer(512, 8, 2048, batch_first=True)
    return layer, torch.randn(batch, tokens, 512)


def decoder_layer(batch: int, tokens: int) -> tuple[nn.Module, Tensor]:
    """A `torch.nn.TransformerDecoderLayer` of width 512 on 8 × 128 tokens."""

    class Decoder(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.layer = nn.TransformerDecoderLayer(512, 8, 2048, batch_first=True)

        def forward(self, x: Tensor) -> Tensor:
            found: Tensor = self.layer(x, x)
            return found

    return Decoder(), torch.randn(batch, tokens, 512)


def upsampling(batch: int, tokens: int) -> tuple[nn.Module, Tensor]:
    """A transposed convolution 64 → 64, 4 × 4, stride 2, on 8 × 28 × 28."""
    return nn.ConvTranspose2d(64, 64, 4, stride=2, padding=1), torch.randn(batch, 64, 28, 28)


def convolution_on_tiles(batch: int, tokens: int) -> tuple[nn.Module, Tensor]:
    """A convolution 128 → 64, 3 × 3, on 8 × 14 × 14: its 1,152 rows are on three tiles."""
    return nn.Conv2d(128, 64, 3, padding=1), torch.randn(batch, 128, 14, 14)


def bilinear(batch: int, tokens: int) -> tuple[nn.Module, Tensor]:
    """A bilinear layer 128 × 128 → 64 on 256 pairs."""

    class Same(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.layer = nn.Bilinear(128, 128, 64)

        def forward(self, x: Tensor) -> Tensor:
            found: Tensor = self.layer(x, x)
            return found

    return Same(), torch.randn(2 * tokens, 128)


def gpt2_block(batch: int, tokens: int) -> tuple[nn.Module, Tensor] | None:
    """A block of GPT-2 (768 wide) on 4 × 128 tokens; None without transformers."""
    try:
        from transformers import GPT2Config, GPT2Model
    except ImportError:
        return None

    class Block(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.model = GPT2Model(GPT2Config(n_layer=1, vocab_size=10, use_cache=False))

        def forward(self, x: Tensor) -> Tensor:
            found: Tensor = self.model(inputs_embeds=x).last_hidden_state
            return found

    return Block(), torch.randn(max(batch // 2, 1), tokens, 768)


Case = Callable[[int, int], tuple[nn.Module, Tensor] | None]
"""From a batch and its tokens to a model and its inputs."""

CASES: tuple[Case, ...] = (
    convolution_on_tiles,
    encoder_layer,
    decoder_layer,
    upsampling,
    bilinear,
    gpt2_block,
)


def measure(case: Case, rounds: int, quick: bool) -> None:
    """Time one case and print its line."""
    torch.manual_seed(0)
    made = case(*((1, 32) if quick else (8, 128)))
    if made is None:
        report(case.__name__, skipped="transformers is not installed")
        return
    model, x = made[0].eval(), made[1]
    ideal, bits = (mho.convert(model, hardware).eval() for hardware in (IDEAL, EIGHT_BITS))
    mho.calibrate(bits, x)

    def unfused() -> Tensor:
        torch.backends.mha.set_fastpath_enabled(False)
        try:
            found: Tensor = model(x)
            return found
        finally:
            torch.backends.mha.set_fastpath_enabled(True)

    work: dict[str, Callable[[], object]] = {
        "torch": lambda: model(x),
        "ideal": lambda: ideal(x),
        "eight_bits": lambda: bits(x),
    }
    if isinstance(model, nn.TransformerEncoderLayer):
        work["torch_unfused"] = unfused
    with torch.no_grad():
        error = float((ideal(x) - model(x)).abs().max() / model(x).abs().max())
        seconds = medians(work, rounds, 2)
    plain = seconds.get("torch_unfused", seconds["torch"])
    report(
        case.__name__,
        **{f"{name}_ms": round(1e3 * value, 3) for name, value in seconds.items()},
        ideal_ratio=round(seconds["ideal"] / plain, 3),
        ideal_ratio_to_fused=round(seconds["ideal"] / seconds["torch"], 3),
        eight_bits_ratio=round(seconds["eight_bits"] / plain, 3),
        ideal_error=error,
    )


def main() -> None:
    """Run all cases."""
    warnings.simplefilter("ignore")
    given = options(__doc__, rounds=15)
    for case in CASES:
        measure(case, given.rounds, given.quick)


if __name__ == "__main__":
    main()
