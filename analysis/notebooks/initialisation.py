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
# # Does it pay to start from an image network?
#
# The paper finds a better start early and no better end. So the trainings are evaluated twice.
#
# Its file is `experiments/latte/initialisation.yaml`; a small twin or another launch of your own is read by its own
# file in the same way.

# %%
from pathlib import Path

import analysis

FILE = Path(analysis.__file__).parents[1] / "experiments/latte/initialisation.yaml"
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
# Every score of every evaluation; the early step beside the last.

# %%
scores = e.scores()
scores[scores["metric"].str.startswith("fvd")].pivot_table(index="arm", columns="step", values="value")

# %% [markdown]
# How the arms learned; an arm that is still on its first plateau was compared too early.

# %%
e.curves_figure("loss")
