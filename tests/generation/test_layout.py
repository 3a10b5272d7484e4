"""Weights laid out for decoding: the same model."""

from types import SimpleNamespace

import psutil
import pytest
import torch
from torch import nn

from d2lcli.generation.layout import lay_out
from d2lcli.models.gpt import transformer_lm
from d2lcli.nn.packed import Packed, PackedLinear


def test_values_stay_and_memory_turns() -> None:
    model = transformer_lm(dim=16, num_heads=2, num_layers=2, hidden=24, dropout=0.0).eval()
    tokens = torch.randint(28, (2, 7), generator=torch.Generator().manual_seed(0))
    before, expected = {key: value.clone() for key, value in model.state_dict().items()}, model(tokens)
    found = lay_out(lay_out(model))
    assert all(torch.equal(value, before[key]) for key, value in found.state_dict().items())
    torch.testing.assert_close(found(tokens), expected)
    block = found.blocks[0]
    for weight in (block.attention.in_proj_weight, block.feed_forward.linear1.weight, found.head.weight):
        assert weight.t().is_contiguous()
    assert found.head.weight is found.embedding.weight


def large() -> nn.Module:
    torch.manual_seed(0)
    return transformer_lm(vocab_size=700, dim=384, num_heads=6, num_layers=2, hidden=700, dropout=0.0).eval()


@pytest.mark.skipif(not torch.backends.mkldnn.is_available(), reason="this torch was built without oneDNN")
@torch.no_grad()
def test_large_layers_are_packed_and_tell_the_same() -> None:
    model, tokens = large(), torch.randint(700, (4, 9), generator=torch.Generator().manual_seed(0))
    before, expected = {key: value.clone() for key, value in model.state_dict().items()}, model(tokens)
    found = lay_out(lay_out(model))
    block = found.blocks[0]
    assert all(isinstance(layer, PackedLinear) for layer in (found.head, block.feed_forward.linear1))
    assert isinstance(block.attention.product, Packed) and block.attention.out_proj.weight.t().is_contiguous()
    assert all(torch.equal(value, before[key]) for key, value in found.state_dict().items())
    assert found.head.weight is found.embedding.weight
    torch.testing.assert_close(found(tokens), expected, rtol=1e-4, atol=1e-5)
    state, parts = found.begin(4), []
    for token in tokens.split(1, 1):
        logits, state = found(token, state)
        parts.append(logits)
    torch.testing.assert_close(torch.cat(parts, 1), expected, rtol=1e-4, atol=1e-5)


def test_nothing_is_packed_where_memory_is_short(monkeypatch: pytest.MonkeyPatch) -> None:
    model = large()
    size = sum(parameter.nbytes for parameter in model.parameters())
    monkeypatch.setattr(psutil, "virtual_memory", lambda: SimpleNamespace(available=2 * size))
    assert not any(isinstance(module, PackedLinear) for module in lay_out(model).modules())
    assert model.head.weight.t().is_contiguous()
