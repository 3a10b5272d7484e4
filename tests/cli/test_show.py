"""`d2l show`: published figures through the whole config, and models of every entry without data."""

import json
from typing import Any

import pytest

from d2lcli.commands.show import show
from d2lcli.errors import ConfigError
from d2lcli.registry import MODELS, OPTIMIZERS


def shown(capsys: pytest.CaptureFixture[str], *overrides: str) -> dict[str, Any]:
    show(list(overrides), json_output=True, config_file=None)
    (line,) = capsys.readouterr().out.splitlines()
    report: dict[str, Any] = json.loads(line)
    return report


@pytest.mark.parametrize("name", MODELS.names())
def test_every_model(capsys: pytest.CaptureFixture[str], name: str) -> None:
    report = shown(capsys, f"model={name}")
    assert report["model"] == name
    assert report["parameters"] == sum(layer["parameters"] for layer in report["layers"]) > 0
    assert report["multiply_adds"] == sum(layer["multiply_adds"] for layer in report["layers"])
    of_data = name in ("nadaraya_watson", "gp")  # their products are with data, which show does not read
    multiplies = name != "value_table"  # which looks its values up
    assert (report["multiply_adds"] > 0) == multiplies or of_data
    assert all({"name", "type", "output_shape", "parameters"} <= layer.keys() for layer in report["layers"])


def test_published_figures(capsys: pytest.CaptureFixture[str]) -> None:
    sizes = ("model.in_channels=3", "model.num_classes=1000", "model.image_size=224")
    report = shown(capsys, "model=resnet18", *sizes)
    assert report["parameters"] == 11_689_512
    assert round(report["multiply_adds"] / 1e9, 3) == 1.814
    assert report["input_shape"] == [1, 3, 224, 224]


@pytest.mark.parametrize(
    ("overrides", "parameters"),
    [
        (["model=lenet"], 61_706),
        (["model=lenet", "model.padding=0"], 44_426),
        (["model=mlp"], 203_530),
        (["model=mlp", "model.hidden=[256,256]", "model.dropout=[0.5,0.5]"], 269_322),
        (["model=softmax_regression"], 7_850),
        (["model=resnet18", "model.variant=d2l"], 11_178_378),
        (["model=linear_regression", "data=sparse_linear"], 201),
        (["model=mlp", "data=emoji64"], 3 * 64 * 64 * 256 + 256 + 256 * 8 + 8),
    ],
)
def test_sizes_come_from_the_data(capsys: pytest.CaptureFixture[str], overrides: list[str], parameters: int) -> None:
    assert shown(capsys, *overrides)["parameters"] == parameters


def test_the_data_s_image_size_is_used_before_the_model_s(capsys: pytest.CaptureFixture[str]) -> None:
    report = shown(capsys, "model=lenet", "model.image_size=32", "data.image_size=64")
    assert report["input_shape"] == [1, 1, 64, 64]


def test_data_whose_sizes_are_not_known_is_said(capsys: pytest.CaptureFixture[str]) -> None:
    assert "only when it is loaded" in shown(capsys, "model=linear_regression")["note"]
    assert shown(capsys, "model=lenet")["note"] == ""


@pytest.mark.parametrize(("optim", "tensors"), [("sgd", 0), ("momentum", 1), ("adam", 2), ("adamw", 2)])
def test_memory(capsys: pytest.CaptureFixture[str], optim: str, tensors: int) -> None:
    report = shown(capsys, "model=softmax_regression", f"optim={optim}", "data.batch_size=32")
    memory = report["memory"]
    assert memory["optimizer_name"] == optim
    assert memory["parameters"] == memory["gradients"] == 4 * 7_850
    assert memory["optimizer"] == tensors * 4 * 7_850
    assert memory["activations"] == 32 * 10 * 4
    assert memory["total"] == (2 + tensors) * 4 * 7_850 + 32 * 10 * 4


def test_half_precision(capsys: pytest.CaptureFixture[str]) -> None:
    memory = shown(capsys, "model=softmax_regression", "hardware.precision=bf16", "data.batch_size=32")["memory"]
    assert (memory["precision"], memory["casts"], memory["activations"]) == ("bf16", 2 * 7_850, 32 * 10 * 2)


def test_a_running_mean_takes_memory_too(capsys: pytest.CaptureFixture[str]) -> None:
    plain, mean = (shown(capsys, "model=softmax_regression", *words)["memory"] for words in ((), ("ema=0.99",)))
    assert (plain["ema"], mean["ema"], mean["total"] - plain["total"]) == (0, 4 * 7_850, 4 * 7_850)


def test_memory_of_every_optimizer_and_precision(capsys: pytest.CaptureFixture[str]) -> None:
    report = shown(capsys, "model=lenet", "optim=momentum", "hardware.precision=bf16")
    table = {(row["optimizer"], row["precision"]): row for row in report["memory_table"]}
    assert table.keys() == {(name, precision) for name in OPTIMIZERS.names() for precision in ("fp32", "bf16", "fp16")}
    assert [key for key, row in table.items() if row["chosen"]] == [("momentum", "bf16")]
    assert table["momentum", "bf16"]["total"] == report["memory"]["total"]
    for precision in ("fp32", "bf16"):
        assert table["adam", precision]["total"] - table["sgd", precision]["total"] == 2 * 4 * 61_706
    activations = report["memory"]["activations"]
    assert table["sgd", "fp32"]["total"] - table["sgd", "bf16"]["total"] == activations - 2 * 61_706
    assert all(table[name, "bf16"]["total"] == table[name, "fp16"]["total"] for name in OPTIMIZERS.names())


def test_receptive_fields(capsys: pytest.CaptureFixture[str]) -> None:
    """Of LeNet by hand: 5; two apart after a pooling of 2; 4 x 2 more; 2 more, four apart; then everything."""
    rows = shown(capsys, "model=lenet")["layers"]
    fields = {row["name"]: (row["receptive_field"], row["stride"]) for row in rows}
    assert fields["features.0"] == (5, 1) and fields["features.2"] == (6, 2)
    assert fields["features.3"] == (14, 2) and fields["features.5"] == (16, 4)
    assert fields["classifier.1"] == ("all", None)
    (row,) = shown(capsys, "model=linear_regression", "data=sparse_linear")["layers"]
    assert (row["receptive_field"], row["stride"]) == (None, None)


def test_tables_for_people(capsys: pytest.CaptureFixture[str]) -> None:
    show(["model=lenet"], json_output=False, config_file=None)
    lines = capsys.readouterr().out.splitlines()
    assert "lenet on fashion_mnist_mini, input 1 x 1 x 28 x 28" in lines
    words = [" ".join(line.split()) for line in lines]
    assert "features.3 Conv2d 1 x 16 x 10 x 10 2,416 240,000 0 B 14 2" in words
    assert "(all) 61,706 416,520 31.6 KiB" in words
    assert "adamw 482.1 KiB 4.9 MiB * 3.0 MiB" in words
    assert max(map(len, lines)) <= 120


def test_long_names_are_cut_at_their_beginning(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "120")
    show(["model=vit_b_16"], json_output=False, config_file=None)
    lines = capsys.readouterr().out.splitlines()
    assert max(map(len, lines)) <= 120
    assert any(line.startswith("...") and ".self_attention " in line for line in lines)


def test_without_positions_there_is_no_receptive_field(capsys: pytest.CaptureFixture[str]) -> None:
    show(["model=linear_regression", "data=sparse_linear"], json_output=False, config_file=None)
    out = capsys.readouterr().out
    assert "ACTIVATIONS" in out and "FIELD" not in out and "field" not in out


@pytest.mark.parametrize(
    ("overrides", "message"),
    [
        (["model=lenet", "model.image_size=11"], "12 x 12"),
        (["model=lenet", "model.image_size=13", "model.padding=0"], "at least 16 .* but it is 13"),
        (["model=lenet", "data=sparse_linear"], "takes images"),
        (["model=resnt18"], "resnet18"),
    ],
)
def test_mistakes(overrides: list[str], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        show(overrides, json_output=True, config_file=None)
