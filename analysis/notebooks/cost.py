# ---
# jupyter:
#   jupytext:
#     formats: ipynb,py:percent
#   kernelspec:
#     display_name: Python 3
#     language: python
#     name: python3
# ---

# %% [markdown]
# # What did it cost, and what did it buy?
#
# Parameters, multiply-adds and seconds beside the score, over the experiments that were launched. The example reads
# the quickstart.

# %%
from pathlib import Path

import analysis

FILE = Path(analysis.__file__).parents[1] / "experiments/quickstart.yaml"
e = analysis.load(FILE)  # without results it says what to launch
e

# %% [markdown]
# Seconds are those of this machine; multiply-adds are of one clip, as they are evaluated, attention products
# included.

# %%
e.runs.groupby("arm")[["parameters", "macs", "seconds"]].mean()

# %% [markdown]
# What no other arm beats at its cost.

# %%
e.pareto("fvd", "macs")

# %%
e.pareto("validation_loss", "seconds")

# %% [markdown]
# A difference is worth what it costs only where it is shown.

# %%
e.verdict()
