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
# # Which arrangement of attention is best?
#
# The paper finds variant 1 (spatial and temporal blocks that alternate) best, 2 and 3 close, 4 worst. Its arithmetic
# of variant 4 is that of patch 4, so the experiment has variant 4 at both patches.
#
# Its file is `experiments/latte/variants.yaml`; a small twin or another launch of your own is read by its own file in
# the same way.

# %%
from pathlib import Path

import analysis

FILE = Path(analysis.__file__).parents[1] / "experiments/latte/variants.yaml"
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
# What each costs: no arm may be better and cheaper at once on the front.

# %%
e.pareto("fvd", "macs")

# %% [markdown]
# The confound by itself: the same blocks at patch 2 and patch 4.

# %%
e.paired("fvd", "blocks=variant_4", against="variant_4_patch_4")

# %% [markdown]
# How the arms learned; an arm that is still on its first plateau was compared too early.

# %%
e.curves_figure("loss")
