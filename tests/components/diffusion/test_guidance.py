"""Classifier-free guidance on a network whose answer shows its label."""

import pytest
import torch
from torch import Tensor

from components.diffusion.guidance import classifier_free_guidance, guided

NULL = 9


def network(x: Tensor, t: Tensor, labels: Tensor) -> Tensor:
    """(B, F, 2C, H, W): x plus the label in the first half, the timestep plus the label in the second."""
    label = labels.float().view(-1, 1, 1, 1, 1)
    return torch.cat([x + label, torch.ones_like(x) * t.view(-1, 1, 1, 1, 1) + label], dim=2)


def test_only_the_first_channels_are_guided() -> None:
    x, t, labels = torch.randn(4, 2, 3, 2, 2), torch.tensor([5.0, 6.0, 5.0, 6.0]), torch.tensor([1, 4])
    out = classifier_free_guidance(network, x, t, labels, NULL, 3.0, 3)
    label = labels.float().view(-1, 1, 1, 1, 1)
    torch.testing.assert_close(out[:2, :, :3], x[:2] + NULL + 3.0 * (label - NULL))
    assert torch.equal(out[2:, :, :3], out[:2, :, :3])
    torch.testing.assert_close(out[:2, :, 3:], (t[:2].view(-1, 1, 1, 1, 1) + label).expand(2, 2, 3, 2, 2))
    torch.testing.assert_close(out[2:, :, 3:], (t[2:].view(-1, 1, 1, 1, 1) + NULL).expand(2, 2, 3, 2, 2))


def test_the_second_half_of_x_is_ignored() -> None:
    x, t, labels = torch.randn(4, 2, 3, 2, 2), torch.zeros(4), torch.tensor([1, 4])
    rubbish = torch.cat([x[:2], torch.full_like(x[:2], float("nan"))])
    out = [classifier_free_guidance(network, given, t, labels, NULL, 2.0, 3) for given in (x, rubbish)]
    assert torch.equal(out[0], out[1])


@pytest.mark.parametrize(("scale", "expected"), [(0.0, NULL), (1.0, 4), (7.0, NULL + 7 * (4 - NULL))])
def test_denoiser_for_samplers(scale: float, expected: float) -> None:
    batches: list[int] = []

    def counted(x: Tensor, t: Tensor, labels: Tensor) -> Tensor:
        batches.append(len(x))
        return network(x, t, labels)

    x, t = torch.randn(2, 1, 3, 2, 2), torch.tensor([3.0, 3.0])
    out = guided(counted, torch.tensor([4, 4]), NULL, scale, 3)(x, t)
    assert out.shape == (2, 1, 6, 2, 2)
    torch.testing.assert_close(out[:, :, :3], x + expected)
    torch.testing.assert_close(out[:, :, 3:], torch.full_like(x, 3.0 + 4))
    assert batches == [2 if scale == 1.0 else 4]


def test_a_batch_that_is_not_doubled_is_refused() -> None:
    with pytest.raises(ValueError, match="batch of 4"):
        classifier_free_guidance(
            network, torch.zeros(2, 1, 3, 2, 2), torch.zeros(4), torch.tensor([1, 2]), NULL, 2.0, 3
        )
