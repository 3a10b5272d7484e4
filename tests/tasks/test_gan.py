"""The GAN's turns: losses by hand, who learns when, and a hand-written loop with two optimizers."""

import copy
import math
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
import torch
from scipy.integrate import quad
from scipy.stats import norm
from torch import Tensor, nn
from torch.nn import functional

from d2lcli.errors import ConfigError
from d2lcli.models.dcgan import dcgan
from d2lcli.models.gan import gan as toy
from d2lcli.optim.adam import adam
from d2lcli.optim.param_groups import param_groups
from d2lcli.tasks.frechet import frechet_distance
from d2lcli.tasks.gan import discriminator_loss, gan, generate, generator_loss, latent_noise
from d2lcli.tasks.losses import binary_cross_entropy, mse
from d2lcli.tasks.metrics import rmse

SCORE = functional.binary_cross_entropy_with_logits


def images_gan(**options: Any) -> Any:
    return dcgan(image_size=8, width=4, latent=6, **options).double()


def built(name: str) -> tuple[Any, Tensor]:
    """A model in float64, and a batch of what it is to make."""
    torch.manual_seed(3)
    if name == "toy":
        return toy(std=0.5).double(), torch.randn(16, 2, dtype=torch.float64)
    return images_gan(bn_first=True), torch.rand(16, 3, 8, 8, dtype=torch.float64) * 2 - 1


both = pytest.mark.parametrize("name", ["toy", "images"])


@both
def test_the_losses_are_those_of_the_formulas(name: str) -> None:
    model, real = built(name)
    task = gan(binary_cross_entropy)
    twin, state = copy.deepcopy(model), torch.get_rng_state()
    loss_d, loss_g = task.losses(model, (real, torch.zeros(16)))
    torch.set_rng_state(state)
    made = twin.generator(torch.randn(16, *twin.latent_shape, dtype=torch.float64))
    d_real, d_made = (1 / (1 + torch.exp(-twin.discriminator(x))) for x in (real, made))
    assert loss_d.item() == pytest.approx(((-d_real.log() - (1 - d_made).log()).mean() / 2).item(), rel=1e-12)
    assert loss_g.item() == pytest.approx((-d_made.log()).mean().item(), rel=1e-12)
    assert {key: float(value) for key, value in task.noted.items()} == pytest.approx(
        {
            "loss_d": loss_d.item(),
            "loss_g": loss_g.item(),
            "d_real": d_real.mean().item(),
            "d_fake": d_made.mean().item(),
        },
        rel=1e-6,
    )


@both
def test_each_turn_reaches_one_network_alone(name: str) -> None:
    model, real = built(name)
    turns = gan(binary_cross_entropy).losses(model, (real,))
    next(turns).backward()  # type: ignore[no-untyped-call]
    assert all(parameter.grad is None for parameter in model.generator.parameters())
    assert all(parameter.grad.abs().sum() > 0 for parameter in model.discriminator.parameters())
    model.zero_grad()
    before = {key: value.clone() for key, value in model.discriminator.state_dict().items()}
    next(turns).backward()  # type: ignore[no-untyped-call]
    assert all(parameter.grad is None for parameter in model.discriminator.parameters())
    assert all(parameter.grad.abs().sum() > 0 for parameter in model.generator.parameters())
    assert next(turns, None) is None
    after = model.discriminator.state_dict()
    assert all(torch.equal(value, after[key]) for key, value in before.items())  # running statistics, too
    assert all(parameter.requires_grad for parameter in model.parameters())
    assert all(layer.track_running_stats for layer in model.modules() if isinstance(layer, nn.BatchNorm2d))


@pytest.mark.parametrize("frozen", ["generator", "discriminator"])
def test_a_frozen_network_has_no_turn(frozen: str) -> None:
    model, real = built("toy")
    getattr(model, frozen).requires_grad_(False)
    (loss,) = gan(binary_cross_entropy).losses(model, (real,))
    loss.backward()  # type: ignore[no-untyped-call]
    assert {name.partition(".")[0] for name, each in model.named_parameters() if each.grad is not None} == {
        "generator", "discriminator"
    } - {frozen}  # fmt: skip


def by_hand(model: Any, batches: list[Tensor], rates: tuple[float, float]) -> None:
    """The loop of the book, with an Adam of torch's for each network; running statistics are put back by hand."""
    of_d = torch.optim.Adam(model.discriminator.parameters(), rates[0], betas=(0.5, 0.999))
    of_g = torch.optim.Adam(model.generator.parameters(), rates[1], betas=(0.5, 0.999))
    for real in batches:
        made = model.generator(torch.randn(len(real), *model.latent_shape, dtype=real.dtype))
        ones, zeros = (real.new_full((len(real), 1), value) for value in (1.0, 0.0))
        loss = (SCORE(model.discriminator(real), ones) + SCORE(model.discriminator(made.detach()), zeros)) / 2
        of_d.zero_grad()
        loss.backward()
        of_d.step()
        kept = {key: value.clone() for key, value in model.discriminator.named_buffers()}
        loss = SCORE(model.discriminator(made), ones)
        of_g.zero_grad()
        loss.backward()
        of_g.step()
        for key, value in model.discriminator.named_buffers():
            value.copy_(kept[key])


@both
@pytest.mark.parametrize("implementation", ["fused", "foreach", "plain"])
def test_one_optimizer_is_as_two_of_torch_s(name: str, implementation: Any) -> None:
    model, real = built(name)
    reference, state = copy.deepcopy(model), torch.get_rng_state()
    batches = [real + 0.1 * i for i in range(12)]
    by_hand(reference, batches, (0.01, 0.002))
    groups = param_groups(model, 0.0, key="l2", layer_lr_mult=["generator.*=0.2"])
    for group in groups:
        group["lr"] = 0.01 * group.get("lr_mult", 1.0)
    optimizer = adam(groups, betas=(0.5, 0.999), implementation=implementation)
    task = gan(binary_cross_entropy)
    torch.set_rng_state(state)
    for batch in batches:
        for loss in task.losses(model, (batch,)):
            loss.backward()
            optimizer.step()
            optimizer.zero_grad()
    for (key, value), expected in zip(model.state_dict().items(), reference.state_dict().values()):
        torch.testing.assert_close(value, expected, rtol=1e-12, atol=1e-12, msg=key)
    assert {int(entry["step"]) for entry in optimizer.state.values()} == {12}  # one for each turn of its own


def test_one_rate_for_both_is_as_two_optimizers_of_one_rate() -> None:
    """Both networks are then in one group, whose steps are counted for each parameter by itself."""
    model, real = built("toy")
    reference, state = copy.deepcopy(model), torch.get_rng_state()
    by_hand(reference, [real] * 5, (0.01, 0.01))
    optimizer = adam(param_groups(model, 0.0, key="l2"), lr=0.01, betas=(0.5, 0.999))
    torch.set_rng_state(state)
    for _ in range(5):
        for loss in gan(binary_cross_entropy).losses(model, (real,)):
            loss.backward()
            optimizer.step()
            optimizer.zero_grad()
    for value, expected in zip(model.parameters(), reference.parameters()):
        torch.testing.assert_close(value, expected, rtol=1e-12, atol=1e-12)


def optimal(x: Any, shift: float) -> Any:
    """The logit of D*(x) = p / (p + q) for p = N(0, 1) and q = N(shift, 1)."""
    return norm.logpdf(x) - norm.logpdf(x, shift)


@pytest.mark.parametrize("shift", [0.0, 1.0, 2.5])
def test_the_best_discriminator_s_loss_is_ln_2_less_half_the_jensen_shannon_divergence(shift: float) -> None:
    """2 L_D = 2 ln 2 - 2 JS(p, q), so the game's value -2 L_D is -2 ln 2 where generator and data agree."""

    def mean(density: Any, is_real: float) -> float:
        def integrand(x: float) -> float:
            score = torch.tensor([[optimal(x, shift)]], dtype=torch.float64)
            return float(density(x) * binary_cross_entropy(score, torch.full_like(score, is_real)))

        return float(quad(integrand, -12, 15)[0])

    def divergence(first: Any, second: Any) -> float:
        return float(quad(lambda x: first(x) * np.log(2 * first(x) / (first(x) + second(x))), -12, 15)[0])

    p, q = norm.pdf, lambda x: norm.pdf(x, shift)
    value = -(mean(p, 1.0) + mean(q, 0.0))
    assert value == pytest.approx(-2 * math.log(2) + divergence(p, q) + divergence(q, p), abs=1e-9)
    if not shift:
        assert value == pytest.approx(-2 * math.log(2), abs=1e-9)


class Halves(nn.Module):
    """Makes its noise, and can but guess."""

    latent_shape = (2,)

    def __init__(self) -> None:
        super().__init__()
        self.generator = nn.Linear(2, 2, bias=False)
        self.discriminator = nn.Linear(2, 1)
        nn.init.eye_(self.generator.weight)
        for parameter in self.discriminator.parameters():
            nn.init.zeros_(parameter)


def evaluated(size: int, seed: int = 0) -> tuple[Any, Tensor, Tensor]:
    """A task after an evaluation in batches of `size`, with the losses and what was made."""
    task = gan(binary_cross_entropy, [frechet_distance(), discriminator_loss(), generator_loss()], seed=seed)
    real, losses, made = torch.randn(700, 2, generator=torch.Generator().manual_seed(0)), [], []
    task.begin_evaluation()
    for batch in torch.split(real, size):
        values, outputs, targets = task.eval_step(Halves().eval(), (batch,))
        losses.append(values)
        made.append(outputs.made)
        for metric in task.metrics.values():
            task.update(metric, outputs, targets)
    return task, torch.cat(losses), torch.cat(made)


def test_one_that_can_but_guess_loses_ln_2() -> None:
    task, losses, made = evaluated(700)
    assert losses.tolist() == pytest.approx([2 * math.log(2)] * 700)
    found = {name: metric.compute() for name, metric in task.metrics.items()}
    assert found["discriminator_loss"] == pytest.approx(math.log(2)) == found["generator_loss"]
    assert found["frechet_distance"] < 0.05 and (task.monitor, task.mode) == ("frechet_distance", "min")
    assert made.std(0).tolist() == pytest.approx([1, 1], abs=0.1)


def test_an_evaluation_does_not_depend_on_the_batches_nor_on_the_global_generator() -> None:
    _, _, whole = evaluated(700)
    torch.manual_seed(123)
    _, _, parts = evaluated(97)
    _, _, other = evaluated(700, seed=1)
    assert torch.equal(whole, parts) and not torch.equal(whole, other)


def test_noise_is_a_function_of_its_number() -> None:
    whole = latent_noise(5, 0, 1000, (3,))
    assert torch.equal(latent_noise(5, 250, 20, (3,)), whole[250:270])
    assert whole.mean().item() == pytest.approx(0, abs=0.06) and whole.std().item() == pytest.approx(1, abs=0.06)


def test_to_generate_changes_nothing() -> None:
    model, _ = built("images")
    before = {key: value.clone() for key, value in model.state_dict().items()}
    first = generate(model.train(), latent_noise(0, 0, 70, (6,)))
    assert first.shape == (70, 3, 8, 8) and model.training and model.generator.training
    assert all(torch.equal(value, before[key]) for key, value in model.state_dict().items())


def test_misuse() -> None:
    with pytest.raises(ValueError, match="loss must be binary_cross_entropy"):
        gan(mse)
    with pytest.raises(ValueError, match="metric 'rmse' compares outputs with targets; for a GAN are frechet"):
        gan(binary_cross_entropy, [rmse()])
    with pytest.raises(ConfigError, match="it is for task=gan"):
        generator_loss().update(torch.zeros(2, 3), torch.zeros(2))
    with pytest.raises(ValueError, match="seed=-1 must be"):
        gan(binary_cross_entropy, seed=-1)
    task, (model, real) = gan(binary_cross_entropy), built("toy")
    for wrong, said in (
        ((real, real, real), "no place for weights"),
        ((real[:, :1],), "of 2, and those of the data are 1"),
    ):
        turns: Iterator[Tensor] = task.losses(model, wrong)
        with pytest.raises(ConfigError, match=said):
            next(turns)
    with pytest.raises(ConfigError, match="two losses"):
        task.train_loss(model, (real,))
