"""Episodes that a policy plays."""

from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from statistics import mean
from typing import Any

from d2lcli.commands.generating.asked import Asked, note
from d2lcli.commands.generating.decoders import naming_decoder, read_decoder
from d2lcli.commands.terminal import print_json
from d2lcli.errors import ConfigError, D2LError

ENDINGS = {"goal": "goal reached", "end": "ended", "limit": "cut off"}


def play(run: Path, values: dict[str, Any], words: Sequence[str], asked: Asked) -> None:
    """Play episodes, print the first one in characters, and draw it and the values of the table below the run."""
    decoder = read_decoder(words, "episode", "q_learning")
    if asked.texts() or asked.stop:
        raise ConfigError("--prompt, --file and --stop are for text, and a policy plays episodes", "d2l generate RUN")
    from d2lcli.generation.episodes import open_agent
    from d2lcli.registry import DECODERS

    agent = open_agent(run, values, asked.checkpoint)
    with naming_decoder(decoder["name"]):
        play_one = DECODERS.build(**decoder)
    episodes = [play_one(agent, number) for number in range(max(1, asked.num))]
    if not asked.json_output:
        _print_episodes(episodes)
    files = _draw(run, agent, episodes[0], decoder["frame_seconds"])
    if asked.json_output:
        facts = {"run": str(run), "checkpoint": str(agent.checkpoint), "decoder": decoder["name"], "files": files}
        print_json(facts | {"episodes": [asdict(episode) for episode in episodes]})
    else:
        print("\n".join(files))


def _print_episodes(episodes: Sequence[Any]) -> None:
    """One episode moment by moment, or a line for each of several."""
    if len(episodes) == 1:
        [episode] = episodes
        print(episode.frames[0])
        for action, reward, frame in zip(episode.actions, episode.rewards, episode.frames[1:]):
            print(f"\n{action}, reward {reward:g}\n{frame}")
        print()
    for episode in episodes:
        print(
            f"return {episode.earned:g}, discounted {episode.discounted:.4g}, "
            f"{len(episode.actions)} steps, {ENDINGS[episode.ending]}"
        )
    if len(episodes) > 1:
        earned, discounted = (mean(getattr(each, name) for each in episodes) for name in ("earned", "discounted"))
        reached = sum(episode.ending == "goal" for episode in episodes)
        goals = f", {reached} times the goal" if reached else ""
        print(f"mean of {len(episodes)}: return {earned:.4g}, discounted {discounted:.4g}{goals}")


def _draw(run: Path, agent: Any, episode: Any, seconds: float) -> list[str]:
    """Pictures of an episode, and where matplotlib is installed the maps of values and policy; their paths."""
    from d2lcli.generation.frames import draw_state, write_animation, write_strip

    grid = agent.environment.grid
    below = ["start", *(f"{action}, {reward:g}" for action, reward in zip(episode.actions, episode.rewards))]
    images = [draw_state(grid, *moment) for moment in zip(episode.frames, episode.states, below)]
    files = [
        write_animation(images, run / "samples" / "episode.gif", seconds),
        write_strip(images, run / "samples" / "episode.png"),
    ]
    if grid is not None:
        from d2lcli.generation.value_maps import plot_values

        try:
            files.append(plot_values(agent, grid, run / "plots" / "values.png"))
        except D2LError as error:
            note(f"{error.message}: {error.hint}")
    return [str(path) for path in files]
