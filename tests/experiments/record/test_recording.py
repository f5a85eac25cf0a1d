"""What launchers note of a training at the same moment: nobody's note is lost."""

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from threading import Barrier

from experiments.record.recording import bound_codes, create
from tests.fixtures.toy_replicates import plan_of


def test_launchers_with_different_code_are_all_noted(tmp_path: Path) -> None:
    replicate = plan_of(tmp_path, "seeds=[0]", only=["baseline"]).replicates[0]
    create(replicate, {"commit": "first"})
    together, codes = Barrier(8), [{"commit": str(number)} for number in range(8)]

    def launch(code: dict[str, str]) -> None:
        together.wait()
        create(replicate, code)

    with ThreadPoolExecutor(8) as pool:
        list(pool.map(launch, codes))
    noted = bound_codes(replicate.training)
    assert noted[0] == {"commit": "first"}
    assert sorted(code["commit"] for code in noted[1:]) == sorted(code["commit"] for code in codes)
