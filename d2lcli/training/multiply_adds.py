"""Multiply-adds of one call of a layer, by formula.

As in the published figures only sums of products count: no biases, norms, activations, pooling or table look-ups.
"""

import math
from collections.abc import Callable, Sequence

from torch import Tensor, nn


def multiply_adds(layer: nn.Module, inputs: Sequence[Tensor], output: Tensor) -> int | None:
    """Of one call, by the formula of the layer's nearest ancestor; None where there is none.

    Args:
        layer: what was called.
        inputs: all tensors that it was given, in order.
        output: the first tensor that it made.
    """
    formula = next((MULTIPLY_ADDS[kind] for kind in type(layer).__mro__ if kind in MULTIPLY_ADDS), None)
    return None if formula is None else formula(layer, inputs, output)


def _per_output(layer: nn.Module, inputs: Sequence[Tensor], output: Tensor) -> int:
    """Each output value sums over one row of the weight, (out, in) or (out, in / groups, *kernel)."""
    return output.numel() * math.prod(layer.get_parameter("weight").shape[1:])


def _per_input(layer: nn.Module, inputs: Sequence[Tensor], output: Tensor) -> int:
    """Each input value is spread over one row of the weight, (in, out / groups, *kernel)."""
    return inputs[0].numel() * math.prod(layer.get_parameter("weight").shape[1:])


def _bilinear(layer: nn.Module, inputs: Sequence[Tensor], output: Tensor) -> int:
    """Each output value is x A y: A y takes |x| |y| multiply-adds, the product with x another |x|."""
    assert isinstance(layer, nn.Bilinear)
    return output.numel() * layer.in1_features * (layer.in2_features + 1)


def _recurrent(layer: nn.Module, inputs: Sequence[Tensor], output: Tensor) -> int:
    """Each step of each example multiplies every weight matrix once: 1 (RNN), 3 (GRU) or 4 (LSTM) times (d h + h^2)."""
    assert isinstance(layer.input_size, int)
    matrices = sum(p.numel() for name, p in layer.named_parameters(recurse=False) if name.startswith("weight"))
    return inputs[0].numel() // layer.input_size * matrices


def _attention(layer: nn.Module, inputs: Sequence[Tensor], output: Tensor) -> int:
    """The projections of L queries and S keys and values, Q K^T and its product with V, and the output projection.

    With e the width: L e^2 + S (d_k + d_v) e, twice L S e, L e^2; the heads share e between them.
    """
    assert isinstance(layer, nn.MultiheadAttention)
    query, key = inputs[0], inputs[1]
    e = layer.embed_dim
    time = 0 if query.dim() == 2 or not layer.batch_first else 1
    length, keys = query.shape[time], key.shape[time]
    if layer.bias_k is not None:
        keys += 1
    if layer.add_zero_attn:
        keys += 1
    examples = query.numel() // (length * e)
    projected = key.numel() // layer.kdim * (layer.kdim + layer.vdim) * e
    total: int = examples * (2 * length * e * e + 2 * length * keys * e) + projected
    return total


Formula = Callable[[nn.Module, Sequence[Tensor], Tensor], int]
MULTIPLY_ADDS: dict[type[nn.Module], Formula] = {
    nn.Linear: _per_output,
    nn.Conv1d: _per_output,
    nn.Conv2d: _per_output,
    nn.Conv3d: _per_output,
    nn.ConvTranspose1d: _per_input,
    nn.ConvTranspose2d: _per_input,
    nn.ConvTranspose3d: _per_input,
    nn.Bilinear: _bilinear,
    nn.RNNBase: _recurrent,  # RNN, GRU and LSTM, of any depth, in one direction or both
    nn.RNNCellBase: _recurrent,
    nn.MultiheadAttention: _attention,
    nn.Embedding: lambda layer, inputs, output: 0,
    nn.EmbeddingBag: lambda layer, inputs, output: 0,
}
