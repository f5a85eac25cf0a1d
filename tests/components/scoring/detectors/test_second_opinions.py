"""videomae and vjepa: with a stand-in of the package's interface, and with the package itself where it is installed."""

import hashlib
import logging
import os
import sys
from types import ModuleType, SimpleNamespace

import pytest
import torch
from torch import nn

from components.scoring.detectors import vjepa
from components.scoring.detectors.videomae import VideoMAEDetector
from components.scoring.detectors.vjepa import VJEPADetector
from components.weights import KNOWN
from registry.errors import RunError
from registry.parts.catalogue import catalogue

CDFVD = "cdfvd.third_party.VideoMAEv2.utils"


def videos(count=2, frames=16, height=20, width=28):
    generator = torch.Generator().manual_seed(0)
    return torch.randint(0, 256, (count, frames, height, width, 3), dtype=torch.uint8, generator=generator)


class Means(nn.Module):
    """Stands in for a network: the mean of the clip at every place of the features."""

    def forward_features(self, x):
        return x.mean(dim=(1, 2, 3, 4))[:, None].expand(-1, VideoMAEDetector.dimensions)


@pytest.fixture
def cdfvd(monkeypatch):
    module = ModuleType(CDFVD)
    module.load_videomae_model = lambda device, path: (torch.load(path, map_location="cpu"), torch.rand(1), Means())[-1]
    module.preprocess_videomae = lambda array: torch.from_numpy(array).permute(0, 4, 1, 2, 3).float() / 255
    for name in ("cdfvd", "cdfvd.third_party", "cdfvd.third_party.VideoMAEv2"):
        monkeypatch.setitem(sys.modules, name, ModuleType(name))
    monkeypatch.setitem(sys.modules, CDFVD, module)


@pytest.fixture
def videojedi(monkeypatch):
    class VJEPA:
        def __init__(self, model_dir, config_fname, finetuned):
            assert os.path.isfile(config_fname)
            assert not finetuned
            assert "SLURM_NTASKS" not in os.environ
            print("loud")
            os.environ["MASTER_ADDR"] = "somewhere"
            logging.getLogger().setLevel(logging.DEBUG)
            self.encoder = nn.Module()
            self.encoder.model = nn.Linear(3, VJEPADetector.dimensions)

        def get_feats(self, clips):
            assert clips.shape[1:] == (16, 3, 224, 224)
            assert 0 <= clips.min() <= clips.max() <= 1
            return self.encoder.model(clips.mean(dim=(1, 3, 4))).numpy()

    monkeypatch.setitem(sys.modules, "videojedi", SimpleNamespace(VJEPA=VJEPA))


def test_videomae_calls_the_package(cdfvd, tmp_path):
    torch.save({"module": {}}, tmp_path / "weights.pth")
    state = torch.random.get_rng_state()
    detector = VideoMAEDetector(weights=str(tmp_path / "weights.pth"))
    assert torch.equal(state, torch.random.get_rng_state())
    features = detector.features(videos())
    assert features.shape == (2, detector.dimensions)
    torch.testing.assert_close(features[:, 0], videos().float().mean(dim=(1, 2, 3, 4)) / 255)
    assert detector.weights_sha256 == hashlib.sha256((tmp_path / "weights.pth").read_bytes()).hexdigest()
    assert len(bytes.fromhex(detector.fingerprint())) == 32
    with pytest.raises(RunError, match="exactly 16 frames, not 17"):
        detector.features(videos(frames=17))


def test_vjepa_calls_the_package_and_nothing_of_it_remains(videojedi, tmp_path, capsys, monkeypatch):
    path = tmp_path / KNOWN["vjepa"].file
    torch.save({"target_encoder": {f"module.{n}": p for n, p in nn.Linear(3, 1280).state_dict().items()}}, path)
    monkeypatch.setenv("SLURM_NTASKS", "8")
    before = (dict(os.environ), logging.getLogger().level, torch.random.get_rng_state().tolist())
    detector = VJEPADetector(weights=str(path))
    assert (dict(os.environ), logging.getLogger().level, torch.random.get_rng_state().tolist()) == before
    assert capsys.readouterr().out == ""
    features = detector.features(videos())
    assert (features.shape, features.dtype) == ((2, 1280), torch.float32)
    with pytest.raises(RunError, match="exactly 16 frames, not 15"):
        detector.features(videos(frames=15))
    torch.save({"target_encoder": {"weight": torch.zeros(1280, 3), "bias": torch.zeros(7)}}, path)
    with pytest.raises(RunError, match="not the weights of V-JEPA: 1 entries differ, such as bias"):
        VJEPADetector(weights=str(path))
    with pytest.raises(RunError, match=r"called vith16\.pth\.tar, not other"):
        VJEPADetector(weights=str(path.rename(tmp_path / "other")))


@pytest.mark.parametrize(("name", "package"), [("videomae", "cdfvd"), ("vjepa", "videojedi")])
def test_without_the_package_the_message_says_how_to_install_it(name, package, monkeypatch):
    for module in (package, CDFVD):
        monkeypatch.setitem(sys.modules, module, None)
    with pytest.raises(RunError, match=rf"detector {name}: the package .* cannot be imported .*pip install"):
        catalogue().build("detector", {"name": name})


@pytest.mark.parametrize("name", ["videomae", "vjepa"])
def test_without_weights_the_message_says_how_to_fetch_them(name, cdfvd, videojedi, monkeypatch, tmp_path):
    monkeypatch.delenv(KNOWN[name].variable, raising=False)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    with pytest.raises(RunError, match=rf"fetch-weights {name}`, or put {KNOWN[name].file} into"):
        catalogue().build("detector", {"name": name})


def test_code_in_the_weights_is_not_run(cdfvd, tmp_path):
    torch.save(Means(), tmp_path / "code.pth")
    with pytest.raises(RunError, match=r"code\.pth: these are not the weights"):
        VideoMAEDetector(weights=str(tmp_path / "code.pth"))


def test_the_real_cd_fvd_at_a_small_size(monkeypatch, tmp_path):
    package = pytest.importorskip(CDFVD, reason="the extra second-opinion is not installed")
    finetune = pytest.importorskip("cdfvd.third_party.VideoMAEv2.videomaev2_finetune")

    def small(**settings):
        return finetune.VisionTransformer(patch_size=56, embed_dim=16, depth=1, num_heads=2, **settings)

    torch.manual_seed(0)
    network = small(img_size=224, num_classes=174, all_frames=16, tubelet_size=2, use_mean_pooling=True)
    torch.save({"module": network.state_dict()}, tmp_path / "weights.pth")
    monkeypatch.setattr(package, "vit_giant_patch14_224", lambda pretrained, **settings: small(**settings))
    features = VideoMAEDetector(weights=str(tmp_path / "weights.pth")).features(videos())
    prepared = package.preprocess_videomae(videos().numpy())
    torch.testing.assert_close(features, network.eval().forward_features(prepared).detach())
    torch.save({"module": nn.Linear(2, 2).state_dict()}, tmp_path / "weights.pth")
    with pytest.raises(RunError, match="these are not the weights of VideoMAE"):
        VideoMAEDetector(weights=str(tmp_path / "weights.pth"))


def test_the_real_videojedi_at_a_small_size(monkeypatch, tmp_path):
    pytest.importorskip(
        "videojedi", reason="it has to be installed by hand; see the detector's message", exc_type=ImportError
    )
    from vjepa.models import vit_tiny

    pretrain = {**vjepa.NETWORK["pretrain"], "model_name": "vit_tiny"}
    monkeypatch.setitem(vjepa.NETWORK, "pretrain", pretrain)
    encoder = vit_tiny(img_size=224, patch_size=16, num_frames=16, tubelet_size=2, uniform_power=True)
    path = tmp_path / KNOWN["vjepa"].file
    torch.save({"target_encoder": encoder.state_dict(), "epoch": 1}, path)
    detector = VJEPADetector(weights=str(path))
    features = detector.features(videos())
    assert features.shape == (2, 192)
    assert features.isfinite().all()
    assert torch.equal(features[:1], detector.features(videos()[:1]))
    del (state := encoder.state_dict())["norm.weight"]
    torch.save({"target_encoder": state, "epoch": 1}, path)
    with pytest.raises(RunError, match=r"1 entries differ, such as norm\.weight"):
        VJEPADetector(weights=str(path))
