"""Preparing: what replicates share is made once, before them: manifests, latents, references, early floors."""

import math
import os
from collections.abc import Sequence
from pathlib import Path

from components.assembly import Assembly
from components.data.autoencoders import Autoencoder
from components.data.caption_cache import CaptionFiles
from components.data.clips import frames_needed
from components.data.datasets import remarks
from components.data.prepare import Prepared, prepare
from experiments.launch.early_floors import Opened, measure_early, note_measured
from experiments.plan.check import check
from experiments.plan.plan import Plan
from experiments.record.lease import leased
from experiments.record.progress import Progress
from experiments.record.recording import bind_data
from experiments.scores import floors
from experiments.scores.scoring import how_measured, prepare_reference
from experiments.training.devices import device_of
from experiments.training.open_data import open_data
from registry.errors import RunError, SpecError
from registry.experiment.arm import Arm
from registry.paths import expanded
from registry.runs.floors import owner_of
from registry.runs.places import DATA_FOLDER, FLOORS_MEASURED
from registry.runs.records import LatentStatistics, PreparedData, Result, State, read_json
from registry.runs.replicate import Replicate
from registry.schema.spec import Spec
from registry.schema.values import values_at

PREPARING = "preparing"  # folder among the prepared data: whose turn it is to prepare
PATIENCE = 86400.0  # seconds to wait for another process that prepares
SHARED = ("data", "scoring", "sampling.clips", "model.classes", "runtime.device")  # what prepared data follow from


def shared_by(spec: Spec) -> str:
    """Return what a spec's prepared data follow from, as a text that is the same however the videos' place is named."""
    if spec.data.path is not None:
        data = spec.data.model_copy(update={"path": str(expanded(spec.data.path).resolve())})
        spec = spec.model_copy(update={"data": data})
    return values_at(spec, SHARED)


class PreparedHere:
    """The data that this process has prepared, each once.

    Args:
        progress: is called with (what, done, in all).
    """

    def __init__(self, progress: Progress) -> None:
        self.progress = progress
        self._found: dict[str, Prepared] = {}

    def prepare(self, plan: Plan) -> None:
        """Prepare the data of the selected arms that are new, and note them in the folders of their trainings.

        Raises:
            RunError: nothing readable, or a training came from other data.
            SpecError: a path or split that is wrong.
        """
        keys = {arm.name: shared_by(arm.spec) for arm in plan.selected}
        if not self._found.keys() >= set(keys.values()):
            made = prepare_data(plan, self.progress)
            self._found |= {keys[name]: prepared for name, prepared in made.items()}
        bind_replicates(plan, {name: self._found[key] for name, key in keys.items()})


def prepare_data(plan: Plan, progress: Progress) -> dict[str, Prepared]:
    """Check the plan; index, cache and measure every data set that the selected arms use; returns them by arm name.

    Raises:
        RunError: nothing readable; the class count is not the model's.
        SpecError: a path or split that is wrong.
    """
    check(plan, with_data=True)
    root = plan.runs / DATA_FOLDER

    def told(who: str) -> None:
        progress(f"waiting for {who}, which prepares data", 0, 1)

    with leased(root / PREPARING, PATIENCE, told):  # what two launches share is made once
        return _prepare_all(plan, root, progress)


def _prepare_all(plan: Plan, root: Path, progress: Progress) -> dict[str, Prepared]:
    """Prepare the data of all selected arms, once for those that share them; returns them by arm name."""
    needs = sorted({need for arm in plan.selected for need in _needs(arm.spec)})
    alike: dict[str, list[Arm]] = {}
    for arm in plan.selected:
        alike.setdefault(shared_by(arm.spec), []).append(arm)
    by_identity: dict[str, Prepared] = {}
    found: dict[str, Prepared] = {}
    for arms in alike.values():
        dataset = Assembly(arms[0].spec, plan.file.parts).dataset()
        key = str(dataset.identity())
        if key not in by_identity:
            by_identity[key] = prepare(
                dataset, root, needs, workers=max(1, (os.cpu_count() or 2) - 1), progress=progress
            )
        found |= dict.fromkeys((arm.name for arm in arms), by_identity[key])
        _prepare_shared(plan, arms, by_identity[key], progress)
    return found


def _prepare_shared(plan: Plan, arms: Sequence[Arm], prepared: Prepared, progress: Progress) -> None:
    """Encode and measure what arms share that agree in what their prepared data follow from."""
    name, spec = arms[0].name, arms[0].spec
    _check_classes(plan, name, spec, prepared)
    assembly, data, device = Assembly(spec, plan.file.parts), spec.data, device_of(spec)
    prepared.videos("train", data.least_frames)
    autoencoder = assembly.autoencoder().to(device)
    prepared.build_cache(autoencoder, data.resolution, data.transform, data.antialias, data.flip > 0, progress)
    _encode_captions(plan, arms, prepared, progress)
    opened = Opened(spec, prepared, autoencoder, assembly.metrics(), how_measured(spec, device))
    prepare_reference(spec, prepared, opened.metrics, opened.how, progress)
    measure_early(plan, shared_by(spec), opened, progress)


def _encode_captions(plan: Plan, arms: Sequence[Arm], prepared: Prepared, progress: Progress) -> None:
    """Encode the captions of a set that networks read, where that was not done before.

    Raises:
        SpecError: the set has no captions, or the conditioning of an arm reads embeddings of another width.
    """
    spec = arms[0].spec
    if spec.data.text_encoder is None:
        return
    if not prepared.manifest.captions_digest:
        raise SpecError(
            f"{plan.file.place(('base', 'data', 'text_encoder'))}: data.text_encoder: arm {arms[0].name} reads "
            f"captions, and no video of {spec.data.dataset.name} has one: put captions.csv (columns path, caption) "
            "beside the videos, or take a set that captions itself"
        )
    of_arms = [Assembly(arm.spec, plan.file.parts).text_encoder() for arm in arms]  # which looks at their conditioning
    encoder = of_arms[0].to(device_of(spec))
    files = CaptionFiles.of(prepared.folder, prepared.manifest, encoder.fingerprint(), encoder.length)
    files.opened(lambda: encoder, progress)


def late_floor(plan: Plan, todo: Sequence[Replicate], progress: Progress) -> bool:
    """The samples of the first replicate that is done against samples of its checkpoint from other noise.

    Returns:
        Whether it was measured now; not where it is there already or came to nothing, not wanted, or nothing is done.

    Raises:
        RunError: it cannot be measured here.
    """
    first = _first_done(todo)
    if first is None or "resampled" not in plan.file.experiment.floors:
        return False
    owner, noted = owner_of(first), (read_json(plan.folder / FLOORS_MEASURED) or {}).get(owner_of(first))
    missing = _without_floor(plan, owner, first.result())
    if not missing - set(noted if isinstance(noted, dict) else ()):
        return False
    prepared, _ = open_data(first)
    how = how_measured(first.spec, device_of(first.spec))
    metrics = Assembly(first.spec).metrics()
    floors.add_floors(plan.folder, floors.resampled(first, metrics, prepared, how, lambda: False, progress))
    if came_to_nothing := _without_floor(plan, owner, first.result()):
        note_measured(plan, owner, dict.fromkeys(sorted(came_to_nothing), False))
    floors.drop_resampled(first)
    return True


def late_floor_takes(todo: Sequence[Replicate]) -> float:
    """Return about how many seconds `late_floor` takes: as long as its replicate was sampled and scored.

    Infinity where nothing says so: nothing is done, it took several attempts or processes, or another kind of device.
    """
    first = _first_done(todo)
    result = first.result() if first is not None else None
    if first is None or result is None or (result.attempts, result.processes) != (1, 1):
        return math.inf
    try:
        here = device_of(first.spec).type
    except RunError:  # there is none here
        return math.inf
    if result.device.partition(":")[0] != here:
        return math.inf
    return sum(result.seconds_of.get(stage, math.inf) for stage in ("sampling", "scoring"))


def _first_done(todo: Sequence[Replicate]) -> Replicate | None:
    return next((replicate for replicate in todo if replicate.state is State.DONE), None)


def _without_floor(plan: Plan, owner: str, result: Result | None) -> set[str]:
    """The protocols of scores against real clips, and nothing else, beside which no floor of resampling stands."""
    known = floors.known_floors(plan.folder)
    have = {floor.protocol for floor in known if (floor.floor, floor.of) == ("resampled", owner)}
    bound = result.protocol_specs.items() if result else ()
    return {mark for mark, spec in bound if "real" in spec and "held_out" not in spec and mark not in have}


def _needs(spec: Spec) -> set[int]:
    return {spec.data.least_frames, frames_needed(spec.scoring.frames or 1, spec.scoring.real_interval or 1)}


def _check_classes(plan: Plan, arm: str, spec: Spec, prepared: Prepared) -> None:
    if spec.model.classes and spec.model.classes != len(prepared.classes):
        raise SpecError(
            f"{plan.file.place(('base', 'model', 'classes'))}: model.classes: arm {arm} has {spec.model.classes}, "
            f"the data has {len(prepared.classes)} ({', '.join(prepared.classes[:8]) or 'no class folders'})"
        )


def bind_replicates(plan: Plan, prepared: dict[str, Prepared]) -> None:
    """Note in the folders of the selected trainings that are there which prepared data they are trained on.

    Raises:
        RunError: a training came from other data.
    """
    weights: dict[str, tuple[Autoencoder, str]] = {}  # with its fingerprint: read once, not for every replicate
    texts: dict[str, str] = {}  # fingerprints of text encoders
    bound: set[Path] = set()
    for replicate in plan.replicates:
        if not replicate.training.exists() or replicate.training in bound:
            continue  # it was not launched yet, or shares its training
        bound.add(replicate.training)
        data = prepared[replicate.arm]
        autoencoder = f"{replicate.spec.data.autoencoder} at {replicate.spec.data.resolution}"
        if autoencoder not in weights:
            coder = Assembly(replicate.spec).autoencoder()
            weights[autoencoder] = coder, coder.fingerprint()
        about = PreparedData(
            digest=data.digest, folder=str(data.folder.resolve()), videos=len(data.records),
            autoencoder=weights[autoencoder][1],
            latents=_statistics(replicate.spec, data, weights[autoencoder][0]),
            **_captions(replicate.spec, data, texts),
        )  # fmt: skip
        bind_data(replicate.training, about)


def _captions(spec: Spec, prepared: Prepared, texts: dict[str, str]) -> dict[str, str]:
    """What the captions that a training reads are known by; nothing where it reads none."""
    if spec.data.text_encoder is None:
        return {}
    name = str(spec.data.text_encoder)
    if name not in texts:
        texts[name] = Assembly(spec).text_encoder().fingerprint()
    return {"captions": prepared.manifest.captions_digest, "text_encoder": texts[name]}


def _statistics(spec: Spec, prepared: Prepared, autoencoder: Autoencoder) -> LatentStatistics | None:
    """What the latents are standardised by; None where the autoencoder states a scale, and nothing is opened."""
    if autoencoder.scale is not None:
        return None
    data = spec.data
    cache = prepared.build_cache(autoencoder, data.resolution, data.transform, data.antialias, data.flip > 0)
    return cache.standardisation.statistics if cache.standardisation else None


def describe_data(prepared: dict[str, Prepared]) -> list[str]:
    """What `prepare` made, a line each: folder, videos, classes, what the set says of them, and what was rejected."""
    lines = []
    for data in {str(found.folder): found for found in prepared.values()}.values():
        classes = f", {len(data.classes)} classes" if data.classes else ""
        lines.append(f"wrote {data.folder}: {len(data.records)} videos{classes}, manifest {data.digest[:10]}")
        if captioned := sum(bool(record.caption) for record in data.records):
            lines.append(f"  {captioned} of {len(data.records)} videos have a caption")
        lines += [f"  {remark}" for remark in remarks(data.dataset, data.records)]
        if data.rejected:
            lines.append(
                f"  {len(data.rejected)} entries in {data.folder / 'rejected.csv'}, "
                f"the first: {': '.join(data.rejected[0])}"
            )
    return lines
