"""A crossbar read cell by cell, in Python loops: slow, plain, and independent of mho's own code.

Everything is worked out from the definitions (Kirchhoff, the converters' grids), with numpy in
float64. Only the numbers of the specs are taken from mho.
"""

import math

import numpy as np

from mho import encoding as enc


def parts_of(encoding):
    """Return what flows together before each converter, and the digital weights, by hand."""
    if isinstance(encoding, enc.Differential):  # Ternary is one too
        if encoding.subtract == "analog":
            return [[1, -1]], [1]
        return [[1, 0], [0, 1]], [1, -1]
    if isinstance(encoding, enc.SingleColumn):
        return [[1]], [1]
    if isinstance(encoding, enc.WeightedPairs):
        return sliced(encoding.significances, encoding.add)
    digits = math.ceil((encoding.bits - 1) / encoding.bits_per_cell)
    return sliced([2 ** (encoding.bits_per_cell * k) for k in range(digits)], encoding.add)


def sliced(significances, add):
    if add == "analog":
        return [[sign * s for s in significances for sign in (1, -1)]], [1]
    rows = []
    for k in range(len(significances)):
        row = [0] * (2 * len(significances))
        row[2 * k], row[2 * k + 1] = 1, -1
        rows.append(row)
    return rows, list(significances)


def combine(encoding, values):
    """Add converters' results ``values[k][line]`` digitally to outputs."""
    _, digital = parts_of(encoding)
    lines = len(values[0])
    out = [sum(d * v[j] for d, v in zip(digital, values, strict=True)) for j in range(lines)]
    if isinstance(encoding, enc.SingleColumn):
        width = encoding.group or lines - 1
        found = []
        for first in range(0, lines, width + 1):
            *data, offset = out[first : first + width + 1]
            found += [value - offset for value in data]
        return found
    return out


def dac_level(x, limit, dac):
    if dac is None or dac.bits is None:
        return x / limit
    if not dac.signed:
        return min(max(round(x / limit * (2**dac.bits - 1)), 0), 2**dac.bits - 1)
    if dac.bits == 1:
        return 1 if x >= 0 else -1
    top = 2 ** (dac.bits - 1) - 1
    return min(max(round(x / limit * top), -top), top)


def dac_top(dac):
    if dac is None or dac.bits is None:
        return 1
    return 2**dac.bits - 1 if not dac.signed else max(2 ** (dac.bits - 1) - 1, 1)


def planes(level, dac):
    """Return ``[(weight, bit), …]`` of one integer level."""
    if not dac.signed:
        return [(2**p, level >> p & 1) for p in range(dac.bits)]
    if dac.code == "twos_complement":
        coded = level % 2**dac.bits
        sign = [-1 if p == dac.bits - 1 else 1 for p in range(dac.bits)]
        return [(sign[p] * 2**p, coded >> p & 1) for p in range(dac.bits)]
    sign = (level > 0) - (level < 0)
    return [(2**p, sign * (abs(level) >> p & 1)) for p in range(max(dac.bits - 1, 1))]


def adc_convert(current, limit, adc, lowest, highest, smallest):
    """Convert one current; ``lowest``, ``highest``, ``smallest`` are of the whole call."""
    bits = adc.bits
    if adc.method == "minmax":
        n = 2**bits - 1
        return round((current - lowest) / (highest - lowest) * n) / n * (highest - lowest) + lowest
    if adc.method == "log_minmax":
        limit = max(abs(lowest), abs(highest))
    if adc.method in ("log", "log_minmax"):
        if bits == 1:
            return math.copysign(limit, current)
        least = smallest if adc.method == "log_minmax" else limit * 10**-adc.decades
        top = 2 ** (bits - 1) - 2  # magnitudes number 0 … top; one code is left for zero
        if current == 0:
            return 0.0
        ratio = (limit / least) ** (1 / max(top, 1))
        index = top + round(math.log(abs(current) / limit) / math.log(ratio))
        if index < 0:
            return 0.0
        return math.copysign(limit * ratio ** (min(index, top) - top), current)
    if adc.method == "tanh":
        if bits == 1:
            return math.copysign(limit, current)
        top, edge = 2 ** (bits - 1) - 1, math.tanh(1)
        inner = math.tanh(min(max(current / limit, -1), 1))
        return math.atanh(round(inner / edge * top) / top * edge) * limit
    if bits == 1:
        return limit if current >= 0 else -limit
    if adc.method == "linear":
        step = 2.0 ** (1 - bits + math.ceil(math.log2(limit)))
        return min(
            max(math.floor(current / step + 0.5), -(2 ** (bits - 1))), 2 ** (bits - 1) - 1
        ) * (step)
    top = 2 ** (bits - 1) - 1
    return min(max(round(current / limit * top), -top), top) * limit / top


def converted(current, seen, adc, full_scale=None):
    """Convert ``current`` over the range of all currents ``seen``, unless one is given."""
    sizes = np.abs(seen[seen != 0])
    if not sizes.size:
        return 0.0 * current
    span = seen.min(), seen.max(), sizes.min()
    full_scale = full_scale or sizes.max()
    return np.vectorize(lambda c: adc_convert(c, full_scale, adc, *span))(current)


def tiles(count, size):
    return [range(start, min(start + size, count)) for start in range(0, count, size)]


def read(x, G, scale, hardware, *, limit=None, full_scale=None):
    """Read ``x [batch, rows]`` from ``G [slices, rows, lines]``: returns ``[batch, cols]``.

    Args:
        limit: input magnitude of the largest voltage; None takes the call's largest, or each
            vector's own, as the driver's policy says.
        full_scale: of the converters (A); None takes the call's largest current, or that of each
            vector in each converter, over all its pulses, tiles and lines.
    """
    x, G = np.asarray(x, dtype=float), np.asarray(G, dtype=float)
    encoding, dac, adc = hardware.encoding, hardware.dac, hardware.adc
    analog, _ = parts_of(encoding)
    drive_by_call = hardware.drive.range == "per_call"
    limits = [limit or np.abs(x if drive_by_call else row).max() or 1e-16 for row in x]
    v_max, top = hardware.drive.v_max, dac_top(dac)
    serial = dac is not None and dac.mode == "bit_serial"

    # Every pulse of every input: [(weight, voltages [rows])]
    pulses = []
    for row, own in zip(x, limits, strict=True):
        level = [dac_level(value, own, dac) for value in row]
        if serial:
            coded = [planes(value, dac) for value in level]
            pulses.append(
                [(coded[0][p][0], [c[p][1] * v_max for c in coded]) for p in range(len(coded[0]))]
            )
        else:
            pulses.append([(1, [value / top * v_max for value in level])])

    # Every current: [batch][pulse][tile][converter][line]
    def currents(voltages):
        return [
            [
                [
                    sum(
                        voltages[i] * sum(a * G[s, i, j] for s, a in enumerate(row) if a)
                        for i in tile
                    )
                    for j in range(G.shape[2])
                ]
                for row in analog
            ]
            for tile in tiles(G.shape[1], hardware.array.rows)
        ]

    read_out = [[(w, np.array(currents(v))) for w, v in sample] for sample in pulses]
    if serial and dac.converts_once:
        read_out = [[(top, sum(w * i for w, i in sample) / top)] for sample in read_out]
    everything = np.array([[i for _, i in sample] for sample in read_out])
    out = []
    for sample, currents_of_sample, own in zip(read_out, everything, limits, strict=True):
        total = 0.0
        for weight, current in sample:
            if adc is not None:
                current = np.stack(
                    [
                        converted(
                            current[:, k],
                            everything if adc.range == "per_call" else currents_of_sample[:, :, k],
                            adc,
                            full_scale,
                        )
                        for k in range(len(analog))
                    ],
                    axis=1,
                )
            total = total + weight * current.sum(0)
        unit = own / v_max / (top if serial else 1)
        out.append(np.array(combine(encoding, total)) * unit)
    return np.array(out) * np.asarray(scale)
