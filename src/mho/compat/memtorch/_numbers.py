from mho.compat._common import real as real
from mho.compat._common import sides as sides
from mho.compat._common import whole as whole
