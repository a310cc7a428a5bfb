"""Found by child processes of a program on mho.compat: the layer takes this package's name."""

import importlib
import os
import sys

del sys.modules[__name__]
try:
    from mho.compat.installation import stand_in

    stand_in(__name__)
except ImportError:  # another interpreter, without mho or with the real package: that one, then
    sys.path.remove(os.path.dirname(os.path.dirname(__file__)))
importlib.import_module(__name__)
