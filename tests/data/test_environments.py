"""Environments as tables: probabilities, endings, maps, steps, and episodes as examples."""

from collections.abc import Sequence
from typing import Any

import pytest
import torch

from d2lcli.data.cliff_walking import cliff
from d2lcli.data.environment import Environment, EpisodeLoader, episode_split
from d2lcli.data.frozen_lake import MAPS, frozen_lake, lake
from d2lcli.data.taxi import city, number, parts, taxi
from d2lcli.registry import DATASETS

MAKERS = {
    "lake": lambda: lake(MAPS["4x4"], False),
    "slippery": lambda: lake(MAPS["4x4"], True),
    "lake_8x8": lambda: lake(MAPS["8x8"], False),
    "slippery_8x8": lambda: lake(MAPS["8x8"], True),
    "cliff": lambda: cliff(False),
    "slippery_cliff": lambda: cliff(True),
    "taxi": city,
}
every_world = pytest.mark.parametrize("name", MAKERS)


@every_world
def test_the_outcomes_of_an_action_add_up_to_1(name: str) -> None:
    world: Environment = MAKERS[name]()
    torch.testing.assert_close(world.probabilities.sum(2), torch.ones(world.probabilities.shape[:2]).double())
    transitions, rewards = world.expected()
    torch.testing.assert_close(transitions.sum(2), torch.ones_like(rewards))
    assert float(world.start.sum()) == pytest.approx(1)


@every_world
def test_final_states_lead_to_themselves_without_reward(name: str) -> None:
    world: Environment = MAKERS[name]()
    ends = world.next_states[world.done & (world.probabilities > 0)].unique()
    assert world.final[ends].all() and world.final[world.goal].all()
    final = world.final.nonzero().flatten()
    assert len(final) and not world.start[final].any()
    assert (world.next_states[final] == final[:, None, None]).all() and not world.rewards[final].any()


def gymnasium_tables(name: str) -> Any:
    """The same environment of the library."""
    pytest.importorskip("gymnasium")
    from gymnasium.envs.toy_text.cliffwalking import CliffWalkingEnv
    from gymnasium.envs.toy_text.frozen_lake import FrozenLakeEnv
    from gymnasium.envs.toy_text.taxi import TaxiEnv

    slippery = "slippery" in name
    if name == "taxi":
        return TaxiEnv()
    if "cliff" in name:
        return CliffWalkingEnv(is_slippery=slippery)
    return FrozenLakeEnv(map_name="8x8" if "8x8" in name else "4x4", is_slippery=slippery)


@every_world
def test_the_tables_are_gymnasium_s(name: str) -> None:
    """In all states but those that an episode has ended in, which gymnasium lets one leave."""
    library, world = gymnasium_tables(name), MAKERS[name]()
    assert world.num_states == library.observation_space.n and world.num_actions == library.action_space.n
    assert world.start.tolist() == pytest.approx(library.initial_state_distrib.tolist(), abs=1e-15)
    assert sum(len(actions) for actions in library.P.values()) == world.num_states * world.num_actions
    listed = world.listed()
    for state in (~world.final).nonzero().flatten().tolist():
        for action in range(world.num_actions):
            expected = [(p, int(s), r, bool(d)) for p, s, r, d in library.P[state][action]]
            found = listed.rows[state][action]
            assert [each[0] for each in found] == pytest.approx([each[0] for each in expected], abs=1e-12)
            assert [each[1:] for each in found] == [each[1:] for each in expected]


@every_world
def test_steps_follow_the_tables(name: str) -> None:
    """Many steps of one state and action: each outcome as often as it should be, five standard deviations wide."""
    world: Environment = MAKERS[name]()
    state, action, n = int((~world.final).nonzero()[-1]), 1, 20_000
    states, actions = torch.full((n,), state), torch.full((n,), action)
    following, rewards, done = world.step(states, actions, torch.Generator().manual_seed(0))
    shares = torch.bincount(following, minlength=world.num_states) / n
    expected = world.expected()[0][state, action]
    assert ((shares - expected).abs() <= 5 * (expected * (1 - expected) / n).sqrt() + 1e-12).all()
    for k in range(world.probabilities.shape[2]):
        here = following == world.next_states[state, action, k]
        if world.probabilities[state, action, k] > 0:
            assert (rewards[here] == world.rewards[state, action, k]).all()
            assert (done[here] == world.done[state, action, k]).all()


def test_episodes_begin_where_the_environment_says() -> None:
    world = city()
    states = world.begin(50_000, torch.Generator().manual_seed(0))
    counts = torch.bincount(states, minlength=500)
    assert not counts[world.start == 0].any()
    expected = 50_000 / 300
    assert (counts[world.start > 0] - expected).abs().max() < 5.5 * expected**0.5
    assert int(lake(MAPS["4x4"], True).begin(3, torch.Generator().manual_seed(0)).sum()) == 0


def test_one_agent_steps_as_many_do() -> None:
    world = lake(MAPS["4x4"], True)
    listed = world.listed()
    generator = torch.Generator().manual_seed(4)
    uniforms = torch.rand(200, generator=generator, dtype=torch.float64).tolist()
    following, _, _ = world.step(torch.full((200,), 5 - 1), torch.full((200,), 2), torch.Generator().manual_seed(4))
    assert following.tolist() == [listed.step(4, 2, uniform)[1] for uniform in uniforms]


def test_the_numbers_of_the_taxi_s_states() -> None:
    assert [number(*parts(state)) for state in range(500)] == list(range(500))
    assert parts(328) == (3, 1, 2, 0)  # gymnasium's documentation has encode(3, 1, 2, 0) = 328


@pytest.mark.parametrize(
    ("rows", "words"),
    [
        (["SFX", "FFG"], "unknown letter 'X'"),
        (["SFF", "FFF"], "no goal, the letter G"),
        (["FFF", "FFG"], "no start, the letter S"),
        (["SFF", "FG"], "rows of one length"),
        ([], "rows of one length"),
        (["SHF", "HFG"], "no way leads"),
    ],
)
def test_maps_that_are_none(rows: Sequence[str], words: str) -> None:
    with pytest.raises(ValueError, match=words):
        frozen_lake(map=rows)


def test_a_map_of_one_s_own() -> None:
    data = frozen_lake(map=["SFS", "HFG"], objective="states")
    assert data.environment.start.tolist() == [0.5, 0, 0.5, 0, 0, 0]
    assert data.shape == (6,) and len(data.train) == len(data.val) == 6
    assert data.environment.final.tolist() == [False, False, False, True, False, True]
    with pytest.raises(ValueError, match="at most 4,096"):
        frozen_lake(map=["S" * 70 + "G"] * 70)


@pytest.mark.parametrize("name", ["frozen_lake", "cliff_walking", "taxi"])
def test_it_is_what_the_registry_says(name: str) -> None:
    entry, data = DATASETS.describe(name), DATASETS.build(name)
    assert data.name == name and data.found
    assert entry.shape in ((), data.shape) and entry.num_outputs in (0, data.num_outputs)
    assert torch.equal(data.val.inputs, torch.eye(data.shape[0]))
    expected = data.environment.expected()[1].float()
    assert torch.equal(data.val.targets, expected) and len(data.head(3).val) == data.shape[0]
    assert len(data.train) == 256 and len(data.head(3).train) == 3


def test_episodes_are_numbered_on_and_their_seeds_are_functions_of_the_position() -> None:
    before = torch.get_rng_state()
    loader = EpisodeLoader(episode_split(20, "train"), batch_size=8, seed=3, shuffle=True)
    first, second = list(loader.batches(0)), list(loader.batches(1))
    assert [numbers.tolist() for numbers, _ in first] == [list(range(8)), list(range(8, 16)), list(range(16, 20))]
    assert second[0][0].tolist() == list(range(20, 28))
    assert len({int(seed) for _, seed in (*first, *second)}) == 6
    assert [int(seed) for _, seed in loader.batches(1, 2)] == [int(second[2][1])]
    other = EpisodeLoader(episode_split(20, "train"), batch_size=8, seed=4, shuffle=True)
    assert int(next(other.batches(0))[1]) != int(first[0][1])
    assert torch.equal(before, torch.get_rng_state())


def test_states_in_characters() -> None:
    world = lake(MAPS["4x4"], False)
    assert world.shown(6).splitlines()[1] == " F   H  [F]  H"
    lines = taxi().environment.shown(number(0, 1, 4, 2)).splitlines()
    assert lines[0] == " R  [.]| .   .   G" and lines[-1] == "passenger in the taxi, to Y"
