"""Steps of environments and of Q-learning, many agents side by side, beside gymnasium's loop and the book's.

    python benchmarks/rl.py [--agents 8192] [--rounds 5] [--json FILE]        (extra `rl`)

"steps": actions at random, an episode that ends begins anew.  gymnasium's is `env.step` in a loop, "vector" its
SyncVectorEnv of 64 copies.  "learning": the same with epsilon-greedy actions (epsilon .9) and an update of Q for each
step; gymnasium's is the book's loop (d2l 17.3) with NumPy's table.  "one agent" is how `d2l train model=q_table` learns
unless `data.batch_size` says otherwise.  Before anything is timed, the mean length of random episodes is compared.

Figures are medians over interleaved rounds: millions of steps per second of the CPU clock, on one thread; in brackets
how many times as fast as gymnasium's loop.
"""

import argparse
import json
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np
import torch

from d2lcli.data.environment import Environment
from d2lcli.data.frozen_lake import MAPS, lake
from d2lcli.data.taxi import city
from d2lcli.nn.exploration import epsilon_greedy, epsilon_greedy_row
from d2lcli.tasks.losses import mse
from d2lcli.tasks.playing import Rules, play_many, play_one

STEPS = 20_000  # of a loop, and for each of the others at least one of all agents
EPSILON, RATE, GAMMA = 0.9, 0.1, 0.95
WORLDS: dict[str, tuple[Callable[[], Environment], tuple[str, dict[str, Any]]]] = {
    "lake 4x4": (lambda: lake(MAPS["4x4"], False), ("FrozenLake-v1", {"is_slippery": False})),
    "lake 4x4, slippery": (lambda: lake(MAPS["4x4"], True), ("FrozenLake-v1", {"is_slippery": True})),
    "lake 8x8, slippery": (lambda: lake(MAPS["8x8"], True), ("FrozenLake8x8-v1", {"is_slippery": True})),
    "taxi": (city, ("Taxi", {})),
}
Work = dict[str, Callable[[], int]]  # name -> what makes some steps and says how many


def make(name: str, options: dict[str, Any]) -> Any:
    """An environment of the library; Taxi is the newest version that it knows."""
    import gymnasium

    known = sorted(key for key in gymnasium.registry if key == name or key.startswith(f"{name}-v"))
    return gymnasium.make(known[-1], **options)


def stepping(world: Environment, maker: Callable[[], Any], agents: int) -> Work:
    """Random actions."""
    import gymnasium

    generator = torch.Generator().manual_seed(0)
    env, states = maker(), world.begin(agents, generator)
    vector = gymnasium.vector.SyncVectorEnv([maker] * 64)
    vector.reset(seed=0)
    env.reset(seed=0)
    rng = np.random.default_rng(0)

    def d2l() -> int:
        nonlocal states
        for _ in range(50):
            actions = torch.randint(world.num_actions, (agents,), generator=generator)
            states, _, done = world.step(states, actions, generator)
            states = torch.where(done, world.begin(agents, generator), states)
        return 50 * agents

    def loop() -> int:
        for _ in range(STEPS):
            _, _, done, cut, _ = env.step(int(rng.integers(world.num_actions)))
            if done or cut:
                env.reset()
        return STEPS

    def side_by_side() -> int:
        for _ in range(STEPS // 64):
            vector.step(rng.integers(world.num_actions, size=64))
        return STEPS // 64 * 64

    return {"d2l": d2l, "gymnasium": loop, "gymnasium vector": side_by_side}


def learning(world: Environment, maker: Callable[[], Any], agents: int) -> Work:
    """Epsilon-greedy actions and an update for each step."""
    generator, listed, env = torch.Generator().manual_seed(0), world.listed(), maker()
    explore = partial(epsilon_greedy, epsilon=EPSILON), partial(epsilon_greedy_row, epsilon=EPSILON)
    rules = Rules(*explore, RATE, GAMMA, world.max_steps)
    rng = np.random.default_rng(0)
    table, own, q = (torch.zeros(world.num_states, world.num_actions, dtype=torch.float64) for _ in range(3))
    values = q.numpy()
    env.reset(seed=0)

    def many() -> int:
        return play_many(world, table, rules, mse, agents, generator).steps

    def one() -> int:
        steps = 0
        while steps < STEPS:
            steps += play_one(listed, own, rules, mse, generator).steps
        return steps

    def book() -> int:
        steps = 0
        while steps < STEPS:
            state, _ = env.reset()
            over = False
            while not over:
                greedy = rng.random() >= EPSILON
                action = int(np.argmax(values[state])) if greedy else int(rng.integers(world.num_actions))
                following, reward, done, cut, _ = env.step(action)
                target = reward + GAMMA * (not done) * np.max(values[following])
                values[state, action] = values[state, action] + RATE * (target - values[state, action])
                state, over = following, done or cut
                steps += 1
        return steps

    return {"d2l": many, "gymnasium": book, "one agent": one}


def check(world: Environment, maker: Callable[[], Any]) -> None:
    """Random episodes are as long as the library's."""
    rng, env = np.random.default_rng(0), maker()
    lengths = []
    for episode in range(400):
        env.reset(seed=episode)
        steps, over = 0, False
        while not over:
            _, _, done, cut, _ = env.step(int(rng.integers(world.num_actions)))
            steps, over = steps + 1, done or cut
        lengths.append(steps)
    table = torch.zeros(world.num_states, world.num_actions, dtype=torch.float64)
    rules = Rules(partial(epsilon_greedy, epsilon=1.0), lambda q: [1 / len(q)] * len(q), 0.0, GAMMA, world.max_steps)
    ours = play_many(world, table, rules, mse, 4000, torch.Generator().manual_seed(0)).steps / 4000
    error = np.std(lengths) / len(lengths) ** 0.5
    assert abs(np.mean(lengths) - ours) < 5 * error, f"episodes have {ours} steps, gymnasium's {np.mean(lengths)}"


def measure(works: Work, rounds: int) -> dict[str, float]:
    """Median millions of steps per second of each, in turn, after a round that does not count."""
    speeds: dict[str, list[float]] = {name: [] for name in works}
    for number in range(rounds + 1):
        for name, work in works.items():
            begun = time.process_time()
            steps = work()
            if number:
                speeds[name].append(steps / (time.process_time() - begun) / 1e6)
    return {name: median(found) for name, found in speeds.items()}


def main() -> None:
    """Check, time, print a table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--agents", type=int, default=8192)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--json", type=Path)
    given = parser.parse_args()
    torch.set_num_threads(1)
    print(f"{given.agents:,} agents side by side, one thread; million steps/s, and times gymnasium's loop")
    found: dict[str, dict[str, dict[str, float]]] = {}
    for name, (maker, (library, options)) in WORLDS.items():
        world, theirs = maker(), partial(make, library, options)
        check(world, theirs)
        found[name] = {}
        for what, works in (("steps", stepping), ("learning", learning)):
            row = found[name][what] = measure(works(world, theirs, given.agents), given.rounds)
            cells = [f"{key} {speed:.3f} ({speed / row['gymnasium']:.1f} x)" for key, speed in row.items()]
            print(f"{name:<20}{what:<10}{'   '.join(cells)}", flush=True)
    if given.json:
        given.json.write_text(json.dumps(vars(given) | {"json": None, "million_steps_per_second": found}, indent=1))


if __name__ == "__main__":
    main()
