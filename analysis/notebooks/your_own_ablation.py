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
# # Your own ablation, from the question to the answer
#
# The question here: how deep should the quickstart's network be? It is the schema of the experiment files, so
# everything in the reference of keys works; the file `my-depths.yaml` is written on the way, and `python run.py`
# takes it as well.

# %%
from pathlib import Path

import analysis
from experiments import Experiment

QUICKSTART = Path(analysis.__file__).parents[1] / "experiments" / "quickstart.yaml"
STEPS, CLIPS, SEEDS = 60, 16, range(2)  # small, so that this page runs in minutes; for an answer: 200, 96, range(4)

# %% [markdown]
# One factor at a time, each value against the first. The claim is written down before anything runs.

# %%
depths = Experiment(
    "my-depths",
    base=QUICKSTART,
    set={"learning.steps": STEPS, "sampling.clips": CLIPS, "scoring.real_clips": 4 * CLIPS},
    ablate={"model.depth": [4, 2]},
    seeds=SEEDS,
    floors=[],
    claim={"axis": "depth", "better": "4", "worse": "2", "metric": "validation_loss"},
)
depths.plan()

# %% [markdown]
# `plan` wrote nothing but the file, and says what each arm costs. `launch` trains what is not done yet; interrupted
# and called again, it goes on.

# %%
e = depths.launch()
e

# %%
e.table("fvd", "validation_loss")

# %%
e.verdict()

# %%
e.curves_figure("validation_loss")

# %% [markdown]
# Samples of an arm, as videos that play.

# %%
e.samples("baseline", seed=0)

# %% [markdown]
# What next: more seeds where the verdict is undecided (it says how many), another axis, your own videos
# (`data.dataset: video_folder`), or a cluster (`depths.launch(executor="slurm")`).
