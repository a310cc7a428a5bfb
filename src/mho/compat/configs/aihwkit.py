"""AIHWKit's inference configurations: `from_aihwkit`.

An output of 1 is there the product of one full input and one weight of 1 in the tile's units; here
it is the current of one full-scale voltage through the conductance of the largest weight. What is
said of outputs there (bound, noise, bend) is carried over in that unit.

Source: M. J. Rasch et al., AICAS 2021, doi 10.1109/AICAS51828.2021.9458494.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from torch.distributions import Normal

from mho.cells.spread import Spread
from mho.circuit import Wires
from mho.compat.configs import aihwkit_tables as tables
from mho.compat.configs.aihwkit_cells import cells, share_of_noise, told, whole_weight
from mho.compat.configs.aihwkit_training import recipe_of
from mho.compat.configs.printed import Node, flatten, node_of
from mho.compat.configs.resolution import MOST, bits_of
from mho.compat.configs.translation import Account, Translation
from mho.core import checks, files
from mho.effects.reading import ReadNoise
from mho.encoding.base import Encoding, Scaling
from mho.hardware import Array, Hardware
from mho.periphery.adc import ADC
from mho.periphery.amplifier import Amplifier
from mho.periphery.dac import DAC

TOOL = "aihwkit"
UNSPLIT = 2**16
"""Lines of an array where the source has one array for any matrix."""
_MANAGED = (
    "NONE", "ABS_MAX", "ABS_MAX_SINGLE_VALUE", "ABS_MAX_NP_SUM", "MAX", "CONSTANT",
    "AVERAGE_ABS_MAX", "AVERAGE_ABS_MAX_SINGLE_VALUE",
)  # fmt: skip
_PERFECT = "is_perfect: nothing of forward acts"


@dataclass(frozen=True)
class Unit:
    """What an output of 1 is.

    Attributes:
        amperes: the current.
        weight: the weight, in the tile's units, that fills the window.
        note: where that is not known; "" where it is.
    """

    amperes: float
    weight: float
    note: str


def from_aihwkit(config: Any) -> Translation:
    """Translate an ``InferenceRPUConfig`` or ``TorchInferenceRPUConfig`` (or a preset of one).

    Args:
        config: the object, or the text that ``print(config)`` gives of it, or the path of a file
            with that text. What is not printed stands at its default there.

    Returns:
        The hardware, the recipe of its training, and the account of all settings.

    Raises:
        TypeError: if it is no such configuration.
        ValueError: if the text is none that a configuration prints, or lacks what it needs.
    """
    node = node_of(text_of(config), "an aihwkit configuration")
    lacking = [p for p in ("forward", "modifier") if not isinstance(node.values.get(p), Node)]
    if lacking and "Inference" in node.kind:
        raise ValueError(
            f"this {node.kind} lacks {' and '.join(lacking)}: give all of print(rpu_config)"
        )
    if lacking:
        raise TypeError(
            "expected an inference configuration of aihwkit (InferenceRPUConfig, "
            f"TorchInferenceRPUConfig or a preset of them), got {node.kind}: training with pulses "
            "is mho.train.PulsedSGD and TikiTaka"
        )
    account = Account(TOOL, dict(flatten(_completed(node))))
    _backward(account)
    for group in tables.SIMULATION:
        names = [n for n in account.settings if n == group or n.startswith(f"{group}.")]
        account.idle(names, "says how the simulation runs, or of an ideal update")
    groups = ("pre_post", "mapping", "forward", "clip", "remap", "modifier")
    inner = ("pre_post.input_range", "pre_post.periph_quant")
    account.idle((*groups, *inner), "the class of the settings in it")
    return _translated(account)


def _backward(account: Account) -> None:
    """Report a backward pass that somebody made imperfect: it is perfect unless set otherwise."""
    start = "backward."
    perfect = account.value(f"{start}is_perfect") is True
    if account.value("backward") is None or perfect or account.value(f"{start}mv_type") == "IDEAL":
        return
    why = "gradients go back through exact products here: training in place is mho.train.PulsedSGD"
    account.miss([n for n in account.settings if n.startswith(start)], why)


def text_of(config: Any) -> Any:
    """Return the text of a file where a configuration is given as its path."""
    if isinstance(config, Path):
        return files.text(config)
    if isinstance(config, str) and config.strip() and not {"(", "\n"} & set(config):
        return files.text(config)
    return config


def _completed(node: Node) -> Node:
    """Return the tree with what is not printed because it stands at its default."""
    values = {k: _completed(v) if isinstance(v, Node) else v for k, v in node.values.items()}
    defaults = dict(tables.defaults_of(node.kind))
    if values.get("is_perfect") is True:  # of which nothing else is printed
        defaults = {}
    return Node(node.kind, {**defaults, **values})


def _translated(account: Account) -> Translation:
    mapped = _mapping(account)
    device, encoding = cells(account, mapped["scaling"])
    unit = _unit(account, whole_weight(encoding, device.window))
    noise = _weight_noise(account, encoding, unit)
    perfect = account.value("forward.is_perfect") is True
    perfect = perfect or account.value("forward.mv_type") == "IDEAL"
    wires = _wires(account, device.window[1], perfect)
    dac = None if perfect else _dac(account)
    adc, amplifier = (None, None) if perfect else _outputs(account, unit)
    if perfect:
        account.match(["forward.is_perfect", "forward.mv_type"], "Hardware(dac=None, adc=None)")
        account.idle([n for n in account.settings if n.startswith("forward.")], _PERFECT)
        _rows_of_inputs_idle(account)
    account.idle("forward.is_perfect", "at a value of no effect")
    account.without(tables.NEVER)
    account.idle(tables.BESIDE, "of another setting alone")
    _compensation(account)
    hardware = Hardware(
        device=device, encoding=encoding, dac=dac, adc=adc, amplifier=amplifier,
        effects=() if noise is None or perfect else (noise,), bias=mapped["bias"],
        array=Array(rows=mapped["rows"], cols=mapped["cols"], wires=wires),
    )  # fmt: skip
    recipe = recipe_of(
        account, per_column=mapped["scaling"].per_column, weight=unit.weight, dac=dac
    )
    return account.close(hardware, recipe)


def _mapping(account: Account) -> dict[str, Any]:
    columns = bool(account.value("mapping.weight_scaling_columnwise", False))
    columns = columns or account.value("remap.type") == "CHANNELWISE_SYMMETRIC"
    account.match("mapping.weight_scaling_columnwise", f"Scaling(per_column={columns})",
                  "scales of whole layers here, of every tile there")  # fmt: skip
    bias = "digital" if account.value("mapping.digital_bias", True) else "array"
    account.match("mapping.digital_bias", f"Hardware(bias={bias!r})")
    sizes = {}
    for name, ours in (("max_input_size", "rows"), ("max_output_size", "cols")):
        size = account.whole(f"mapping.{name}", 512)
        sizes[ours] = size if size > 0 else UNSPLIT
        note = "" if ours == "cols" else "the last tile is the smaller one; there all are alike"
        if size <= 0:
            note = "no tiling there: one array holds any matrix"
        account.match(f"mapping.{name}", f"Array({ours}={sizes[ours]})", note)
    account.without(
        {
            "learn_out_scaling": (False, "outputs have no trained factor: weights carry it"),
            "weight_scaling_lr_compensation": (False, "no rate depends on a scale here"),
        },
        "mapping.",
    )
    account.idle("mapping.out_scaling_columnwise", "of learn_out_scaling alone")
    return {"scaling": Scaling(per_column=columns), "bias": bias, **sizes}


def _unit(account: Account, whole: float) -> Unit:
    omega = account.number("mapping.weight_scaling_omega")
    weight, note = (omega, "") if omega > 0 else (1.0, "")
    if account.value("remap.type", "NONE") != "NONE":
        weight = account.number("remap.remapped_wmax", 1.0)
        account.match("remap.remapped_wmax", f"a weight of {weight:g} fills the window")
    elif omega <= 0:
        note = (
            "weight_scaling_omega is 0, so tiles there hold the weights as they are; here the "
            "largest fills the window, as for omega=1"
        )
    account.match("mapping.weight_scaling_omega", f"a weight of {weight:g} fills the window", note)
    return Unit(DAC().v_max * whole / weight, weight, "for weight_scaling_omega=1" if note else "")


def _dac(account: Account) -> DAC:
    bits, rounded = bits_of(account.number("forward.inp_res", 1 / 126))
    bound = account.bound("forward.inp_bound", 1.0)
    managed = account.value("forward.noise_management", "ABS_MAX")
    limit = account.number("forward.nm_thres")
    span: str | float
    note = ""
    if account.value("pre_post.input_range.enable", False):
        span = "calibrated"
        factor = limit if managed == "CONSTANT" and limit > 0 else 1.0
        if managed not in ("NONE", "CONSTANT"):
            note = "there each vector is scaled once more within its range"
        elif factor * bound != 1.0 and bound > 0:
            note = f"there the range is used to {factor * bound:g} of it"
    elif managed == "ABS_MAX":
        span = "per_vector"
        if limit > 0:
            note = f"there the range is at most {limit:g}, and larger inputs clip"
        elif bound not in (1.0,) and bound > 0:
            note = f"there the range is used to {bound:g} of it"
    elif managed in ("NONE", "CONSTANT"):
        factor = limit if managed == "CONSTANT" and limit > 0 else 1.0
        span = factor * bound if bound > 0 else "per_vector"
    elif managed == "MAX":
        span, note = "per_vector", "of the largest magnitude; there of the largest value"
    else:
        span, note = "calibrated", f"{managed} follows the inputs there: calibrate with data"
    dac = DAC(bits=bits, range=span)
    account.match("forward.inp_res", f"DAC(bits={bits})", rounded)
    if managed not in _MANAGED:
        account.miss("forward.noise_management", "not known to this reader")
    if managed == "NONE":
        account.idle("forward.nm_thres", "of noise management alone")
    names = ["forward.inp_bound", "forward.noise_management", "forward.nm_thres"]
    account.match(names, f"DAC(range={span!r})", note)
    account.match("pre_post.input_range.enable", f"DAC(range={span!r})")
    return dac


def _rows_of_inputs_idle(account: Account) -> None:
    names = [n for n in account.settings if n.startswith("pre_post.input_range.")]
    account.idle(names, "no drivers round or clip: forward is perfect")


def _outputs(account: Account, unit: Unit) -> tuple[ADC | None, Amplifier | None]:
    bits, rounded = bits_of(account.number("forward.out_res", 1 / 510))
    bound = account.bound("forward.out_bound", 12.0)
    if not bound:
        if bits is not None:
            account.miss("forward.out_res", "of no bound: no converter here")
        account.match("forward.out_bound", "Hardware(adc=None)")
        account.match("forward.out_res", "Hardware(adc=None)")
        adc = None
    else:
        note = rounded or ("no rounding there" if bits is None else "")
        adc = ADC(bits=bits or MOST, range=bound * unit.amperes)
        account.match("forward.out_res", f"ADC(bits={adc.bits})", note)
        account.match("forward.out_bound", f"ADC(range={told(adc.range)})", unit.note)
    managed = account.value("forward.bound_management", "ITERATIVE")
    if managed == "NONE" or adc is None:
        account.idle("forward.bound_management", "at a value of no effect")
    else:
        account.miss("forward.bound_management", "outputs beyond the bound clip: no second pass")
    mode = account.value("forward.mv_type", "ONE_PASS")
    if mode == "ONE_PASS":
        account.match("forward.mv_type", "DAC(mode='amplitude')")
    else:
        account.miss("forward.mv_type", "see DAC(mode='pulse_width', pulses=PulseWidth(…))")
    return adc, _amplifier(account, unit, bound)


def _amplifier(account: Account, unit: Unit, bound: float) -> Amplifier | None:
    sigma = account.number("forward.out_noise", 0.06) * unit.amperes
    noise: float | Spread = sigma
    spread = _not_negative(account, "forward.out_noise_std")
    account.match("forward.out_noise", f"Amplifier(noise={sigma:.4g})", unit.note)
    if spread and sigma:
        noise = Spread(Normal(sigma, spread * sigma), low=0.0)
        account.match("forward.out_noise_std", f"Amplifier(noise=Spread(…, {spread:g}))")
    account.idle("forward.out_noise_std", "at a value of no effect")
    bend = account.number("forward.out_nonlinearity")
    bent: float | Spread = 0.0
    if bend and bound > 0:
        bent = bend / bound / unit.amperes
        account.match("forward.out_nonlinearity", f"Amplifier(compression={bent:.4g})",
                      "noise comes after it; there before")  # fmt: skip
        varies = _not_negative(account, "forward.out_nonlinearity_std")
        if varies:
            account.match("forward.out_nonlinearity_std", "Amplifier(compression=Spread(…))")
            bent = Spread(Normal(bent, varies * bent), low=0.0)
    elif bend:
        account.miss("forward.out_nonlinearity", "relative to out_bound, and there is none")
    account.idle(["forward.out_nonlinearity_std"], "of out_nonlinearity alone")
    account.idle("forward.out_nonlinearity", "at a value of no effect")
    amplifier = Amplifier(noise=noise, compression=bent)
    return None if amplifier.ideal else amplifier


def _not_negative(account: Account, name: str) -> float:
    value = account.number(name)
    checks.number(f"{TOOL}: {name}", value, least=0.0)
    return value


def _weight_noise(account: Account, encoding: Encoding, unit: Unit) -> ReadNoise | None:
    kind = account.value("forward.w_noise_type", "NONE")
    sigma = account.number("forward.w_noise")
    names = ["forward.w_noise", "forward.w_noise_type"]
    if kind == "NONE" or sigma <= 0:
        account.idle(names, "w_noise and w_noise_type act together alone")
        return None
    if kind != "ADDITIVE_CONSTANT":
        why = "of √|w| there; the device's own read noise, drawn at every read, stands here alone"
        account.miss(names, why if kind == "PCM_READ" else "not known to this reader")
        return None
    each = sigma / unit.weight * share_of_noise(encoding)
    account.match(names, f"ReadNoise(sigma={each:.4g})", unit.note)
    return ReadNoise(sigma=each)


def _wires(account: Account, g_max: float, perfect: bool) -> Wires:
    scale = account.number("forward.ir_drop")
    timed = "forward.ir_drop_rs" in account
    rest = [
        "forward." + name
        for name in (
            "ir_drop_segments", "ir_drop_time_step_resolution_scale", "ir_drop_v_read",
            "adc_quantization", "adc_frequency", "ir_drop_integration_sum",
        )
    ]  # fmt: skip
    names = ["forward.ir_drop", "forward.ir_drop_g_ratio", "forward.ir_drop_rs"]
    if scale <= 0 or perfect:
        account.idle([*names, *rest[:3]], "ir_drop is 0" if scale <= 0 else _PERFECT)
        account.miss(rest[3:], "converters here round, at the end of the pulse")
        return Wires()
    if timed:
        ohms = scale * account.number("forward.ir_drop_rs")
        account.idle("forward.ir_drop_g_ratio", "ir_drop_rs says it in ohms")
        account.miss(rest, "see DAC(mode='pulse_width'): the exact charge of pulses through wires")
    else:
        ohms = scale / (account.number("forward.ir_drop_g_ratio") * g_max)
    note = "as there for full inputs; below, the drop there is less, as of pulses in time"
    account.match(names, f"Wires(bit={ohms:.4g}, read='top')", note)
    return Wires(bit=ohms, read="top")


def _compensation(account: Account) -> None:
    kind = account.value("drift_compensation")
    name = "drift_compensation"
    if kind is None:
        account.idle(name, "none: outputs are as they drift, here too")
    elif "PerColumn" in str(kind):
        account.match(name, "mho.compensate(model, 'column') after mho.age")
    elif "GlobalDrift" in str(kind):
        account.match(name, "mho.compensate(model) after mho.age")
    else:
        account.miss(name, "mho.compensate knows one factor a crossbar, and one a column")
