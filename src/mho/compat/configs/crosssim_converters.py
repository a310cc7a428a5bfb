"""CrossSim's DACs and ADCs."""

from __future__ import annotations

from typing import Any

from mho.compat.configs.translation import Account
from mho.encoding.base import Encoding
from mho.encoding.bit_sliced import BitSliced
from mho.encoding.single_column import SingleColumn
from mho.periphery.adc import ADC
from mho.periphery.converters.base import Architecture
from mho.periphery.converters.ramp import Ramp
from mho.periphery.converters.sar import SAR
from mho.periphery.dac import DAC

_A = "xbar.adc.mvm."
_D = "xbar.dac.mvm."
_X = "core.mapping.inputs.mvm."
_CALIBRATED, _MAX, _GRANULAR = 1, 2, 3
_QUANTISERS = ("QuantizerADC", "SignMagnitudeADC")
_BUILT = {"SarADC": SAR, "RampADC": Ramp}
_IDEAL_GAIN = 100.0  # dB: the default there


def dac_of(account: Account) -> DAC:
    """Return the drivers."""
    bits, model = account.whole(_D + "bits"), str(account.value(_D + "model"))
    v_max = account.number("xbar.device.Vread", DAC().v_max)
    account.match("xbar.device.Vread", f"DAC(v_max={v_max:g})")
    signed = bool(account.value(_D + "signed", True))
    span, percentile, note = _input_range(account)
    kind: dict[str, Any] = {"range": span, "v_max": v_max, "percentile": percentile}
    if model == "IdealDAC" or bits == 0:
        account.match([_D + "model", _D + "bits"], "DAC(bits=None)")
        account.idle([_D + n for n in ("input_bitslicing", "signed", "slice_size")], "not rounded")
        account.match([_X + n for n in ("min", "max", "percentile")], f"DAC(range={span!r})", note)
        return DAC(**kind)
    account.match([_X + n for n in ("min", "max", "percentile")], f"DAC(range={span!r})", note)
    levels = ""
    if model not in ("QuantizerDAC", "SignMagnitudeDAC"):
        account.miss(_D + "model", "rounds to even levels here")
    elif model == "QuantizerDAC" and signed:
        levels = f"{2**bits} levels there, none at 0; {2**bits - 1} here, one at 0"
    account.match([_D + "model", _D + "bits"], f"DAC(bits={bits})", levels)
    account.match(_D + "signed", f"DAC(signed={signed})")
    size = account.whole(_D + "slice_size", 1)
    if not account.value(_D + "input_bitslicing", False):
        account.idle([_D + "input_bitslicing", _D + "slice_size"], "inputs are sent at once")
        return DAC(bits=bits, signed=signed, **kind)
    once = not account.value(_A + "adc_per_ibit", False)
    account.match(_D + "input_bitslicing", "DAC(mode='bit_serial')")
    if size == 1:
        account.match(_D + "slice_size", "one bit after the other")
    account.miss(_D + "slice_size", "inputs are sent bit by bit")
    return DAC(bits=bits, signed=signed, mode="bit_serial", converts_once=once, **kind)


def _input_range(account: Account) -> tuple[str | float, float | None, str]:
    account.idle(_X + "clipping", "inputs beyond the range clip where they are rounded")
    share = account.value(_X + "percentile")
    if share is not None:
        percentile = min(100.0 * float(share), 100.0)
        return "calibrated", percentile, "" if share == 1.0 else "of the magnitudes here"
    low, high = account.number(_X + "min", -1.0), account.number(_X + "max", 1.0)
    note = "" if low in (-high, 0.0) else f"there from {low:g} to {high:g}"
    return float(max(abs(low), abs(high))), None, note


def adc_of(account: Account, dac: DAC, encoding: Encoding, g_max: float) -> ADC | None:
    """Return the converters.

    Args:
        account: of all settings.
        dac: the drivers.
        encoding: of the weights.
        g_max: largest conductance (S).
    """
    bits, model = account.whole(_A + "bits"), str(account.value(_A + "model"))
    serial = dac.mode == "bit_serial"
    if serial:
        account.match(_A + "adc_per_ibit", f"DAC(converts_once={dac.converts_once})")
    account.idle(_A + "adc_per_ibit", "inputs are sent at once")
    if model == "IdealADC" or bits == 0:
        account.match([_A + "model", _A + "bits"], "Hardware(adc=None)")
        names = [_A + n for n in ("signed", "calibrated_range", "adc_range_option")]
        account.idle([*names, *_built_names(account)], "no converter")
        return None
    span, rest, note = _range(account, dac, encoding, g_max, bits)
    built = _architecture(account, model)
    rest = 0.5 if built is not None else rest
    levels = ""
    if model != "SignMagnitudeADC" and rest == 0.5:
        levels = f"{2**bits} levels there, none at 0; {2**bits - 1} here, one at 0"
    account.match([_A + "model", _A + "bits"], f"ADC(bits={bits})", levels)
    account.idle(_A + "signed", "the range says it")
    shared = account.whole(_A + "group_size", 1) if built is not None else 1
    adc = ADC(bits=bits, range=span, rest=rest, architecture=built)
    if shared > 1 and built is not None and built.drawn:
        account.match(_A + "group_size", f"ADC(columns_per_adc={shared})")
        adc = adc.replace(columns_per_adc=shared)
    account.idle(_built_names(account), "at a value of no effect")
    account.match([_A + "adc_range_option", _A + "calibrated_range"], f"ADC(range={span!r})", note)
    return adc


def _range(
    account: Account, dac: DAC, encoding: Encoding, g_max: float, bits: int
) -> tuple[str | float, float, str]:
    """Return the range (A), where it rests, and how it differs."""
    option = account.whole(_A + "adc_range_option", _CALIBRATED)
    unit = dac.v_max * g_max
    one_sided = not dac.signed and isinstance(encoding, SingleColumn)
    if option == _MAX:
        account.idle(_A + "calibrated_range", "of CALIBRATED alone")
        return "full_scale", 0.0 if one_sided else 0.5, "of the cells' window here, g_max there"
    if option == _GRANULAR:
        account.idle(_A + "calibrated_range", "of CALIBRATED alone")
        return (
            _granular(account, dac, encoding, bits, one_sided) * unit,
            0.0 if one_sided else 0.5,
            "",
        )
    if option != _CALIBRATED:
        raise ValueError(f"{_A}adc_range_option must be 1, 2 or 3, got {option!r}")
    given = account.value(_A + "calibrated_range")
    if not given:
        return "calibrated", 0.0 if one_sided else 0.5, "there it has to be given"
    pairs = _pairs(given)
    low, high = min(float(p[0]) for p in pairs), max(float(p[1]) for p in pairs)
    note = "" if all(list(p) == list(pairs[0]) for p in pairs) else "one for all slices: the widest"
    if high <= 0:
        raise ValueError(f"{_A}calibrated_range must reach above 0, got {given!r}")
    if low == -high:
        return high * unit, 0.5, note
    rest = max(-low, 0.0) / (high - min(low, 0.0))
    moved = "its codes lie from 0 on; there from the lower end on"
    return high * unit, rest, "; ".join(filter(None, (note, moved)))


def _pairs(given: Any) -> list[list[float]]:
    """Return the lowest and the highest input of a converter, of each slice's.

    Raises:
        ValueError: if it is not of that form.
    """
    nested = isinstance(given, (list, tuple)) and isinstance(given[0], (list, tuple))
    found = list(given) if nested else [given]
    for pair in found:
        numbers = isinstance(pair, (list, tuple)) and all(isinstance(v, (int, float)) for v in pair)
        if not numbers or len(pair) != 2 or pair[0] >= pair[1]:
            raise ValueError(
                f"{_A}calibrated_range must be [lowest, highest], or one such pair for each slice, "
                f"got {given!r}"
            )
    return found


def _granular(account: Account, dac: DAC, encoding: Encoding, bits: int, one_sided: bool) -> float:
    """Return the range of which one step is the least current that two products differ by."""
    inputs = account.whole(_D + "bits")
    top = 2 ** (inputs - 1) if dac.signed else 2**inputs
    corrected = top / (top - 1) if top > 1 else 1.0
    if isinstance(encoding, BitSliced):
        least = 1.0 / (2**encoding.bits_per_cell - 1)
    else:
        least = 2.0 ** -account.whole("core.weight_bits")
        account.match("core.weight_bits", "ADC(range=…) of granular converters")
    steps = 2**bits - 1 if one_sided else 2 ** (bits - 1) - 1
    return least * steps * corrected


def _architecture(account: Account, model: str) -> Architecture | None:
    if model in _QUANTISERS:
        return None
    kind = _BUILT.get(model)
    if kind is None:
        why = "ideal here; see mho.periphery.Pipeline, Cyclic"
        account.miss([_A + "model", *_built_names(account)], why)
        return None
    gain = account.number(_A + "gain_db", _IDEAL_GAIN)
    capacitor = account.number(_A + "sigma_capacitor")
    comparator = account.number(_A + "sigma_comparator")
    account.match(_A + "gain_db", f"{kind.__name__}(amplifier_db={gain:g})")
    account.match(_A + "sigma_capacitor", f"{kind.__name__}(capacitor_sigma={capacitor:g})")
    account.match(_A + "sigma_comparator", f"{kind.__name__}(comparator_sigma={comparator:g})")
    why = "the divider here is binary and whole"
    account.miss([_A + name for name in ("split_cdac", "symmetric_cdac")], why)
    return kind(capacitor_sigma=capacitor, comparator_sigma=comparator, amplifier_db=gain)


def _built_names(account: Account) -> list[str]:
    names = ("gain_db", "sigma_capacitor", "sigma_comparator", "split_cdac", "symmetric_cdac",
             "group_size", "sigma_C1", "sigma_C2", "sigma_Cpar")  # fmt: skip
    return [_A + name for name in names if _A + name in account]
