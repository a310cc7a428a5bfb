"""Invariants of models on crossbars that need no reference. Each returns what is wrong, or None."""

import copy
import io

import torch

import menu
import mho

READS = 100
SIGMAS = 6.0


def read(model, x):
    """Return the outputs of a model in eval mode."""
    with torch.no_grad():
        return model(x)


def crossbars(model):
    return mho.crossbars(model).values()


def noisy(hardware):
    """Whether two reads of one input differ."""
    amplifier, adc = hardware.amplified, hardware.adc
    noise = (amplifier is not None and amplifier.noisy) or (adc is not None and adc.noisy)
    return (
        noise
        or hardware.drive.jitters
        or any(
            b.acts_on("read_std") or (b.acts_on("read") and b.redrawn) for b in hardware.behaviours
        )
    )


def by_call(hardware):
    """Whether samples depend on their batch: that is documented of ranges per call."""
    return any(c is not None and c.range == "per_call" for c in (hardware.dac, hardware.adc))


def apart(one, two, rtol=1e-4):
    """Say how far two outputs are apart, or None."""
    if one.shape != two.shape:
        return f"shape {list(one.shape)} and {list(two.shape)}"
    error = float((one.double() - two.double()).abs().max())
    size = float(torch.maximum(one.double().abs().max(), two.double().abs().max()))
    return None if error <= rtol * size else f"{error:.3g} of {size:.3g}"


def finite(model, x, hardware):
    if not bool(torch.isfinite(read(model, x)).all()):
        return "outputs"
    given = x.clone().requires_grad_()
    for mode in (False, True):
        model.train(mode)
        outputs = model(given)
        if not bool(torch.isfinite(outputs).all()):
            model.eval()
            return f"outputs in {'training' if mode else 'eval'}"
        wanted = [given, *(p for p in model.parameters() if p.requires_grad)]
        grads = torch.autograd.grad(outputs.square().sum(), wanted, allow_unused=True)
        if not all(bool(torch.isfinite(g).all()) for g in grads if g is not None):
            model.eval()
            return f"gradients in {'training' if mode else 'eval'}"
    model.eval()
    return None


def splitting(model, x, hardware):
    """Samples do not depend on their batch."""
    if by_call(hardware):
        return None
    twin = copy.deepcopy(model)
    if not noisy(hardware):
        parts = torch.cat([read(twin, x[:2]), read(twin, x[2:])])
        return _but_few(read(twin, x), parts, hardware)
    whole = torch.stack([read(twin, x).double() for _ in range(READS)])
    parts = torch.stack(
        [torch.cat([read(twin, x[:2]), read(twin, x[2:])]).double() for _ in range(READS)]
    )
    return _means_apart(whole, parts)


def _but_few(one, two, hardware):
    """As `apart`, where rounding may move a few values across a converter's threshold.

    One at least, of however few: a sum that is 0 lies on the threshold of a one-bit converter.
    """
    if hardware.adc is None and hardware.dac is None:
        return apart(one, two)
    error = (one.double() - two.double()).abs()
    far = error > 1e-4 * one.double().abs().max().clamp(min=1e-30)
    share = float(far.double().mean())
    return (
        None
        if int(far.sum()) <= max(1.0, 0.03 * far.numel())
        else f"{share:.0%} of the outputs, by {float(error.max()):.3g}"
    )


def _means_apart(one, two):
    spread = (one.var(0) / len(one) + two.var(0) / len(two)).sqrt()
    size = float(one.abs().max())
    far = (one.mean(0) - two.mean(0)).abs() - SIGMAS * spread - 1e-4 * size
    far = float(far.max())
    return None if far <= 0 else f"means by {far:.3g} of {size:.3g} too far"


def saved(model):
    file = io.BytesIO()
    torch.save(model.state_dict(), file)
    file.seek(0)
    return torch.load(file, weights_only=True)


def round_trip(model, x, hardware, fresh):
    """A fresh model with this one's checkpoint is this one, now and an hour later."""
    state = saved(model)
    twin = copy.deepcopy(model)
    fresh.load_state_dict(state)
    for step in ("now", "an hour later", "programmed"):
        if step == "an hour later":
            for each in (twin, fresh):
                mho.age(each, 3600.0)
        if step == "programmed":
            for each in (twin, fresh):
                mho.program(each)
        one, two = read(twin, x), read(fresh, x)
        if not torch.equal(one, two):
            return f"{step}: {apart(one, two, 0.0)}"
    return None


def copied(model, x, hardware):
    one, two = copy.deepcopy(model), copy.deepcopy(model)
    first, second = read(one, x), read(two, x)
    return None if torch.equal(first, second) else apart(first, second, 0.0)


def aging_composes(model, x, hardware):
    one, two = copy.deepcopy(model), copy.deepcopy(model)
    mho.age(one, 5000.0)
    for part in (0.0, 1400.0, 3600.0):
        mho.age(two, part)
    for a, b in zip(crossbars(one), crossbars(two), strict=True):
        wrong = apart(a.G, b.G, 1e-5)
        if wrong or a.seconds != b.seconds:
            return wrong or "the clock"
    return None


def nothing_to_compensate(model, x, hardware):
    """What was just programmed is not corrected."""
    twin = copy.deepcopy(model)
    mho.program(twin)
    before = read(copy.deepcopy(twin), x)
    for name, factor in mho.compensate(twin).items():
        if not torch.equal(factor, torch.ones_like(factor)):
            return f"{name}: {factor.min():.6g} to {factor.max():.6g}"
    after = read(twin, x)
    return None if torch.equal(before, after) else apart(before, after, 0.0)


def listed(model, x, hardware):
    found = {id(c) for c in crossbars(model)}
    wanted = {id(m) for m in model.modules() if isinstance(m, mho.Crossbar)}
    return None if found == wanted else f"{len(found)} of {len(wanted)}"


def counted(model, x, hardware):
    """Programming gives every crossbar the pulses that its report tells."""
    twin = copy.deepcopy(model)
    before = {n: int(c.writes.sum()) for n, c in mho.crossbars(twin).items()}
    report = mho.program(twin)
    for name, crossbar in mho.crossbars(twin).items():
        given = int(crossbar.writes.sum()) - before[name]
        if given != report[name].pulses:
            return f"{name}: {given} counted, {report[name].pulses} reported"
    return None


def exactly_twice(model, x, hardware):
    """Programming exactly what is programmed exactly changes nothing."""
    one = next(iter(crossbars(copy.deepcopy(model))))
    if any(b.acts_on("program") or b.acts_on("write_std") for b in hardware.effects):
        return None
    one.cells.train(False)
    weight = torch.linspace(-1, 1, one.groups * one.rows * one.cols).to(one.G)
    weight = weight.view(one.groups * one.rows, one.cols)
    once = one.program(weight, mho.programming.Exact()).achieved
    twice = one.program(weight, mho.programming.Exact()).achieved
    return None if torch.equal(once, twice) else apart(once, twice, 0.0)


def collapses(model, x, hardware):
    """A collapsed model computes, and computes what a read without converters does."""
    if any(isinstance(m, menu.Bare) for m in model.modules()):
        return None
    plain = mho.collapse(copy.deepcopy(model))
    found = read(plain, x)
    if not bool(torch.isfinite(found).all()):
        return "outputs"
    if noisy(hardware) or hardware.by_tile or hardware.dac is not None:
        return None
    return apart(found, read(model, x), 1e-3) if hardware.device.ohmic else None


def no_strength(case, x, hardware):
    """Effects of no strength are no effects."""
    none = menu.NO_STRENGTH
    if getattr(hardware.encoding, "compared", False):  # which is refused with any noise of reads
        noise = (mho.effects.ReadNoise, mho.effects.TelegraphNoise)
        none = tuple(effect for effect in none if not isinstance(effect, noise))
    models = [menu.built(case["layer"], hardware.replace(effects=given), 3) for given in ((), none)]
    for model in models:
        mho.age(model, 100.0)
    # One bit has no zero: what rounding leaves of a current decides.
    if noisy(hardware.replace(effects=())) or case["adc"] == "sign":
        return None
    one, two = (read(model, x) for model in models)
    if float(one.abs().max()) < 1e-12:  # all lines are at an amplifier's end: rounding is left
        return None
    return _but_few(one, two, hardware)


def fine_converters(case, x, hardware):
    """Many bits over the whole scale are no converter."""
    if case["layer"] in ("lstm", "cell", "two", "attention"):
        return None
    if getattr(hardware.encoding, "compared", False):  # without converters
        return None
    quiet = hardware.replace(effects=())
    if noisy(quiet) or quiet.drive.mode == "bit_serial":
        return None
    x = x.double()
    models = [
        menu.built(case["layer"], quiet.replace(adc=adc), 3).double()
        for adc in (None, mho.ADC(22, range="full_scale"))
    ]
    one, two = (read(model, x) for model in models)
    return apart(one, two, 1e-3)


def columns_permute(case, x, hardware):
    """Outputs follow their columns."""
    device = hardware.device
    stochastic = case["effects"] not in ("none", "even drift", "warm")
    if case["amplifier"] == "spread" or case["programming"] == "product":  # it draws its inputs
        return None
    built, drivers = hardware.adc and hardware.adc.architecture, hardware.drive.errors
    if (built and built.drawn) or (drivers and drivers.drawn):
        return None
    if stochastic or noisy(hardware) or device.spreads() or not hardware.array.wires.ideal:
        return None
    if case["device"] not in ("linear", "from zero", "vteam") or by_call(hardware):
        return None
    order = torch.tensor([3, 0, 4, 1, 2])
    weight = torch.randn(7, 5, generator=torch.Generator().manual_seed(2))
    one, two = (mho.Crossbar(7, 5, hardware, seed=s) for s in (0, 1))
    one.program(weight)
    two.program(weight[:, order])
    x = x.reshape(len(x), -1)[:, :1].expand(-1, 7) * torch.linspace(-1, 1, 7)
    return _but_few(read(one, x)[:, order], read(two, x), hardware)


def trained_as_fabricated(case, x, chips=200):
    """Training sees the mean and the variance of chips as they are made, aged and compensated."""
    hardware = menu.hardware_of(case)
    seconds, compensated = case["seconds"], case["compensated"]
    model = menu.built(case["layer"], hardware, 1)
    made, drawn = [], []
    for seed in range(chips):
        mho.fabricate(model, seed)
        if seconds:
            mho.age(model, seconds)
        if compensated and seconds:
            mho.compensate(model)
        made.append(read(model.eval(), x).double())
    practice = mho.train.NoiseInjection(ages=(seconds, seconds), compensated=compensated)
    for crossbar in crossbars(model):
        crossbar.inject_noise(practice)
    model.train()
    drawn = [read(model, x).double() for _ in range(chips)]
    return _same_distribution(torch.stack(made), torch.stack(drawn))


def _same_distribution(one, two):
    wrong = _means_apart(one, two)
    if wrong:
        return wrong
    squares = [(y - y.mean(0)).square() for y in (one, two)]
    wrong = _means_apart(*squares)
    return wrong and f"variances: {wrong}"


AFTER = {
    "finite": finite,
    "splitting": splitting,
    "copied": copied,
    "aging composes": aging_composes,
    "compensated at once": nothing_to_compensate,
    "listed": listed,
    "counted": counted,
    "exactly twice": exactly_twice,
    "collapses": collapses,
}
OF_CASES = {
    "no strength": no_strength,
    "fine converters": fine_converters,
    "columns permute": columns_permute,
}
