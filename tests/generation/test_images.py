"""`d2l generate` on a GAN: grids, single images, ways between noises, points; the same seed gives the same files."""

import hashlib
import json
import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from runs import d2l, everything, train

from d2lcli.commands.generate import generate as command
from d2lcli.commands.generating.asked import Asked
from d2lcli.errors import ConfigError
from d2lcli.generation.images import images, interpolation, way
from d2lcli.models.dcgan import dcgan
from d2lcli.tasks.gan import latent_noise
from d2lcli.tasks.pictures import BLUE, GAP, RED, image_grid, scatter, to_pixels

QUICK = ("data.limit=40", "steps=2", "hardware=cpu", "hardware.threads=1")


class Generate:
    """`d2l generate` within this process; what it prints."""

    def __init__(self, capsys: pytest.CaptureFixture[str]) -> None:
        self.capsys = capsys

    def __call__(self, run: Path, *words: str, num: int = 1, json: bool = False, **more: Any) -> str:
        options: dict[str, Any] = {"prompts": [], "file": None, "stop": [], "instruction": "", "examples": None}
        options |= {"shots": None, "checkpoint": "best", "cache": True, "attention": None}
        command(run, list(words), Asked(**options | {"num": num, "json_output": json} | more))
        return self.capsys.readouterr().out


@pytest.fixture
def generate(capsys: pytest.CaptureFixture[str]) -> Generate:
    return Generate(capsys)


@pytest.fixture(scope="module")
def drawn(tmp_path_factory: pytest.TempPathFactory) -> Path:
    run = tmp_path_factory.mktemp("dcgan") / "run"
    train(run, "model=dcgan", "model.image_size=8", "model.width=2", "data.batch_size=8", *QUICK)
    return run


@pytest.fixture(scope="module")
def plane(tmp_path_factory: pytest.TempPathFactory) -> Path:
    run = tmp_path_factory.mktemp("gan") / "run"
    train(run, "model=gan", *QUICK)
    return run


def hashes(run: Path) -> dict[str, str]:
    files = sorted(path for path in (run / "samples").rglob("*") if path.is_file())
    return {str(path.relative_to(run)): hashlib.sha256(path.read_bytes()).hexdigest() for path in files}


def pixels_of(path: Path) -> Any:
    with Image.open(path) as opened:
        return np.array(opened)


def test_a_grid_and_single_images_of_a_seed(drawn: Path, generate: Generate) -> None:
    before = everything(drawn)
    assert generate(drawn, num=11).strip() == str(drawn / "samples" / "images.png")
    first = hashes(drawn)
    singles = sorted((drawn / "samples" / "images").iterdir())
    assert [path.name for path in singles] == [f"{i:04d}.png" for i in range(11)]
    grid = pixels_of(drawn / "samples" / "images.png")
    assert grid.shape == (2 * (8 + GAP) + GAP, 8 * (8 + GAP) + GAP, 3)
    ninth = pixels_of(singles[8])
    assert np.array_equal(grid[8 + 2 * GAP : 16 + 2 * GAP, GAP : 8 + GAP], ninth) and grid[-4, -4].tolist() == [255] * 3
    assert len({path.read_bytes() for path in singles}) == 11
    generate(drawn, num=11)
    assert hashes(drawn) == first
    generate(drawn, "decoder.seed=1", num=11)
    assert hashes(drawn)["samples/images.png"] != first["samples/images.png"]
    assert {name: facts for name, facts in everything(drawn).items() if name in before} == before


def test_ways_between_two_noises(drawn: Path, generate: Generate) -> None:
    found = json.loads(generate(drawn, "decoder=interpolation", "decoder.steps=5", num=2, json=True))
    assert len(found["images"]) == 10 and found["decoder"] == "interpolation"
    assert pixels_of(Path(found["grid"])).shape == (2 * (8 + GAP) + GAP, 5 * (8 + GAP) + GAP, 3)


def test_a_prompt_is_refused(drawn: Path) -> None:
    done = d2l("generate", drawn, "--prompt", "a smiling face")
    assert done.returncode == 2
    assert "error: --prompt, --file and --stop are for text, and a DCGAN makes its examples of noise" in done.stderr


@pytest.mark.parametrize(
    ("words", "options", "said"),
    [
        ((), {"stop": ["."]}, "are for text"),
        ((), {"attention": Path("a.png")}, "does not translate"),
        (("decoder=beam",), {}, r"unknown name 'beam' \(known for this run: images, interpolation\)"),
        (("decoder.columns=0",), {}, "columns"),
        (("decoder=interpolation", "decoder.steps=1"), {}, "steps"),
        (("decoder.seed=-1",), {}, "seed"),
    ],
)
def test_what_a_gan_has_no_use_for_is_refused(
    drawn: Path, generate: Generate, words: tuple[str, ...], options: dict[str, Any], said: str
) -> None:
    with pytest.raises(ConfigError, match=said):
        generate(drawn, *words, **options)


def test_points_are_printed_and_written(plane: Path, generate: Generate) -> None:
    lines = generate(plane, num=200).splitlines()
    table = np.loadtxt(lines[-1], delimiter=",", skiprows=1)
    assert table.shape == (200, 2) and lines[-1] == str(plane / "samples" / "images.csv")
    np.testing.assert_allclose(np.array(lines[0].split(), dtype=float), table[0], atol=1e-4)
    found = json.loads(generate(plane, num=200, json=True))
    np.testing.assert_allclose(found["points"], table, atol=1e-6)
    np.testing.assert_allclose(found["mean"], table.mean(0), atol=1e-6)
    np.testing.assert_allclose(found["covariance"], np.cov(table, rowvar=False), atol=1e-6)
    assert json.loads(generate(plane, json=True))["covariance"] is None
    picture = pixels_of(max((plane / "samples").glob("step-*.png")))
    colours = {tuple(colour) for colour in picture.reshape(-1, 3).tolist()}
    assert colours == {(255, 255, 255), BLUE, RED}


def test_fewer_images_are_the_first_of_more() -> None:
    torch.manual_seed(0)
    model = dcgan(image_size=8, width=2, latent=4).eval()
    few, many = (images()(model, count).examples for count in (3, 70))
    torch.testing.assert_close(few, many[:3])
    both = interpolation(steps=3, path="linear")(model, 2)
    ends = images()(model, 4).examples  # 2 ways: from 0 to 1, from 2 to 3
    assert both.columns == 3
    torch.testing.assert_close(both.examples[[0, 2, 3, 5]], ends)


def test_the_ways() -> None:
    a, b = torch.tensor([[2.0, 0.0], [1.0, 1.0]]), torch.tensor([[0.0, 2.0], [3.0, 3.0]])
    times = torch.tensor([0.0, 1 / 3, 1.0])
    straight = way(a, b, times, "linear")
    torch.testing.assert_close(straight[0], torch.tensor([[2.0, 0.0], [4 / 3, 2 / 3], [0.0, 2.0]]))
    round_ = way(a, b, times, "spherical")
    angle = math.pi / 6  # a third of a quarter of a circle with radius 2
    torch.testing.assert_close(round_[0], torch.tensor([[2, 0], [2 * math.cos(angle), 2 * math.sin(angle)], [0, 2]]))
    torch.testing.assert_close(round_[1], straight[1], rtol=1e-5, atol=1e-5)  # along one line
    noise = latent_noise(0, 0, 20, (100,))
    lengths = way(noise[:10], noise[10:], torch.linspace(0, 1, 9), "spherical").norm(dim=2)
    halfway = way(noise[:10], noise[10:], torch.tensor([0.5]), "linear").norm(dim=2)
    assert lengths.min() > 8 and halfway.mean() == pytest.approx(50**0.5, rel=0.05)  # the root of k, and of k / 2


def test_pixels_grids_and_scatter_plots() -> None:
    pixels = to_pixels(torch.tensor([-1.0, 0.0, 1.0, 3.0]).view(1, 1, 1, 4))
    assert pixels.flatten().tolist() == [0, 128, 255, 255]
    assert to_pixels(torch.tensor([[[[0.0, 1.0]]]]), low=0.0).flatten().tolist() == [0, 255]
    grid = image_grid(torch.zeros(3, 1, 4, 5, dtype=torch.uint8), columns=2)
    assert grid.shape == (1, 2 * (4 + GAP) + GAP, 2 * (5 + GAP) + GAP)
    assert (grid == 0).sum() == 3 * 20 and grid[0, -3, -3] == 255
    with pytest.raises(ValueError, match="columns"):
        image_grid(torch.zeros(1, 1, 2, 2, dtype=torch.uint8), columns=0)
    corners = torch.tensor([[0.0, 0.0], [1.0, 1.0]])
    plot = scatter(corners, torch.tensor([[0.0, 1.0], [9.0, 9.0]]))  # one far outside
    top, left = (plot == torch.tensor(RED, dtype=torch.uint8)[:, None, None]).all(0).nonzero().float().mean(0).tolist()
    assert top < plot.shape[1] / 3 and left < plot.shape[2] / 3  # x small, y large
    assert scatter(corners[:, :1], corners[:, :1]).shape == plot.shape
