"""A crossbar driven by pulses, step by step in time: nodal equations in a sparse matrix, by scipy.

Every node of every line has a voltage, every resistor a stamp; at each step the circuit is solved
as it then is. Only numbers are taken from mho.
"""

import numpy as np
import scipy.sparse
import scipy.sparse.linalg


def sensed(g, wires, volts, held):
    """Return the currents into the sinks for drivers at ``volts``, those of ``held`` only.

    Args:
        g: conductances ``[m, n]`` (S).
        wires: all four resistances above 0; driven at the left, sensed at the bottom.
        volts: of the drivers ``[m]``.
        held: which of them are connected, bool ``[m]``.
    """
    m, n = g.shape
    word, bit = np.arange(m * n).reshape(m, n), np.arange(m * n).reshape(m, n) + m * n
    stamps, right = [], np.zeros(2 * m * n)

    def between(a, b, conductance):
        stamps.extend([(a, a, conductance), (b, b, conductance)])
        stamps.extend([(a, b, -conductance), (b, a, -conductance)])

    for i in range(m):
        for j in range(n):
            between(word[i, j], bit[i, j], g[i, j])
            if j + 1 < n:
                between(word[i, j], word[i, j + 1], 1 / wires.word)
            if i + 1 < m:
                between(bit[i, j], bit[i + 1, j], 1 / wires.bit)
        if held[i]:
            stamps.append((word[i, 0], word[i, 0], 1 / wires.source))
            right[word[i, 0]] += volts[i] / wires.source
    stamps.extend((bit[-1, j], bit[-1, j], 1 / wires.sense) for j in range(n))
    rows, cols, values = zip(*stamps, strict=True)
    matrix = scipy.sparse.csc_matrix((values, (rows, cols)), shape=(2 * m * n, 2 * m * n))
    nodes = scipy.sparse.linalg.spsolve(matrix, right)
    return nodes[bit[-1]] / wires.sense


def charge(g, wires, volts, times, t_pulse, *, steps, v_idle=0.0, floating=False):
    """Return the charges of all bit lines after ``t_pulse`` (C), in ``steps`` equal steps.

    Args:
        g: conductances ``[m, n]`` (S).
        wires: of the array.
        volts: of the pulses ``[m]``, which all begin at 0.
        times: at which they end (s): whole steps.
        t_pulse: how long charges are integrated (s).
        steps: that is cut into.
        v_idle: of lines whose pulse is over (V).
        floating: these are cut off instead.
    """
    total, dt = np.zeros(g.shape[1]), t_pulse / steps
    for step in range(steps):
        on = times > (step + 0.5) * dt
        now = np.where(on, volts, v_idle)
        total += sensed(g, wires, now, on if floating else np.ones_like(on)) * dt
    return total
