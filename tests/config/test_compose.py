"""Composing: precedence, Hydra's grammar, the model's own data and task, bundles, places."""

from pathlib import Path
from typing import Any

import pytest

from d2lcli.config import compose, explain, load_yaml
from d2lcli.config.places import conf_dir, conf_names
from d2lcli.errors import ConfigError
from d2lcli.registry import MODELS


def write(folder: Path, text: str) -> Path:
    path = folder / "my.yaml"
    path.write_text(text)
    return path


def problems(*overrides: str, config_file: Path | None = None) -> list[str]:
    with pytest.raises(ConfigError) as caught:
        compose(overrides, config_file=config_file)
    return caught.value.problems


@pytest.mark.parametrize("model", MODELS.names())
def test_every_model_brings_its_data_and_task(model: str) -> None:
    config = compose([f"model={model}"])
    entry = MODELS.describe(model)
    assert (config.values["data"]["name"], config.values["task"]["name"]) == (entry.data, entry.task)
    assert config.choices["data"] == entry.data


@pytest.mark.parametrize(
    ("words", "task"),
    [
        (["data=ames"], "regression"),
        (["model=lenet", "data=ames", "task=null"], "regression"),
        (["data=ames", "task=classification"], "classification"),
        (["model=linear_regression", "data=fashion_mnist_mini"], "regression"),
        (["model=mlp", "data=csv"], "classification"),
    ],
)
def test_data_of_numbers_turns_classification_into_regression(words: list[str], task: str) -> None:
    assert compose(words).values["task"]["name"] == task


@pytest.mark.parametrize(
    ("words", "task"),
    [
        (["model=bert_tiny"], "masked_language_model"),
        (["model=bert_tiny", "data=wikitext2"], "masked_language_model"),
        (["model=bert_tiny", "data=movie_snippets"], "classification"),
        (["model=bert_tiny", "data=movie_snippets", "task=masked_language_model"], "masked_language_model"),
    ],
)
def test_an_encoder_does_what_the_data_is_for(words: list[str], task: str) -> None:
    assert compose(words).values["task"]["name"] == task


def test_who_chose_the_task_is_explained() -> None:
    assert explain("task", ["data=ames"])[-1].place == "data 'ames'"
    assert explain("task", ["model=linear_regression", "data=ames"])[-1].place == "model 'linear_regression'"


def test_the_shipped_defaults_are_the_table_of_contents() -> None:
    shipped = load_yaml(conf_dir() / "train.yaml")
    config = compose([])
    for line in shipped.pop("defaults"):
        if line != "_self_":
            ((group, name),) = line.items()
            assert name is None or config.choices[group] == name
    assert {key: config.values[key] for key in shipped} == shipped


@pytest.mark.parametrize(
    ("words", "key", "value"),
    [
        (["optim.lr=1e-3"], ("optim", "lr"), 0.001),
        (["+optim.lr=2"], ("optim", "lr"), 2),
        (["++optim.lr=2"], ("optim", "lr"), 2),
        (["optim.lr=1", "optim.lr=2"], ("optim", "lr"), 2),
        (["optim={name: momentum, lr: 3}"], ("optim", "lr"), 3),
        (["optim={name: momentum, lr: 3}"], ("optim", "name"), "momentum"),
        (["optim.name=adamw"], ("optim", "name"), "adamw"),
        (["model.hidden=[512,256]"], ("model", "hidden"), [512, 256]),
        (["epochs=7", "~epochs"], ("epochs",), 10),
        (["~epochs=10"], ("epochs",), 10),
        (["init=normal", "init.std=0.5"], ("init", "std"), 0.5),
        (["init=null"], ("init",), None),
        (["init=normal", "~init"], ("init",), None),
        (["data=null", "task=null"], ("data", "name"), "fashion_mnist_mini"),
        (["task.metrics=[accuracy,{name: top_k, k: 3}]"], ("task", "metrics"), ["accuracy", {"name": "top_k", "k": 3}]),
        (["data.root='/a b/c'"], ("data", "root"), "/a b/c"),
        (["data.root=${monitor}", "monitor=loss"], ("data", "root"), "loss"),
        (["accumulate=${data.batch_size}", "data.batch_size=8"], ("accumulate",), 8),
        (["steps=${accumulate}", "accumulate=${keep}"], ("steps",), 2),
        (["hardware=cpu_fast"], ("hardware", "channels_last"), True),
        (["hardware=ddp", "hardware.devices=8"], ("strategy", "name"), "ddp"),
        (["hardware=ddp", "strategy=single", "hardware.devices=1"], ("strategy", "name"), "single"),
        (["hardware={name: cpu, threads: 2}"], ("hardware", "threads"), 2),
    ],
)
def test_grammar(words: list[str], key: tuple[str, ...], value: Any) -> None:
    found: Any = compose(words).values
    for part in key:
        found = found[part]
    assert found == value


def test_precedence_of_file_and_command_line(tmp_path: Path) -> None:
    path = write(tmp_path, "model: {name: lenet, pool: max}\noptim: adamw\nepochs: 3\nhardware: cpu\n")
    values = compose(["epochs=4", "model.padding=0"], config_file=path).values
    assert values["epochs"] == 4
    assert (values["model"]["pool"], values["model"]["padding"]) == ("max", 0)
    assert (values["optim"]["name"], values["hardware"]["device"]) == ("adamw", "cpu")
    assert compose(["optim=momentum"], config_file=path).values["optim"]["name"] == "momentum"


@pytest.mark.parametrize("name", conf_names("experiment"))
def test_experiments_compose(name: str) -> None:
    shipped = load_yaml(conf_dir() / "experiment" / f"{name}.yaml")
    config = compose([f"experiment={name}"])
    for line in shipped.pop("defaults", []):
        ((key, choice),) = line.items()
        assert config.choices[key.removeprefix("override /")] == choice
    for key, value in shipped.items():
        if isinstance(value, dict):
            assert config.values[key].items() >= value.items()
        else:
            assert config.values[key] == value


def test_another_choice_drops_what_the_experiment_set_for_its_own() -> None:
    config = compose(["experiment=lenet_d2l", "optim=adamw"])
    assert config.values["optim"] == compose(["optim=adamw"]).values["optim"]
    assert config.values["model"]["name"] == "lenet"


def test_all_problems_at_once_each_with_its_place(tmp_path: Path) -> None:
    path = write(tmp_path, "epochs: 3\noptim:\n  lr: fast\n  lrr: 1\nfoo: {bar: 1}\noptim.lr: 1\n")
    found = problems("seed=-1", "model.varint=2", config_file=path)
    assert found == [
        f"optim.lr: keys are nested in a file, optim: {{lr: ...}} ({path}:6)",
        f"optim.lrr: unknown key of optim 'adamw'; did you mean 'optim.lr'? ({path}:4)",
        f"foo: unknown key ({path}:5)",
        "model.varint: unknown key of model 'mlp'; did you mean 'model.hidden'? (command line)",
        "seed: -1 is out of range: want >= 0 and <= 9,007,199,254,740,992 (command line)",
        f"optim.lr: 'fast' is not a number ({path}:3)",
    ]


@pytest.mark.parametrize(
    ("word", "words"),
    [
        ("lr=1", "lr: unknown key; did you mean 'optim.lr'?"),
        ("EPOCHS=1", "did you mean 'epochs'"),
        ("optm.lr=1", "did you mean 'optim.lr'"),
        ("zzz.a=1", "zzz.a: unknown key"),
        ("optim.lr.x=1", "'optim.lr' is a value and has no keys"),
        ("epochs.x=1", "'epochs' is a value and has no keys"),
        ("model=lenet,mlp", "is several values; d2l train takes one value for each key; sweeps are for d2l hpo"),
        ("optim.lr=choice(1,2)", "sweeps are for d2l hpo"),
        ("optim.lr=interval(0,1)", "sweeps are for d2l hpo"),
        ("epochs=range(1,3)", "sweeps are for d2l hpo"),
        ("model=resnt18", "did you mean 'resnet18'?"),
        ("optim.name=adamx", "did you mean 'adam"),
        ("model=null", "null is not a name"),
        ("~strategy", "null is not a name"),
        ("optim=3", "3 is not a name"),
        ("hardware=gpux", "did you mean 'gpu'?"),
        ("experiment=nosuch", "unknown name 'nosuch'"),
        ("~epochs=11", "cannot take away 11: the value is 10"),
        ("model/hidden/x=1", "is a value and has no keys"),
        ("stray-word", "stray word 'stray-word': overrides are KEY=VALUE"),
        ("", "stray word ''"),
        ("=1", "no key before the = of '=1'"),
        ("a..b=1", "a..b: '1' cannot be read"),
        ("optim.lr='abc", "cannot be read"),
        ("optim.lr=" + "A" * 100_000, "100,009 characters, too long"),
        ("seed=" + "9" * 5000, "a number of 5,000 digits"),
        ("data.root=a\nb", r"character \n is not allowed"),
        ("data.root=a\u202eb", r"character \u202e is not allowed"),
        ("data.root=\udcff", r"character \udcff is not allowed"),
        ("data.root=" + "[" * 60, "too many brackets"),
        ("optim@x=adamw", "packages (KEY@PACKAGE) are not part of this config"),
        ("hydra.run.dir=x", "hydra.* is not part of this config"),
        ("hydra/launcher=x", "hydra.* is not part of this config"),
        ("+evil._target_=os.mkdir", "key '_target_' is not allowed"),
        ("data.root={a: [{_target_: x}]}", "key '_target_' is not allowed"),
        ("model={_args_: 1}", "key '_args_' is not allowed"),
        ("__class__.__init__=1", "key '__class__' is not allowed"),
        ("data.root={1: 2}", "key 1 of a mapping is not text"),
        ("data.root=${oc.env:HOME}", "is not allowed: only a whole value may be ${KEY}"),
        ("data.root=a${seed}", "only a whole value may be ${KEY}"),
        ("seed=${seed}", "leads back to itself"),
        ("seed=${no.such}", "names no key of the config"),
        ("seed=${optim}", "names no single value"),
        ("init.std=1", "there is no init that could have this key"),
        ("task.loss=crossentropy", "did you mean 'cross_entropy'?"),
        ("task.metrics=[acuracy]", "did you mean 'accuracy'?"),
        ("task.metrics=[{name: top_k, kk: 1}]", "metric 'top_k': unknown option 'kk'; did you mean 'k'?"),
        ("task.metrics=[{k: 1}]", "null is no metric"),
        ("task.metrics=accuracy", "'accuracy' is not a list"),
        ("monitor=acc", "'acc' is no value of this task that decides (known: loss, accuracy)"),
        ("hardware.device=gpu", "'gpu' is not one of auto, cpu, cuda, cuda:N"),
        ("hardware.devices=8", "8 devices need a strategy that uses them"),
        ("hardware.precision=fp64", "is not one of auto, fp32, bf16, fp16"),
    ],
)
def test_one_bad_word_is_one_problem(word: str, words: str) -> None:
    (found,) = problems(word)
    assert words in found
    assert found.endswith("(command line)")
    assert found.isprintable() and len(found) < 400


def test_only_one_number_can_decide_which_checkpoint_is_best() -> None:
    words = ["task.metrics=[accuracy,confusion_matrix]"]
    assert compose([*words, "monitor=accuracy"]).values["monitor"] == "accuracy"
    (found,) = problems(*words, "monitor=confusion_matrix")
    assert "monitor: 'confusion_matrix' is no value of this task that decides (known: loss, accuracy)" in found


def test_images_must_not_be_too_small() -> None:
    smallest = MODELS.describe("lenet").min_image_size
    for key in ("data.image_size", "model.image_size"):
        compose(["model=lenet", f"{key}={smallest}"])
        (found,) = problems("model=lenet", f"{key}={smallest - 1}")
        assert f"{key}: {smallest - 1} is too small: model 'lenet' takes images of at least {smallest}" in found


def test_two_thousand_problems_are_told_in_ten() -> None:
    found = problems(*[f"zz{index}=1" for index in range(2000)])
    assert len(found) == 11
    assert found[0].startswith("zz0: ")
    assert found[-1] == "and 1,990 more problems"


def test_a_config_file_is_as_strict_as_the_command_line(tmp_path: Path) -> None:
    for text, words in [
        ("model: {_target_: os.mkdir}", "key '_target_' is not allowed"),
        ("hydra: {run: {dir: x}}", "hydra: unknown key"),
        ("seed: ${oc.env:HOME}", "only a whole value"),
        ("epochs: 1e400", "inf is not an integer"),
        ("optim: {lr: .nan}", "nan is not a finite number"),
        ("model: [lenet]", "['lenet'] is not a name"),
    ]:
        path = write(tmp_path, text)
        (found,) = problems(config_file=path)
        assert words in found
        assert found.endswith(f"({path}:1)")
