"""UCF-101: 101 human actions, one folder each."""

import re
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, ClassVar, Literal

from components.data.datasets import Source
from components.data.datasets.published import PublishedSet
from components.data.datasets.wrong_trees import folders_of, shown
from components.data.manifest import VideoRecord
from registry.errors import SpecError, did_you_mean
from registry.parts.catalogue import part

LISTS = "ucfTrainTestlist"
# The folders, in the order of their labels. classInd.txt has Hammering before HammerThrow, and JumpingJack before
# JumpRope; by rank of the folder's name, which the official code labels by, it is the other way round.
CLASSES = (
    "ApplyEyeMakeup", "ApplyLipstick", "Archery", "BabyCrawling", "BalanceBeam", "BandMarching", "BaseballPitch",
    "Basketball", "BasketballDunk", "BenchPress", "Biking", "Billiards", "BlowDryHair", "BlowingCandles",
    "BodyWeightSquats", "Bowling", "BoxingPunchingBag", "BoxingSpeedBag", "BreastStroke", "BrushingTeeth",
    "CleanAndJerk", "CliffDiving", "CricketBowling", "CricketShot", "CuttingInKitchen", "Diving", "Drumming", "Fencing",
    "FieldHockeyPenalty", "FloorGymnastics", "FrisbeeCatch", "FrontCrawl", "GolfSwing", "Haircut", "HammerThrow",
    "Hammering", "HandstandPushups", "HandstandWalking", "HeadMassage", "HighJump", "HorseRace", "HorseRiding",
    "HulaHoop", "IceDancing", "JavelinThrow", "JugglingBalls", "JumpRope", "JumpingJack", "Kayaking", "Knitting",
    "LongJump", "Lunges", "MilitaryParade", "Mixing", "MoppingFloor", "Nunchucks", "ParallelBars", "PizzaTossing",
    "PlayingCello", "PlayingDaf", "PlayingDhol", "PlayingFlute", "PlayingGuitar", "PlayingPiano", "PlayingSitar",
    "PlayingTabla", "PlayingViolin", "PoleVault", "PommelHorse", "PullUps", "Punch", "PushUps", "Rafting",
    "RockClimbingIndoor", "RopeClimbing", "Rowing", "SalsaSpin", "ShavingBeard", "Shotput", "SkateBoarding", "Skiing",
    "Skijet", "SkyDiving", "SoccerJuggling", "SoccerPenalty", "StillRings", "SumoWrestling", "Surfing", "Swing",
    "TableTennisShot", "TaiChi", "TennisSwing", "ThrowDiscus", "TrampolineJumping", "Typing", "UnevenBars",
    "VolleyballSpiking", "WalkingWithDog", "WallPushups", "WritingOnBoard", "YoYo",
)  # fmt: skip
WHOLE = 13_320  # videos
OFFICIAL = {1: (9537, 3783), 2: (9586, 3734), 3: (9624, 3696)}  # of each split: training and test videos


@part("dataset", "ucf101")
class UCF101(PublishedSet):
    """UCF-101: a folder for each of 101 classes with its videos; a label is the rank of the folder's name.

    Source: paper section 4.1 (datasets); Soomro et al. 2012, arXiv 1212.0402: 13,320 videos; official code as described
        in golden README 10.2
    Official code: yes, but ours differs where it has defects: the class is that of the folder, also for the files of
        HandstandPushups, which are spelled HandStandPushups and which the official joint training never uses.

    Args:
        path: the folder of the class folders, `UCF-101` as unpacked.
        resolution: not used; frames are read at their own size.
        form: `videos` as official, or `frames`: a folder of pictures in place of each file.
        split: `all`, every video for training, as the official code has it; or an official split, 1, 2 or 3, read from
            `ucfTrainTestlist/` below the path or beside it.

    Raises:
        SpecError: the path is not such a folder, a folder is not one of its classes or empty, a list is missing.
    """

    preset: ClassVar = {
        "resolution": 256, "interval": 3, "picking": "linspace", "transform": "short_side_then_center_crop",
        "antialias": False, "flip": 0.5,
    }  # fmt: skip
    requires = (("model.classes", "model.classes <= 101", "UCF-101 has 101 classes, not {model.classes}"),)
    places: ClassVar = {"videos": {"train": ""}, "frames": {"train": ""}}
    drawn: ClassVar = {
        "videos": "<path>/<class>/v_<Class>_g<group>_c<clip>.avi, such as Archery/v_Archery_g01_c01.avi",
        "frames": "<path>/<class>/v_<Class>_g<group>_c<clip>/<frame>.jpg",
    }
    published: ClassVar = "https://www.crcv.ucf.edu/data/UCF101.php (UCF101.rar, and the split lists; for research)"

    def __init__(
        self,
        path: str | None,
        resolution: int,
        *,
        form: Literal["videos", "frames"] = "videos",
        split: Literal["all", 1, 2, 3] = "all",
    ) -> None:
        self.split = split
        super().__init__(path, resolution, form=form)
        self._refuse_strange_folders()
        if split != "all":
            self._lists()  # where they are missing, `check` says so

    def identity(self) -> dict[str, Any]:
        """What the folder of the manifest is named by: the set, where it is, its form and its split."""
        return {**super().identity(), "split": self.split}

    def fits(self, folder: Path) -> bool:
        """Whether some folder in it has the name of a class."""
        return any(inside.name in CLASSES for inside in folders_of(folder))

    def starts(self) -> Iterator[tuple[str, Path]]:
        """The class folders; which split a video is of is said by the lists."""
        for folder in folders_of(self.root):
            if folder.name != LISTS:
                yield "train", folder

    def label(self, path: str) -> str:
        """The name of the class folder."""
        return path.split("/")[0]

    def sources(self) -> list[Source]:
        """Every video, with the class of its folder and the split that the lists say.

        Raises:
            SpecError: a class folder has no video, so that the labels behind it would shift.
        """
        found = super().sources()
        full = {source.label for source in found if not source.reason}
        if empty := [folder.name for _, folder in self.starts() if folder.name not in full]:
            raise self._wrong(
                self.root,
                f"class folders without a video: {shown(empty)}. A label is the rank of its folder, so those behind "
                "would shift; unpack them again, or remove the empty folders to train on fewer classes",
            )
        if self.split == "all":
            return found
        splits = self._lists()
        return [self._with_split(source, splits.get(_video(source.path), "")) for source in found]

    def _with_split(self, source: Source, split: str) -> Source:
        reason = source.reason or ("" if split else f"in neither list of split {self.split}")
        return replace(source, split=split or source.split, reason=reason)

    def _lists(self) -> dict[str, str]:
        """The split of each video, by its name without ending.

        Raises:
            SpecError: a list is missing, or a line of it is not one of such lists.
        """
        found: dict[str, str] = {}
        for split in ("train", "test"):
            name = f"{LISTS}/{split}list0{self.split}.txt"
            file = next((folder / name for folder in (self.root, self.root.parent) if (folder / name).is_file()), None)
            if file is None:
                raise SpecError(
                    f"data.dataset.split: {self.split} needs {name}, below {self.root} or beside it; published in "
                    f"UCF101TrainTestSplits-RecognitionTask.zip: {self.published}"
                )
            for line, text in enumerate(file.read_text(encoding="utf-8", errors="replace").splitlines(), start=1):
                if not text.strip():
                    continue
                if not re.fullmatch(r"\S+/v_\w+_g\d+_c\d+\.avi( \d+)?", text.strip()):
                    raise SpecError(f"{file}:{line}: {text.strip()[:80]!r} is not <class>/<video>.avi")
                if found.setdefault(_video(text.split()[0]), split) != split:
                    raise SpecError(f"{file}:{line}: {text.split()[0]} is in both lists")
        return found

    def remarks(self, records: Sequence[VideoRecord]) -> list[str]:
        """How many of the published videos and classes there are, and which classes are missing."""
        classes = {record.label for record in records}
        found = f"{len(records):,} in {len(classes)}"
        if (len(records), len(classes)) == (WHOLE, len(CLASSES)):
            told = [f"{self.part_name}: {WHOLE:,} videos in {len(CLASSES)} classes, as published"]
        else:
            missing = [name for name in CLASSES if name not in classes]
            which = f" Missing classes: {shown(missing)}." if missing else ""
            told = [
                f"{self.part_name}: expected {WHOLE:,} videos in {len(CLASSES)} classes, found {found}: "
                f"{'more than' if len(records) > WHOLE else 'a part of'} the set.{which} Published: {self.published}"
            ]
        if self.split != "all":
            splits = Counter(record.split for record in records)
            train, test = OFFICIAL[self.split]
            there = f"{splits['train']:,} train, {splits['test']:,} test"
            told.append(f"split {self.split}: expected {train:,} train, {test:,} test, found {there}")
        return [*told, *self._about_lists()]

    def _refuse_strange_folders(self) -> None:
        """Refuse folders that are not named as a class is: labels behind them would shift."""
        strange = [folder.name for folder in folders_of(self.root) if folder.name not in (*CLASSES, LISTS)]
        if not strange:
            return
        by_lower = {name.lower(): name for name in CLASSES}
        if (name := strange[0].lower()) in by_lower:
            hint = f"it is spelled {by_lower[name]} in the set, and names are case-sensitive"
        else:
            hint = did_you_mean(strange[0], CLASSES)
        raise self._wrong(
            self.root,
            f"{shown(strange)}: not a class of UCF-101, whose labels are ranks of folder names; {hint}; "
            "rename it, or move it elsewhere",
        )


def _video(path: str) -> str:
    """The name of a video without folder and ending, in lower case: the lists spell some names otherwise."""
    return path.rsplit("/", 1)[-1].removesuffix(".avi").lower()
