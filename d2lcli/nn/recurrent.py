"""Recurrent layers: plain ones, written out step by step (d2l 9.5, 10.1, 10.2), and torch's fused ones.

Legend: b sequences, t steps, d inputs, h hidden units, l layers, g gates (1 of rnn, 4 of lstm, 3 of gru).
A state is a tuple of tensors (l, b, h): the hidden state, and for lstm the cell state after it.
"""

from collections.abc import Sequence
from typing import Literal, TypeAlias

import torch
from torch import Tensor, nn
from torch.nn import functional

from d2lcli.nn.checks import require_positive

Cell = Literal["rnn", "lstm", "gru"]
Reset = Literal["before", "after"]
State: TypeAlias = tuple[Tensor, ...]

GATES: dict[str, int] = {"rnn": 1, "lstm": 4, "gru": 3}
FUSED = {"rnn": nn.RNN, "lstm": nn.LSTM, "gru": nn.GRU}
STD = 0.01  # of the first weights of the plain layers, as in the book


class RecurrentLayer(nn.Module):
    """One layer, one step after the other; parameters g (d h + h^2 + h).

    rnn: H' = tanh(X W_x + H W_h + b).
    lstm: I, F, O = sigmoid(...), C~ = tanh(...); C' = F C + I C~, H' = O tanh(C').  Gates in the order i, f, c, o.
    gru: R, Z = sigmoid(...); H~ = tanh(X W_x + (R H) W_h + b); H' = Z H + (1 - Z) H~.  Gates in the order r, z, n.
    With reset="after" H~ = tanh(X W_x + b + R (H W_h + b_h)), as torch has it, with h parameters more.
    """

    def __init__(self, cell: Cell, in_features: int, hidden_size: int, reset: Reset = "before") -> None:
        super().__init__()
        self.cell, self.reset = cell, reset
        gates = GATES[cell]
        self.weight_x = nn.Parameter(torch.empty(gates * hidden_size, in_features).normal_(std=STD))
        self.weight_h = nn.Parameter(torch.empty(gates * hidden_size, hidden_size).normal_(std=STD))
        self.bias = nn.Parameter(torch.zeros(gates * hidden_size))
        after = cell == "gru" and reset == "after"
        self.bias_h = nn.Parameter(torch.zeros(hidden_size)) if after else None

    def forward(self, x: Tensor, state: State) -> tuple[Tensor, State]:
        """(b, t, d) and the state before, each (b, h) -> (b, t, h) and the state after."""
        step = getattr(self, f"_{self.cell}")
        inputs = functional.linear(x, self.weight_x, self.bias)  # (b, t, g h): of all steps at once
        outputs = []
        for each in inputs.unbind(1):
            state = step(each, *state)
            outputs.append(state[0])
        return torch.stack(outputs, 1), state

    def _rnn(self, x: Tensor, h: Tensor) -> State:
        return (torch.tanh(x + functional.linear(h, self.weight_h)),)

    def _lstm(self, x: Tensor, h: Tensor, c: Tensor) -> State:
        i, f, n, o = (x + functional.linear(h, self.weight_h)).chunk(4, dim=1)
        c = torch.sigmoid(f) * c + torch.sigmoid(i) * torch.tanh(n)
        return torch.sigmoid(o) * torch.tanh(c), c

    def _gru(self, x: Tensor, h: Tensor) -> State:
        size = h.shape[1]
        x_gates, x_new = torch.split(x, [2 * size, size], dim=1)
        gates = torch.sigmoid(x_gates + functional.linear(h, self.weight_h[: 2 * size]))
        r, z = gates.chunk(2, dim=1)
        weight = self.weight_h[2 * size :]
        if self.reset == "before":
            new = torch.tanh(x_new + functional.linear(r * h, weight))
        else:
            new = torch.tanh(x_new + r * functional.linear(h, weight, self.bias_h))
        return (z * h + (1 - z) * new,)


class Recurrent(nn.Module):
    """Layers on top of each other, each perhaps in both directions (d2l 10.3, 10.4).

    (b, t, d) and a state -> (b, t, h), or (b, t, 2 h) where both directions are read, and the state after.

    Args:
        cell: rnn, lstm or gru.
        in_features: d.
        hidden_size: h.
        num_layers: l; with both directions a state has 2 l of them, forward and backward in turns, as torch has it.
        dropout: the probability that an output of a layer is zeroed on its way to the next one, in training.
        bidirectional: also read from the end; such a layer sees the future.
        scratch: the plain layers instead of the fused ones.
        reset: of a gru, whether the reset gate is applied before or after the product with H; None is before for the
            plain layer, as in the book, and after for the fused one, which knows no other.

    Raises:
        ValueError: a size below 1, or a fused gru that is to reset before.
    """

    def __init__(
        self,
        cell: Cell,
        in_features: int,
        hidden_size: int,
        num_layers: int = 1,
        *,
        dropout: float = 0.0,
        bidirectional: bool = False,
        scratch: bool = False,
        reset: Reset | None = None,
    ) -> None:
        require_positive(in_features=in_features, hidden_size=hidden_size, num_layers=num_layers)
        if not 0 <= dropout <= 1:
            raise ValueError(f"dropout must lie between 0 and 1, but it is {dropout}.")
        if reset == "before" and not scratch and cell == "gru":
            raise ValueError("reset=before needs scratch=true: torch's fused gru resets after the product.")
        super().__init__()
        self.cell, self.hidden_size, self.dropout = cell, hidden_size, dropout
        self.directions = 2 if bidirectional else 1
        self.num_states = num_layers * self.directions
        self.fused: nn.RNNBase | None = None
        self.layers = nn.ModuleList()
        if scratch:
            for layer in range(num_layers):
                width = in_features if layer == 0 else hidden_size * self.directions
                for _ in range(self.directions):
                    self.layers.append(RecurrentLayer(cell, width, hidden_size, reset or "before"))
        else:
            between = dropout if num_layers > 1 else 0.0
            self.fused = FUSED[cell](
                in_features, hidden_size, num_layers, batch_first=True, dropout=between, bidirectional=bidirectional
            )

    def begin(self, batch_size: int) -> State:
        """The state before the first step: zeros."""
        like = next(self.parameters())
        zeros = like.new_zeros(self.num_states, batch_size, self.hidden_size)
        return (zeros, zeros) if self.cell == "lstm" else (zeros,)

    def forward(self, x: Tensor, state: State | None = None) -> tuple[Tensor, State]:
        state = self.begin(len(x)) if state is None else state
        if self.fused is not None:
            outputs, after = self.fused(x, state if self.cell == "lstm" else state[0])
            return outputs, after if isinstance(after, tuple) else (after,)
        states: list[State] = []
        for low in range(0, self.num_states, self.directions):
            if low:
                x = functional.dropout(x, self.dropout, self.training)
            x = self._layer(x, state, low, states)
        return x, tuple(torch.stack(parts) for parts in zip(*states, strict=True))

    def _layer(self, x: Tensor, state: State, low: int, states: list[State]) -> Tensor:
        """One layer in its one or two directions; their states after it are added to `states`."""
        outputs = []
        for direction in range(self.directions):
            place = low + direction
            own = tuple(part[place] for part in state)
            found, after = self.layers[place](x.flip(1) if direction else x, own)
            outputs.append(found.flip(1) if direction else found)
            states.append(after)
        return torch.cat(outputs, 2) if self.directions == 2 else outputs[0]


def detached(state: Sequence[Tensor]) -> State:
    """The same numbers, through which no gradient flows back."""
    return tuple(part.detach() for part in state)
