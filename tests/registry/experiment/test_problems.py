"""What people get wrong in an experiment file, and the one clear line that each mistake gets."""

import itertools
from pathlib import Path

import pytest

from registry.errors import SpecError
from registry.experiment.experiment_file import load_experiment
from tests.fixtures.writing import TOY, arms, one, problems, resolved, write


def in_base(tmp_path: Path, section: str) -> list[str]:
    """Problems of a toy experiment with one more section in its base, at line 5."""
    return problems(write(tmp_path, TOY + f"  {section}\n"))


@pytest.mark.parametrize(
    ("section", "key", "words"),
    [
        ("learning: {setps: 5}", "learning.setps", "unknown key; did you mean 'steps'?"),
        ("learnin: {steps: 5}", "learnin", "unknown key; did you mean 'learning'?"),
        ("learning: {steps: many}", "learning.steps", "expected a valid integer, got 'many' (str)"),
        ("learning: {steps: 5.0}", "learning.steps", "expected a valid integer, got 5.0 (float)"),
        ("learning: {steps: true}", "learning.steps", "expected a valid integer, got True (bool)"),
        ("learning: {steps: '5'}", "learning.steps", "expected a valid integer, got '5' (str)"),
        ("learning: {steps: -1}", "learning.steps", "expected greater than or equal to 0, got -1 (int)"),
        ("learning: {ema_decay: 1.5}", "learning.ema_decay", "expected less than or equal to 1, got 1.5 (float)"),
        ("learning: 5", "learning", "expected a valid dictionary"),
        ("scoring: {split: trian}", "scoring.split", "'trian' is not a choice; did you mean 'train'?"),
        (
            "diffusion: {objective: v_predicton}",
            "diffusion.objective",
            "no objective 'v_predicton': did you mean 'v_prediction' or 'x0_prediction'?",
        ),
        ("sampling: {sampler: {name: ddm}}", "sampling.sampler", "no sampler 'ddm': did you mean"),
        (
            "sampling: {sampler: {steps: 5}}",
            "sampling.sampler",
            "expected the name of a sampler, or a mapping with `name`",
        ),
        ("sampling: {sampler: 5}", "sampling.sampler", "expected the name of a sampler"),
        ("sampling: {sampler: {name: ddim, stepz: 5}}", "sampling.sampler.stepz", "unknown key; did you mean 'steps'?"),
        (
            "sampling: {sampler: {name: ddim, eta: lots}}",
            "sampling.sampler.eta",
            "expected a valid number, got 'lots' (str)",
        ),
        ("sampling: {sampler: {name: ddim, eta: -1.0}}", "sampling.sampler.eta", "expected greater than or equal to 0"),
        (
            "learning: {initialisation: {name: scratch, gain: 2}}",
            "learning.initialisation.gain",
            "initialisation scratch has no parameters",
        ),
        ("plugins: [somewhere]", "plugins", "stands at the top level"),
    ],
)
def test_one_line_with_place_key_and_what_to_do(tmp_path: Path, section: str, key: str, words: str) -> None:
    lines = in_base(tmp_path, section)
    assert len(lines) == 1, lines
    assert lines[0].startswith(f"{tmp_path / 'toy.yaml'}:5: {key}: ")
    assert words in lines[0]


@pytest.mark.parametrize(
    ("section", "key", "words"),
    [
        (
            "diffusion: {objective: flow_matching, noise_schedule: cosine}",
            "diffusion.noise_schedule",
            "flow_matching does not go with cosine",
        ),
        ("sampling: {sampler: euler}", "sampling.sampler", "euler cannot sample epsilon_learned_sigma"),
        ("learning: {label_drop: 0.1}", "learning.label_drop", "no labels to drop"),
        ("sampling: {guidance: 2.0}", "sampling.guidance", "guidance needs a class-conditional model"),
    ],
)
def test_illegal_combinations_are_refused_by_name(tmp_path: Path, section: str, key: str, words: str) -> None:
    lines = in_base(tmp_path, section)
    assert words in one(lines, f":5: {key}: ")


@pytest.mark.parametrize(
    ("override", "words"),
    [
        ("model.heads=3", "3 heads do not divide the width 16"),
        ("model.width=18", "width divisible by 4"),
        ("model.depth=3", "depth must be even"),
        ("model.blocks=variant_4", None),
        ("model={width: 12, heads: 3, depth: 2, blocks: variant_4}", "splits the heads in 2 branches"),
        ("model={width: 12, heads: 4, depth: 2, temporal_position: rotary}", "a head needs an even width"),
        ("model.patch_embedding={name: compression_frame, temporal_stride: 3}", "tubelets of 3 frames do not divide"),
        ("model={size: S, width: 16}", "give size or width, not both"),
        ("model={width: null}", "missing: width"),
    ],
)
def test_dimensions_that_do_not_go_together(tmp_path: Path, override: str, words: str | None) -> None:
    lines = problems(write(tmp_path, TOY), override)
    assert len(lines) == (words is not None), lines
    assert words is None or words in lines[0]


EVERYTHING_WRONG = """
name: all wrong
sedes: [0]
base:
  model: {width: 16, heads: 2, depth: 2, block: variant_2}
  learning: {steps: few}
  learning: {steps: 2}
ablate:
  model.blocks: [variant_1, variant_9]
  learning.setps: [1, 2]
  model.conditioning: [s_adaln, all_tokens]
claim:
  - {axis: conditionin, better: s_adaln}
  - {axis: conditioning, better: s_adaln, worse: all_token, metric: fdv}
match: {parameters: two}
"""


def test_everything_wrong_is_told_in_one_go(tmp_path: Path) -> None:
    lines = problems(write(tmp_path, EVERYTHING_WRONG))
    one(lines, ":7: base.learning: given twice")
    one(lines, ":2: name: 'all wrong' is not a name")
    one(lines, ":3: sedes: unknown key; did you mean 'seeds'?")
    one(lines, ":5: model.block: unknown key; did you mean 'blocks'?")
    one(lines, ":6: learning.steps: expected a valid integer")
    one(lines, ":9: arm blocks=variant_9: model.blocks: no blocks 'variant_9': did you mean")
    for value in (1, 2):
        one(lines, f":10: arm setps={value}: learning.setps: unknown key; did you mean 'steps'?")
    one(lines, ":13: claim.axis: no axis 'conditionin'; did you mean 'conditioning'?")
    one(lines, ":14: claim.worse: axis conditioning has no value 'all_token'; did you mean 'all_tokens'?")
    one(lines, ":14: claim.metric: no metric 'fdv'; did you mean 'fvd'")
    one(lines, ":15: match.parameters: expected a percentage such as 2%")
    assert len(lines) == 12, lines


def test_what_the_base_has_wrong_is_told_once(tmp_path: Path) -> None:
    path = write(
        tmp_path, TOY + "  learning: {steps: few}\nablate:\n  model.blocks: [variant_1, variant_2, variant_3]\n"
    )
    assert len(problems(path)) == 1


def test_an_arm_that_repeats_a_mistake_is_told_of_its_own(tmp_path: Path) -> None:
    path = write(tmp_path, TOY + "  learning: {steps: few}\nablate:\n  learning.steps: [few, 4]\n")
    assert [line.split(": ")[0].rsplit(":", 1)[1] for line in problems(path)] == ["5", "7"]


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("seeds: [0, 0]", "seeds: expected at least one seed, each once"),
        ("seeds: []", "seeds: expected at least one seed, each once"),
        ("seeds: 3", "seeds: expected a valid tuple or a valid dictionary, got 3 (int)"),
        ("seeds: [a]", "seeds.0: expected a valid integer"),
        ("match: {}", "match: give parameters or macs"),
        ("match: {steps: true}", "match: give parameters or macs"),
        ("ablate: {model: [1]}", "ablate.model: 'model' is a section"),
        ("ablate: {modle.blocks: [1]}", "ablate.modle.blocks: unknown key 'modle'; did you mean 'model'?"),
        ("ablate: {model.blocks: []}", "ablate.model.blocks: needs at least one value"),
        ("ablate: {model.blocks: variant_2}", "ablate.model.blocks: expected a valid tuple"),
        ("zip: {model.width: [16, 32], model.heads: [2]}", "model.width has 2, model.heads has 1"),
        ("arms: {baseline: {model.depth: 4}}", "cannot name an arm"),
        ("arms: {a/b: {model.depth: 4}}", "cannot name an arm"),
        ("arms: {deep: {modell.depth: 4}}", "arms.deep.modell.depth: unknown key 'modell'"),
        ("arms: {same: {model.depth: 2}}", "arms.same: is the same as arm 'baseline'"),
        ("claim: {axis: blocks, better: x}", "claim.axis: no axis 'blocks'; the experiment varies nothing"),
        ("claim: {better: x}", "claim.0.axis: missing"),
        ("claim: {axis: blocks, bettre: x}", "claim.0.bettre: unknown key; did you mean 'better'?"),
        ("plugins: [no.such.module]", "plugins: no Python module 'no.such.module'"),
        ("resources: {parallel: 0}", "resources.parallel: expected greater than 0"),
        ("set: [1]", "set: expected a mapping"),
    ],
)
def test_the_top_level(tmp_path: Path, text: str, words: str) -> None:
    lines = problems(write(tmp_path, TOY + text + "\n"))
    line = one(lines, words)
    assert len(lines) == 1, lines
    assert line.startswith(f"{tmp_path / 'toy.yaml'}:5: ")


def test_a_claim_between_an_arm_and_itself(tmp_path: Path) -> None:
    path = write(tmp_path, TOY + "ablate: {model.blocks: [variant_1, variant_2]}\n")
    assert "both 'variant_2'" in problems(path, "claim={axis: blocks, better: variant_2, worse: variant_2}")[0]
    same = "claim={axis: noise_schedule, better: linear, worse: 'null'}"
    lines = problems(path, "ablate={diffusion.noise_schedule: [linear, null]}", same)
    assert "are the same arm" in one(lines, "claim")


@pytest.mark.parametrize("text", ["- a\n- b\n", "just words\n", "", "5\n"])
def test_a_file_that_is_no_mapping(tmp_path: Path, text: str) -> None:
    assert "an experiment is a mapping" in one(problems(write(tmp_path, text)), "toy.yaml:1")


@pytest.mark.parametrize(
    ("override", "words"),
    [
        ("model.depht=4", "command line: model.depht: unknown key; did you mean 'depth'?"),
        ("modle.depth=4", "command line: modle.depth=4: unknown key 'modle'; did you mean 'model'?"),
        ("model.depth", "command line: model.depth: an override is written key.path=value"),
        ("=4", "command line: =4: an override is written key.path=value"),
        ("+model.depth=4", "an override is written key.path=value"),
        ("model.depth=four", "command line: model.depth: expected a valid integer, got 'four' (str)"),
        ("learning.steps=[1", "not valid YAML"),
        ("seeds=[0,0]", "command line: seeds: expected at least one seed"),
        ("seeds.0=3", "command line: seeds.0=3: seeds is a list here; give it anew, as seeds=[…]"),
        ("sede=[0]", "command line: sede=[0]: unknown key 'sede'; did you mean 'seeds'"),
    ],
)
def test_overrides_that_are_wrong(tmp_path: Path, override: str, words: str) -> None:
    one(problems(write(tmp_path, TOY + "seeds: [1, 2]\n"), override), words)


def test_overrides_are_typed_by_the_schema(tmp_path: Path) -> None:
    path = write(tmp_path, TOY)
    words = [
        "learning.learning_rate=1",
        "learning.steps=7",
        "data.antialias=false",
        "sampling.sampler=ddim",
        "sampling.sampler.steps=ddim25",
        "data.path=012x",
        "learning.clip_norm=null",
        "scoring.real_interval=2",
        "data.dataset.videos=9",
    ]
    spec = arms(path, *words)["baseline"].spec
    assert repr(spec.learning.learning_rate) == "1.0"
    assert (spec.learning.steps, spec.data.antialias, spec.data.path, spec.learning.clip_norm) == (
        7,
        False,
        str(Path("012x").absolute()),
        None,
    )
    assert spec.sampling.sampler is not None
    assert spec.sampling.sampler.parameters == {"steps": "ddim25", "eta": 0.0, "clip_denoised": False}
    assert (spec.data.dataset.name, spec.data.dataset.videos, spec.scoring.real_interval) == ("moving_shapes", 9, 2)


def test_the_last_override_wins_and_a_new_part_drops_the_old_parameters(tmp_path: Path) -> None:
    path = write(tmp_path, TOY)
    first = arms(path, "model.depth=4", "model.depth=6", "data.autoencoder.factor=2")["baseline"].spec
    assert (first.model.depth, first.data.autoencoder.factor) == (6, 2)
    spec = arms(path, "data.autoencoder.factor=2", "data.autoencoder=sd_vae")["baseline"].spec
    assert "factor" not in spec.data.autoencoder.parameters


def test_overrides_of_the_experiment_level(tmp_path: Path) -> None:
    path = write(
        tmp_path, TOY + "seeds: [0]\nclaim: {axis: blocks, better: variant_2}\nablate: {model.blocks: [variant_2]}\n"
    )
    words = [
        "seeds=[3,4]",
        "name=other",
        "claim.metric=validation_loss",
        "resources.parallel=2",
        "ablate={model.blocks: [variant_1, variant_2, variant_3]}",
    ]
    file = load_experiment(path, words)
    assert (file.experiment.seeds, file.experiment.name, file.experiment.resources.parallel) == ((3, 4), "other", 2)
    found, claims = resolved(path, *words)
    assert [arm.name for arm in found] == ["baseline", "blocks=variant_2", "blocks=variant_3"]
    assert [c.labels for c in claims] == [("variant_2", "variant_1"), ("variant_2", "variant_3")]
    assert {c.metric for c in claims} == {"validation_loss"}
    assert [arm.name for arm in resolved(path, "ablate={}", "claim=[]")[0]] == ["baseline"]


def test_base_may_name_another_file_and_be_changed_by_set(tmp_path: Path) -> None:
    (tmp_path / "deep").mkdir()
    write(tmp_path / "deep", TOY + "seeds: [5]\nablate: {model.depth: [4]}\n", "common.yaml")
    path = write(
        tmp_path,
        """\
        base: deep/common.yaml
        set:
          model.depth: 4
          data: {frames: 8}
          sampling.sampler: ddim
          sampling.sampler.steps: 3
          model.blocks: variant_3
        ablate:
          model.blocks: [variant_1]
        """,
    )
    found = arms(path)
    spec = found["baseline"].spec
    assert spec.sampling.sampler is not None
    assert spec.sampling.sampler.steps == 3
    assert list(found) == ["baseline", "blocks=variant_1"]  # axes and seeds of the other file stay there
    assert (spec.model.depth, spec.data.frames, spec.model.width, spec.model.blocks.name) == (4, 8, 16, "variant_3")
    assert load_experiment(path).experiment.seeds == (0,)


@pytest.mark.parametrize("base", ["", "5", "[1]", "other.yaml"])
def test_changes_of_a_base_that_is_no_mapping_are_told_in_one_line(tmp_path: Path, base: str) -> None:
    write(tmp_path, "base: 5\n", "other.yaml")
    lines = problems(write(tmp_path, f"base: {base}\nset: {{model.depth: 4}}\n"))
    assert ".yaml:1: " in one(lines, "base: expected a valid dictionary, got ")


def plugin(folder: Path, name: str) -> None:
    """A module with a temporal position of the same name, in a folder."""
    folder.mkdir(exist_ok=True)
    given = {"name": name, "title": name.title().replace("_", "")}
    (folder / f"{name}.py").write_text(PLUGIN.format(**given), encoding="utf-8")


PLUGIN = '''\
from components.model.temporal_positions import TemporalPosition
from registry.parts.catalogue import part


@part("temporal_position", "{name}")
class {title}(TemporalPosition):
    """Nothing is added.

    Source: none, an example
    Official code: no
    """
'''


def test_plugins_of_a_base_are_taken_before_ones_own(tmp_path: Path) -> None:
    for name in ("toy_of_base", "toy_of_both", "toy_of_file"):
        plugin(tmp_path, name)
    write(tmp_path, TOY + "plugins: [toy_of_base, toy_of_both]\n", "common.yaml")
    own = "base: common.yaml\nset: {model.temporal_position: toy_of_base}\n"
    path = write(tmp_path, own)
    assert arms(path)["baseline"].spec.plugins == ("toy_of_base", "toy_of_both")
    write(tmp_path, own + "plugins: [toy_of_both, toy_of_file]\n")
    found = arms(path, "ablate={model.temporal_position: [toy_of_file]}")
    assert list(found) == ["baseline", "temporal_position=toy_of_file"]
    assert found["baseline"].spec.plugins == ("toy_of_base", "toy_of_both", "toy_of_file")
    lines = problems(write(tmp_path, own + "plugins: toy_of_file\n"))
    assert "expected a valid tuple" in one(lines, f"{path}:3: plugins: ")


@pytest.mark.parametrize("own", ["", "plugins: [toy_beside]\n"])
def test_a_plugin_beside_a_base_in_another_folder_is_refused(tmp_path: Path, own: str) -> None:
    plugin(tmp_path / "deep", "toy_far")
    plugin(tmp_path, "toy_beside")
    common = write(tmp_path / "deep", TOY + "plugins: [toy_far]\n", "common.yaml")
    write(tmp_path, "base: deep/common.yaml\n", "middle.yaml")
    path = write(tmp_path, "base: middle.yaml\n" + own)
    for _ in range(2):  # also where the base was read as an experiment of its own, so that its folder is known
        line = one(problems(path), "plugins: toy_far lies beside the base ")
        assert str(tmp_path / "deep" / "common.yaml") in line
        assert "put toy_far.py beside toy.yaml, or install it" in line
        assert not problems(common)


def test_arms_that_differ_in_the_place_of_their_data_alone_are_refused(tmp_path: Path) -> None:
    text = TOY + "ablate: {data.path: [/one, /two]}\narms:\n  third: {data.path: /three}\n  same: {model.depth: 2}\n"
    path = write(tmp_path, text)
    lines = problems(path)
    for place, name in ((5, "path=/one"), (5, "path=/two"), (7, "third")):
        told = f":{place}: arm {name} differs from arm baseline only in data.path, which is no part of what identifies"
        assert "write an experiment of its own" in one(lines, told)
    one(lines, ":8: arms.same: is the same as arm 'baseline'")
    assert len(lines) == 4, lines
    other = "{data.path: [/one, /two], data.dataset: [video_folder, ucf101]}"
    assert not problems(path, f"zip={other}", "ablate={}", "arms={}")


def test_problems_are_placed_in_the_file_that_has_them(tmp_path: Path) -> None:
    common = write(tmp_path, TOY + "  learning: {stepz: 2}\n", "common.yaml")
    path = write(tmp_path, "base: common.yaml\nset:\n  model.dept: 4\n")
    lines = problems(path)
    one(lines, f"{common}:5: learning.stepz: unknown key")
    one(lines, f"{path}:3: model.dept: unknown key; did you mean 'depth'?")


@pytest.mark.parametrize("names", [["toy"], ["one", "toy"], ["one", "two", "one"]])
def test_circular_bases(tmp_path: Path, names: list[str]) -> None:
    path = write(tmp_path, f"base: {names[0]}.yaml\n")
    for name, following in itertools.pairwise(names):
        write(tmp_path, f"base: {following}.yaml\n", f"{name}.yaml")
    assert "in a circle" in one(problems(path), "toy.yaml")


def test_absent_base(tmp_path: Path) -> None:
    path = write(tmp_path, "base: nowhere.yaml\n")
    assert "nowhere.yaml: no such file" in one(problems(path), f"{path}:1: base: ")
    with pytest.raises(SpecError, match="no such file"):
        load_experiment(tmp_path / "absent.yaml")
