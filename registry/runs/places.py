"""Where trainings and their evaluations lie among the runs. Plain files are the truth.

runs/_trainings/<training>/seed-<n>/           a training: what is learned once, whoever asks for it
    spec.yaml         what is trained              provenance.json  code, packages, host
    prepared.json     the data it is trained on    checkpoints/     full training state
    events.jsonl      what happened to attempts    metrics.jsonl    one line a logged step
    attempts/         0001.json, …: who ran it     submissions/     0001.json, …: who sent it to an executor
    heartbeat.json    step and speed now           log.txt          what it printed
    trained.json      written behind the last step   seconds.jsonl  what each stretch of steps took
    code.jsonl        digests of the code that worked on it
    system.jsonl      load of the machine meanwhile
    evaluations/<evaluation>/                  one way to sample and score it
        spec.yaml     the resolved spec            samples/         sampled clips, uint8
        desired/      <experiment>.json: who wants it, as which arm, and whether still
        previews/     the same to be looked at     metrics.jsonl    its scores as points
        code.jsonl    as above
        result.json   written last: its presence means done
runs/_trainings/<training>-earlier-<k>/        what other code made, set aside; evaluations likewise
runs/<experiment>/<arm>-<identity>/seed-<n>    a link to the evaluation that is this replicate's
runs/<experiment>/floors.json                  what the scores are where nothing can be better
runs/<experiment>/floors_measured.json         for which data and protocols those that need no training were measured
runs/_data/                                    prepared data sets: manifests, latent caches, reference statistics
"""

import hashlib
from pathlib import Path

from registry.paths import expanded
from registry.schema.spec import Spec

DATA_FOLDER = "_data"
TRAININGS = "_trainings"
EVALUATIONS, DESIRED = "evaluations", "desired"  # folders of a training, and of an evaluation
EARLIER = "-earlier-"  # and a number: behind the name of a training or an evaluation that was set aside
AT_STEP = "at-step-"  # and a number: folder of evaluations on the way, in that of the arm
FLOORS_FILE, FLOORS_MEASURED = "floors.json", "floors_measured.json"
PREPARED = "prepared.json"  # of a training
LOAD_FILE = "system.jsonl"  # of a training
SECONDS_FILE = "seconds.jsonl"  # of a training
IMPORTED = "imported.json"  # of a training that was made elsewhere
LAUNCHES = "_launches"  # folder in that of the experiment: one a launch, with submitit's files and logs


def training_name(spec: Spec) -> str:
    """Return the name of a training's folder: its identity, and a mark of its data's place where it has one.

    The same spec on other videos is another training; what the videos are is only known when they are prepared.
    """
    path = spec.data.path
    if path is None:
        return spec.training
    place = str(expanded(path).resolve())
    return f"{spec.training}-{hashlib.sha256(place.encode()).hexdigest()[:6]}"


def folder_name(arm: str, identity: str) -> str:
    """Return a folder name for an arm: its name as far as file systems bear it, and its identity."""
    plain = "".join(c if c.isalnum() or c in "=._,-" else "-" for c in arm)[:80]
    return f"{plain}-{identity}"


def link_of(experiment: Path, arm: str, identity: str, seed: int, step: int | None = None) -> Path:
    """Return the place of a replicate among the runs of its experiment.

    Args:
        experiment: the experiment's folder.
        arm: its name.
        identity: of the arm.
        seed: of the training.
        step: an earlier one than the arm's own, where it is evaluated there.
    """
    place = experiment / folder_name(arm, identity)
    return (place if step is None else place / f"{AT_STEP}{step}") / f"seed-{seed}"


def experiment_of(link: Path) -> Path:
    """Return the folder of the experiment that a replicate's place among the runs, as of `link_of`, is in."""
    place = link.parent
    return (place.parent if place.name.startswith(AT_STEP) else place).parent
