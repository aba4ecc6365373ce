"""Plays the Atari games of the Arcade Learning Environment (ALE) as `Game`s, by the protocol that is asked for.

Stands on ALE's own interface with ALE's own frame skip and sticky actions off, so that every frame is counted
here and nowhere else. One step of the agent is `frame_skip` frames. What it does not do: stacking frames
(`GameSpec.frame_stack`), and pressing the fire button for the agent.

Source of the protocols: Machado et al., "Revisiting the Arcade Learning Environment", arXiv:1709.06009 (machado);
Schrittwieser et al., arXiv:1911.08265, with the starts of Mnih et al., Nature 2015 (muzero); Kaiser et al.,
arXiv:1903.00374, as Ye et al., arXiv:2111.00210, play it (atari100k).
"""

import copy
from collections.abc import Mapping
from typing import Any, Literal, Self

import ale_py
import numpy as np
from ale_py import roms
from pydantic import Field

from muzero_ray.adapters.frames import FrameShrinker
from muzero_ray.adapters.named_options import NamedOptions, nearest_of, read_options
from muzero_ray.core.game import Game, GameSpec
from muzero_ray.core.game_loader import GameLoadError

_FOR_TWO = {"combat", "joust", "maze_craze", "warlords"}  # ALE has no rules for one player; asked for, it exits


class AtariOptions(NamedOptions):
    """How a game is played; all of it is named in `GameSpec.protocol`."""

    preset: Literal["machado", "muzero", "atari100k"] = "atari100k"
    """Sets sticky, no_ops, full_actions, life_loss and clip_rewards together; each may be given besides."""
    size: int = Field(96, ge=8, le=160)
    """Height and width of an observation in pixels (MuZero: 96; DQN: 84)."""
    colour: bool = True
    """Observations `[3, H, W]` in colour (MuZero), or `[1, H, W]` in grey (DQN)."""
    frame_stack: int = Field(4, ge=1)
    """Observations that the network sees at once (DQN and EfficientZero: 4; MuZero: 32)."""
    frame_skip: int = Field(4, ge=1)
    """Frames of one step, in which the action is held. What is observed is the brighter one of the last two in every
    pixel, as many games draw some things in every other frame only."""
    sticky: float = Field(0.0, ge=0, lt=1)
    """Probability, in every frame, that the console goes on with the action of the frame before."""
    no_ops: int = Field(0, ge=0)
    """A game begins after 1 to so many frames without action, each number equally likely; 0: at once."""
    full_actions: bool = False
    """All 18 actions of the console, rather than those that the game can tell apart."""
    life_loss: bool = False
    """In training: a lost life ends the episode. The next episode goes on with the next life of the same game."""
    clip_rewards: bool = False
    """In training: the reward of a step is cut to -1 to 1."""
    max_frames: int = Field(108_000, ge=1)
    """A game is stopped (truncated) at the first step that ends after so many frames: half an hour of play."""


PRESETS: Mapping[str, Mapping[str, Any]] = {
    "machado": {"sticky": 0.25, "no_ops": 0, "full_actions": True, "life_loss": False, "clip_rewards": False},
    "muzero": {"sticky": 0.0, "no_ops": 30, "full_actions": True, "life_loss": False, "clip_rewards": False},
    "atari100k": {"sticky": 0.0, "no_ops": 30, "full_actions": False, "life_loss": True, "clip_rewards": True},
}


class AtariGame(Game):
    """One game of the ALE, for one player.

    Args:
        name: as in Gymnasium's ids: "Pong", "SpaceInvaders".
        **given: see `AtariOptions`; values may be text.

    Raises:
        GameLoadError: if there is no such game, if its ROM is missing, or if an option is wrong; the message says
            what to do.
    """

    def __init__(self, name: str, **given: Any) -> None:
        self._name = name
        self._rom = rom_path(name)
        preset = read_options(AtariOptions, f"atari:{name}", given).preset
        self.options = read_options(AtariOptions, f"atari:{name}", {**PRESETS[preset], **given})
        self._switch_on()
        actions = self._ale.getLegalActionSet() if self.options.full_actions else self._ale.getMinimalActionSet()
        self._actions = list(actions)
        self._shrink = FrameShrinker(self._ale.getScreenDims(), self.options.size)
        self.spec = GameSpec(
            observation_shape=(3 if self.options.colour else 1, *self._shrink.shape),
            num_actions=len(self._actions),
            observation_dtype="uint8",
            frame_stack=self.options.frame_stack,
            protocol=describe_protocol(name, self.options, len(self._actions)),
        )
        self._seed: int | None = None
        self._running = False
        self._next_life = False

    def reset(self, seed: int) -> tuple[np.ndarray, dict[str, Any]]:
        """Starts an episode; see `Game.reset`.

        With `life_loss`, a reset with another seed after a lost life goes on with the next one: else no agent would
        ever see what comes after its first. Such an episode depends on those before it as well, back to the start of
        the game. The same seed again starts anew, as does any seed after the end of a game.
        """
        goes_on = self._next_life and seed != self._seed
        self._seed = seed
        self._next_life = False
        self._running = True
        if not goes_on:
            self._start_game(seed)
        self._lives = self._ale.lives()
        return self._shrink(self._screen), {}

    def step(self, action: int) -> tuple[np.ndarray, float, bool, bool, dict[str, Any]]:
        """Holds an action for `frame_skip` frames; `truncated` is true at `max_frames`. See `Game.step`."""
        if not self._running:
            raise ValueError(f"{self._name}: the episode is over; call reset first")
        if not 0 <= action < len(self._actions):
            raise ValueError(f"{self._name}: action must lie in 0..{len(self._actions) - 1}, got {action}")
        reward = self._play_frames(self._actions[action])
        if self.options.clip_rewards:
            reward = min(1, max(-1, reward))
        terminated = self._ale.game_over()
        truncated = not terminated and self._frames >= self.options.max_frames
        lives, before = self._ale.lives(), self._lives
        self._lives = lives
        # With no life left the game itself says when it is over: some still show the end for a while.
        if self.options.life_loss and 0 < lives < before and not (terminated or truncated):
            terminated = self._next_life = True
        self._running = not (terminated or truncated)
        return self._shrink(self._screen), float(reward), terminated, truncated, {}

    def evaluated(self) -> Game:
        """The game without clipped rewards and with all of its lives: its return is the raw score."""
        if not (self.options.life_loss or self.options.clip_rewards):
            return self
        other = copy.copy(self)
        other.options = self.options.model_copy(update={"life_loss": False, "clip_rewards": False})
        other._running = other._next_life = False
        other._switch_on()
        return other

    def render(self) -> np.ndarray:
        """`[H, W, 3]` uint8, the console's screen in full."""
        return self._start_picture.copy() if self._frames == 0 else self._ale.getScreenRGB()

    def action_to_string(self, action: int) -> str:
        """ALE's name of an action: "NOOP", "UPFIRE"."""
        return str(self._actions[action].name)

    def clone(self) -> Self:
        """Not offered: opponents that look ahead are for boards.

        Raises:
            NotImplementedError: always.
        """
        raise NotImplementedError(f"{self._name} cannot be copied")

    def _switch_on(self) -> None:
        """A console of our own, and what every game on it starts from."""
        ale_py.ALEInterface.setLoggerMode(ale_py.LoggerMode.Error)
        self._ale = ale_py.ALEInterface()
        self._ale.setInt("random_seed", 0)
        self._ale.setInt("frame_skip", 1)
        self._ale.setFloat("repeat_action_probability", 0.0)
        self._ale.loadROM(self._rom)
        self._ale.reset_game()
        # Some consoles are not as they were after a reset of their own, so one start is kept for all games.
        self._start = self._ale.cloneSystemState()
        self._start_picture = self._ale.getScreenRGB()
        self._start_screen = self._new_screen()
        self._look(self._start_screen)
        self._screen, self._earlier = self._new_screen(), self._new_screen()
        self._frames = 0

    def _start_game(self, seed: int) -> None:
        self._rng = np.random.default_rng(seed)
        self._held = ale_py.Action.NOOP
        self._to_start()
        for _ in range(self._rng.integers(1, self.options.no_ops + 1) if self.options.no_ops else 0):
            self._play_frame(ale_py.Action.NOOP)
            if self._ale.game_over():
                self._to_start()
                return
            self._look(self._screen)

    def _to_start(self) -> None:
        self._ale.restoreSystemState(self._start)
        self._screen[:] = self._start_screen  # the console's own is still that of the last game
        self._frames = 0

    def _play_frames(self, action: ale_py.Action) -> int:
        """One step's frames; returns their reward and leaves what is seen of them in `_screen`."""
        reward, last = 0, self.options.frame_skip - 1
        seen_earlier = False
        for frame in range(self.options.frame_skip):
            if frame == last and last > 0:
                self._look(self._earlier)
                seen_earlier = True
            sticks = self.options.sticky > 0 and self._rng.random() < self.options.sticky
            if not sticks:
                self._held = action
            reward += self._play_frame(self._held)
            if self._ale.game_over():
                break
        self._look(self._screen)
        if seen_earlier:
            np.maximum(self._screen, self._earlier, out=self._screen)
        return reward

    def _play_frame(self, action: ale_py.Action) -> int:
        self._frames += 1
        return int(self._ale.act(action))

    def _new_screen(self) -> np.ndarray:
        return np.zeros((*self._ale.getScreenDims(), 3 if self.options.colour else 1), np.uint8)

    def _look(self, screen: np.ndarray) -> None:
        """Writes what the console shows into a screen of ours."""
        if self.options.colour:
            self._ale.getScreenRGB(screen)
        else:
            self._ale.getScreenGrayscale(screen[..., 0])


def atari_names() -> list[str]:
    """Names of all games that one player can play, sorted."""
    return sorted(_rom_ids())


def rom_path(name: str) -> Any:
    """The file of a game's ROM.

    Raises:
        GameLoadError: if there is no such game or its ROM is not there.
    """
    known = _rom_ids()
    if not name:
        raise GameLoadError("atari: wanted a name, as in atari:Pong; muzero_ray knows " + ", ".join(sorted(known)))
    if name not in known:
        raise GameLoadError(f"atari: no game {name!r}{nearest_of(name, sorted(known))}")
    try:
        return roms.get_rom_path(known[name])
    except OSError as error:
        raise GameLoadError(
            f"atari: the ROM of {name} cannot be used ({error}); install ale-py again, which brings all ROMs, "
            "or unset ALE_ROMS_DIR"
        ) from error


def describe_protocol(name: str, options: AtariOptions, num_actions: int) -> str:
    """How a game is played, in one line: everything that scores depend on."""
    preset = PRESETS[options.preset]
    own = [f"{key}={getattr(options, key)}" for key, value in preset.items() if getattr(options, key) != value]
    aids = [
        text
        for used, text in ((options.clip_rewards, "rewards cut to +-1"), (options.life_loss, "a lost life ends it"))
        if used
    ]
    parts = [
        f"{options.size}x{options.size} {'colour' if options.colour else 'grey'}, {options.frame_stack} stacked",
        f"frame skip {options.frame_skip}",
        f"sticky actions {options.sticky:g}" if options.sticky else "no sticky actions",
        f"1 to {options.no_ops} no-ops at the start" if options.no_ops else "no no-op starts",
        f"{num_actions} actions ({'full' if options.full_actions else 'minimal'} set)",
        f"at most {options.max_frames:,} frames a game",
        f"in training only: {' and '.join(aids)}" if aids else "no aids in training",
    ]
    return f"{name}, preset {options.preset}{' but ' + ', '.join(own) if own else ''}: {', '.join(parts)}"


def _rom_ids() -> dict[str, str]:
    """ROMs as ALE names them, by the names of games."""
    return {rom.title().replace("_", ""): rom for rom in roms.get_all_rom_ids() if rom not in _FOR_TWO}
