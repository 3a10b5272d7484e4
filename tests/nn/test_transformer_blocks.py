"""The blocks beside torch's layers with the same weights, with masks, and token by token."""

from typing import Literal

import pytest
import torch
from torch import Tensor, nn

from d2lcli.nn.attention import MultiHeadAttention
from d2lcli.nn.transformer import AddNorm, CausalBlock, DecoderBlock, EncoderBlock, FeedForward

DIM, HEADS, HIDDEN = 12, 3, 20
LENGTHS = torch.tensor([7, 4, 1])
KEEP = torch.arange(7) < LENGTHS[:, None]  # (3, 7)
Kind = Literal["relu", "gelu"]

every_form = pytest.mark.parametrize(
    ("norm_first", "activation"), [(False, "relu"), (False, "gelu"), (True, "relu"), (True, "gelu")]
)


def renamed(theirs: dict[str, Tensor], norms: tuple[str, ...]) -> dict[str, Tensor]:
    """The names of torch's layers -> ours."""
    names = {"self_attn.": "attention.", "multihead_attn.": "cross_attention.", "linear": "feed_forward.linear"}
    names |= {f"norm{place}.": f"{norm}.norm." for place, norm in enumerate(norms, start=1)}
    found = {}
    for key, value in theirs.items():
        first = next(name for name in names if key.startswith(name))
        found[names[first] + key.removeprefix(first)] = value
    return found


def drawn(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def shaken(module: nn.Module) -> nn.Module:
    """No weight of torch's norms and biases stays 1 or 0, so that a wrong copy shows."""
    torch.manual_seed(1)
    for parameter in module.parameters():
        nn.init.normal_(parameter, std=0.3)
    return module


def encoder_layer(norm_first: bool, activation: Kind) -> nn.Module:
    layer = nn.TransformerEncoderLayer(
        DIM, HEADS, HIDDEN, 0.1, activation, batch_first=True, norm_first=norm_first, dtype=torch.float64
    )
    return shaken(layer).eval()


def encoder_weights(layer: nn.Module) -> dict[str, Tensor]:
    return renamed(layer.state_dict(), ("add_attention", "add_feed_forward"))


@every_form
@pytest.mark.parametrize("masked", [False, True])
def test_the_encoder_block_equals_torch_s(norm_first: bool, activation: Kind, masked: bool) -> None:
    theirs = encoder_layer(norm_first, activation)
    ours = EncoderBlock(DIM, HEADS, HIDDEN, 0.1, norm_first, activation).double().eval()
    ours.load_state_dict(encoder_weights(theirs))
    x = drawn(3, 7, DIM)
    found = ours(x, KEEP if masked else None)
    expected = theirs(x, src_key_padding_mask=~KEEP if masked else None)
    kept = KEEP if masked else torch.ones_like(KEEP)  # torch's fast path may leave zeros in the padding
    torch.testing.assert_close(found[kept], expected[kept], rtol=1e-10, atol=1e-12)


@every_form
def test_the_causal_block_equals_torch_s_with_a_causal_mask(norm_first: bool, activation: Kind) -> None:
    theirs = encoder_layer(norm_first, activation)
    ours = CausalBlock(DIM, HEADS, HIDDEN, 0.1, norm_first, activation).double().eval()
    ours.load_state_dict(encoder_weights(theirs))
    x = drawn(3, 7, DIM)
    later = nn.Transformer.generate_square_subsequent_mask(7, dtype=torch.float64)
    torch.testing.assert_close(ours(x), theirs(x, later, is_causal=True), rtol=1e-10, atol=1e-12)


def decoder_pair(norm_first: bool, activation: Kind) -> tuple[DecoderBlock, nn.Module]:
    theirs = nn.TransformerDecoderLayer(
        DIM, HEADS, HIDDEN, 0.1, activation, batch_first=True, norm_first=norm_first, dtype=torch.float64
    )
    shaken(theirs).eval()
    ours = DecoderBlock(DIM, HEADS, HIDDEN, 0.1, norm_first, activation).double().eval()
    norms = ("add_attention", "add_cross_attention", "add_feed_forward")
    ours.load_state_dict(renamed(theirs.state_dict(), norms))
    return ours, theirs


@every_form
@pytest.mark.parametrize("masked", [False, True])
def test_the_decoder_block_equals_torch_s(norm_first: bool, activation: Kind, masked: bool) -> None:
    ours, theirs = decoder_pair(norm_first, activation)
    x, memory = drawn(3, 5, DIM), drawn(3, 7, DIM, seed=1)
    later = torch.ones(5, 5, dtype=torch.bool).triu(1)
    expected = theirs(x, memory, later, memory_key_padding_mask=~KEEP if masked else None, tgt_is_causal=True)
    found = ours(x, memory, KEEP if masked else None)
    torch.testing.assert_close(found, expected, rtol=1e-10, atol=1e-12)


@every_form
def test_gradients_equal_torch_s(norm_first: bool, activation: Kind) -> None:
    ours, theirs = decoder_pair(norm_first, activation)
    x, memory = drawn(3, 5, DIM), drawn(3, 7, DIM, seed=1)
    later = torch.ones(5, 5, dtype=torch.bool).triu(1)
    weight = drawn(3, 5, DIM, seed=2)
    (ours(x, memory, KEEP) * weight).sum().backward()
    (theirs(x, memory, later, memory_key_padding_mask=~KEEP) * weight).sum().backward()
    norms = ("add_attention", "add_cross_attention", "add_feed_forward")
    expected = renamed({name: each.grad for name, each in theirs.named_parameters() if each.grad is not None}, norms)
    for name, parameter in ours.named_parameters():
        torch.testing.assert_close(parameter.grad, expected[name], rtol=1e-9, atol=1e-11)


@pytest.mark.parametrize("norm_first", [False, True])
@pytest.mark.parametrize("pieces", [[1] * 7, [4, 3], [2, 1, 4], [7]])
def test_a_causal_block_piece_by_piece(norm_first: bool, pieces: list[int]) -> None:
    block = CausalBlock(DIM, HEADS, HIDDEN, 0.1, norm_first).double().eval()
    x = drawn(3, 7, DIM)
    past, outputs = block.begin(3), []
    for piece in x.split(pieces, 1):
        out, past = block.step(piece, past)
        outputs.append(out)
    assert past.shape == (2, 3, HEADS, 7, DIM // HEADS)
    torch.testing.assert_close(torch.cat(outputs, 1), block(x), rtol=1e-10, atol=1e-12)


@pytest.mark.parametrize("masked", [False, True])
def test_rows_side_by_side_may_share_a_memory(masked: bool) -> None:
    layer, queries, memory = MultiHeadAttention(DIM, HEADS).double(), drawn(6, 4, DIM), drawn(3, 7, DIM, seed=1)
    mask = KEEP if masked else None
    found = layer.look_up(queries, layer.project_memory(memory), mask)
    repeated = memory.repeat_interleave(2, 0)
    expected = layer(queries, repeated, repeated, KEEP.repeat_interleave(2, 0) if masked else None)
    torch.testing.assert_close(found, expected, rtol=1e-10, atol=1e-12)


@pytest.mark.parametrize("norm_first", [False, True])
@pytest.mark.parametrize("bias", [False, True])
def test_a_decoder_block_token_by_token(norm_first: bool, bias: bool) -> None:
    block = DecoderBlock(DIM, HEADS, HIDDEN, 0.1, norm_first, "gelu", bias).double().eval()
    x, memory = drawn(3, 5, DIM), drawn(3, 7, DIM, seed=1)
    cache, outputs = block.begin(memory), []
    for token in x.split(1, 1):
        out, cache = block(token, None, KEEP, cache)
        outputs.append(out)
    torch.testing.assert_close(torch.cat(outputs, 1), block(x, memory, KEEP), rtol=1e-10, atol=1e-12)


@pytest.mark.parametrize("training", [False, True])
def test_no_block_sees_the_future(training: bool) -> None:
    causal = CausalBlock(DIM, HEADS, HIDDEN).double().train(training)
    decoder = DecoderBlock(DIM, HEADS, HIDDEN).double().train(training)
    x, memory = drawn(2, 6, DIM), drawn(2, 7, DIM, seed=1)
    other = x.clone()
    other[:, 4] += 1
    for before, after in ((causal(x), causal(other)), (decoder(x, memory), decoder(other, memory))):
        assert torch.equal(before[:, :4], after[:, :4])
        assert not torch.equal(before[:, 4], after[:, 4]) and not torch.equal(before[:, 5], after[:, 5])


def test_padding_is_not_seen() -> None:
    encoder, decoder = EncoderBlock(DIM, HEADS, HIDDEN).double(), DecoderBlock(DIM, HEADS, HIDDEN).double()
    memory, x = drawn(3, 7, DIM), drawn(3, 5, DIM, seed=1)
    other = memory.masked_fill(~KEEP[:, :, None], 100.0)
    assert torch.equal(encoder(memory, KEEP)[KEEP], encoder(other, KEEP)[KEEP])
    assert torch.equal(decoder(x, memory, KEEP), decoder(x, other, KEEP))


@pytest.mark.parametrize("causal", [False, True])
def test_where_nothing_may_be_seen_the_output_is_the_bias(causal: bool) -> None:
    layer = MultiHeadAttention(DIM, HEADS).double()
    nn.init.normal_(layer.out_proj.bias)
    x = drawn(2, 4, DIM).requires_grad_()
    mask = torch.tensor([[True, True, False, False], [False] * 4])
    found = layer(x, x, x, mask, causal=causal)
    assert torch.equal(found[1], layer.out_proj.bias.expand(4, -1))
    torch.testing.assert_close(found[0], layer(x, x, x, mask[0].expand(2, 4), causal=causal)[0])
    found.sum().backward()
    assert x.grad is not None and bool(x.grad.isfinite().all())


def test_a_mask_of_pairs_and_one_of_keys() -> None:
    layer = MultiHeadAttention(DIM, HEADS).double()
    x = drawn(3, 7, DIM)
    pairs = KEEP[:, None].expand(-1, 7, -1)
    torch.testing.assert_close(layer(x, x, x, pairs), layer(x, x, x, KEEP))
    past = torch.ones(7, 7, dtype=torch.bool).tril().expand(3, -1, -1)
    torch.testing.assert_close(layer(x, x, x, past), layer(x, x, x, causal=True))
    torch.testing.assert_close(layer(x, x, x, past & pairs), layer(x, x, x, KEEP, causal=True))


def test_fewer_queries_than_keys_are_the_last_ones() -> None:
    layer, x = MultiHeadAttention(DIM, HEADS).double(), drawn(3, 7, DIM)
    torch.testing.assert_close(layer(x[:, 4:], x, x, causal=True), layer(x, x, x, causal=True)[:, 4:])


def test_the_two_layers_are_the_same_at_every_position() -> None:
    layer = FeedForward(DIM, HIDDEN, "relu").double()
    outputs = layer(torch.ones(2, 3, DIM, dtype=torch.float64))
    torch.testing.assert_close(outputs, outputs[:1, :1].expand(2, 3, -1))
    assert sum(parameter.numel() for parameter in layer.parameters()) == 2 * DIM * HIDDEN + HIDDEN + DIM


@pytest.mark.parametrize("norm_first", [False, True])
def test_add_and_norm(norm_first: bool) -> None:
    layer, x = AddNorm(DIM, 0.5, norm_first).double(), drawn(3, 4, DIM)
    outputs = layer.eval()(x, layer.inputs(x))
    assert outputs.shape == x.shape and torch.equal(outputs, layer(x, layer.inputs(x)))
    normed = nn.functional.layer_norm(x, (DIM,))
    torch.testing.assert_close(outputs, x + normed if norm_first else nn.functional.layer_norm(2 * x, (DIM,)))
    assert not torch.equal(layer.train()(x, x), layer(x, x))


@pytest.mark.parametrize(("bias", "expected"), [(False, 4 * DIM**2), (True, 4 * DIM**2 + 4 * DIM)])
def test_the_book_s_attention_has_no_biases(bias: bool, expected: int) -> None:
    block = EncoderBlock(DIM, HEADS, HIDDEN, bias=bias)
    assert sum(parameter.numel() for parameter in block.attention.parameters()) == expected
