"""The text-conditional network: against diffusers' own, what it refuses, and how it starts."""

from typing import Any

import pytest
import torch

from components.model.building import build_network
from components.model.counting import CAPTION_TOKENS, count
from components.model.latte import Latte
from registry.experiment.resolve import resolve
from registry.parts.catalogue import catalogue
from registry.schema.section import Part
from registry.schema.spec import ModelSpec
from tests.fixtures.diffusers_networks import latte_transformer, ours
from tests.fixtures.toy_networks import BLOCKS, inputs, toy_network

TEXT = {"name": "text_cross_attention", "text_width": 6}


def text_network(seed: int = 0, **model: Any) -> Latte:
    """Two blocks of width 16 over 4 frames of 4x4 latents, every learned weight a random number."""
    section = ModelSpec.model_validate(
        {"width": 16, "heads": 2, "depth": 2, **parts_of({"conditioning": TEXT, **model})}
    )
    network = build_network(section, (4, 12, 4, 4), 24, False, catalogue())
    generator = torch.Generator().manual_seed(seed)
    for parameter in network.parameters():
        torch.nn.init.normal_(parameter, std=0.3, generator=generator)
    return network.eval()


def parts_of(named: dict[str, Any]) -> dict[str, Any]:
    return {key: Part.model_validate({"name": part} if isinstance(part, str) else part) for key, part in named.items()}


def caption(batch: int = 2, length: int = 5, width: int = 6, seed: int = 3) -> torch.Tensor:
    return torch.randn(batch, length, width, generator=torch.Generator().manual_seed(seed))


@pytest.fixture(params=[{}, {"sample_size": 128}, {"video_length": 1}, {"in_channels": 3, "patch_size": 1}])
def networks(request: pytest.FixtureRequest) -> tuple[Any, Any]:
    theirs = latte_transformer(**request.param)
    return theirs, ours(theirs)


@pytest.mark.parametrize("masked", [False, True])
def test_it_computes_what_diffusers_does(networks: tuple[Any, Any], masked: bool) -> None:
    """To 1e-5 of outputs of order 1: both are float32, and only the order of additions differs."""
    theirs, network = networks
    config = theirs.config
    generator = torch.Generator().manual_seed(1)
    shape = (2, config.video_length, config.in_channels, config.sample_size, config.sample_size)
    x, t = torch.randn(shape, generator=generator), torch.tensor([37, 912])
    text = caption(width=config.caption_channels)
    mask = torch.tensor([[True, True, True, True, False], [True, True, False, False, False]]) if masked else None
    # diffusers hands the mask on as it is, so it has to be what its attention wants: one bias a frame and token.
    bias = None if mask is None else ((~mask).float() * -1e4).repeat_interleave(config.video_length, 0)[:, None]
    with torch.no_grad():
        expected = theirs(x.transpose(1, 2), t, text, bias, return_dict=False)[0].transpose(1, 2)
        found = network(x, t, text=text, text_mask=mask)
    assert expected.std() > 0.1
    torch.testing.assert_close(found, expected, rtol=1e-5, atol=1e-5)


def test_masked_words_do_not_matter_and_others_do() -> None:
    network = text_network()
    x, t, *_ = inputs(network)
    text, mask = caption(), torch.tensor([[True, True, True, False, False]] * 2)
    other = text.clone()
    other[:, 3:] += 1
    with torch.no_grad():
        torch.testing.assert_close(
            network(x, t, text=text, text_mask=mask), network(x, t, text=other, text_mask=mask), rtol=0, atol=0
        )
        assert (network(x, t, text=text) - network(x, t, text=other)).abs().max() > 1e-3


@pytest.mark.parametrize("blocks", BLOCKS)
def test_every_arrangement_reads_the_caption_where_it_sees_whole_frames(blocks: str) -> None:
    network = text_network(blocks=blocks)
    x, t, *_ = inputs(network)
    with torch.no_grad():
        moved = network(x, t, text=caption(seed=4)) - network(x, t, text=caption())
    assert moved.abs().amax((0, 2, 3, 4)).min() > 1e-3  # in every frame
    reading = [block.cross_attn is not None for block in network.blocks]
    assert reading == ([True, False] if blocks in ("variant_1", "variant_2") else [True, True])


def test_text_is_refused_where_none_is_taken_and_missed_where_it_is_needed() -> None:
    plain, reads = toy_network(), text_network()
    x, t, *_ = inputs(plain)
    with pytest.raises(ValueError, match="SAdaLN takes no text"):
        plain(x, t, text=caption())
    with pytest.raises(ValueError, match=r"text_cross_attention needs text: embeddings \(B, L, 6\)"):
        reads(x, t)
    with pytest.raises(ValueError, match=r"text is \(2, 5, 7\), the network reads \(B, L, 6\)"):
        reads(x, t, text=caption(width=7))
    with pytest.raises(ValueError, match=r"text_mask is \(2, 4\), the text has \(2, 5\)"):
        reads(x, t, text=caption(), text_mask=torch.ones(2, 4, dtype=torch.bool))
    with pytest.raises(ValueError, match="takes no stills"):
        reads(torch.cat([x, x[:, :1]], dim=1), t, text=caption())


def test_it_starts_as_the_identity_and_learns_everywhere() -> None:
    network = text_network()
    network.initialise(torch.Generator().manual_seed(0))
    x, t, *_ = inputs(network)
    with torch.no_grad():
        assert network(x, t, text=caption()).abs().max() == 0
    assert network.blocks[0].cross_attn.proj.weight.abs().max() == 0
    assert network.blocks[0].cross_attn.q.weight.abs().max() > 0
    assert network.conditioning.adaLN_single[1].weight.abs().max() == 0


def test_the_published_size_counts_as_diffusers_does() -> None:
    """LatteT2V's shape without memory: as many parameters as diffusers' network has."""
    shape = {"num_attention_heads": 16, "attention_head_dim": 72, "num_layers": 28, "caption_channels": 4096}
    shape |= {"sample_size": 64, "video_length": 16, "cross_attention_dim": 1152}
    with torch.device("meta"):
        theirs = latte_transformer(**shape)
    network = ours(theirs, device="meta")
    counts = count(network, 4)
    assert counts.parameters == sum(parameter.numel() for parameter in theirs.parameters())
    tokens, width = 16 * 32 * 32, 1152
    self_attention = 28 * 2 * tokens * width * (32 * 32 + 16)
    assert counts.attention == self_attention + 28 * 2 * tokens * width * CAPTION_TOKENS


@pytest.mark.parametrize("blocks", BLOCKS)
def test_every_weight_learns_and_is_sampled_with(blocks: str) -> None:
    network = text_network(blocks=blocks)
    x, t, *_ = inputs(network)
    network(x, t, text=caption()).square().mean().backward()
    for name, parameter in network.named_parameters():
        assert parameter.grad is not None, name
        assert parameter.grad.abs().max() > 0, name


def test_an_experiment_is_told_what_is_lacking() -> None:
    spec, problems = resolve({"model": {"size": "S", "conditioning": TEXT, "classes": 2}}, catalogue())
    assert spec is None
    told = " ".join(text for _, text in problems)
    assert "text_cross_attention reads captions: name what encodes them" in told
    assert "text_cross_attention is conditioned by captions: no classes, got 2" in told
