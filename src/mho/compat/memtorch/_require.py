from mho.compat._common import require as require
