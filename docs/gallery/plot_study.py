"""What a study found
==================

A network for handwritten digits with three ADCs, two sizes of array and three levels of write noise, three
chips each: accuracy against energy, and which setting matters. Chosen is the design of least energy whose
accuracy is within a point of the best.
"""

import mho
from mho import plot
from mho.analysis import chips
from mho.demo.data import digits
from mho.demo.models import build
from mho.demo.train import train
from mho.study import accuracy_and_cost, sweep

data, model = digits(seed=0), build("MLP", seed=0)
train(model, data, epochs=8, seed=0)
outcome = sweep(
    {
        "adc.bits": [4, 6, 8],
        "array.rows": [16, 64],
        "effects.WriteNoise.sigma": [0.05, 0.15, 0.3],
    },
    accuracy_and_cost(
        model,
        data.test_x[:300],
        data.test_y[:300],
        data.train_x[:100],
        architecture=chips.get("generic_22nm"),
    ),
    hardware=mho.Hardware(
        dac=mho.DAC(bits=4), adc=mho.ADC(bits=8), effects=(mho.effects.WriteNoise(0.1),)
    ),
    chips=3,
    workers=0,
    name="digits",
)
best = outcome.best(minimize="energy", accuracy_within=0.01)
print(best)

# %%
# The median over all other settings, with the band from the 10th to the 90th percentile; the second line
# goes through the chosen design, with standard errors over its chips.
plot.result_against(outcome, "effects.WriteNoise.sigma", choice=best)

# %%
# Every point is a design. No other one beats those of the front in both objectives.
plot.pareto_front(outcome, choice=best)

# %%
# Every line is a design: the same numbers, one axis a setting or a result.
plot.parallel_coordinates(outcome, choice=best)

# %%
# The share of the variance that each setting explains by itself, and has a part in.
plot.sensitivity_bars(outcome.sensitivity())

# %%
# All of it on one sheet.
plot.study_sheet(outcome, best)
