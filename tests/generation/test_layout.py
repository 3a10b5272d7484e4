"""Weights laid out for decoding: the same model."""

import torch

from d2lcli.generation.layout import lay_out
from d2lcli.models.gpt import transformer_lm


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
