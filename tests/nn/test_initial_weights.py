"""Initialisers against the closed forms of Glorot (2010) and He (2015), with fans counted by hand."""

import math
from collections.abc import Sequence

import pytest
import torch
from torch import Tensor, nn

from d2lcli.nn import initializers
from d2lcli.nn.checks import require_positive

# layer, fan_in, fan_out: inputs that one output sees, outputs that one input reaches (at stride 1)
LAYERS = [
    pytest.param(lambda: nn.Linear(300, 200), 300, 200, id="linear"),
    pytest.param(lambda: nn.Conv2d(20, 40, 5), 20 * 25, 40 * 25, id="conv2d"),
    pytest.param(lambda: nn.Conv2d(32, 64, (3, 5)), 32 * 15, 64 * 15, id="conv2d-oblong"),
    pytest.param(lambda: nn.Conv1d(64, 48, 7), 64 * 7, 48 * 7, id="conv1d"),
    pytest.param(lambda: nn.Conv3d(16, 24, 3), 16 * 27, 24 * 27, id="conv3d"),
]


def weights(initializer: initializers.Initializer, layer: nn.Module) -> Tensor:
    torch.manual_seed(0)
    initializer(layer)
    return layer.get_parameter("weight").detach().double()


def assert_uniform(sample: Tensor, bound: float) -> None:
    """All inside, the ends nearly reached, mean 0 and variance bound^2 / 3 within five standard errors."""
    n = sample.numel()
    assert sample.abs().max().item() <= bound * (1 + 1e-6)
    assert sample.abs().max().item() >= bound * (1 - 20 / n)
    assert abs(sample.mean().item()) < 5 * bound / math.sqrt(3 * n)
    assert sample.square().mean().item() == pytest.approx(bound**2 / 3, rel=5 * math.sqrt(0.8 / n))


def assert_normal(sample: Tensor, std: float) -> None:
    """Mean, variance and fourth moment of N(0, std^2) within five standard errors."""
    n = sample.numel()
    assert abs(sample.mean().item()) < 5 * std / math.sqrt(n)
    assert sample.square().mean().item() == pytest.approx(std**2, rel=5 * math.sqrt(2 / n))
    assert sample.pow(4).mean().item() == pytest.approx(3 * std**4, rel=5 * math.sqrt(96 / 9 / n))


@pytest.mark.parametrize(("layer", "fan_in", "fan_out"), LAYERS)
class TestFans:
    def test_xavier_uniform(self, layer: type[nn.Module], fan_in: int, fan_out: int) -> None:
        assert_uniform(weights(initializers.xavier_uniform(), layer()), math.sqrt(6 / (fan_in + fan_out)))

    def test_xavier_uniform_gain(self, layer: type[nn.Module], fan_in: int, fan_out: int) -> None:
        assert_uniform(weights(initializers.xavier_uniform(gain=2.5), layer()), 2.5 * math.sqrt(6 / (fan_in + fan_out)))

    def test_xavier_normal(self, layer: type[nn.Module], fan_in: int, fan_out: int) -> None:
        assert_normal(weights(initializers.xavier_normal(), layer()), math.sqrt(2 / (fan_in + fan_out)))

    def test_kaiming_uniform(self, layer: type[nn.Module], fan_in: int, fan_out: int) -> None:
        assert_uniform(weights(initializers.kaiming_uniform(), layer()), math.sqrt(6 / fan_in))

    def test_kaiming_normal(self, layer: type[nn.Module], fan_in: int, fan_out: int) -> None:
        assert_normal(weights(initializers.kaiming_normal(), layer()), math.sqrt(2 / fan_in))

    def test_kaiming_fan_out(self, layer: type[nn.Module], fan_in: int, fan_out: int) -> None:
        assert_normal(weights(initializers.kaiming_normal(fan="fan_out"), layer()), math.sqrt(2 / fan_out))


def test_normal() -> None:
    assert_normal(weights(initializers.normal(std=0.3), nn.Linear(300, 200)), 0.3)


def test_constants() -> None:
    assert weights(initializers.ones(), nn.Linear(3, 2)).tolist() == [[1, 1, 1], [1, 1, 1]]
    assert weights(initializers.zeros(), nn.Linear(3, 2)).tolist() == [[0, 0, 0], [0, 0, 0]]
    assert weights(initializers.constant(value=-2.5), nn.Linear(2, 1)).tolist() == [[-2.5, -2.5]]


def test_cutoff_uniform_leaves_zeros_and_large_weights() -> None:
    sample = weights(initializers.cutoff_uniform(), nn.Linear(300, 200))
    assert bool(((sample == 0) | ((sample.abs() >= 5) & (sample.abs() <= 10))).all())
    assert (sample == 0).double().mean().item() == pytest.approx(0.5, abs=0.01)  # P(|U(-10, 10)| < 5)


def test_equal_weights_stay_equal() -> None:
    """Symmetry: hidden units that begin alike get the same gradient in every step, so they stay alike."""
    net = nn.Sequential(nn.Linear(4, 6), nn.Tanh(), nn.Linear(6, 3))
    initializers.constant(value=0.1)(net)
    optimizer = torch.optim.SGD(net.parameters(), lr=0.1)
    torch.manual_seed(0)
    for _ in range(5):
        optimizer.zero_grad()
        net(torch.randn(8, 4)).square().sum(1).mean().backward()
        optimizer.step()
    rows = net[0].get_parameter("weight")
    torch.testing.assert_close(rows, rows[:1].expand_as(rows))
    assert not torch.allclose(rows, torch.full_like(rows, 0.1))


def test_other_parameters_stay() -> None:
    net = nn.Sequential(nn.Conv2d(1, 2, 3), nn.BatchNorm2d(2), nn.PReLU())
    before = {name: value.clone() for name, value in net.state_dict().items() if not name.startswith("0.")}
    initializers.zeros()(net)
    assert all(torch.equal(net.state_dict()[name], value) for name, value in before.items())


def test_a_layer_of_a_model_alone() -> None:
    net = nn.Sequential(nn.Linear(3, 2), nn.Linear(2, 1))
    untouched = net[1].get_parameter("weight").clone()
    initializers.ones()(net[0])
    assert net[0].get_parameter("weight").tolist() == [[1, 1, 1], [1, 1, 1]]
    assert torch.equal(net[1].get_parameter("weight"), untouched)


def test_per_layer_takes_the_last_rule_that_matches() -> None:
    net = nn.Sequential(nn.Linear(3, 2), nn.ReLU(), nn.Linear(2, 2), nn.Linear(2, 1))
    initializers.per_layer(rules=["*=zeros", "2=ones"])(net)
    assert [net[i].get_parameter("weight").flatten()[0].item() for i in (0, 2, 3)] == [0, 1, 0]


def test_per_layer_leaves_the_rest() -> None:
    net = nn.Sequential(nn.Linear(3, 2), nn.Linear(2, 1))
    untouched = net[0].get_parameter("weight").clone()
    initializers.per_layer(rules=["1=ones"])(net)
    assert torch.equal(net[0].get_parameter("weight"), untouched)


@pytest.mark.parametrize("rules", [["0"], ["0=he"], ["0=per_layer"], ["="]])
def test_per_layer_refuses_a_bad_rule(rules: Sequence[str]) -> None:
    with pytest.raises(ValueError, match="PATTERN=INITIALISER"):
        initializers.per_layer(rules=rules)


def test_per_layer_refuses_a_rule_without_a_layer() -> None:
    with pytest.raises(ValueError, match="'fc'"):
        initializers.per_layer(rules=["fc=ones"])(nn.Sequential(nn.Linear(2, 1)))


def test_lazy_layers_are_refused() -> None:
    with pytest.raises(ValueError, match="run the model once"):
        initializers.ones()(nn.LazyLinear(3))


@pytest.mark.parametrize("value", [0.0, -1.0, math.inf, math.nan])
def test_bad_gain(value: float) -> None:
    with pytest.raises(ValueError, match="gain must be above 0"):
        initializers.xavier_uniform(gain=value)
    with pytest.raises(ValueError, match="gain must be above 0"):
        initializers.xavier_normal(gain=value)


def test_bad_values() -> None:
    with pytest.raises(ValueError, match="std must be at least 0"):
        initializers.normal(std=-0.1)
    with pytest.raises(ValueError, match="value must be finite"):
        initializers.constant(value=math.nan)
    with pytest.raises(ValueError, match="cutoff is 3"):
        initializers.cutoff_uniform(bound=2, cutoff=3)


def test_require_positive_names_the_size() -> None:
    require_positive(width=1, depth=None)
    with pytest.raises(ValueError, match="depth must be at least 1, but it is 0"):
        require_positive(width=1, depth=0)


@pytest.mark.parametrize("shape", [(6, 4), (4, 6), (5, 5)])
def test_orthogonal_rows_or_columns(shape: tuple[int, int]) -> None:
    """W W^T = gain^2 I for a wide matrix, W^T W = gain^2 I for a tall one, as torch's orthogonal_."""
    layer = nn.Linear(shape[1], shape[0])
    torch.manual_seed(0)
    initializers.orthogonal(gain=2.0)(layer)
    w = layer.weight.detach()
    product = w @ w.T if shape[0] <= shape[1] else w.T @ w
    torch.testing.assert_close(product, 4 * torch.eye(min(shape)), atol=1e-5, rtol=1e-5)
    torch.manual_seed(0)
    torch.testing.assert_close(w, 2 * nn.init.orthogonal_(torch.empty(shape)), atol=1e-5, rtol=1e-5)


def test_orthogonal_kernels() -> None:
    conv = nn.Conv2d(3, 8, 3)
    initializers.orthogonal()(conv)
    flat = conv.weight.detach().flatten(1)
    torch.testing.assert_close(flat @ flat.T, torch.eye(8), atol=1e-5, rtol=1e-5)


def test_rules_may_have_options() -> None:
    model = nn.Sequential(nn.Linear(400, 300), nn.Linear(300, 200))
    initializers.per_layer(rules=["*=normal(std=0.5)", "1=constant(value=3)"])(model)
    assert model[0].weight.std().item() == pytest.approx(0.5, rel=0.02)
    assert model[1].weight.eq(3).all()
    for rule in ("*=normal(sdt=1)", "*=normal(std=big)", "*=normal(1)", "*=gauss(std=1)"):
        with pytest.raises(ValueError, match=r"rule"):
            initializers.per_layer(rules=[rule])


def test_a_tied_weight_stays_tied_and_a_lazy_layer_is_refused() -> None:
    model = nn.Sequential(nn.Linear(4, 4), nn.Linear(4, 4))
    model[1].weight = model[0].weight
    initializers.normal(std=1.0)(model)
    assert model[1].weight is model[0].weight
    with pytest.raises(ValueError, match="run the model once"):
        initializers.normal()(nn.LazyLinear(3))


def test_a_tied_weight_is_drawn_once() -> None:
    """The draws are those of a model with one layer less."""
    tied = nn.Sequential(nn.Linear(3, 3), nn.Linear(3, 3), nn.Linear(3, 2))
    tied[1].weight = tied[0].weight
    torch.manual_seed(0)
    initializers.normal(std=1.0)(tied)
    plain = nn.Sequential(nn.Linear(3, 3), nn.Linear(3, 2))
    torch.manual_seed(0)
    initializers.normal(std=1.0)(plain)
    assert torch.equal(tied[0].weight, plain[0].weight) and torch.equal(tied[2].weight, plain[1].weight)
