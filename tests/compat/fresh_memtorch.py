"""Fresh objects of MemTorch's classes, by name. The package must be installed under its name."""

from torch import nn


def memristor():
    from memtorch.bh.memristor import Memristor

    class Mine(Memristor):
        def simulate(self, voltage_signal):
            """Nothing moves."""

        def set_conductance(self, conductance):
            self.g = conductance

    return Mine(2e3, 1e3, 1e-3)


def device(name):
    import memtorch

    return getattr(memtorch.bh.memristor, name)()


def crossbar():
    import memtorch

    model = memtorch.bh.memristor.VTEAM
    return memtorch.bh.crossbar.Crossbar(model, {}, (3, 4))


def tile():
    import memtorch

    return memtorch.bh.crossbar.Tile((3, 4))


def layer(name, digital):
    import memtorch

    model = memtorch.bh.memristor.VTEAM
    return getattr(memtorch.mn, name)(digital, model, {}, verbose=False)


MAKE = {
    **{
        name: lambda name=name: device(name)
        for name in ("Data_Driven", "Data_Driven2021", "LinearIonDrift", "Stanford_PKU", "VTEAM")
    },
    "Memristor": memristor,
    "Crossbar": crossbar,
    "Tile": tile,
    "Linear": lambda: layer("Linear", nn.Linear(3, 2)),
    "Conv1d": lambda: layer("Conv1d", nn.Conv1d(1, 2, 3)),
    "Conv2d": lambda: layer("Conv2d", nn.Conv2d(1, 2, 3)),
    "Conv3d": lambda: layer("Conv3d", nn.Conv3d(1, 2, 3)),
    "RNN": lambda: layer("RNN", nn.RNN(3, 2, bidirectional=True)),
}
