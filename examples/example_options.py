"""What examples share: ``--quick`` shows the same in little time, ``--out`` is where figures go.

No example itself: the others import it.
"""

import argparse
from pathlib import Path


def parsed(
    description, out, arguments=None, quick="less of everything, the same conclusion", more=None
):
    """Return the options of an example; its folder is made.

    Args:
        description: what the example is about, of which the first line counts.
        out: folder for its figures, if none is given.
        arguments: of the command line; None takes them from there.
        quick: what ``--quick`` does.
        more: options of this example alone, as argparse takes them: ``{"--chips": {"type": int}}``.
    """
    parser = argparse.ArgumentParser(description=description.splitlines()[0])
    parser.add_argument("--quick", action="store_true", help=quick)
    parser.add_argument(
        "--out", type=Path, default=Path(out), help="folder for figures (%(default)s)"
    )
    for name, settings in (more or {}).items():
        parser.add_argument(name, **settings)
    options = parser.parse_args(arguments)
    options.out.mkdir(parents=True, exist_ok=True)
    return options


def save_figure(figure, path, **settings):
    """Write a figure and say where it is; settings are those of ``savefig``."""
    from matplotlib import pyplot as plt

    figure.savefig(path, **settings)
    plt.close(figure)
    print(f"\n{path}")


def bars(values, path, label, spreads=None):
    """Draw one bar a name, and write the figure.

    Args:
        values: by name, from top to bottom.
        path: of the figure.
        label: of the axis.
        spreads: standard deviations by name.
    """
    from matplotlib import pyplot as plt

    from mho.plot import style

    with style():
        size = (6.4, 1.0 + 0.36 * len(values))
        figure, ax = plt.subplots(figsize=size, layout="constrained")
        errors = None if spreads is None else [spreads[name] for name in values]
        drawn = ax.barh(list(values), list(values.values()), xerr=errors, height=0.6)
        ax.bar_label(drawn, fmt="%.1f", padding=4)
        ax.invert_yaxis()
        ax.margins(x=0.12)
        ax.set_xlabel(label)
        save_figure(figure, path)
