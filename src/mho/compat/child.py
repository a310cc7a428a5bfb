"""Main module of a worker whose parent runs a notebook or another program Python cannot import.

`multiprocessing` imports a program's main module again in the processes it spawns; `running.run`
names this one.
"""

from mho.compat.running import run_again

if __name__ == "__mp_main__":
    run_again(globals())
