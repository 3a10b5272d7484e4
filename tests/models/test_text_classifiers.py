"""Classifiers of texts and of pairs against computations of their own, and texts against their own padding."""

from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional

from d2lcli.models.birnn import birnn_classifier
from d2lcli.models.decomposable_attention import decomposable_attention
from d2lcli.models.textcnn import textcnn

V, E, H, Q = 11, 6, 5, 3
LENGTHS = torch.tensor([7, 4, 1, 6])


def texts(seed: int = 0) -> Tensor:
    return torch.randint(V, (len(LENGTHS), 7), generator=torch.Generator().manual_seed(seed))


def segments() -> Tensor:
    """The second text begins at place 3, so that the third pair has none."""
    return (torch.arange(7) >= 3).long().expand(len(LENGTHS), 7)


def build(name: str, **more: Any) -> Any:
    torch.manual_seed(1)
    sizes: dict[str, Any] = {"vocab_size": V, "num_classes": Q, "embed_dim": E}
    makers: dict[str, Any] = {
        "birnn": lambda: birnn_classifier(**sizes, hidden_size=H, **more),
        "textcnn": lambda: textcnn(**sizes, num_channels=[2, 3, 4], kernel_sizes=[1, 2, 5], **more),
        "decomposable": lambda: decomposable_attention(**sizes, hidden=H, **more),
    }
    return makers[name]().double().eval()


EVERY = [
    ("birnn", {}), ("birnn", {"pool": "first_last"}), ("birnn", {"cell": "gru"}), ("birnn", {"cell": "rnn"}),
    ("textcnn", {}), ("textcnn", {"pool": "avg"}), ("textcnn", {"dual_embedding": True}), ("decomposable", {}),
]  # fmt: skip


@pytest.mark.parametrize(("name", "more"), EVERY)
def test_padding_counts_for_nothing(name: str, more: dict[str, Any]) -> None:
    """Neither how much of it there is, nor what stands in it; and a text alone is as good as one in a batch."""
    model = build(name, **more)
    tokens, own = texts(), segments()
    whole = model(tokens, own, LENGTHS)
    far = functional.pad(torch.where(torch.arange(7) < LENGTHS[:, None], tokens, 3), (0, 9), value=8)
    torch.testing.assert_close(model(far, functional.pad(own, (0, 9), value=1), LENGTHS), whole)
    alone = [model(tokens[i : i + 1, :n], own[i : i + 1, :n], LENGTHS[i : i + 1]) for i, n in enumerate(LENGTHS)]
    torch.testing.assert_close(torch.cat(alone), whole)
    assert whole.isfinite().all()
    torch.testing.assert_close(model(tokens), model(tokens, None, torch.full_like(LENGTHS, 7)))


@pytest.mark.parametrize(("name", "more"), EVERY)
def test_gradients_flow_past_padding(name: str, more: dict[str, Any]) -> None:
    model = build(name, **more)
    model(texts(), segments(), LENGTHS).square().sum().backward()
    for key, parameter in model.named_parameters():
        if parameter.requires_grad:
            assert parameter.grad is not None and parameter.grad.isfinite().all(), key
        else:
            assert key == "constant_embedding.weight" and parameter.grad is None


@torch.no_grad()
@pytest.mark.parametrize("pool", ["final", "first_last"])
def test_birnn_reads_each_text_by_itself(pool: Any) -> None:
    """torch's LSTM cell, token by token, forward and backward, on each text without its padding."""
    model = build("birnn", pool=pool, num_layers=1)
    lstm, rows = model.recurrent.fused, []
    for row, length in zip(texts(), LENGTHS):
        x = model.embedding(row[:length])
        outputs = []
        for suffix, steps in (("", range(length)), ("_reverse", reversed(range(length)))):
            cell = nn.LSTMCell(E, H).double()
            for key in ("weight_ih", "weight_hh", "bias_ih", "bias_hh"):
                getattr(cell, key).data.copy_(getattr(lstm, f"{key}_l0{suffix}"))
            state = (torch.zeros(1, H).double(), torch.zeros(1, H).double())
            found: dict[int, Tensor] = {}
            for step in steps:
                state = cell(x[step : step + 1], state)
                found[step] = state[0][0]
            outputs.append(found)
        forward, backward = outputs
        last = int(length) - 1
        ends = [forward[last], backward[0]]
        if pool == "first_last":
            ends = [forward[0], backward[0], forward[last], backward[last]]
        rows.append(torch.cat(ends))
    torch.testing.assert_close(model(texts(), None, LENGTHS), model.head(torch.stack(rows)))


def test_cross_correlation_of_several_channels() -> None:
    """The book's example (d2l 16.3.1), by the network's own layer: three channels, a window of two."""
    x = torch.stack([torch.arange(7.0) + channel for channel in range(3)])[None]
    layer: Any = textcnn(vocab_size=1, embed_dim=3, kernel_sizes=[2], num_channels=[1]).convolutions[0]
    layer.weight.data = torch.tensor([[[1.0, 2.0], [3.0, 4.0], [-1.0, -3.0]]])
    layer.bias.data.zero_()
    assert layer(x).flatten().tolist() == [2.0, 8.0, 14.0, 20.0, 26.0, 32.0]


@torch.no_grad()
@pytest.mark.parametrize("pool", ["max", "avg"])
@pytest.mark.parametrize("dual", [False, True])
def test_textcnn_window_by_window(pool: Any, dual: bool) -> None:
    model = build("textcnn", pool=pool, dual_embedding=dual)
    rows = []
    for row, length in zip(texts(), LENGTHS):
        tables = [model.embedding, *([model.constant_embedding] if dual else [])]
        x = torch.cat([table(row[:length]) for table in tables], 1)
        pooled = []
        for layer in model.convolutions:
            size = layer.kernel_size[0]
            windows = [x[start : start + size] for start in range(int(length) - size + 1)]
            for weight, bias in zip(layer.weight, layer.bias):
                values = [float((weight.T * window).sum() + bias) for window in windows]
                value = (max(values) if pool == "max" else sum(values) / len(values)) if values else 0.0
                pooled.append(max(0.0, value))
        rows.append(torch.tensor(pooled).double())
    torch.testing.assert_close(model(texts(), None, LENGTHS), model.head(torch.stack(rows)))


def test_max_pooling_does_not_mind_where_a_window_stands() -> None:
    """Two phrases, far from each other, in either order: the windows that reach over a seam are all of filler."""
    model = build("textcnn")
    filler, one, other = [0] * 5, [1, 2, 3], [4, 5, 6, 7]
    first = torch.tensor([[*filler, *one, *filler, *other, *filler]])
    second = torch.tensor([[*filler, *other, *filler, *one, *filler]])
    torch.testing.assert_close(model(first), model(second))


@torch.no_grad()
def test_decomposable_attention_pair_by_pair() -> None:
    """The paper's equations 1 to 6 with loops over the words of both texts."""
    model = build("decomposable")
    rows = []
    for row, own, length in zip(texts(), segments(), LENGTHS):
        x = model.embedding(row[:length])
        a, b = x[own[:length] == 0], x[own[:length] == 1]
        v = _compared(model, a, b)
        w = _compared(model, b, a)
        rows.append(model.head(model.aggregate(torch.cat([v, w]))))
    torch.testing.assert_close(model(texts(), segments(), LENGTHS), torch.stack(rows))


def _compared(model: Any, own: Tensor, other: Tensor) -> Tensor:
    total = torch.zeros(H).double()
    for word in own:
        scores = [float(model.attend(word) @ model.attend(each)) for each in other]
        shares = torch.tensor(scores).double().exp() / torch.tensor(scores).double().exp().sum()
        aligned = sum((share * each for share, each in zip(shares, other)), torch.zeros(E).double())
        total = total + model.compare(torch.cat([word, aligned]))
    return total


def test_counts_of_the_book() -> None:
    """Heads of 402 and 802 numbers (final states and both ends), and the layers by their formulas."""
    pools: list[tuple[Any, int]] = [("final", 402), ("first_last", 802)]
    for pool, expected in pools:
        model = birnn_classifier(pool=pool)
        assert _size(model.head) == expected
        assert _size(model.recurrent) == 2 * 4 * (100 * (100 + 100) + 200) + 2 * 4 * (100 * (200 + 100) + 200)
    cnn = textcnn(dual_embedding=True, vocab_size=7)
    assert _size(cnn.convolutions) == 200 * 100 * (3 + 4 + 5) + 300 and _size(cnn.head) == 602
    assert _size(cnn) == 240_300 + 602 + 2 * 700
    pairs = decomposable_attention(vocab_size=7)
    sizes = [_size(part) for part in (pairs.attend, pairs.compare, pairs.aggregate, pairs.head)]
    assert sizes == [60_400, 80_400, 120_400, 603]


def _size(module: nn.Module) -> int:
    return sum(parameter.numel() for parameter in module.parameters())


def test_dropout_is_for_training_alone() -> None:
    for name in ("birnn", "textcnn", "decomposable"):
        model = build(name, dropout=0.5)
        assert torch.equal(model(texts()), model(texts()))
        model.train()
        assert not torch.equal(model(texts()), model(texts()))


@pytest.mark.parametrize(
    ("maker", "options", "said"),
    [
        (birnn_classifier, {"pool": "mean"}, "pool must be final or first_last"),
        (birnn_classifier, {"embed_dim": 0}, "embed_dim must be at least 1"),
        (birnn_classifier, {"num_layers": 0}, "num_layers must be at least 1"),
        (textcnn, {"pool": "min"}, "pool must be max or avg"),
        (textcnn, {"kernel_sizes": [3]}, "must be lists of one length"),
        (textcnn, {"kernel_sizes": [], "num_channels": []}, "must be lists of one length"),
        (textcnn, {"kernel_sizes": [0], "num_channels": [1]}, "of numbers of at least 1"),
        (decomposable_attention, {"hidden": 0}, "hidden must be at least 1"),
    ],
)
def test_options_out_of_range(maker: Any, options: dict[str, Any], said: str) -> None:
    with pytest.raises(ValueError, match=said):
        maker(**options)
