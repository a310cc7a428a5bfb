"""Independent references: the textbook equations of the circuit, solved by SciPy."""

import numpy as np
import scipy.sparse as sp
import scipy.sparse.linalg as spla


def mna(G, source, word, bit, sense, drive="left", read="bottom"):
    """Modified nodal analysis with one unknown current per resistor: zero ohms is just an equation.

    Unknowns are the 2 m n node voltages and the current of every resistor ``(a, b, R)``,
    ``V_a - V_b - R I = 0``; terminals are known voltages. Returns T by driving one row at a time,
    together with a function that solves given voltages.
    """
    m, n = G.shape
    source, word = (np.broadcast_to(x, m) for x in (source, word))
    bit, sense = (np.broadcast_to(x, n) for x in (bit, sense))
    w = np.arange(m * n).reshape(m, n)
    b = w + m * n
    ends, ohms = [], []  # terminals are negative: -(1 + i) driver i, -(1 + m + j) sink j

    def add(p, q, R):
        ends.append((p, q))
        ohms.append(R)

    for i in range(m):
        if drive != "right":
            add(-(1 + i), w[i, 0], source[i])
        # the far driver of a line without any resistance would be a loop of zero ohms
        loop = drive == "both" and 2 * source[i] + (n - 1) * word[i] == 0
        if drive != "left" and not loop:
            add(-(1 + i), w[i, -1], source[i])
        for j in range(n - 1):
            add(w[i, j], w[i, j + 1], word[i])
    sinks = []
    for j in range(n):
        sinks.append(len(ends))
        add(b[-1 if read == "bottom" else 0, j], -(1 + m + j), sense[j])
        for i in range(m - 1):
            add(b[i, j], b[i + 1, j], bit[j])
    nodes, count = 2 * m * n, len(ends)
    rows, cols, vals, terms = [], [], [], []
    for k, (p, q) in enumerate(ends):
        for end, sign in ((p, 1.0), (q, -1.0)):
            if end >= 0:
                rows += [end, nodes + k]
                cols += [nodes + k, end]
                vals += [sign, sign]
            else:
                terms.append((nodes + k, -1 - end, -sign))
        rows.append(nodes + k)
        cols.append(nodes + k)
        vals.append(-ohms[k])
    for i in range(m):
        for j in range(n):
            g = G[i, j]
            rows += [w[i, j], w[i, j], b[i, j], b[i, j]]
            cols += [w[i, j], b[i, j], w[i, j], b[i, j]]
            vals += [g, -g, -g, g]
    matrix = sp.csc_matrix((vals, (rows, cols)), shape=(nodes + count, nodes + count))
    factors = spla.splu(matrix)

    def solve(drivers, sink=None):
        terminal = np.concatenate([drivers, np.zeros(n) if sink is None else sink])
        right = np.zeros(nodes + count)
        for row, term, sign in terms:
            right[row] += sign * terminal[term]
        x = factors.solve(right)
        x += factors.solve(right - matrix @ x)
        return {
            "word": x[: m * n].reshape(m, n),
            "bit": x[m * n : nodes].reshape(m, n),
            "currents": x[nodes:][sinks],
        }

    return np.stack([solve(row)["currents"] for row in np.eye(m)]), solve


def superlu(G, source, word, bit, sense):
    """Node-admittance matrix, one SuperLU factorisation, n adjoint solves (all resistances > 0)."""
    m, n = G.shape
    w = np.arange(m * n).reshape(m, n)
    b = w + m * n
    rows, cols, vals = [], [], []

    def add(p, q, g):
        p, q, g = p.ravel(), q.ravel(), np.broadcast_to(g, p.shape).ravel()
        rows.extend([p, q, p, q])
        cols.extend([p, q, q, p])
        vals.extend([g, g, -g, -g])

    add(w, b, G)
    add(w[:, :-1], w[:, 1:], 1 / word)
    add(b[:-1], b[1:], 1 / bit)
    rows += [w[:, 0], b[-1]]
    cols += [w[:, 0], b[-1]]
    vals += [np.full(m, 1 / source), np.full(n, 1 / sense)]
    matrix = sp.csc_matrix(
        (np.concatenate(vals), (np.concatenate(rows), np.concatenate(cols))),
        shape=(2 * m * n, 2 * m * n),
    )
    factors = spla.splu(matrix)
    right = np.zeros((2 * m * n, n))
    right[b[-1], np.arange(n)] = 1 / sense
    return factors.solve(right)[w[:, 0]] / source
