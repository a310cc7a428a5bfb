from mho.compat._common import seed as seed
