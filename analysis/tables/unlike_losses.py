"""Arms whose validation loss is of other data, or of another diffusion, than the baseline's: it is not compared.

Losses of other clips, or of another objective or noise schedule, differ whatever the network has learned. Claims about
them are refused by the same rule (`registry.experiment.comparable`).
"""

from collections.abc import Mapping
from dataclasses import dataclass

import pandas as pd

from analysis.results.results_frame import is_loss, loss_protocols, refuse_mixed_data
from analysis.tables.listing import listed
from registry.schema.differences import differing


@dataclass(frozen=True)
class UnlikeLosses:
    """Arms whose losses are not compared.

    Args:
        metric: full name of the score.
        against: the arm that they are held against: the baseline, or the first where it has no such score.
        keys: arm -> where its spec differs; empty where all losses can be compared.
    """

    metric: str
    against: str
    keys: Mapping[str, tuple[str, ...]]

    def __bool__(self) -> bool:
        return bool(self.keys)

    def __str__(self) -> str:
        keys = dict.fromkeys(key for own in self.keys.values() for key in own)
        differ = "differs" if len(self.keys) == 1 else "differ"
        return (
            f"{self.metric}: {listed(list(self.keys))} {differ} from {self.against} in {listed(list(keys))}, and "
            "losses of different data or diffusion are not compared: no difference to the baseline, and no best mean"
        )


def unlike_losses(frame: pd.DataFrame, metric: str, baseline: str) -> UnlikeLosses:
    """Return the arms whose validation loss cannot be compared with the baseline's; none of any other score.

    Args:
        frame: as `analysis.results.results_frame.load` gives it.
        metric: full name of the score.
        baseline: the name of the baseline.

    Raises:
        RunError: losses are of different prepared data.
    """
    arms = list(dict.fromkeys(frame["arm"])) if is_loss(metric) else []
    refuse_mixed_data(frame, arms, metric)
    known = loss_protocols(frame, arms, metric)
    against = baseline if baseline in known else next(iter(known), baseline)
    found = {arm: tuple(key for key, _, _ in differing(known[against], own)) for arm, own in known.items()}
    return UnlikeLosses(metric, against, {arm: keys for arm, keys in found.items() if keys})
