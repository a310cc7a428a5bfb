"""The older systems' APIs on mho: `mho.compat.memtorch` and `mho.compat.xbtorch`.

``install("memtorch")`` makes ``import memtorch``, and every submodule path of it, resolve to
`mho.compat.memtorch`; so programs run unmodified::

    import mho.compat

    mho.compat.install("memtorch")
    import memtorch  # mho.compat.memtorch

Child processes find it, too. ``python -m mho.compat script.py`` does so for a script or a notebook,
``pytest -p mho.compat.plugin`` for a test suite; `as_of` offers what NumPy, pandas and others have
removed since. Configurations and checkpoints of other simulators are read by `mho.compat.configs`.
Nothing else of mho but its command line needs or imports this package.
"""

from mho.compat.gone import as_of, trust_pickle
from mho.compat.installation import NAMES, NotShadowedError, install, installed, uninstall

__all__ = [
    "NAMES",
    "NotShadowedError",
    "as_of",
    "install",
    "installed",
    "trust_pickle",
    "uninstall",
]
