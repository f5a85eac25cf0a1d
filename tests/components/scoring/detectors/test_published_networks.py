"""transnet_v2 and efficientnet_lite0: written out again, against timm, and with the published weights where they are.

Weights here are random but for the last tests, which are skipped where `fetch-weights` did not put the files.
"""

from pathlib import Path

import numpy as np
import pytest
import timm
import torch
from einops import rearrange
from PIL import Image
from torch.nn import functional

from components import weights
from components.scoring.detectors import efficientnet_lite0_network, transnet_v2_network
from components.scoring.detectors.efficientnet_lite0 import EfficientNetLite0Detector
from components.scoring.detectors.transnet_v2 import TransNetV2Detector
from components.scoring.features.extraction import features_of
from components.scoring.metrics.fvd import FVD
from components.scoring.metrics.kernel import KVD
from components.weights import KNOWN, sha256_of
from registry.errors import RunError
from registry.parts.catalogue import catalogue

NAMES = ("efficientnet_lite0", "transnet_v2")
HERE = {name: Path(weights.cache_folder() / KNOWN[name].file) for name in NAMES}  # before a test moves the cache
# Sums of float32 products in another order: a relative error of 2^-24 each, which some tens of layers add up.
ROUNDING = {"rtol": 1e-4, "atol": 1e-5}


def videos(count: int = 1, frames: int = 6, height: int = 40, width: int = 52) -> torch.Tensor:
    generator = torch.Generator().manual_seed(0)
    return torch.randint(0, 256, (count, frames, height, width, 3), dtype=torch.uint8, generator=generator)


def trunk_entries() -> dict[str, torch.Tensor]:
    """Random entries of the published file's names and shapes, and one of a layer that is not of the trunk."""
    generator = torch.Generator().manual_seed(0)
    found, inputs = {}, 3
    for stage, filters in enumerate((16, 32, 64)):
        for cell in range(2):
            prefix = f"SDDCNN.{stage}.DDCNN.{cell}"
            for far in (1, 2, 4, 8):
                shapes = ((2 * filters, inputs, 1, 3, 3), (filters, 2 * filters, 3, 1, 1))
                for layer, shape in enumerate(shapes):
                    drawn = torch.randn(shape, generator=generator) / np.sqrt(np.prod(shape[1:]))
                    found[f"{prefix}.Conv3D_{far}.layers.{layer}.weight"] = drawn
            inputs = 4 * filters
            for name in ("weight", "bias", "running_mean", "running_var"):
                found[f"{prefix}.bn.{name}"] = torch.rand(inputs, generator=generator) + 0.5
            found[f"{prefix}.bn.num_batches_tracked"] = torch.tensor(7)
    return {**found, "fc1.weight": torch.zeros(3, 3)}


def classifier_entries() -> tuple[dict[str, torch.Tensor], torch.nn.Module]:
    """Entries by the published file's names, and timm's network with the same values."""
    torch.manual_seed(0)
    network = timm.create_model("tf_efficientnet_lite0").eval()
    for name, buffer in network.named_buffers():
        if name.endswith(("running_mean", "running_var")):
            buffer.uniform_(0.5, 1.5)
    numbers = {"conv_stem": "_conv_stem", "bn1": "_bn0", "conv_head": "_conv_head", "bn2": "_bn1", "classifier": "_fc"}
    found, block = {}, {}
    for name, value in network.state_dict().items():
        first, *rest = name.split(".")
        if first != "blocks":
            found[".".join([numbers[first], *rest])] = value
            continue
        number = block.setdefault((rest[0], rest[1]), len(block))
        widened = ("conv_pw", "bn1", "conv_dw", "bn2", "conv_pwl", "bn3")
        names = ("_expand_conv", "_bn0", "_depthwise_conv", "_bn1", "_project_conv", "_bn2")
        plain = dict(zip(("conv_dw", "bn1", "conv_pw", "bn2"), names[2:], strict=True))
        layer = (plain if rest[0] == "0" else dict(zip(widened, names, strict=True)))[rest[2]]
        found[f"_blocks.{number}.{layer}.{rest[3]}"] = value
    return found, network


@pytest.fixture
def publish(monkeypatch, tmp_path):
    """Put entries into the cache as if they were what is published under a name."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    for name in NAMES:
        monkeypatch.delenv(KNOWN[name].variable, raising=False)

    def put(name: str, entries: object) -> Path:
        path = weights.cache_folder() / KNOWN[name].file
        path.parent.mkdir(exist_ok=True)
        torch.save(entries, path)
        known = {**vars(KNOWN[name]), "sha256": sha256_of(path), "size": path.stat().st_size}
        monkeypatch.setitem(KNOWN, name, weights.Published(**known))
        return path

    return put


def test_the_trunk_is_what_the_paper_describes(publish):
    """Written out again, layer by layer, on the same entries."""
    entries = trunk_entries()
    publish("transnet_v2", entries)
    frames = rearrange(videos(2), "n f h w c -> (n f) c h w").float()
    small = functional.interpolate(frames, (27, 48), mode="bilinear", antialias=True)
    x = rearrange(small, "(n f) c h w -> n c f h w", n=2) / 255
    for stage in range(3):
        added = 0.0
        for cell in range(2):
            prefix, branches = f"SDDCNN.{stage}.DDCNN.{cell}", []
            for far in (1, 2, 4, 8):
                first, second = (entries[f"{prefix}.Conv3D_{far}.layers.{layer}.weight"] for layer in range(2))
                looked = functional.conv3d(x, first, padding=(0, 1, 1))
                branches.append(functional.conv3d(looked, second, padding=(far, 0, 0), dilation=(far, 1, 1)))
            gain, shift, mean, variance = (
                rearrange(entries[f"{prefix}.bn.{name}"], "c -> c 1 1 1")
                for name in ("weight", "bias", "running_mean", "running_var")
            )
            x = ((torch.cat(branches, 1) - mean) / (variance + 1e-3).sqrt() * gain + shift).clamp(min=0)
            added = added + x
        x = functional.avg_pool3d(added, (1, 2, 2))
    assert x.shape[1:] == (256, 6, 3, 6)
    torch.testing.assert_close(TransNetV2Detector().features(videos(2)), x.mean((2, 3, 4)), **ROUNDING)
    parameters = sum(value.numel() for value in transnet_v2_network.Trunk().parameters())
    assert round(parameters / 1e6, 2) == 2.55


def test_efficientnet_is_timms(publish):
    entries, network = classifier_entries()
    publish("efficientnet_lite0", entries)
    prepared = efficientnet_lite0_network.prepared(videos(2, frames=2))
    with torch.no_grad():
        wanted = network.forward_head(network.forward_features(prepared), pre_logits=True)
    features = EfficientNetLite0Detector().features(videos(2, frames=2))
    assert features.shape == (2, 2, 1280)
    torch.testing.assert_close(rearrange(features, "n f d -> (n f) d"), wanted, **ROUNDING)


@pytest.mark.parametrize("name", NAMES)
def test_a_clip_has_the_rows_that_are_stated_and_scores_have_the_detectors_name(publish, name):
    publish(name, trunk_entries() if name == "transnet_v2" else classifier_entries()[0])
    state = torch.random.get_rng_state()
    detector = catalogue().build("detector", {"name": name})
    assert torch.equal(state, torch.random.get_rng_state())
    rows = features_of(detector, videos(frames=3)[0].numpy())
    assert rows.shape == ((1, 256) if name == "transnet_v2" else (3, 1280))
    assert FVD(detector).names() == (f"fvd[{name}]", f"fvd_extrapolated[{name}]")
    assert KVD(detector).names() == (f"kvd[{name}]",)
    assert len(bytes.fromhex(detector.fingerprint())) == 32


def test_one_frame_has_no_motion(publish):
    publish("transnet_v2", trunk_entries())
    with pytest.raises(RunError, match="at least 2 frames, not 1"):
        TransNetV2Detector().features(videos(frames=1))


def test_other_entries_are_refused_in_one_line(publish):
    entries = trunk_entries()
    missing = {name: value for name, value in entries.items() if not name.endswith("2.DDCNN.1.bn.bias")}
    other = {**entries, "SDDCNN.0.DDCNN.0.bn.bias": torch.zeros(5)}
    for wrong in (missing, other, {1: torch.zeros(1)}, torch.zeros(2)):
        path = publish("transnet_v2", wrong)
        with pytest.raises(RunError, match="these are not the weights of transnet_v2") as told:
            TransNetV2Detector()
        assert str(told.value).startswith(str(path))
        assert "\n" not in str(told.value)


def test_a_file_with_code_is_not_run(publish):
    publish("transnet_v2", {"SDDCNN.0": Path("/tmp")})
    with pytest.raises(RunError, match="it would run code"):
        TransNetV2Detector()


@pytest.mark.parametrize("name", NAMES)
def test_another_file_than_the_published_one_is_refused(publish, name, tmp_path, monkeypatch):
    """Also where the user names it: the score has the detector's name, and no other."""
    monkeypatch.setenv(KNOWN[name].variable, str(tmp_path / "own.pth"))
    torch.save({}, tmp_path / "own.pth")
    with pytest.raises(RunError, match=rf"own\.pth has SHA-256 .*as published.*fetch-weights {name}`"):
        catalogue().build("detector", {"name": name})


@pytest.mark.parametrize("name", NAMES)
def test_missing_weights_say_what_to_do(publish, name):
    with pytest.raises(RunError) as told:
        catalogue().build("detector", {"name": name})
    for part in (KNOWN[name].file, KNOWN[name].variable, f"fetch-weights {name}`", "moving_shapes_r3d"):
        assert part in str(told.value)
    assert "()" not in str(told.value)


def fetched(name: str, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The published file where it was fetched."""
    if not HERE[name].is_file():
        pytest.skip(f"no {KNOWN[name].file} at {HERE[name].parent}; run `python run.py fetch-weights {name}`")
    monkeypatch.setenv(KNOWN[name].variable, str(HERE[name]))
    return HERE[name]


def test_published_weights_of_efficientnet_know_photographs(monkeypatch):
    """Pictures that come with scikit-image: a cat is a tabby or an Egyptian cat (281 to 285), coffee is espresso."""
    path = fetched("efficientnet_lite0", monkeypatch)
    data = pytest.importorskip("skimage.data", reason="scikit-image, whose photographs are shown, is not installed")
    last = torch.load(path, weights_only=True)
    for picture, classes in ((data.chelsea(), range(281, 286)), (data.coffee(), (967, 968))):
        side = min(picture.shape[:2])
        top, left = ((length - side) // 2 for length in picture.shape[:2])
        square = torch.from_numpy(picture[top : top + side, left : left + side].copy())
        pooled = EfficientNetLite0Detector().features(square[None, None])[0, 0]
        assert int((last["_fc.weight"] @ pooled + last["_fc.bias"]).argmax()) in classes


def test_published_weights_of_transnet_see_order(monkeypatch):
    """A blob that goes its way is further from the same frames in another order than from a blob elsewhere."""
    fetched("transnet_v2", monkeypatch)
    detector = TransNetV2Detector()

    def clip(row: int) -> np.ndarray:
        frames = np.zeros((12, 54, 96, 3), np.uint8)
        for number, frame in enumerate(frames):
            blob = Image.new("L", (96, 54))
            blob.paste(255, (6 * number, row, 6 * number + 20, row + 20))
            frame[:] = np.asarray(blob)[..., None]
        return frames

    order = np.random.default_rng(0).permutation(12)
    here, elsewhere, shuffled = (features_of(detector, one) for one in (clip(12), clip(20), clip(12)[order]))
    assert np.linalg.norm(here - shuffled) > 2 * np.linalg.norm(here - elsewhere)
