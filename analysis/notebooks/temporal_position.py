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
# # Absolute or rotary positions in time?
#
# The paper finds them nearly alike. Alike is claimed as equivalence, within a margin that is ours: a test that finds
# no difference has not shown that there is none.
#
# Its file is `experiments/latte/temporal_position.yaml`; a small twin or another launch of your own is read by its
# own file in the same way.

# %%
from pathlib import Path

import analysis

FILE = Path(analysis.__file__).parents[1] / "experiments/latte/temporal_position.yaml"
e = analysis.load(FILE)  # without results it says what to launch
e

# %% [markdown]
# Mean, spread over seeds and difference to the baseline. The best arm is marked, and what the seeds cannot tell from
# it.

# %%
e.table("fvd")

# %%
e.figure("fvd")

# %% [markdown]
# The answer that counts: the claims as they were written down before, judged together.

# %%
e.verdict()

# %% [markdown]
# The difference by seed, and its interval: it has to lie within the margin.

# %%
pair = e.paired("fvd", "temporal_position=rotary")
pair.by_seed, pair.interval

# %% [markdown]
# How the arms learned; an arm that is still on its first plateau was compared too early.

# %%
e.curves_figure("loss")
