"""A training with every efficiency switch on learns as plain float32 does, within what seeds differ by."""

from pathlib import Path

from tests.benchmarks.curves import PLAIN, SWITCHED, compared, curves
from tests.fixtures.toy_replicates import write

WORDS = (
    *("base.learning.steps=200", "seeds=[0, 1, 2]", "floors=[]", "match=null"),
    *("base.runtime.log_every=50", "base.runtime.validate_every=50", "base.runtime.checkpoint_every=200"),
)


def test_200_steps_stay_within_seed_noise(tmp_path: Path) -> None:
    """A hundredth of the seeds' deviation over the whole curve: both ways of a seed see the same batches and noise.

    Rounding to bfloat16 came to 1/300 of it in this network; half the derivative of GELU, as a fault would, to 1/50.
    """
    path = write(tmp_path)
    plain, switched = (curves(path, tmp_path / how[0][-4:], (*WORDS, *how)) for how in (PLAIN, SWITCHED))
    assert plain != switched, "it did train in bfloat16"
    found = compared(plain, switched)
    assert {step for _, step in found} == {50, 100, 150, 200}
    for curve in ("loss", "validation_loss"):
        rows = [row for (name, _), row in found.items() if name == curve]
        assert 0 < sum(row.ways**2 for row in rows) < sum(row.seeds**2 for row in rows) / 100**2, curve
        assert rows[-1].mean < rows[0].mean, "it learns"
