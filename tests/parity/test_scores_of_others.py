"""The same features, the same numbers as other packages (the extra `compare`; `make env` installs it)."""

import numpy as np
import pytest
import torch
from cleanfid import fid as cleanfid
from scipy import linalg

from components.scoring.contracts import Features
from components.scoring.metrics.frechet import Moments, frechet_distance
from components.scoring.metrics.fvd import FVD
from components.scoring.metrics.inception_score import InceptionScore
from components.scoring.metrics.kernel import KVD, mmd2
from tests.fixtures.gaussians import Detector
from tests.fixtures.scripted_networks import ClassifierStandIn, save, trusted

INSTALL = "install what the tests compare with: pip install -e '.[compare]' -c constraints.txt"


def correlated(count, dimensions, seed, shift=0.0):
    """Features with a steep spectrum and heavy tails, as those of networks have, float32 (count, dimensions)."""
    draw = np.random.default_rng(seed)
    mixing = np.random.default_rng(99).normal(size=(dimensions, dimensions)) / np.arange(1, dimensions + 1)[:, None]
    return (draw.standard_t(5, size=(count, dimensions)) @ mixing + shift).astype(np.float32)


SIZES = [(64, 64, 16), (300, 250, 48), (520, 640, 200)]


@pytest.fixture(params=SIZES, ids=lambda sizes: "x".join(map(str, sizes)), scope="module")
def sides(request):
    n_fake, n_real, dimensions = request.param
    return correlated(n_fake, dimensions, 0, shift=0.2), correlated(n_real, dimensions, 1)


def moments_of(rows):
    moments = Moments(rows.shape[1])
    moments.update(rows)
    return moments


def fvd(fake, real):
    return FVD(Detector()).score(Features(fake[:, None]), Features(real[:, None]))["fvd[given]"].value


def unbiased(fake, real):
    return frechet_distance(moments_of(fake), moments_of(real), unbiased=True)


def test_scipys_matrix_root(sides):
    (m1, s1), (m2, s2) = ((m.mean(), m.covariance()) for m in map(moments_of, sides))
    theirs = ((m1 - m2) ** 2).sum() + np.trace(s1 + s2 - 2 * linalg.sqrtm(s1 @ s2)).real
    assert fvd(*sides) == pytest.approx(theirs, rel=1e-6)


def test_cd_fvd(sides):
    package = pytest.importorskip("cdfvd.fvd", reason=INSTALL)
    stats = []
    for rows in sides:
        stats.append(package.FeatureStats(capture_mean_cov=True))
        stats[-1].append_torch(torch.from_numpy(rows), rank=0, num_gpus=1)
    theirs = package.cdfvd.compute_fvd_from_stats(None, *stats)  # it uses nothing of the object when given both
    assert fvd(*sides) == pytest.approx(theirs, rel=1e-6)


def test_torchmetrics_frechet(sides):
    fid = pytest.importorskip("torchmetrics.image.fid", reason=INSTALL)
    network = torch.nn.Identity()
    network.num_features = sides[0].shape[1]
    metric = fid.FrechetInceptionDistance(feature=network)
    metric.set_dtype(torch.float64)
    for rows, real in zip(sides, (False, True), strict=True):
        metric.update(torch.from_numpy(rows), real=real)
    assert unbiased(*sides) == pytest.approx(metric.compute().item(), rel=1e-6)


def test_clean_fid_frechet(sides):
    assert unbiased(*sides) == pytest.approx(cleanfid.fid_from_feats(*sides), rel=1e-6)


def test_torchmetrics_kernel(sides):
    kid = pytest.importorskip("torchmetrics.image.kid", reason=INSTALL)
    count = min(map(len, sides))  # its estimate is for sets of one size
    fake, real = (rows[:count].astype(np.float64) for rows in sides)
    theirs = kid.poly_mmd(torch.from_numpy(real), torch.from_numpy(fake)).item()
    assert mmd2(fake, real) == pytest.approx(theirs, rel=1e-6)
    found = KVD(Detector()).score(*(Features(rows[:count, None]) for rows in sides))["kvd[given]"]
    assert found.value == pytest.approx(theirs, rel=1e-6)


def test_kernel_distances_on_the_same_subsets(sides):
    """Subset by subset: clean-fid's draws come first from the real side, as `kernel_distance` writes it."""
    fake, real = (rows.astype(np.float64) for rows in sides)
    state = np.random.get_state()
    np.random.seed(3)
    theirs = cleanfid.kernel_distance(fake, real, num_subsets=5, max_subset_size=40)
    np.random.set_state(state)
    draw, ours = np.random.RandomState(3), []
    for _ in range(5):
        y = real[draw.choice(len(real), 40, replace=False)]
        x = fake[draw.choice(len(fake), 40, replace=False)]
        ours.append(mmd2(x, y))
    assert np.mean(ours) == pytest.approx(theirs, rel=1e-6)


def test_our_mean_and_spread_over_subsets(sides):
    """The details of kvd: 50 subsets, drawn side by side, against the kernel of torchmetrics."""
    kid = pytest.importorskip("torchmetrics.image.kid", reason=INSTALL)
    fake, real = (rows.astype(np.float64) for rows in sides)
    details = KVD(Detector(), subset_size=40).score(*(Features(rows[:, None]) for rows in sides))["kvd[given]"].details
    draw, theirs = np.random.RandomState(0), []
    for _ in range(50):
        x = torch.from_numpy(fake[draw.choice(len(fake), 40, replace=False)])
        y = torch.from_numpy(real[draw.choice(len(real), 40, replace=False)])
        theirs.append(kid.poly_mmd(y, x).item())
    assert details["subset_mean"] == pytest.approx(np.mean(theirs), rel=1e-6)
    assert details["subset_sd"] == pytest.approx(np.std(theirs), rel=1e-6)


@pytest.mark.filterwarnings("ignore:Metric `InceptionScore`")
def test_torchmetrics_inception_score(tmp_path):
    inception = pytest.importorskip("torchmetrics.image.inception", reason=INSTALL)
    logits = correlated(200, 12, 5)
    metric = inception.InceptionScore(feature=torch.nn.Identity(), splits=1)
    metric.update(torch.from_numpy(logits).double())
    network = save(ClassifierStandIn(), tmp_path / "classifier.pt")
    ours = InceptionScore(classifier=str(network), outputs="logits", classes=12, splits=1, **trusted(network))
    (found,) = ours.score(Features(logits[:, None])).values()
    assert found.value == pytest.approx(metric.compute()[0].item(), rel=1e-6)
