"""GANs on the loop: as a hand-written one, exact resume, what they bring, wrong use."""

import copy
from pathlib import Path
from typing import Any

import pytest
import torch
from PIL import Image
from runs import assert_equal, outcome, resume, rows, stop_at, train, weights

import d2lcli
from d2lcli.config import compose
from d2lcli.config.explanation import explain
from d2lcli.errors import CheckpointError, ConfigError
from d2lcli.training import signals
from d2lcli.training.build import build

SETUP = ("hardware=cpu", "hardware.threads=1", "hardware.precision=fp32", "log_every=1")
TOY = ("model=gan", "data.limit=40", "epochs=2", *SETUP)
IMAGES = ("model=dcgan", "model.image_size=16", "model.width=4", "data.limit=40", "data.batch_size=16", *SETUP)
SCORE = torch.nn.functional.binary_cross_entropy_with_logits


@pytest.mark.parametrize("words", [(*TOY, "epochs=1"), (*IMAGES, "epochs=1")], ids=["toy", "images"])
def test_a_run_is_a_hand_written_loop_with_two_optimizers(tmp_path: Path, words: tuple[str, ...]) -> None:
    words = (*words, "scheduler=constant")
    train(tmp_path / "run", *words)
    values = compose(words).values
    run = build(values)  # the same weights, and the random numbers that follow
    model: Any = run.model.train()
    rate, factor = values["optim"]["lr"], 0.5 if model.latent_shape == (2,) else 1.0
    of_d = torch.optim.Adam(model.discriminator.parameters(), rate, betas=(0.5, 0.999))
    of_g = torch.optim.Adam(model.generator.parameters(), factor * rate, betas=(0.5, 0.999))
    seen = []
    for real, *_ in run.train.batches(0):
        made = model.generator(torch.randn(len(real), *model.latent_shape))
        ones, zeros = torch.ones(len(real), 1), torch.zeros(len(real), 1)
        loss_d = (SCORE(model.discriminator(real), ones) + SCORE(model.discriminator(made.detach()), zeros)) / 2
        of_d.zero_grad()
        loss_d.backward()
        of_d.step()
        kept = copy.deepcopy(dict(model.discriminator.named_buffers()))
        loss_g = SCORE(model.discriminator(made), ones)
        of_g.zero_grad()
        loss_g.backward()
        of_g.step()
        for key, value in model.discriminator.named_buffers():
            value.copy_(kept[key])
        seen.append((loss_d.item(), loss_g.item()))
    noted = [(row["values"]["loss_d"], row["values"]["loss_g"]) for row in rows(tmp_path / "run", "train")]
    torch.testing.assert_close(torch.tensor(noted), torch.tensor(seen), rtol=1e-5, atol=1e-6)
    found = weights(tmp_path / "run")
    for key, value in model.state_dict().items():
        torch.testing.assert_close(found[key], value, rtol=1e-5, atol=1e-6, msg=key)


@pytest.mark.parametrize(
    "words",
    [
        (*TOY, "ema=0.9", "checkpoint_every=2"),
        (*IMAGES, "epochs=2", "data.flip=true", "model.bn_first=true"),
        (*IMAGES, "epochs=2", "hardware.precision=bf16", "clip_norm=1"),
    ],
    ids=["toy", "images", "bf16"],
)
def test_a_resumed_run_is_the_whole_run(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, words: tuple[str, ...]
) -> None:
    train(tmp_path / "whole", *words)
    pictures = {path.name: path.read_bytes() for path in (tmp_path / "whole" / "samples").iterdir()}
    stop_at(monkeypatch, 3)
    with pytest.raises(signals.Stopped):
        train(tmp_path / "run", *words)
    torch.manual_seed(99)
    resume(tmp_path / "run")
    assert_equal(tmp_path / "run", outcome(tmp_path / "whole"))
    assert {path.name: path.read_bytes() for path in (tmp_path / "run" / "samples").iterdir()} == pictures


def test_the_toy_learns_the_gaussian(tmp_path: Path) -> None:
    """Both losses near ln 2, and moments near b = [1, 2] and A^T A (d2l 20.1)."""
    train(tmp_path / "run", "model=gan", "epochs=6", "hardware=cpu", "hardware.threads=1")
    found = rows(tmp_path / "run", "val")[-1]["values"]
    assert found["discriminator_loss"] == pytest.approx(0.693, abs=0.02)
    assert found["generator_loss"] == pytest.approx(0.693, abs=0.02)
    assert found["loss"] == pytest.approx(found["discriminator_loss"] + found["generator_loss"])
    mean, *covariance = found["generated_moments"]
    assert mean == pytest.approx([1, 2], abs=0.3)
    torch.testing.assert_close(torch.tensor(covariance), torch.tensor([[1.01, 1.95], [1.95, 4.25]]), rtol=0, atol=0.8)


def test_what_the_models_bring() -> None:
    values = compose(["model=dcgan"]).values
    optim = values["optim"]
    assert (optim["name"], optim["lr"], optim["betas"]) == ("adam", 0.0002, [0.5, 0.999])
    assert (values["task"]["name"], values["data"]["name"]) == ("gan", "emoji64")
    assert compose(["model=dcgan", "optim.lr=0.1"]).values["optim"] == optim | {"lr": 0.1}
    assert compose(["model=dcgan", "optim=adam"]).values["optim"]["lr"] == 0.001
    assert (explain("optim.lr", ["model=dcgan"])[-1].place, optim["eps"]) == ("model/dcgan", 1e-8)
    book = compose(["experiment=dcgan_d2l"]).values
    assert (book["optim"]["lr"], book["optim"]["betas"], book["model"]["init"]) == (0.005, [0.5, 0.999], "d2l")
    toy = compose(["experiment=gan_d2l"]).values["optim"]
    assert (toy["lr"], toy["layer_lr_mult"], toy["betas"]) == (0.05, ["generator.*=0.1"], [0.9, 0.999])


def test_pixels_lie_between_minus_1_and_1() -> None:
    for words, low, high in ((IMAGES, -1.0, 1.0), ((*IMAGES, "data.normalize=false"), 0.0, 1.0)):
        run = build(compose(words).values)
        batch = next(run.train.batches(0))[0]
        assert batch.min().item() == pytest.approx(low, abs=0.05) and batch.max().item() == pytest.approx(high)
        assert run.task._range == (low, high)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Somebody's own images, 20 of them, 20 x 12 pixels."""
    path = tmp_path / "images" / "all"
    path.mkdir(parents=True)
    for i in range(20):
        Image.new("RGB", (20, 12), (10 * i, 255 - 10 * i, 7)).save(path / f"{i}.png")
    return tmp_path / "images"


def test_own_images_and_an_evaluation_on_images_of_another_size(tmp_path: Path, folder: Path) -> None:
    own = ("data=image_folder", f"data.path={folder}", "model=dcgan", "model.width=2", "data.batch_size=8", *SETUP)
    with pytest.raises(ConfigError, match="image_size must be one of 8, 16, 32"):
        train(tmp_path / "odd", *own, "data.image_size=12", "steps=1")
    train(tmp_path / "run", *own, "data.image_size=8", "steps=1")
    assert (tmp_path / "run" / "samples" / "step-00000001.png").is_file()
    found = d2lcli.evaluate(tmp_path / "run")["metrics"]
    assert found["frechet_distance"] > 0 and "accuracy" not in found
    with pytest.raises(CheckpointError, match="does not fit this model"):
        d2lcli.evaluate(tmp_path / "run", ["data.image_size=16"])
    with pytest.raises(ConfigError, match="model 'dcgan' takes images"):
        d2lcli.evaluate(tmp_path / "run", ["data=gan_gaussian"])


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("accumulate=2",), "accumulate=1"),
        (("strategy=ddp", "hardware.devices=2"), "'ddp': task 'gan' takes turns, in one process: use strategy=single"),
        (("strategy=dp",), "'dp': task 'gan' takes turns"),
        (("task=regression",), "'regression' is no task for model 'gan'"),
        (("model=mlp", "task=gan", "data=gan_gaussian"), "'gan' is no task for model 'mlp'"),
        (("task.loss=mse",), "loss must be binary_cross_entropy"),
        (("task.metrics=[accuracy]",), "metric 'accuracy' compares outputs with targets"),
        (("data=fashion_mnist_mini", "data.batch_size=8"), "the model makes examples of 784"),
        (("optim=lbfgs",), "'lbfgs' needs one loss"),
    ],
)
def test_wrong_use_is_refused(tmp_path: Path, words: tuple[str, ...], said: str) -> None:
    with pytest.raises(ConfigError, match=said):
        train(tmp_path / "run", *TOY, *words)


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore")  # torch's own compiler warns of itself
def test_compiled_networks_train_alike(tmp_path: Path) -> None:
    train(tmp_path / "one", *TOY)
    train(tmp_path / "two", *TOY, "hardware.compile=true")
    found = [[row["values"]["loss"] for row in rows(tmp_path / name)] for name in ("one", "two")]
    assert found[1] == pytest.approx(found[0], rel=1e-4)
    assert weights(tmp_path / "two").keys() == weights(tmp_path / "one").keys()
