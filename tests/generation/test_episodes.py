"""`d2l generate` of a policy: moments in characters, pictures, maps of values; in JSON, and several episodes."""

import json
from pathlib import Path
from typing import Any

import pytest
from PIL import Image
from runs import d2l, train

from d2lcli.commands.generate import generate
from d2lcli.commands.generating.asked import Asked
from d2lcli.errors import ConfigError

CPU = ("hardware=cpu", "hardware.threads=1")
ASKED: dict[str, Any] = {
    "prompts": [], "file": None, "num": 1, "stop": [], "instruction": "", "examples": None, "shots": None,
    "checkpoint": "best", "cache": True, "attention": None, "json_output": False,
}  # fmt: skip


def played(capsys: pytest.CaptureFixture[str], run: Path, *words: str, **asked: Any) -> str:
    """What the command prints, in this process."""
    capsys.readouterr()
    generate(run, list(words), Asked(**ASKED | asked))
    return capsys.readouterr().out


@pytest.fixture(scope="module")
def lake(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("episodes") / "lake"
    train(folder, "model=q_table", "epochs=1", *CPU)
    return folder


def test_an_episode_in_characters_and_pictures(lake: Path) -> None:
    done = d2l("generate", lake)
    assert done.returncode == 0, done.stderr
    moments = done.stdout.split("\n\n")
    assert len(moments) == 8  # the start, six steps, and what came of it
    assert moments[0].splitlines()[0] == "[S]  F   F   F"
    assert moments[6].splitlines()[0] == "right, reward 1" and moments[6].endswith("[G]")
    assert "return 1, discounted 0.7738, 6 steps, goal reached" in done.stdout
    with Image.open(lake / "samples" / "episode.gif") as animation:
        assert animation.n_frames == 7 and animation.info["duration"] == 500
    with Image.open(lake / "samples" / "episode.png") as strip:
        assert strip.width == 7 * (4 * 48 + 8)
    with Image.open(lake / "plots" / "values.png") as picture:
        assert picture.width > 200


def test_several_episodes_in_json(lake: Path, capsys: pytest.CaptureFixture[str]) -> None:
    words = ("decoder.epsilon=0.5", "decoder.frame_seconds=0.1")
    found = json.loads(played(capsys, lake, *words, num=4, json_output=True))
    episodes = found["episodes"]
    assert len(episodes) == 4 and found["decoder"] == "episode" and len(found["files"]) == 3
    assert len({tuple(each["states"]) for each in episodes}) > 1  # each has chance of its own
    for each in episodes:
        assert len(each["states"]) == len(each["frames"]) == len(each["actions"]) + 1 == len(each["rewards"]) + 1
        assert each["ending"] in ("goal", "end", "limit") and each["earned"] == float(each["ending"] == "goal")
        assert each["discounted"] == pytest.approx(each["earned"] * 0.95 ** (len(each["actions"]) - 1))


def test_the_first_of_several_is_drawn_and_a_long_one_is_cut_off(
    lake: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    lines = played(capsys, lake, "decoder.max_steps=3", num=2).splitlines()
    assert lines[0] == "return 0, discounted 0, 3 steps, cut off"
    assert lines[2].startswith("mean of 2: return 0")
    with Image.open(lake / "samples" / "episode.gif") as animation:
        assert animation.n_frames == 4


@pytest.mark.parametrize(
    ("words", "asked", "said"),
    [
        ((), {"prompts": ["hello"]}, "a policy plays episodes"),
        (("decoder=beam",), {}, "unknown name 'beam'"),
        (("decoder.epsilon=2",), {}, "want >= 0 and <= 1"),
        ((), {"attention": Path("x.png")}, "does not translate"),
        (("data=fashion_mnist_mini",), {}, "is no data for model 'q_table'"),
    ],
)
def test_wrong_uses_have_a_line(lake: Path, words: tuple[str, ...], asked: dict[str, Any], said: str) -> None:
    with pytest.raises(ConfigError, match=said):
        generate(lake, list(words), Asked(**ASKED | asked))


@pytest.mark.parametrize("setting", ["data=taxi task=policy_iteration epochs=20", "data=cliff_walking epochs=20"])
def test_policies_of_values(tmp_path: Path, setting: str, capsys: pytest.CaptureFixture[str]) -> None:
    train(tmp_path / "run", "model=value_table", *setting.split(), "checkpoint_every=20", *CPU)
    found = json.loads(played(capsys, tmp_path / "run", num=3, json_output=True))
    assert {each["ending"] for each in found["episodes"]} == {"goal"}
    assert "cliff" not in setting or {each["earned"] for each in found["episodes"]} == {-13.0}


def test_a_given_policy_is_played_as_it_is(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    train(tmp_path / "run", "model=value_table", "task=policy_evaluation", *CPU)
    found = json.loads(played(capsys, tmp_path / "run", num=30, json_output=True))
    actions = {action for each in found["episodes"] for action in each["actions"]}
    assert actions == {"left", "down", "right", "up"}
