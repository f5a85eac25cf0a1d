"""What must hold of every network, whatever its weights."""

from dataclasses import replace

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.utils.flop_counter import FlopCounterMode

from components.model.attention import Attention
from components.model.blocks import BlockStack
from components.model.checkpoints import from_official, load_official, to_official
from components.model.conditioning import Condition
from components.model.counting import count
from components.model.patch_embeddings import CompressionFrame
from components.model.spatial_positions import Rotary as SpatialRotary
from components.model.temporal_positions import Rotary
from registry.errors import RunError
from registry.experiment.resolve import resolve
from registry.parts.catalogue import catalogue
from tests.fixtures.toy_networks import BLOCKS, POSITIONS, inputs, toy_network

SPATIAL, NORMS = ["absolute", "rotary"], ["none", "rms_norm", "layer_norm"]
CONDITIONINGS = ["s_adaln", "all_tokens"]
SMALL = {"rtol": 1e-4, "atol": 1e-4}  # outputs of random toy networks are of order 10


@pytest.mark.parametrize("classes", [0, 3])
@pytest.mark.parametrize("conditioning", CONDITIONINGS)
@pytest.mark.parametrize("position", POSITIONS)
@pytest.mark.parametrize("blocks", BLOCKS)
def test_stills_do_not_touch_the_clip_nor_each_other(
    blocks: str, position: str, conditioning: str, classes: int
) -> None:
    network = toy_network(blocks=blocks, temporal_position=position, conditioning=conditioning, classes=classes)
    x, t, y, stills = inputs(network, stills=2)
    with torch.no_grad():
        alone = network(x[:, :4], t, y)
        both = network(x, t, y, stills)
        other = x.clone()
        other[:, 5] += 1.0
        changed = network(other, t, y, stills)
    torch.testing.assert_close(both[:, :4], alone, **SMALL)
    torch.testing.assert_close(changed[:, :5], both[:, :5], **SMALL)
    assert (changed[:, 5] - both[:, 5]).abs().max() > 0.01
    if classes:
        with torch.no_grad():
            relabelled = network(x, t, y, (stills + 1) % classes)
        torch.testing.assert_close(relabelled[:, :4], alone, **SMALL)
        assert (relabelled[:, 4:] - both[:, 4:]).abs().amax((0, 2, 3, 4)).min() > 0.001


@pytest.mark.parametrize(
    ("parameters", "lost"),
    [
        ({}, 0.0),
        ({"temporal_stride": 4}, 0.0),
        ({"channel_multiplier": 1}, 0.5),  # the named control
        ({"temporal_stride": 4, "channel_multiplier": 1}, 0.75),
        ({"temporal_stride": 4, "channel_multiplier": 3}, 0.25),
    ],
)
def test_tubelets_lose_no_frame_unless_asked_to(parameters: dict[str, int], lost: float) -> None:
    """The share of white noise that no tokens can give back: outputs of a token beyond the rank of its map."""
    frames, channels, patch = parameters.get("temporal_stride", 2), 2, 2
    outputs = frames * channels * patch**2
    torch.manual_seed(0)
    tubelets = CompressionFrame((frames, channels, patch, patch), patch, outputs, channels, **parameters).double()
    with torch.no_grad():
        tokens = torch.eye(outputs, dtype=torch.float64).reshape(outputs, 1, 1, outputs)
        images = tubelets.unembed(tokens) - tubelets.unembed(torch.zeros_like(tokens))
    assert 1 - int(torch.linalg.matrix_rank(images.flatten(1))) / outputs == lost


@pytest.mark.parametrize("norm", NORMS)
@pytest.mark.parametrize("spatial", SPATIAL)
@pytest.mark.parametrize("conditioning", CONDITIONINGS)
@pytest.mark.parametrize("blocks", BLOCKS)
def test_norms_and_places_go_with_every_network(blocks: str, conditioning: str, spatial: str, norm: str) -> None:
    """Stills stay apart from the clip, MACs are those that torch counts, and parameters are counted."""
    network = toy_network(
        blocks=blocks, conditioning=conditioning, spatial_position=spatial, qk_norm=norm, temporal_position="rotary"
    )
    x, t, y, stills = inputs(network, stills=2)
    with torch.no_grad():
        torch.testing.assert_close(network(x, t, y, stills)[:, :4], network(x[:, :4], t, y), **SMALL)
        with FlopCounterMode(display=False) as counter:
            network(x[:1, :4], t[:1], y)
    counts = count(network, x.shape[2])
    assert 2 * counts.evaluated == counter.get_total_flops()
    assert counts.parameters == sum(p.numel() for p in network.parameters())
    assert ("pos_embed" in to_official(network.state_dict())) == (spatial == "absolute")


@pytest.mark.parametrize("spatial", SPATIAL)
@pytest.mark.parametrize("blocks", BLOCKS)
def test_a_network_knows_where_a_patch_is(blocks: str, spatial: str) -> None:
    """Exchanging two patches exchanges more than two outputs; without any position it would not."""
    network = toy_network(blocks=blocks, spatial_position=spatial)
    x, t, *_ = inputs(network)
    swapped = torch.cat([x[..., 2:], x[..., :2]], dim=-1)  # columns of patches
    with torch.no_grad():
        off = network(swapped, t) - torch.cat([network(x, t)[..., 2:], network(x, t)[..., :2]], dim=-1)
    assert off.abs().max() > 1e-3


@settings(max_examples=15)
@given(st.integers(0, 3), st.integers(0, 3), st.integers(0, 3), st.integers(0, 3), st.sampled_from([4, 8, 12]))
def test_rotary_places_see_only_distances(row: int, column: int, down: int, right: int, channels: int) -> None:
    """Also beside rotary frames, which turn the same pairs in full attention."""
    grid, frames = (8, 9), 3
    spatial, temporal = SpatialRotary(16, grid), Rotary(frames, channels)
    q, k = torch.randn(2, 1, channels, generator=torch.Generator().manual_seed(channels)).double()
    everywhere = [x.expand(frames * 72, channels) for x in (q, k)]
    turned = spatial.rotate(*everywhere, frames)
    turned = temporal.rotate(*turned, torch.arange(frames).repeat_interleave(72))

    def product(at_q: tuple[int, int, int], at_k: tuple[int, int, int]) -> torch.Tensor:
        places = [(frame * 8 + r) * 9 + c for frame, r, c in (at_q, at_k)]
        return (turned[0][places[0]] * turned[1][places[1]]).sum()

    near = product((0, row, column), (1, 2, 1))
    torch.testing.assert_close(
        product((1, row + down, column + right), (2, 2 + down, 1 + right)), near, rtol=0, atol=1e-4
    )


def test_tokens_without_a_place_are_not_turned() -> None:
    spatial = SpatialRotary(16, (2, 3))
    q = torch.randn(2, 16, 8, generator=torch.Generator().manual_seed(0))  # two frames of 6 + 2 tokens
    turned, _ = spatial.rotate(q, q, 2)
    for kept in (0, 6, 7, 8, 14, 15):  # the first place is (0, 0)
        assert torch.equal(turned[:, kept], q[:, kept])
    assert not torch.isclose(turned[:, 1], q[:, 1]).all()
    torch.testing.assert_close(turned.norm(dim=-1), q.norm(dim=-1))


@pytest.mark.parametrize("norm", ["rms_norm", "layer_norm"])
def test_normed_queries_and_keys_forget_their_size(norm: str) -> None:
    network = toy_network(qk_norm=norm)
    network.initialise(torch.Generator().manual_seed(0))
    attention = network.blocks[0].attn
    assert attention.q_norm is not None
    assert attention.q_norm is not attention.k_norm
    q = attention.q_norm(100 * torch.randn(2, 3, 8, generator=torch.Generator().manual_seed(0)))
    torch.testing.assert_close(q.pow(2).mean(-1), torch.ones(2, 3), rtol=1e-3, atol=1e-3)
    x, t, *_ = inputs(network)
    with torch.no_grad(), torch.autocast("cpu", torch.bfloat16):
        assert network(x, t).isfinite().all()


def test_rotary_places_need_heads_of_four_channels() -> None:
    raw = {"model": {"width": 12, "heads": 2, "depth": 2, "spatial_position": "rotary"}}
    _, problems = resolve(raw, catalogue())
    assert [(key, "divisible by 4" in text) for key, text in problems] == [(("model", "spatial_position"), True)]


def test_tubelets_take_no_stills() -> None:
    raw = {"model": {"width": 16, "heads": 2, "depth": 2, "patch_embedding": "compression_frame"},
           "learning": {"joint_images": 2}}  # fmt: skip
    _, problems = resolve(raw, catalogue())
    assert [key for key, _ in problems] == [("learning", "joint_images")]
    assert "compression_frame takes no stills behind a clip (learning.joint_images 2)" in problems[0][1]
    network = toy_network(patch_embedding="compression_frame")
    x, t, *_ = inputs(network, stills=1)
    with pytest.raises(ValueError, match="expected 4 frames, got 5"):
        network(x, t)
    with pytest.raises(ValueError, match="expected 4 frames, got 3"):
        network(x[:, :3], t)


@pytest.mark.parametrize("embedding", ["uniform_frame", "compression_frame"])
@pytest.mark.parametrize("conditioning", CONDITIONINGS)
def test_the_head_computes_in_float32_under_autocast(conditioning: str, embedding: str) -> None:
    """Given the same tokens and condition, the output is that of float32, to the last bit."""
    network = toy_network(conditioning=conditioning, patch_embedding=embedding, classes=3)
    x, t, y, _ = inputs(network)
    given: list[tuple[torch.Tensor, Condition]] = []
    head = network.head
    network.head = lambda tokens, condition: (given.append((tokens, condition)), head(tokens, condition))[1]  # type: ignore[method-assign]
    with torch.no_grad():
        with torch.autocast("cpu", torch.bfloat16):
            under = network(x, t, y)
        ((tokens, condition),) = given
        exact = head(tokens.float(), replace(condition, frames=condition.frames.float()))
        assert not torch.equal(network(x, t, y), under)  # the rest did run in bfloat16
    assert under.dtype == torch.float32
    assert torch.equal(under, exact)


def test_the_head_keeps_float64() -> None:
    network = toy_network().double()
    with torch.no_grad():
        tokens = torch.randn(2, 4, 4, 16, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
        condition = Condition(tokens[:, :1, :1], tokens[:, :1, :1])
        assert network.head(tokens, condition).dtype == torch.float64


def test_classes_need_labels() -> None:
    network = toy_network(classes=2)
    x, t, *_ = inputs(network)
    with pytest.raises(ValueError, match="needs labels"):
        network(x, t)


@pytest.mark.parametrize("embedding", ["uniform_frame", "compression_frame"])
@pytest.mark.parametrize("blocks", BLOCKS)
def test_clips_of_a_batch_do_not_touch_each_other(blocks: str, embedding: str) -> None:
    network = toy_network(blocks=blocks, patch_embedding=embedding, classes=3, temporal_position="rotary")
    x, t, y, _ = inputs(network, batch=3)
    with torch.no_grad():
        together = network(x, t, y)
        for one in range(3):
            torch.testing.assert_close(
                network(x[one : one + 1], t[one : one + 1], y[one : one + 1]), together[one : one + 1], **SMALL
            )


@pytest.mark.parametrize("blocks", BLOCKS)
def test_every_frame_sees_every_frame(blocks: str) -> None:
    """There is no causality: frames before and behind a changed one change with it."""
    network = toy_network(blocks=blocks)
    x, t, *_ = inputs(network, batch=1)
    with torch.no_grad():
        before = network(x, t)
        for frame in range(4):
            other = x.clone()
            other[:, frame] += 1.0
            moved = (network(other, t) - before).abs().amax((0, 2, 3, 4))
            assert moved.min() > 0, (frame, moved)


@pytest.mark.parametrize("position", ["none", "rotary", "absolute", "learned"])
@pytest.mark.parametrize("blocks", BLOCKS)
def test_order_of_frames_matters_only_by_the_position(blocks: str, position: str) -> None:
    network = toy_network(blocks=blocks, temporal_position=position)
    x, t, *_ = inputs(network)
    order = torch.tensor([2, 0, 3, 1])
    with torch.no_grad():
        off = (network(x[:, order], t) - network(x, t)[:, order]).abs().max()
    assert (off < 1e-4) == (position == "none"), off


@settings(max_examples=25)
@given(st.integers(0, 500), st.integers(0, 500), st.integers(1, 300), st.sampled_from([2, 4, 10]))
def test_rotary_sees_only_distances(one: int, other: int, shift: int, channels: int) -> None:
    rotary = Rotary(8, channels)
    generator = torch.Generator().manual_seed(one)
    q, k = torch.randn(2, 1, channels, generator=generator, dtype=torch.float64)

    def product(at_q: int, at_k: int) -> torch.Tensor:
        turned, _ = rotary.rotate(q, q, torch.tensor([at_q]))
        _, against = rotary.rotate(k, k, torch.tensor([at_k]))
        return (turned * against).sum()

    torch.testing.assert_close(product(one, other), product(one + shift, other + shift), atol=2e-3, rtol=1e-3)
    torch.testing.assert_close(product(one, one), (q * k).sum(), atol=2e-4, rtol=1e-4)


def test_rotary_turns_as_the_complex_plane_does() -> None:
    rotary = Rotary(4, 8, base=100.0)
    x = torch.randn(3, 4, 8, generator=torch.Generator().manual_seed(0))
    frames = torch.arange(4)
    turned, _ = rotary.rotate(x, x, frames)
    angles = frames[:, None] * 100.0 ** (-torch.arange(4) / 4)
    expected = torch.complex(x[..., :4], x[..., 4:]) * torch.polar(torch.ones_like(angles), angles)
    torch.testing.assert_close(torch.complex(turned[..., :4], turned[..., 4:]), expected)


@pytest.mark.parametrize("axis", ["spatial", "temporal", "full"])
def test_attention_is_softmax_over_its_axis(axis: str) -> None:
    attention = Attention(8, 2).double()
    x = torch.randn(2, 3, 5, 8, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    q, k, v = attention.qkv(x).chunk(3, dim=-1)
    expected = torch.zeros_like(x)
    sites = [(b, t, s) for b in range(2) for t in range(3) for s in range(5)]
    for b, t, s in sites:
        group = [(u, r) for u in range(3) for r in range(5)
                 if axis == "full" or (u == t if axis == "spatial" else r == s)]  # fmt: skip
        for head in (slice(0, 4), slice(4, 8)):
            keys, values = (torch.stack([of[b, u, r, head] for u, r in group]) for of in (k, v))
            weights = torch.softmax(keys @ q[b, t, s, head] / 2.0, dim=0)  # sqrt of 4 channels a head
            expected[b, t, s, head] = weights @ values
    torch.testing.assert_close(attention(x, axis), attention.proj(expected))  # type: ignore[arg-type]


@pytest.mark.parametrize("blocks", BLOCKS)
@pytest.mark.parametrize("embedding", ["uniform_frame", "compression_frame"])
def test_fresh_networks_with_s_adaln_say_nothing(blocks: str, embedding: str) -> None:
    network = toy_network(blocks=blocks, patch_embedding=embedding, classes=2, temporal_position="none")
    network.initialise(torch.Generator().manual_seed(0))
    x, t, y, _ = inputs(network)
    with torch.no_grad():
        assert torch.count_nonzero(network(x, t, y)) == 0
        tokens = network.patch_embedding.embed(x)
        assert torch.count_nonzero(tokens) > 0
        condition = network.conditioning.embed(t, y, None, tokens.shape[1], 0)
        through = network.blocks(tokens, condition, network.temporal_position, tokens.shape[1])
    assert torch.equal(through, tokens)  # every gate is closed


@pytest.mark.parametrize("conditioning", CONDITIONINGS)
def test_initialisation_sets_every_weight_by_the_seed_alone(conditioning: str) -> None:
    first, second, third = (toy_network(seed, conditioning=conditioning, classes=2) for seed in (1, 2, 3))
    first.initialise(torch.Generator().manual_seed(5))
    second.initialise(torch.Generator().manual_seed(5))
    third.initialise(torch.Generator().manual_seed(6))
    assert all(torch.equal(a, b) for a, b in zip(first.parameters(), second.parameters(), strict=True))
    assert not all(torch.equal(a, b) for a, b in zip(first.parameters(), third.parameters(), strict=True))
    label = first.conditioning.label
    assert label is not None
    assert abs(float(label.weight.detach().std()) - 0.02) < 0.01


@pytest.mark.parametrize("position", ["absolute", "learned"])
@pytest.mark.parametrize("conditioning", CONDITIONINGS)
@pytest.mark.parametrize("blocks", BLOCKS)
def test_official_names_there_and_back(blocks: str, conditioning: str, position: str) -> None:
    network = toy_network(blocks=blocks, conditioning=conditioning, classes=2, temporal_position=position)
    official = to_official(network.state_dict())
    back = from_official(official)
    assert list(back) == list(network.state_dict())
    assert all(torch.equal(back[name], value) for name, value in network.state_dict().items())
    other = toy_network(9, blocks=blocks, conditioning=conditioning, classes=2, temporal_position=position)
    load_official(other, official)
    x, t, y, _ = inputs(network)
    with torch.no_grad():
        assert torch.equal(other(x, t, y), network(x, t, y))


def test_a_checkpoint_that_does_not_fit_is_told_by_name() -> None:
    network = toy_network()
    entries = to_official(network.state_dict())
    weight = entries.pop("blocks.0.attn.proj.bias")
    entries["extra"] = weight
    entries["temp_embed"] = torch.zeros(1, 5, 16)
    with pytest.raises(RunError) as refused:
        load_official(network, entries)
    told = str(refused.value)
    for words in ("missing blocks.0.attn.proj.bias", "unexpected extra", r"temp_embed is (1, 5, 16)", "(1, 4, 16)"):
        assert words in told


@pytest.mark.parametrize("classes", [0, 2])
@pytest.mark.parametrize("embedding", ["uniform_frame", "compression_frame"])
@pytest.mark.parametrize("conditioning", CONDITIONINGS)
@pytest.mark.parametrize("blocks", BLOCKS)
def test_counted_macs_are_those_that_torch_counts(blocks: str, conditioning: str, embedding: str, classes: int) -> None:
    network = toy_network(blocks=blocks, conditioning=conditioning, patch_embedding=embedding, classes=classes)
    x, t, y, _ = inputs(network, batch=1)
    with FlopCounterMode(display=False) as counter, torch.no_grad():
        network(x, t, y)
    counts = count(network, x.shape[2])
    assert 2 * counts.evaluated == counter.get_total_flops()
    assert counts.parameters == sum(p.numel() for p in network.parameters())
    assert counts.per_clip >= counts.evaluated


@pytest.mark.parametrize("classes", [0, 2])
@pytest.mark.parametrize("conditioning", CONDITIONINGS)
@pytest.mark.parametrize("blocks", BLOCKS)
def test_macs_of_stills_are_those_that_torch_counts(blocks: str, conditioning: str, classes: int) -> None:
    network = toy_network(blocks=blocks, conditioning=conditioning, classes=classes)
    given = inputs(network, batch=1, stills=3)
    with FlopCounterMode(display=False) as counter, torch.no_grad():
        network(*given)
    counts = count(network, given[0].shape[2], stills=3)
    assert 2 * counts.evaluated == counter.get_total_flops()
    assert counts.evaluated > count(network, given[0].shape[2]).evaluated


def test_every_block_stack_says_what_the_depth_rule_needs() -> None:
    for blocks in BLOCKS:
        network = toy_network(blocks=blocks)
        assert isinstance(network.blocks, BlockStack)
        width = 16
        learned = sum(p.numel() for p in network.blocks[0].parameters() if p.dim() > 1)
        assert learned == network.blocks.block_parameters * width**2
