"""The prepared data and the latent cache of a replicate, as its run folder names them."""

from pathlib import Path
from typing import Any

from components.assembly import Assembly
from components.data.prepare import Prepared
from registry.errors import RunError
from registry.runs.records import read_json
from registry.runs.run_folder import Replicate


def open_data(replicate: Replicate) -> tuple[Prepared, Any]:
    """The prepared data set and latent cache that the launcher left for this replicate.

    Raises:
        RunError: they are gone, or the manifest is another one than when the run folder was made.
    """
    spec = replicate.spec
    provenance = read_json(replicate.training / "provenance.json")
    if provenance is None:
        raise RunError(f"{replicate.training}: has no provenance.json; launch the experiment again")
    if "data" not in provenance:
        raise RunError(f"{replicate.training}: its data are not prepared yet; launch the experiment again")
    assembly = Assembly(spec)
    prepared = Prepared(assembly.dataset(), Path(provenance["data"]["folder"]))
    if prepared.digest != provenance["data"]["digest"]:
        raise RunError(
            f"{prepared.folder}: the data changed since this training was launched; launch with another --runs folder"
        )
    data = spec.data
    cache = prepared.build_cache(assembly.autoencoder(), data.resolution, data.transform, data.antialias, data.flip > 0)
    return prepared, cache
