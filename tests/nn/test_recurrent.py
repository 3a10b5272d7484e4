"""The plain recurrent layers against torch's, and against the book's loops."""

import pytest
import torch
from torch import nn

from d2lcli.nn.recurrent import GATES, Cell, Recurrent, RecurrentLayer

CELLS: tuple[Cell, ...] = ("rnn", "lstm", "gru")


def copied(plain: Recurrent, fused: nn.RNNBase) -> None:
    """torch's weights into the plain layers; its two biases are added up, but for that within a gru's reset."""
    for place, layer in enumerate(plain.layers):
        assert isinstance(layer, RecurrentLayer)
        suffix = f"l{place // plain.directions}" + ("_reverse" if place % plain.directions else "")
        bias_h = getattr(fused, f"bias_hh_{suffix}").detach().clone()
        with torch.no_grad():
            layer.weight_x.copy_(getattr(fused, f"weight_ih_{suffix}"))
            layer.weight_h.copy_(getattr(fused, f"weight_hh_{suffix}"))
            if layer.bias_h is not None:
                layer.bias_h.copy_(bias_h[-len(layer.bias_h) :])
                bias_h[-len(layer.bias_h) :] = 0
            layer.bias.copy_(getattr(fused, f"bias_ih_{suffix}") + bias_h)


@pytest.mark.parametrize("cell", CELLS)
@pytest.mark.parametrize("layers", [1, 3])
@pytest.mark.parametrize("both", [False, True])
def test_plain_layers_equal_torch_s(cell: Cell, layers: int, both: bool) -> None:
    torch.manual_seed(0)
    options = {"num_layers": layers, "bidirectional": both}
    plain = Recurrent(cell, 5, 7, scratch=True, reset="after", **options).double()
    fused = {"rnn": nn.RNN, "lstm": nn.LSTM, "gru": nn.GRU}[cell](5, 7, layers, batch_first=True, bidirectional=both)
    fused = fused.double()
    copied(plain, fused)
    x = torch.randn(3, 6, 5, dtype=torch.float64)
    state = tuple(torch.randn_like(part) for part in plain.begin(3))
    outputs, after = plain(x, state)
    expected, final = fused(x, state if cell == "lstm" else state[0])
    torch.testing.assert_close(outputs, expected, rtol=1e-10, atol=1e-12)
    for found, other in zip(after, final if cell == "lstm" else (final,), strict=True):
        torch.testing.assert_close(found, other, rtol=1e-10, atol=1e-12)


def test_reset_before_equals_a_loop_over_the_formula() -> None:
    torch.manual_seed(0)
    d, h = 4, 6
    layer = RecurrentLayer("gru", d, h).double()
    x, state = torch.randn(2, 5, d, dtype=torch.float64), torch.randn(2, h, dtype=torch.float64)
    (w_r, w_z, w_n), (u_r, u_z, u_n) = layer.weight_x.chunk(3), layer.weight_h.chunk(3)
    b_r, b_z, b_n = layer.bias.chunk(3)
    hidden = state
    for t in range(5):
        r = torch.sigmoid(x[:, t] @ w_r.T + hidden @ u_r.T + b_r)
        z = torch.sigmoid(x[:, t] @ w_z.T + hidden @ u_z.T + b_z)
        new = torch.tanh(x[:, t] @ w_n.T + (r * hidden) @ u_n.T + b_n)
        hidden = z * hidden + (1 - z) * new
    torch.testing.assert_close(layer(x, (state,))[1][0], hidden)


@pytest.mark.parametrize("cell", CELLS)
def test_parameters_are_counted_as_in_the_book(cell: Cell) -> None:
    d, h = 10, 20
    plain = sum(p.numel() for p in Recurrent(cell, d, h, scratch=True).parameters())
    fused = sum(p.numel() for p in Recurrent(cell, d, h).parameters())
    assert plain == GATES[cell] * (d * h + h * h + h)
    assert fused == plain + GATES[cell] * h
    if cell == "lstm":
        assert (plain, fused) == (2480, 2560)


@pytest.mark.parametrize("scratch", [False, True])
@pytest.mark.parametrize("cell", CELLS)
def test_a_state_continues_a_sequence(cell: Cell, scratch: bool) -> None:
    torch.manual_seed(0)
    layers = Recurrent(cell, 3, 4, 2, scratch=scratch).double()
    x = torch.randn(2, 7, 3, dtype=torch.float64)
    whole, end = layers(x)
    first, state = layers(x[:, :4])
    second, after = layers(x[:, 4:], state)
    torch.testing.assert_close(torch.cat([first, second], 1), whole)
    for found, other in zip(after, end, strict=True):
        torch.testing.assert_close(found, other)


def test_the_gradient_through_time_of_a_linear_network() -> None:
    """h_t = W_x x_t + W_h h_(t-1): dL/dW_h = sum_t dL/dh_t h_(t-1)^T, with dL/dh_t = sum_(i>=t) (W_h^T)^(i-t) g_i."""
    torch.manual_seed(0)
    w_h = (0.5 * torch.randn(3, 3, dtype=torch.float64)).requires_grad_()
    w_x, x = torch.randn(3, 2, dtype=torch.float64), torch.randn(5, 2, dtype=torch.float64)
    hidden = [torch.zeros(3, dtype=torch.float64)]
    for t in range(5):
        hidden.append(w_x @ x[t] + w_h @ hidden[-1])
    weights = torch.randn(5, 3, dtype=torch.float64)
    sum(w @ h for w, h in zip(weights, hidden[1:], strict=True)).backward()
    flow, expected = torch.zeros(3, dtype=torch.float64), torch.zeros(3, 3, dtype=torch.float64)
    for t in reversed(range(5)):
        flow = weights[t] + w_h.detach().T @ flow
        expected += torch.outer(flow, hidden[t].detach())
    torch.testing.assert_close(w_h.grad, expected)


def test_dropout_between_layers_is_for_training_only() -> None:
    layers = Recurrent("gru", 3, 4, 2, scratch=True, dropout=0.5)
    x = torch.randn(2, 5, 3)
    assert not torch.equal(layers(x)[0], layers(x)[0])
    layers.eval()
    assert torch.equal(layers(x)[0], layers(x)[0])


@pytest.mark.parametrize(
    ("options", "word"),
    [({"hidden_size": 0}, "hidden_size"), ({"num_layers": 0}, "num_layers"), ({"dropout": 2.0}, "dropout")],
)
def test_bad_sizes(options: dict[str, float], word: str) -> None:
    with pytest.raises(ValueError, match=word):
        Recurrent("rnn", **({"in_features": 3, "hidden_size": 3} | options))  # type: ignore[arg-type]


def test_a_fused_gru_cannot_reset_before() -> None:
    with pytest.raises(ValueError, match="scratch=true"):
        Recurrent("gru", 3, 3, reset="before")
