"""What a `d2l hpo` command is to do: its space, its search, and what is refused before anything is written."""

from pathlib import Path
from typing import Any

import pytest

from d2lcli import config_of
from d2lcli.errors import ConfigError
from d2lcli.hpo.plan import Spec, build_search, make_spec
from d2lcli.hpo.space import Choice, Float, Int


def test_nothing_given_searches_lenet() -> None:
    spec = make_spec([])
    assert list(spec.space) == ["optim.lr", "data.batch_size"]
    assert "model=lenet" in spec.train and spec.search["name"] == "asha"
    assert (spec.metric, spec.mode, spec.resource, spec.length) == ("accuracy", "max", "epochs", 27)


def test_values_of_the_ready_space_can_be_fixed() -> None:
    spec = make_spec(["optim.lr=0.1"])
    assert list(spec.space) == ["data.batch_size"] and "optim.lr=0.1" in spec.train


def test_a_model_alone_is_searched_around_its_own_values() -> None:
    own = config_of(["model=mlp"])
    lr, size = own["optim"]["lr"], own["data"]["batch_size"]
    assert make_spec(["model=mlp"]).dimensions == {
        "optim.lr": Float(lr / 30, lr * 30, log=True),
        "data.batch_size": Choice((size // 4, size // 2, size, 2 * size)),
    }
    assert list(make_spec(["model=mlp", "data.batch_size=64"]).dimensions) == ["optim.lr"]


def test_keys_with_several_values_are_the_space() -> None:
    words = ["model=lenet,mlp", "optim.lr=tag(log,interval(1e-4,1))", "epochs=int(interval(1,9))", "seed=3"]
    spec = make_spec(words, search="random")
    assert spec.dimensions == {
        "model": Choice(("lenet", "mlp")),
        "optim.lr": Float(1e-4, 1.0, log=True),
        "epochs": Int(1, 9),
    }
    assert (spec.train, spec.seed) == (["seed=3"], 3)


def test_a_trial_is_a_command_that_train_takes() -> None:
    spec = make_spec(["model=lenet,mlp", "model.activation=relu,'tanh'", "seed=5"], search="grid")
    config = build_search(spec).next().config  # type: ignore[union-attr]
    assert config == {"model": "lenet", "model.activation": "relu"}
    words = spec.overrides(2, config)
    assert config_of(words)["model"]["name"] == "lenet" and config_of(words)["seed"] == 7


def test_a_seed_that_is_searched_is_the_seed() -> None:
    spec = make_spec(["seed=1,2,3"], search="grid")
    assert spec.overrides(7, {"seed": 2}) == ["seed=2"]


def test_a_file_becomes_part_of_the_study(tmp_path: Path) -> None:
    path = tmp_path / "mine.yaml"
    path.write_text("model: {name: mlp, hidden: [32, 'x']}\nepochs: 4\n".replace(", 'x'", ""))
    spec = make_spec(["optim.lr=0.1,0.2"], config_file=path)
    assert spec.length == 4 and config_of(spec.overrides(0, {"optim.lr": 0.1}))["model"]["hidden"] == [32]


@pytest.mark.parametrize(
    ("words", "resource", "length"),
    [
        (["steps=80"], "steps", 80),
        (["epochs=9"], "epochs", 9),
        (["epochs=9", "search.r_max=3"], "epochs", 9),
        (["study.resource=seconds", "search.r_max=60"], "seconds", 60),
    ],
)
def test_what_a_rung_counts(words: list[str], resource: str, length: float) -> None:
    spec = make_spec([*words, "optim.lr=1,2"])
    assert (spec.resource, spec.length) == (resource, length)


def test_a_sampler_feeds_a_schedule() -> None:
    spec = make_spec(["optim.lr=interval(0,1)", "search=hyperband", "search.sampler={name: random, seed: 4}"])
    assert spec.search["sampler"] == {"name": "random", "seed": 4}
    first = build_search(spec).next()
    alone = build_search(make_spec(["optim.lr=interval(0,1)", "search=random", "search.seed=4"])).next()
    assert first is not None and alone is not None and first.config == alone.config


def test_grids_are_searched_whole() -> None:
    spec = make_spec(["data.batch_size=8,16,32", "optim=sgd,adam"], search="grid")
    assert spec.trials is None and build_search(spec).most is None


@pytest.mark.parametrize(
    ("words", "options", "reason"),
    [
        (["optim.lrr=1,2"], {}, "did you mean 'optim.lr'"),
        (["model=lenet,mpl"], {}, "did you mean 'mlp'"),
        (["optim.lr=0.1,-1"], {}, "-1 is out of range"),
        (["optim.lr=interval(1,0)"], {}, "must begin below its end"),
        (["search=ahsa"], {}, "did you mean 'asha'"),
        (["search.etta=3"], {}, "did you mean 'eta'"),
        (["search.sampler=grd"], {}, "did you mean 'grid'"),
        (["search.sampler=asha"], {}, "is no sampler"),
        (["study.metrik=loss"], {}, "did you mean 'metric'"),
        (["study.metric=accuracyy"], {}, "did you mean 'accuracy'"),
        (["study.metric=top_k"], {}, "is no value of this task"),
        (["hpo=lenett"], {}, "did you mean 'lenet'"),
        (["epochs=1,2"], {}, "is what search=asha decides"),
        (["search.r_max=500"], {}, "beyond the end of a run"),
        (["search.r_min=50"], {}, "r_min=50"),
        (["study.resource=seconds"], {}, "a run has no length of its own"),
        (["study.resource=steps"], {}, "the run counts epochs"),
        (["hardware=ddp"], {}, "each trial of a search has one device"),
        (["search.budget=0.5"], {"search": "successive_halving"}, "0.5 leaves"),
        (["optim.lr=1,2", "optim.lr=3,4"], {}, "two sets of values"),
    ],
)
def test_what_is_refused(words: list[str], options: dict[str, Any], reason: str) -> None:
    with pytest.raises(ConfigError) as error:
        make_spec(words, **options)
    assert reason in str(error.value), error.value


def test_a_space_without_anything_to_search_is_refused() -> None:
    with pytest.raises(ConfigError, match="the search space is empty"):
        make_spec(["optim.lr=0.1", "data.batch_size=32"])


def test_a_spec_survives_its_storage() -> None:
    import json
    from dataclasses import asdict

    spec = make_spec(["model.hidden=[8],[16,8]", "model=mlp", "monitor=loss"])
    assert Spec(**json.loads(json.dumps(asdict(spec)))) == spec
