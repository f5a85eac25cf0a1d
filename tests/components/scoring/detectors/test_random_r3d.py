import pytest
import torch

from components.scoring.detectors.random_r3d import RandomR3D
from registry.errors import RunError
from registry.parts.catalogue import Catalogue


@pytest.mark.parametrize(("frames", "height", "width"), [(2, 8, 8), (2, 1, 1), (9, 17, 30), (16, 32, 32)])
def test_any_size_gives_finite_features(frames, height, width):
    detector = RandomR3D(width=8)
    videos = torch.randint(0, 256, (3, frames, height, width, 3), dtype=torch.uint8)
    features = detector.features(videos)
    assert features.shape == (3, detector.dimensions) == (3, 32)
    assert features.dtype == torch.float32
    assert features.isfinite().all()


def test_one_frame_is_too_few():
    with pytest.raises(RunError, match="at least 2 frames"):
        RandomR3D().features(torch.zeros(1, 1, 8, 8, 3, dtype=torch.uint8))


def test_the_weights_depend_on_the_seed_alone():
    torch.manual_seed(1)
    first = RandomR3D()
    torch.manual_seed(2)
    state = torch.get_rng_state()
    again = RandomR3D()
    assert torch.equal(state, torch.get_rng_state())
    videos = torch.randint(0, 256, (2, 4, 16, 16, 3), dtype=torch.uint8)
    assert torch.equal(first.features(videos), again.features(videos))
    assert len(bytes.fromhex(first.fingerprint())) == 32
    assert first.fingerprint() == again.fingerprint() != RandomR3D(seed=1).fingerprint()


def test_the_weights_are_those_of_every_version():
    weight = RandomR3D().network.stem.weight
    # RandomState(0).standard_normal starts 1.764052, 0.400157, 0.978738; the stem's fan-in is 6 x 27
    expected = torch.tensor([1.764052, 0.400157, 0.978738]) * (2 / (6 * 27)) ** 0.5
    torch.testing.assert_close(weight.flatten()[:3], expected, atol=1e-6, rtol=0)


def test_the_catalogue_reads_it():
    parts = Catalogue(["components.scoring.detectors.random_r3d", "components.scoring.metrics.fvd"])
    told = parts.find("detector", "random_r3d").describe()
    assert told["parameters"]["seed"] == {"type": "int (>= 0)", "default": 0}
    assert (told["official_code"], bool(told["source"])) == (False, True)
    facts = parts.find("detector", "random_r3d").facts
    assert (facts["score_suffix"], facts["layer"], facts["rows_per_clip"]) == ("[random_r3d]", "pooled", 1)
