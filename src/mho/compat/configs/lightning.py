"""AIHWKit-Lightning's configurations: `from_aihwkit_lightning`.

There is no cell in them: noise on weights, converters and ranges alone. The bound and the noise of
an output are in units of one full input times the largest weight, as the unit here.

Source: J. Büchel et al., "Analog foundation models", 2025, arXiv:2505.09663, trained with it.
"""

from __future__ import annotations

from typing import Any

from mho.cells.device import Device
from mho.compat.configs.aihwkit import UNSPLIT, text_of
from mho.compat.configs.aihwkit_cells import told
from mho.compat.configs.printed import Node, flatten, node_of
from mho.compat.configs.resolution import MOST, bits_of
from mho.compat.configs.translation import Account, Translation
from mho.core import checks
from mho.crossbar.input_range import InputRangeRule
from mho.crossbar.training import NoiseInjection
from mho.devices.linear import LinearDevice
from mho.effects.base import Effect
from mho.effects.programming import FiniteStates
from mho.encoding.base import Scaling
from mho.encoding.differential import Differential
from mho.hardware import Array, Hardware
from mho.periphery.adc import ADC
from mho.periphery.amplifier import Amplifier
from mho.periphery.dac import DAC
from mho.train.recipes.recipe import Recipe

_DEFAULTS: dict[str, Any] = {
    "forward.inp_res": -1,
    "forward.out_noise": 0.0,
    "forward.out_noise_per_channel": False,
    "forward.out_bound": 0.0,
    "forward.out_res": -1,
    "clip.sigma": -1.0,
    "clip.type": "NONE",
    "modifier.std_dev": 0.0,
    "modifier.res": 0.0,
    "modifier.enable_during_test": False,
    "modifier.type": "NONE",
    "modifier.noise_type": "NONE",
    "modifier.quantization_type": "NONE",
    "mapping.max_input_size": -1,
    "pre_post.input_range.fast_mode": False,
    "pre_post.input_range.act_range_momentum": 0.95,
    "pre_post.input_range.enable": False,
    "pre_post.input_range.dynamic": False,
    "pre_post.input_range.learn_input_range": True,
    "pre_post.input_range.init_value": 3.0,
    "pre_post.input_range.init_from_data": 100,
    "pre_post.input_range.init_std_alpha": 3.0,
    "pre_post.input_range.decay": 0.001,
    "pre_post.input_range.input_min_percentage": 0.95,
}
_R = "pre_post.input_range."
_PER_COLUMN = ("LAYER_GAUSSIAN_PER_CHANNEL", "LEARNABLE_PER_CHANNEL")


def from_aihwkit_lightning(config: Any, *, device: Device | None = None) -> Translation:
    """Translate a configuration of AIHWKit-Lightning.

    Args:
        config: the object, or the text that ``print(config)`` gives of it, or the path of a file
            with that text.
        device: the cells to put it on, of which it says nothing; ideal ones from 0 to 25 µS if not
            given.

    Returns:
        The hardware, the recipe of its training, and the account of all settings.

    Raises:
        TypeError: if it is no such configuration.
        ValueError: if the text is none that a configuration prints.
    """
    node = node_of(text_of(config), "a configuration of aihwkit-lightning")
    if "noise_model" in node.values:
        raise TypeError("got a configuration of aihwkit: use from_aihwkit (--from aihwkit)")
    if "forward" not in node.values or not isinstance(node.values["forward"], Node):
        raise TypeError(f"expected a configuration of aihwkit-lightning, got {node.kind}")
    if device is not None:
        checks.instance("device", device, Device)
    account = Account("aihwkit-lightning", {**_DEFAULTS, **dict(flatten(node))})
    groups = ("forward", "clip", "modifier", "mapping", "pre_post", "pre_post.input_range")
    account.idle(groups, "the class of the settings in it")
    return _translated(account, device or LinearDevice(g_min=0.0, g_max=25e-6))


def _translated(account: Account, device: Device) -> Translation:
    clip = str(account.value("clip.type"))
    noise_type, rounding = _kinds(account)
    per_column = clip in _PER_COLUMN or "PER_CHANNEL" in noise_type + rounding
    low, high = device.window
    dac = _dac(account)
    unit = DAC().v_max * (high - low)
    size = account.whole("mapping.max_input_size", -1)
    rows = size if size > 0 else UNSPLIT
    note = (
        "a scale for each layer or column here; there one for each slice, too" if size > 0 else ""
    )
    account.match("mapping.max_input_size", f"Array(rows={rows})", note)
    adc, amplifier = _outputs(account, unit, per_column)
    effects: tuple[Effect, ...] = _states(account, rounding)
    recipe = Recipe(
        name="aihwkit_lightning",
        injection=_injection(account, noise_type),
        ranges=_ranges(account, dac),
        **_clip(account, clip),
        source="a configuration of AIHWKit-Lightning, translated",
    )
    hardware = Hardware(
        device=device,
        encoding=Differential(scaling=Scaling(per_column=per_column)),
        array=Array(rows=rows, cols=UNSPLIT),
        dac=dac,
        adc=adc,
        amplifier=amplifier,
        effects=effects,
    )
    account.without({"modifier.enable_during_test": (False, "eval reads what the chip holds")})
    return account.close(hardware, recipe)


def _kinds(account: Account) -> tuple[str, str]:
    """Return the types of noise and of rounding, also of versions before 2, which had one type."""
    noise = str(account.value("modifier.noise_type"))
    rounding = str(account.value("modifier.quantization_type"))
    old = str(account.value("modifier.type"))
    if old == "NONE":
        account.idle("modifier.type", "at a value of no effect")
        return noise, rounding
    ending = "_PER_CHANNEL" if old.endswith("_PER_CHANNEL") else ""
    if "ADD_NORMAL" in old:
        noise = f"ADD_NORMAL{ending}"
    if "DISCRETIZE" in old:
        rounding = f"DISCRETIZE{ending}"
    if not ("ADD_NORMAL" in old or "DISCRETIZE" in old):
        account.miss("modifier.type", "not known to this reader")
    account.match("modifier.type", f"as noise_type={noise}, quantization_type={rounding}")
    return noise, rounding


def _dac(account: Account) -> DAC | None:
    bits, rounded = bits_of(account.number("forward.inp_res"))
    enabled = bool(account.value(_R + "enable"))
    span = "per_vector" if enabled and account.value(_R + "dynamic") else "calibrated"
    if bits is None and not enabled:
        account.match("forward.inp_res", "Hardware(dac=None)")
        account.idle([_R + "enable", _R + "dynamic"], "at a value of no effect")
        return None
    account.match("forward.inp_res", f"DAC(bits={bits})", rounded)
    account.match([_R + "enable", _R + "dynamic"], f"DAC(range={span!r})")
    return DAC(bits=bits, range=span)


def _outputs(
    account: Account, unit: float, per_column: bool
) -> tuple[ADC | None, Amplifier | None]:
    bits, rounded = bits_of(account.number("forward.out_res"))
    bound, noise = account.bound("forward.out_bound", 0.0), account.number("forward.out_noise")
    adc = None
    if bound > 0:
        adc = ADC(bits=bits or MOST, range=bound * unit)
        account.match("forward.out_bound", f"ADC(range={told(adc.range)})")
        account.match("forward.out_res", f"ADC(bits={adc.bits})",
                      rounded or ("no rounding there" if bits is None else ""))  # fmt: skip
    elif bits is not None:
        account.miss("forward.out_res", "of no bound: no converter here")
    account.idle(["forward.out_bound", "forward.out_res"], "at a value of no effect")
    if not noise:
        names = ["forward.out_noise", "forward.out_noise_per_channel"]
        account.idle(names, "at a value of no effect")
        return adc, None
    ours = f"Amplifier(noise={noise * unit:.4g})"
    note = "in eval, too; there in training alone, and √tiles less of each tile"
    account.match("forward.out_noise", ours, note)
    own = bool(account.value("forward.out_noise_per_channel"))
    differs = "" if own == per_column else "goes with the scale of the weights here"
    account.match("forward.out_noise_per_channel", ours, differs)
    return adc, Amplifier(noise=noise * unit)


def _states(account: Account, rounding: str) -> tuple[Effect, ...]:
    names = ["modifier.res", "modifier.quantization_type"]
    bits, rounded = bits_of(account.number("modifier.res"))
    if rounding not in ("NONE", "DISCRETIZE", "DISCRETIZE_PER_CHANNEL"):
        account.miss(names, "not known to this reader")
        return ()
    if rounding == "NONE" or bits is None or bits < 2:
        account.idle(names, "res and quantization_type act together alone")
        return ()
    states = 2 ** (bits - 1)
    account.match(names, f"FiniteStates({states}) of each cell of a pair", rounded)
    return (FiniteStates(states),)


def _injection(account: Account, kind: str) -> NoiseInjection:
    sigma = account.number("modifier.std_dev")
    names = ["modifier.std_dev", "modifier.noise_type"]
    if kind not in ("NONE", "ADD_NORMAL", "ADD_NORMAL_PER_CHANNEL"):
        account.miss(names, "not known to this reader")
        return NoiseInjection(perfect_cells=True)
    if kind == "NONE" or not sigma:
        account.idle(names, "std_dev and noise_type act together alone")
        return NoiseInjection(perfect_cells=True)
    of = "column" if kind.endswith("PER_CHANNEL") else "matrix"
    account.match(names, f"NoiseInjection(weight_noise={sigma:g}, weight_noise_of={of!r})")
    return NoiseInjection(perfect_cells=True, weight_noise=sigma, weight_noise_of=of)


def _clip(account: Account, kind: str) -> dict[str, Any]:
    sigma = account.number("clip.sigma")
    names = ["clip.type", "clip.sigma"]
    if kind in ("LAYER_GAUSSIAN", "LAYER_GAUSSIAN_PER_CHANNEL") and sigma > 0:
        of = "column" if kind.endswith("PER_CHANNEL") else "layer"
        account.match(names, f"Recipe(clip={sigma:g}, clip_of={of!r})")
        return {"clip": sigma, "clip_of": of}
    if kind == "LEARNABLE_PER_CHANNEL":
        account.miss(
            "clip.type", "no clipping is learned; weights_from_aihwkit_lightning applies it"
        )
        account.idle("clip.sigma", "of another type of clipping")
    if kind not in ("NONE", "LAYER_GAUSSIAN", "LAYER_GAUSSIAN_PER_CHANNEL"):
        account.miss(names, "not known to this reader")
    account.idle(names, "sigma and type act together alone")
    return {}


def _ranges(account: Account, dac: DAC | None) -> str | InputRangeRule:
    enabled = bool(account.value(_R + "enable")) and not account.value(_R + "dynamic")
    rule = ("init_from_data", "init_std_alpha", "decay", "input_min_percentage")
    names = [_R + name for name in rule]
    learned = bool(account.value(_R + "learn_input_range"))
    if enabled and account.value(_R + "fast_mode"):
        account.miss(
            [_R + "fast_mode", _R + "act_range_momentum"], "a running range: calibrate here"
        )
    account.idle(_R + "fast_mode", "at a value of no effect")
    account.idle(_R + "act_range_momentum", "of fast_mode alone")
    if not enabled or dac is None or dac.bits is None:
        rest = [*names, _R + "learn_input_range", _R + "init_value"]
        account.idle(rest, "of learned ranges alone")
        return "as_given"
    if not learned or account.value(_R + "fast_mode"):
        account.match(_R + "learn_input_range", "Recipe(ranges='calibrated')")
        account.idle(names, "of learn_input_range alone")
        account.miss(_R + "init_value", "a calibration finds the range")
        return "calibrated"
    found = InputRangeRule(
        batches=account.whole(names[0]),
        deviations=account.number(names[1]),
        decay=account.number(names[2]),
        unclipped=account.number(names[3]),
    )
    account.match([*names, _R + "learn_input_range"], f"Recipe(ranges={found})")
    if found.batches:
        account.idle(_R + "init_value", "of init_from_data=0 alone")
    account.miss(_R + "init_value", "the rule starts from a calibration where it has no batches")
    return found
