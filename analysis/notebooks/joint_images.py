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
# # Does it pay to train on stills beside the clips?
#
# The paper finds joint training better (FVD 27.08 against 34.00 on FaceForensics). The joint arm sees more frames and
# costs more a step.
#
# Its file is `experiments/latte/joint_images.yaml`; a small twin or another launch of your own is read by its own
# file in the same way.

# %%
from pathlib import Path

import analysis

FILE = Path(analysis.__file__).parents[1] / "experiments/latte/joint_images.yaml"
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
# By how much, seed by seed.

# %%
e.paired("fvd", "joint_images=8").by_seed

# %% [markdown]
# How the arms learned; an arm that is still on its first plateau was compared too early.

# %%
e.curves_figure("loss")
