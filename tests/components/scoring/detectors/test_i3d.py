import hashlib

import pytest
import torch
from torch import Tensor, nn

from components.scoring.detectors import i3d
from components.scoring.detectors.i3d import I3DDetector, find_weights, load_native
from components.scoring.detectors.i3d_network import I3D
from components.scoring.metrics.fvd import FVD
from components.weights import KNOWN
from registry.errors import RunError, SpecError

VARIABLE = "LATTE_WORKBENCH_I3D"
FILES = (KNOWN["i3d"].file, KNOWN["i3d_state_dict"].file)


@pytest.fixture(scope="module")
def published(tmp_path_factory):
    """A file like the published one: saved by an old PyTorch, without the batch counts."""
    torch.manual_seed(0)
    state = {name: value for name, value in I3D().state_dict().items() if not name.endswith("num_batches_tracked")}
    path = tmp_path_factory.mktemp("i3d") / "i3d_pretrained_400.pt"
    torch.save(dict(state), path, _use_new_zipfile_serialization=False)
    return path


class Scripted(nn.Module):
    """Answers with what it was asked, in the manner of the published scripted file."""

    def forward(self, x: Tensor, rescale: bool = False, resize: bool = False, return_features: bool = False) -> Tensor:
        flags = torch.tensor([float(rescale), float(resize), float(return_features), float(x.float().max())])
        return flags.expand(x.shape[0], 4)


@pytest.fixture
def scripted(tmp_path):
    path = tmp_path / "i3d_torchscript.pt"
    torch.jit.script(Scripted()).save(str(path))
    return path


@pytest.fixture
def nothing_installed(monkeypatch, tmp_path):
    monkeypatch.delenv(VARIABLE, raising=False)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    return tmp_path / "latte-workbench"


def videos(count=1, frames=9, height=24, width=32):
    generator = torch.Generator().manual_seed(0)
    return torch.randint(0, 256, (count, frames, height, width, 3), dtype=torch.uint8, generator=generator)


def test_the_published_state_dict_gives_logits(published):
    detector = I3DDetector(weights=str(published))
    features = detector.features(videos())
    assert features.shape == (1, detector.dimensions) == (1, 400)
    assert features.isfinite().all()
    mark = detector.weights_sha256[:8]  # these are not the published weights
    assert FVD(detector).names() == (f"fvd[i3d:{mark}]", f"fvd_extrapolated[i3d:{mark}]")
    cropped = I3DDetector(weights=str(published), preprocessing="short_side_crop")
    assert not torch.equal(cropped.features(videos()), features)
    assert detector.weights_sha256 == hashlib.sha256(published.read_bytes()).hexdigest() == cropped.weights_sha256
    assert len(bytes.fromhex(detector.fingerprint())) == 32
    assert cropped.fingerprint() != detector.fingerprint() == I3DDetector(weights=str(published)).fingerprint()


def test_only_the_published_files_give_a_plain_name(published, monkeypatch):
    assert {KNOWN[name].sha256 for name in ("i3d", "i3d_state_dict")} == i3d.PUBLISHED
    assert all(len(bytes.fromhex(mark)) == 32 for mark in i3d.PUBLISHED)
    monkeypatch.setattr(i3d, "PUBLISHED", {hashlib.sha256(published.read_bytes()).hexdigest()})
    assert FVD(I3DDetector(weights=str(published))).names() == ("fvd", "fvd_extrapolated")
    with pytest.raises(SpecError, match=r"scoring\.detector\.sha256: .* has SHA-256 [0-9a-f]{64}, not 12ab"):
        I3DDetector(weights=str(published), sha256="12ab")


def test_a_damaged_file_of_the_cache_is_told(nothing_installed, published, monkeypatch):
    nothing_installed.mkdir()
    for name in FILES:
        (nothing_installed / name).write_bytes(published.read_bytes())
        with pytest.raises(RunError, match=rf"{name} has SHA-256 .* as published: delete it and fetch it again"):
            I3DDetector()
        monkeypatch.setenv(VARIABLE, str(published))  # a file that is named may be any
        I3DDetector()
        monkeypatch.delenv(VARIABLE)
        (nothing_installed / name).unlink()


def test_too_few_frames_are_refused(published):
    with pytest.raises(RunError, match="at least 9 frames, not 8"):
        I3DDetector(weights=str(published)).features(videos(frames=8))


def test_the_scripted_file_is_called_as_the_official_tools_do(scripted, monkeypatch):
    monkeypatch.setattr(i3d, "PUBLISHED", {hashlib.sha256(scripted.read_bytes()).hexdigest()})
    direct = I3DDetector(weights=str(scripted)).features(videos(2))
    assert direct[:, :3].tolist() == [[1, 1, 1], [1, 1, 1]]
    assert direct[0, 3] > 200  # uint8 values go in as they are
    cropped = I3DDetector(weights=str(scripted), preprocessing="short_side_crop").features(videos(2))
    assert cropped[:, :3].tolist() == [[0, 0, 1], [0, 0, 1]]
    assert cropped[0, 3] <= 1


def test_weights_are_loaded_strictly(published, tmp_path):
    state = torch.load(published, weights_only=True)
    renamed = {name.replace("logits", "head"): value for name, value in state.items()}
    for name, content in {"renamed": renamed, "tensor": torch.zeros(3)}.items():
        torch.save(content, tmp_path / name)
        with pytest.raises(RunError, match=name):
            load_native(tmp_path / name)
    (tmp_path / "rubbish").write_bytes(b"not a checkpoint")
    with pytest.raises(RunError, match="rubbish: no weights can be read"):
        load_native(tmp_path / "rubbish")


def test_code_in_a_weights_file_is_not_run(tmp_path):
    torch.save({"x": Scripted()}, tmp_path / "code.pt")
    with pytest.raises(RunError, match="no weights can be read"):
        load_native(tmp_path / "code.pt")


def test_missing_weights_say_what_to_do(nothing_installed):
    with pytest.raises(RunError) as told:
        find_weights()
    for part in (*FILES, str(nothing_installed), VARIABLE, "fetch-weights i3d", "moving_shapes_r3d"):
        assert part in str(told.value)
    with pytest.raises(SpecError, match=r"weights: there is no file '/no/such\.pt'"):
        find_weights("/no/such.pt")


def test_weights_are_found_by_variable_and_in_the_cache(nothing_installed, monkeypatch, tmp_path):
    nothing_installed.mkdir()
    in_cache, elsewhere = nothing_installed / FILES[1], tmp_path / "elsewhere.pt"
    in_cache.touch()
    elsewhere.touch()
    assert find_weights() == in_cache
    monkeypatch.setenv(VARIABLE, str(elsewhere))
    assert find_weights() == elsewhere
    assert find_weights(str(in_cache)) == in_cache
    monkeypatch.setenv(VARIABLE, str(tmp_path / "gone.pt"))
    with pytest.raises(RunError, match=rf"{VARIABLE} names '.*gone\.pt', which is no file"):
        find_weights()
