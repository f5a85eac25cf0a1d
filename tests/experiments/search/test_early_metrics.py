"""What can be seen of replicates before they are done."""

from experiments.search.early_metrics import by_step

FIRST = [
    {"step": 1, "loss": 9.0},
    {"step": 2, "validation_loss": 5.0, "raw_validation_loss": 3.0, "validation_loss_band_0": 1.0},
    {"step": 4, "validation_loss": 4.0},
]
SECOND = [{"step": 2, "validation_loss": 7.0, "raw_validation_loss": 1.0}]


def test_it_is_the_mean_over_the_seeds_at_steps_that_all_have() -> None:
    assert by_step([FIRST], "loss") == {1: 9.0}
    assert by_step([FIRST, []], "loss") == {}
    assert by_step([], "loss") == {}


def test_the_weights_themselves_count_while_the_average_holds_the_initial_ones() -> None:
    assert by_step([FIRST], "validation_loss") == {2: 3.0, 4: 4.0}
    assert by_step([FIRST, SECOND], "validation_loss") == {2: 2.0}
    assert by_step([FIRST], "validation_loss_band_0") == {2: 1.0}, "a band without a raw one"
