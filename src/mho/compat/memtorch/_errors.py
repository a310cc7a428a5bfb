from mho.compat._common import Refused as Refused
