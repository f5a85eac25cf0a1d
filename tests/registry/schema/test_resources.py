"""Resources: times and sizes as people write them, and which of several places has the last word."""

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from registry.errors import SpecError
from registry.experiment.clusters import CLUSTERS_VARIABLE, cluster_defaults
from registry.schema.resources import BUILT_IN, Resources, Shape, minutes, shape_of


@pytest.mark.parametrize(
    ("text", "expected"),
    [("4h", 240), ("90m", 90), ("90 min", 90), ("1.5h", 90), ("1d", 1440), ("12:00:00", 720), ("2-00:00:00", 2880),
     ("00:00:30", 1), ("00:01:01", 2), ("0.1m", 1)],
)  # fmt: skip
def test_times(text: str, expected: int) -> None:
    assert minutes(text) == expected
    assert Shape(time=text).time == text


@given(st.integers(0, 30), st.integers(0, 23), st.integers(0, 59), st.integers(0, 59))
def test_a_span_is_never_cut_short(days: int, hours: int, mins: int, seconds: int) -> None:
    whole = ((days * 24 + hours) * 60 + mins) * 60 + seconds
    found = minutes(f"{days}-{hours}:{mins:02d}:{seconds:02d}")
    assert found * 60 - 60 < whole <= found * 60


@pytest.mark.parametrize("text", ["4", "10:30", "soon", "0h", "-1h", "4 weeks", "1:2:3"])
def test_a_time_that_could_be_misread_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="expected a time of a minute or more"):
        Shape(time=text)


@pytest.mark.parametrize("text", ["64", "64G", "500M", "1TB"])
def test_sizes(text: str) -> None:
    assert Shape(memory=text).memory == text
    with pytest.raises(ValueError, match="expected a size"):
        Shape(memory="much " + text)


@pytest.mark.parametrize("option", ["requeue", "no-requeue", "no_requeue"])
def test_whether_a_job_is_requeued_is_not_to_be_said(option: str) -> None:
    with pytest.raises(ValueError, match=f"leave {option} out: every job has --requeue"):
        Resources(arms={"size=XL*": Shape(sbatch={option: True})})


def test_the_more_particular_place_has_the_last_word() -> None:
    resources = Resources(gpus=1, time="8h", arms={"size=XL*": Shape(gpus=8, nodes=2), "*variant_4": Shape(time="16h")})
    cluster = Shape(partition="gpu", time="1h", cpus=8)
    plain = shape_of("baseline", resources, cluster)
    assert (plain.partition, plain.time, plain.cpus, plain.gpus, plain.nodes) == ("gpu", "8h", 8, 1, 1)
    large = shape_of("size=XL,blocks=variant_4", resources, cluster)
    assert (large.gpus, large.nodes, large.time, large.cpus) == (8, 2, "16h", 8)
    assert shape_of("baseline", Resources(), Shape()).time == BUILT_IN.time


def test_one_process_a_gpu_unless_it_is_said() -> None:
    assert shape_of("a", Resources(gpus=8, nodes=2), Shape()).tasks == 16
    assert shape_of("a", Resources(gpus=8, nodes=2), Shape()).devices == 16
    assert shape_of("a", Resources(gpus=8, tasks_per_node=1), Shape()).tasks == 1
    assert shape_of("a", Resources(), Shape()).tasks == 1
    assert shape_of("a", Resources(nodes=2, tasks_per_node=4), Shape()).devices == 2  # nodes, where there are no GPUs


@pytest.fixture
def clusters(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    path = tmp_path / "clusters.yaml"
    monkeypatch.setenv(CLUSTERS_VARIABLE, str(path))
    return path


def test_the_users_file_of_clusters(clusters: Path) -> None:
    assert cluster_defaults("lab") == Shape()
    clusters.write_text("default: {account: me, cpus: 4}\nlab: {cpus: 16, setup: [module load cuda]}\n")
    lab = cluster_defaults("lab")
    assert (lab.account, lab.cpus, lab.setup) == ("me", 16, ("module load cuda",))
    assert cluster_defaults("elsewhere").cpus == 4


def test_a_wrong_file_of_clusters_is_told_with_its_lines(clusters: Path) -> None:
    clusters.write_text("lab:\n  cpu: 16\n  time: soon\n")
    with pytest.raises(SpecError) as refused:
        cluster_defaults("lab")
    told = "\n".join(refused.value.problems)
    assert f"{clusters}:2: lab.cpu: unknown key; did you mean 'cpus'?" in told
    assert f"{clusters}:3: lab.time: expected a time" in told
    clusters.write_text("[lab]\n")
    with pytest.raises(SpecError, match="expected a mapping of cluster names"):
        cluster_defaults("lab")


@pytest.mark.parametrize(
    ("gres", "gpus"), [("gpu", 1), ("gpu:2", 2), ("gpu:a100:8", 8), ("gpu:a100:4,tpu:1", 4), ("tpu:2", 0)]
)
def test_gpus_that_are_named_by_gres_count_as_gpus(gres: str, gpus: int) -> None:
    shape = shape_of("a", Resources(gres=gres), Shape())
    assert (shape.gpus, shape.tasks_per_node, shape.devices) == (gpus, max(1, gpus), max(1, gpus))
    assert shape_of("a", Resources(gres=gres, gpus=3), Shape()).gpus == 3


def test_sbatch_options_of_several_places_go_together() -> None:
    shape = shape_of(
        "a", Resources(sbatch={"reservation": "mine"}), Shape(sbatch={"exclusive": True, "reservation": "lab"})
    )
    assert shape.sbatch == {"exclusive": True, "reservation": "mine"}


def test_a_job_has_more_time_than_its_warning() -> None:
    with pytest.raises(SpecError, match="time 1m is no longer than signal_seconds 120"):
        shape_of("a", Resources(time="1m"), Shape())
    assert shape_of("a", Resources(time="1m", signal_seconds=30), Shape()).time == "1m"


def test_replicates_of_several_processes_are_not_taken_in_turn() -> None:
    resources = Resources(gpus=1, replicates_per_task=8, arms={"large": Shape(gpus=8)})
    assert shape_of("small", resources, Shape()).of_a_task == 8
    with pytest.raises(SpecError, match=r"replicates_per_task 8: large has 8 processes"):
        shape_of("large", resources, Shape())
    with pytest.raises(SpecError, match=r"replicates_per_gpu 2: large has 8 processes"):
        shape_of("large", Resources(gpus=8, replicates_per_gpu=2), Shape())
    assert shape_of("small", Resources(), Shape(replicates_per_task=3)).of_a_task == 3
    assert shape_of("small", Resources(), Shape()).of_a_task == 1
