"""FID and KID of frames: clean-fid's own numbers, whatever the weights."""

import numpy as np
import pytest
import torch
from cleanfid import fid as cleanfid
from PIL import Image

from components.scoring import inception, scripted_process
from components.scoring.contracts import Features
from components.scoring.inception import FILE, VARIABLE, Inception, find_inception
from components.scoring.metrics import frame_metrics
from components.scoring.metrics.frame_metrics import FID, KID
from components.scoring.scripted_file import load_scripted
from registry.errors import RunError, SpecError
from tests.fixtures.gaussians import features, spoiled, stored
from tests.fixtures.scripted_networks import LikePublished, StandIn, save, trusted


@pytest.fixture(scope="module")
def stand_in(tmp_path_factory):
    return save(StandIn(), tmp_path_factory.mktemp("weights") / "stand_in.pt")


@pytest.fixture(autouse=True)
def in_this_process(monkeypatch):
    """What a scripted network does in a process of its own is tested in test_scripted.py."""
    monkeypatch.setattr(scripted_process, "GuardedNetwork", load_scripted)


@pytest.fixture
def nothing_installed(monkeypatch, tmp_path):
    monkeypatch.delenv(VARIABLE, raising=False)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    monkeypatch.setattr(inception, "CLEAN_FIDS", tmp_path / "clean-fid")
    return tmp_path / "latte-workbench"


def videos(count, seed, frames=3, height=20, width=28):
    generator = torch.Generator().manual_seed(seed)
    rough = torch.randint(0, 256, (count, frames, height // 4, width // 4, 3), generator=generator)
    return rough.repeat_interleave(4, 2).repeat_interleave(4, 3).byte() // (1 + seed)


def measured(extractor, clips):
    return Features(torch.cat([extractor.features(clip[None]) for clip in clips]).numpy())


def test_fid_is_what_clean_fid_gives_for_the_frames_as_pictures(stand_in, tmp_path):
    sides = {"fake": videos(14, 1), "real": videos(12, 0)}
    for name, clips in sides.items():
        (tmp_path / name).mkdir()
        for i, frame in enumerate(clips.flatten(0, 1).numpy()):
            Image.fromarray(frame).save(tmp_path / name / f"{i:04}.png")
    network = torch.jit.load(str(stand_in))
    theirs = cleanfid.compute_fid(
        str(tmp_path / "fake"),
        str(tmp_path / "real"),
        mode="clean",
        custom_feat_extractor=network,  # the documented hook
        device=torch.device("cpu"),
        num_workers=0,
        verbose=False,
        use_dataparallel=False,
    )
    metric = FID(weights=str(stand_in), **trusted(stand_in))
    found = metric.score(*(measured(metric.extractor, sides[name]) for name in ("fake", "real")))
    (name,) = metric.names()
    assert name == f"fid[{metric.extractor.sha256[:8]}]"
    assert found[name].value == pytest.approx(theirs, rel=1e-6)
    assert found[name].details["by_eigenvalues"] == pytest.approx(theirs, rel=1e-6)
    assert found[name].details["frames"] == [42, 36]
    assert "note" not in found[name].details


def test_kid_is_what_clean_fid_gives_for_all_frames_at_once(stand_in, tmp_path):
    metric = KID(weights=str(stand_in), **trusted(stand_in), subsets=20, subset_size=50)
    fake, real = features(40, 12, rows_per_clip=3, shift=0.2), features(30, 12, rows_per_clip=3, seed=1)
    state = np.random.get_state()
    found = metric.score(stored(fake, tmp_path / "a.npy"), stored(real, tmp_path / "b.npy"))[metric.names()[0]]
    assert np.array_equal(np.random.get_state()[1], state[1])
    np.random.seed(0)
    theirs = cleanfid.kernel_distance(fake.of(range(40)), real.of(range(30)), num_subsets=20, max_subset_size=50)
    np.random.set_state(state)
    assert found.value == pytest.approx(theirs, rel=1e-6)
    assert found.details["subset_sd"] > 0
    assert found.details["subset_size"] == 50


def test_frames_are_read_in_blocks(stand_in, tmp_path, monkeypatch):
    most, of = 0, Features.of

    def watched(self, clips):
        nonlocal most
        most = max(most, len(clips))
        return of(self, clips)

    sides = [stored(features(2000, 8, seed=seed, rows_per_clip=4), tmp_path / f"{seed}.npy") for seed in (0, 1)]
    monkeypatch.setattr(Features, "of", watched)
    FID(weights=str(stand_in), **trusted(stand_in)).score(*sides)
    KID(weights=str(stand_in), **trusted(stand_in), subsets=2).score(*sides)
    assert most == 256


def test_every_frame_has_its_own_features_the_same_each_time(stand_in):
    extractor = Inception(str(stand_in), **trusted(stand_in))
    clip = videos(1, 0, frames=19)
    first = extractor.features(clip)
    assert first.shape == (1, 19, extractor.dimensions) == (1, 19, 12)
    assert all(torch.equal(extractor.features(clip), first) for _ in range(3))
    torch.testing.assert_close(extractor.features(clip[:, 4:5])[0, 0], first[0, 4], atol=1e-6, rtol=0)


def test_the_published_file_goes_through_clean_fids_wrapper(tmp_path, monkeypatch):
    path = save(LikePublished(), tmp_path / "under-another-name.pt")
    monkeypatch.setattr(inception, "PUBLISHED", inception.sha256_of(path))
    metric = FID(weights=str(path), **trusted(path))
    assert metric.names() == ("fid",)
    assert KID(weights=str(path), **trusted(path)).names() == ("kid",)
    assert (metric.extractor.dimensions, metric.extractor.layer) == (2048, "pooled")
    grey = torch.full((1, 2, 24, 24, 3), 160, dtype=torch.uint8)
    torch.testing.assert_close(metric.extractor.features(grey), torch.full((1, 2, 2048), (160 - 128) / 128))


def test_where_clean_fid_fails_our_value_is_given_and_said(stand_in, monkeypatch):
    def failing(*_):
        raise TypeError("sqrtm() got an unexpected keyword argument 'disp'")

    fake, real = features(30, 12, rows_per_clip=2, shift=0.2), features(30, 12, rows_per_clip=2, seed=1)
    metric = FID(weights=str(stand_in), **trusted(stand_in))
    (name,) = metric.names()
    works = metric.score(fake, real)[name]
    monkeypatch.setattr(cleanfid, "frechet_distance", failing)
    fails = metric.score(fake, real)[name]
    assert fails.value == pytest.approx(works.value, rel=1e-6)
    assert "unexpected keyword argument 'disp'" in fails.details["note"]
    assert works.details["computed_by"].startswith("clean-fid 0.")
    assert "clean-fid failed" in fails.details["computed_by"]


def test_few_frames_are_warned_of(stand_in):
    found = FID(weights=str(stand_in), **trusted(stand_in)).score(features(5, 12, shift=0.2), features(6, 12, seed=1))
    (score,) = found.values()
    assert "no more frames than the 12 features" in score.details["note"]


@pytest.mark.parametrize("metric", [FID, KID])
def test_bad_sides_are_refused(stand_in, metric):
    built = metric(weights=str(stand_in), **trusted(stand_in))
    with pytest.raises(RunError, match="at least 2 sampled clips"):
        built.score(features(1), features(4))
    with pytest.raises(RunError, match=r"1 of 5 real clips are not finite \(first: clip 3"):
        built.score(features(4), spoiled(features(5), [3]))
    with pytest.raises(RunError, match="there are none"):
        built.score(features(4), None)


def test_missing_weights_say_what_to_do(nothing_installed, monkeypatch):
    with pytest.raises(RunError) as told:
        FID()
    for part in (FILE, str(nothing_installed), VARIABLE, "fetch-weights inception"):
        assert part in str(told.value)
    with pytest.raises(SpecError, match=r"there is no file '/no/such\.pt'"):
        KID(weights="/no/such.pt")
    monkeypatch.setenv(VARIABLE, "/no/such.pt")
    with pytest.raises(RunError, match=rf"{VARIABLE} names '/no/such\.pt', which is no file"):
        find_inception()


def test_weights_are_found_by_variable_and_in_the_cache(nothing_installed, monkeypatch, tmp_path):
    nothing_installed.mkdir()
    in_cache, elsewhere = nothing_installed / FILE, tmp_path / "elsewhere.pt"
    in_cache.touch()
    elsewhere.touch()
    assert FILE == "inception-2015-12-05.pt"
    assert find_inception() == in_cache
    monkeypatch.setenv(VARIABLE, str(elsewhere))
    assert find_inception() == elsewhere
    assert find_inception(str(in_cache)) == in_cache


def test_where_clean_fid_downloads_only_the_published_file_counts(nothing_installed, monkeypatch):
    theirs = inception.CLEAN_FIDS / FILE
    theirs.parent.mkdir()
    save(StandIn(), theirs)
    with pytest.raises(RunError, match="no weights on this machine"):
        find_inception()
    monkeypatch.setattr(inception, "PUBLISHED", inception.sha256_of(theirs))
    assert find_inception() == theirs


def test_files_that_are_no_scripted_network_are_refused(tmp_path):
    (tmp_path / "rubbish.pt").write_bytes(b"not a network")
    with pytest.raises(RunError, match=r"rubbish\.pt: no scripted network"):
        Inception(str(tmp_path / "rubbish.pt"))
    odd, flat = save(torch.nn.Linear(3, 2), tmp_path / "odd.pt"), save(torch.nn.ReLU(), tmp_path / "flat.pt")
    with pytest.raises(RunError, match=r"odd\.pt: the network fails on float frames \(1, 3, 299, 299\)"):
        Inception(str(odd), **trusted(odd))
    with pytest.raises(RunError, match=r"flat\.pt: \(n, D\) is expected"):
        Inception(str(flat), **trusted(flat))


def test_the_facts_are_those_of_metrics_with_an_extractor_of_their_own():
    for metric in (frame_metrics.FID, frame_metrics.KID):
        assert (metric.by_detector, metric.needs_reference, metric.higher_is_better) == (False, True, False)
