"""The experiment whose samples are held against their captions, as docs/text.md types it, at toy size."""

import json
import re
import shlex
from pathlib import Path

from registry.runs.machine import ROOT
from tests.cli.command import run

PAGE = (ROOT / "docs" / "text.md").read_text(encoding="utf-8")
TINY = (
    *("model.width=16", "model.heads=2", "model.depth=2", "learning.steps=2", "sampling.clips=4"),
    *("learning.batch_size=2", "data.dataset.videos=64", "scoring.real_clips=32", "runtime.threads=1"),
    *("runtime.validate_every=2", "runtime.checkpoint_every=2", "learning.lr_schedule=constant"),
    *("sampling.sampler={name: ddim, steps: 2}", "runtime.device=cpu"),
)


def test_the_page_is_typed_as_it_stands(tmp_path: Path) -> None:
    typed = [shlex.split(line)[2:] for line in PAGE.splitlines() if line.startswith("python run.py ")]
    (launch,) = [words for words in typed if words[:2] == ["launch", "experiments/captioned_shapes.yaml"]]
    told = run(*launch, "--executor", "debug", "--runs", tmp_path / "runs", *TINY)
    assert told.code == 0, told.err
    (folder,) = (tmp_path / "runs").glob("captioned-shapes/baseline-*/seed-0")
    details = json.loads((folder / "result.json").read_text())["score_details"]["caption_accuracy"]["details"]
    assert details["real"] >= 0.99
    assert 0 < details["chance"] < 0.1
    (sample,) = [words for words in typed if words[0] == "sample" and "captioned-shapes" in words[1]]
    (source,) = tmp_path.glob(sample[1])
    told = run("sample", source, *sample[2:], "--out", tmp_path / "drawn", "--format", "json")
    assert told.code == 0, told.err
    captions = re.findall(r"a \w+ \w+ moves \w+", " ".join(sample))
    assert [clip["caption"] for clip in told.json["clips"]] == captions
