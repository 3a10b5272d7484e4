"""`d2l generate` on classifiers of images: the classes of given files."""

import json
from pathlib import Path

import numpy
import pytest
import torch
from PIL import Image
from runs import train
from torch import Tensor

from d2lcli.__main__ import main
from d2lcli.config import compose
from d2lcli.data.loader import Loader
from d2lcli.generation.seeing import as_stored, image_paths, open_image_classifier, see
from d2lcli.training.build import build
from d2lcli.training.plan import changed_config

COMMON = (
    "model=lenet",
    "data.batch_size=16",
    "optim=adamw",
    "optim.lr=0.005",
    "steps=20",
    "hardware=cpu",
    "hardware.threads=1",
)
RUNS = {
    "gray": ("data=fashion_mnist_mini", "data.limit=64"),
    "resized": ("data=fashion_mnist_mini", "data.limit=64", "data.image_size=20", "data.normalize=symmetric"),
    "colour": ("data=emoji64", "data.image_size=32", "data.limit=64"),
}  # fmt: skip


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("seeing")
    for name, words in RUNS.items():
        train(folder / name, *COMMON, *words)
    return folder


def write(images: Tensor, folder: Path) -> list[Path]:
    """Images uint8 (n, c, h, w) as files."""
    folder.mkdir()
    paths = [folder / f"{number:03}.png" for number in range(len(images))]
    for image, path in zip(images, paths, strict=True):
        pixels = image.permute(1, 2, 0).numpy()
        Image.fromarray(pixels if len(image) == 3 else pixels[..., 0]).save(path)
    return paths


def generate(capsys: pytest.CaptureFixture[str], run: Path, *words: str) -> tuple[int, str, str]:
    code = main(["generate", str(run), *words])
    said = capsys.readouterr()
    return code, said.out, said.err


@pytest.mark.parametrize("name", RUNS)
def test_a_file_is_seen_as_the_run_sees_its_validation_images(name: str, runs: Path, tmp_path: Path) -> None:
    source = open_image_classifier(runs / name, changed_config(runs / name, []))
    dataset = build(compose([*COMMON, *RUNS[name]]).values).dataset
    assert isinstance(dataset.val.inputs, Tensor) and source.classes == dataset.classes
    paths = write(dataset.val.inputs, tmp_path / "images")
    (inputs, _), *more = Loader(dataset.val, batch_size=64, seed=0, shuffle=False).batches(0)
    assert not more
    with torch.no_grad():
        wanted = source.model(inputs).double().softmax(1)
    found = see(source, paths)
    assert wanted.std(0).max() > 1e-4  # the images are told apart
    for each, row in zip(found, wanted, strict=True):
        assert each.probabilities == pytest.approx(dict(zip(dataset.classes, row.tolist(), strict=True)), abs=1e-6)
        assert each.label == max(each.probabilities, key=lambda name: each.probabilities[name])


def test_a_colour_image_for_a_gray_model_is_gray_as_pillow_has_it() -> None:
    pixels = numpy.random.default_rng(0).integers(0, 256, (40, 40, 3), dtype=numpy.uint8)
    wanted = numpy.array(Image.fromarray(pixels).convert("L")).astype(int)
    found = as_stored(torch.from_numpy(pixels).permute(2, 0, 1), 1)[0].numpy().astype(int)
    assert abs(found - wanted).max() <= 1  # Pillow rounds weights of 16 bits


def test_files_folders_and_lists(runs: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    image = torch.arange(28 * 28, dtype=torch.uint8).reshape(1, 1, 28, 28)
    paths = write(torch.cat([image, 255 - image]), tmp_path / "images")
    assert image_paths([str(tmp_path / "images"), str(paths[1])]) == [*paths, paths[1]]
    code, out, err = generate(capsys, runs / "gray", "--prompt", str(paths[0]), "--num", "2")
    assert code == 0 and err == "" and out.count("\n") == 1 and out.endswith(f"  {paths[0]}\n")
    one = generate(capsys, runs / "gray", "--file", str(paths[0]), "--json")
    (found,) = json.loads(one[1])
    assert found["path"] == str(paths[0]) and sum(found["probabilities"].values()) == pytest.approx(1)
    assert found["label"] in out
    (tmp_path / "names.txt").write_text("\n".join(map(str, paths)))
    listed = generate(capsys, runs / "gray", "--file", str(tmp_path / "names.txt"), "--json")
    assert listed == generate(capsys, runs / "gray", "--prompt", str(tmp_path / "images"), "--json")
    assert json.loads(listed[1])[0]["probabilities"] == pytest.approx(found["probabilities"], abs=1e-6)


def test_a_photograph_of_any_size_is_cut_to_the_middle(runs: Path, tmp_path: Path) -> None:
    source = open_image_classifier(runs / "gray", changed_config(runs / "gray", []))
    wide = torch.zeros(1, 1, 56, 112, dtype=torch.uint8)
    wide[..., 28:84] = 200
    small = torch.full((1, 1, 28, 28), 200, dtype=torch.uint8)
    first, second = see(source, [*write(wide, tmp_path / "wide"), *write(small, tmp_path / "small")])
    assert first.probabilities == pytest.approx(second.probabilities, abs=1e-3)


@pytest.mark.parametrize(
    ("words", "code", "said"),
    [
        ([], 2, "there is no image to judge"),
        (["--prompt", "missing.png"], 3, "missing.png: cannot be read"),
        (["--prompt", "."], 3, "no image is in this folder"),
        (["--prompt", "x.png", "decoder=beam"], 2, "decoder=beam: that is for models that write"),
    ],
)
def test_what_cannot_be_seen_is_named(
    words: list[str], code: int, said: str, runs: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    monkeypatch.chdir(tmp_path)
    found = generate(capsys, runs / "gray", *words)
    assert found[0] == code and found[1] == "" and said in found[2]


def test_a_damaged_image_and_an_older_run(runs: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "bad.png").write_bytes(b"no image")
    code, _, err = generate(capsys, runs / "gray", "--prompt", str(tmp_path / "bad.png"))
    assert code == 3 and "not a readable image" in err
    meta = json.loads((runs / "colour" / "meta.json").read_text())
    del meta["data"]["pixels"]
    (runs / "colour" / "meta.json").write_text(json.dumps(meta))
    code, _, err = generate(capsys, runs / "colour", "--prompt", str(tmp_path / "bad.png"))
    assert code == 4 and "meta.json does not tell" in err


def test_what_is_neither_text_nor_image(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    lines = [f"{i % 2},{i},{'ab'[i % 2]}\n" for i in range(20)]
    (tmp_path / "rows.csv").write_text("x,y,label\n" + "".join(lines))
    words = ("model=mlp", "data=csv", f"data.path={tmp_path / 'rows.csv'}", "data.target=label", "steps=1")
    train(tmp_path / "run", *words, "task=classification", "hardware=cpu", "data.batch_size=4")
    code, _, err = generate(capsys, tmp_path / "run", "--prompt", "x")
    assert code == 2 and "neither texts nor images" in err
