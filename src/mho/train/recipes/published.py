"""Published recipes by name. A recipe says what of its source is not done, and not confirmed."""

from __future__ import annotations

from mho.core import checks
from mho.crossbar.input_range import InputRangeRule
from mho.crossbar.training import NoiseInjection
from mho.train.recipes.recipe import DropConnect, Recipe
from mho.train.recipes.settings import Distillation, Optimisation, Periphery

ANALOG_FOUNDATION_MODEL = Recipe(
    name="analog_foundation_model",
    source=(
        'J. Büchel et al., "Analog foundation models", 2025, arXiv:2505.09663, and its published '
        "training configuration"
    ),
    injection=NoiseInjection(weight_noise=0.03, perfect_cells=True),
    ranges=InputRangeRule(batches=500, deviations=18.0, decay=0.01, unclipped=0.95),
    clip=2.5,
    clip_of="column",
    periphery=Periphery(dac_bits=8, adc_bits=8, adc_bound=14.0),
    optimisation=Optimisation(),
    distillation=Distillation(temperature=1.0, beta=1.0),
    not_done=(
        "synthetic training text from the teacher (20 billion tokens): bring your own data",
        "gradients of clipped outputs into the converter's bound: clipping passes none",
        "one tile for a whole matrix: the array's rows are the hardware's",
    ),
)
"""8-bit converters, learned input ranges, 3 % weight noise, clipped weights, a digital teacher."""

RASCH_2023 = Recipe(
    name="rasch_2023",
    source=(
        'M. J. Rasch et al., "Hardware-aware training for large-scale and diverse deep learning '
        'inference workloads using in-memory computing-based accelerators", Nat. Commun. 2023, '
        "doi 10.1038/s41467-023-40770-4 (arXiv:2302.08469), and the authors' published preset"
    ),
    injection=NoiseInjection(effects=(DropConnect(0.01),)),
    ranges=InputRangeRule(batches=100, deviations=3.0, decay=0.001, unclipped=0.95),
    periphery=Periphery(dac_bits=8, adc_bits=8, adc_bound=10.0, output_noise=0.04, rows=512),
    not_done=(
        "learned output scales: the weights' own size takes their place",
        "clipping at the largest weight of the start: every read maps weights onto the whole range",
        "wires (IR drop): those of the hardware given, Array(wires=…)",
        "read noise of the source's strength: that of the hardware's device",
    ),
    not_confirmed=("DropConnect p=0.01", "programming error in training: the device's own, × 1"),
)
"""The hardware's own cells, drop-connect, learned input ranges, output noise, 8-bit converters."""

ANALOGNETS_CLIPPING = Recipe(
    name="analognets_clipping",
    source='C. Zhou et al., "AnalogNets", 2021, arXiv:2111.06503: the first of two stages',
    injection=NoiseInjection(perfect_cells=True),
    clip=2.0,
    not_confirmed=("clip=2.0 standard deviations",),
)
"""First stage: weights are clipped, nothing is quantised, there is no noise."""

ANALOGNETS = Recipe(
    name="analognets",
    source=(
        'C. Zhou et al., "AnalogNets: ML-HW co-design of noise-robust TinyML models and always-on '
        'analog compute-in-memory accelerator", 2021, arXiv:2111.06503: the second of two stages'
    ),
    injection=NoiseInjection(weight_noise=0.1, weight_noise_of="matrix", perfect_cells=True),
    ranges="learned",
    clip=2.0,
    periphery=Periphery(dac_bits=9, adc_bits=8, adc_bound=14.0, per_column=False),
    not_done=(
        "a learned gain of the converters: all layers have one (the source's constraint between "
        "the ranges of DAC and ADC holds exactly), but it is the number adc_bound",
        "clipping ranges frozen after the first stage: they go on following the weights",
        "the architectures without depthwise convolutions",
    ),
    not_confirmed=(
        "weight_noise=0.1 of the clipping range",
        "clip=2.0 standard deviations",
        "dac_bits=9 for adc_bits=8",
        "adc_bound=14.0",
    ),
)
"""Second stage: noise in proportion to the clipping range, learned DAC ranges, one ADC gain."""

_ALL = (ANALOG_FOUNDATION_MODEL, RASCH_2023, ANALOGNETS_CLIPPING, ANALOGNETS)
RECIPES = {recipe.name: recipe for recipe in _ALL}
"""All recipes by name."""


def named(name: str) -> Recipe:
    """Return a published recipe by its name.

    Args:
        name: one of `RECIPES`.

    Raises:
        ValueError: if there is none of that name.
    """
    checks.one_of("recipe", name, tuple(RECIPES))
    return RECIPES[name]
