import pytest
import torch

from components.scoring.contracts import Features
from components.scoring.detectors.random_r3d import RandomR3D
from components.scoring.fvd import FVD
from registry.catalogue import Catalogue
from registry.errors import RunError


def moving_squares(count, frames=8, size=24, seed=0):
    generator = torch.Generator().manual_seed(seed)
    videos = torch.zeros(count, frames, size, size, 3, dtype=torch.uint8)
    starts, steps = (
        torch.randint(0, 8, (count, 2), generator=generator),
        torch.randint(0, 3, (count, 2), generator=generator),
    )
    colours = torch.randint(80, 256, (count, 3), generator=generator, dtype=torch.uint8)
    for i in range(count):
        for f in range(frames):
            y, x = (starts[i] + steps[i] * f) % (size - 6)
            videos[i, f, y : y + 6, x : x + 6] = colours[i]
    return videos


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
    videos = moving_squares(2)
    assert torch.equal(first.features(videos), again.features(videos))
    assert first.fingerprint() == again.fingerprint() != RandomR3D(seed=1).fingerprint()


def test_the_weights_are_those_of_every_version():
    weight = RandomR3D().network.stem.weight
    # RandomState(0).standard_normal starts 1.764052, 0.400157, 0.978738; the stem's fan-in is 6 x 27
    expected = torch.tensor([1.764052, 0.400157, 0.978738]) * (2 / (6 * 27)) ** 0.5
    torch.testing.assert_close(weight.flatten()[:3], expected, atol=1e-6, rtol=0)


@pytest.mark.parametrize("spoil", ["shuffled", "frozen", "slowed", "noisy"])
def test_the_distance_reacts_to_what_is_wrong_with_a_video(spoil):
    detector = RandomR3D()

    def score(videos):
        fake, real = (Features(detector.features(side)[:, None].numpy()) for side in (videos, moving_squares(96)))
        return FVD(detector).score(fake, real)["fvd[random_r3d]"].value

    good = moving_squares(96, seed=1)
    generator = torch.Generator().manual_seed(0)
    spoiled = {
        "shuffled": lambda: torch.stack([video[torch.randperm(8, generator=generator)] for video in good]),
        "frozen": lambda: good[:, :1].expand_as(good),
        "slowed": lambda: good[:, [0, 0, 1, 1, 2, 2, 3, 3]],
        "noisy": lambda: (good + 20 * torch.randn(good.shape, generator=generator)).clamp(0, 255).byte(),
    }[spoil]()
    assert score(spoiled) > 2 * score(good)


def test_the_catalogue_reads_it():
    parts = Catalogue(["components.scoring.detectors.random_r3d", "components.scoring.fvd"])
    told = parts.find("detector", "random_r3d").describe()
    assert told["parameters"]["seed"] == {"type": "int (>= 0)", "default": 0}
    assert (told["official_code"], bool(told["source"])) == (False, True)
    assert parts.find("metric", "fvd").official_code
