"""Atari games are played by the protocol that is asked for: every frame is counted, every aid ends with training."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import ale_py
import numpy as np
import pytest
from reference.naive_frames import naive_shrink, naive_steps

from muzero_ray.adapters.atari_game import PRESETS, AtariGame, AtariOptions, atari_names
from muzero_ray.adapters.loading import GameLoadError, game_title, load_game
from muzero_ray.core.game_check import check_game

PLAIN = {"preset": "muzero", "no_ops": 0, "full_actions": False}


class Spy:
    """An emulator whose actions are written down."""

    def __init__(self, ale: ale_py.ALEInterface) -> None:
        self._ale = ale
        self.actions: list[int] = []

    def act(self, action: ale_py.Action) -> int:
        self.actions.append(int(action.value))
        return self._ale.act(action)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._ale, name)


def spied(name: str = "Pong", **options: Any) -> tuple[AtariGame, Spy]:
    game = AtariGame(name, **options)
    game._ale = spy = Spy(game._ale)
    return game, spy


def random_actions(game: AtariGame, count: int, seed: int = 0) -> list[int]:
    return np.random.default_rng(seed).integers(0, game.spec.num_actions, count).tolist()


def played(game: AtariGame, seed: int, actions: Sequence[int]) -> list[tuple[Any, ...]]:
    """What an episode answers, until it is over."""
    answers: list[tuple[Any, ...]] = [(game.reset(seed)[0].tobytes(),)]
    for action in actions:
        observation, *rest = game.step(action)
        answers.append((observation.tobytes(), *rest))
        if rest[1] or rest[2]:
            break
    return answers


# Frames.


@pytest.mark.parametrize("preset", PRESETS)
@pytest.mark.parametrize("skip", [1, 2, 4, 5])
def test_a_step_is_exactly_as_many_frames_of_the_console_as_the_frame_skip_says(preset: str, skip: int) -> None:
    game = AtariGame("Pong", preset=preset, frame_skip=skip)
    game.reset(0)
    before = game._ale.getEpisodeFrameNumber()
    for step, action in enumerate(random_actions(game, 20), start=1):
        game.step(action)
        assert game._ale.getEpisodeFrameNumber() == before + skip * step


def test_four_frames_are_a_step_unless_said_otherwise() -> None:
    assert AtariOptions().frame_skip == 4
    game, spy = spied(**PLAIN)
    game.reset(0)
    game.step(1)
    assert spy.actions == [ale_py.Action.FIRE.value] * 4


@pytest.mark.parametrize(("name", "grey"), [("SpaceInvaders", False), ("SpaceInvaders", True), ("MsPacman", False)])
def test_an_observation_is_the_brighter_of_the_last_two_frames_made_smaller(name: str, grey: bool) -> None:
    game = AtariGame(name, **PLAIN, colour=not grey)
    game.reset(0)
    actions = random_actions(game, 60)
    flickers = 0
    for action, (brightest, last, _, _) in zip(
        actions, naive_steps(f"ALE/{name}-v5", actions, skip=4, grey=grey), strict=True
    ):
        observation = game.step(action)[0]
        np.testing.assert_array_equal(observation, naive_shrink(brightest, 96, 96))
        flickers += not np.array_equal(brightest, last)
    assert flickers > 10  # so that the last frame alone would have been something else


@pytest.mark.parametrize("name", ["Pong", "SpaceInvaders"])
def test_rewards_of_skipped_frames_are_added_up_and_the_end_is_the_games_own(name: str) -> None:
    game = AtariGame(name, **PLAIN, colour=False)
    game.reset(0)
    actions = random_actions(game, 1200)
    total = 0.0
    for action, (_, _, reward, over) in zip(
        actions, naive_steps(f"ALE/{name}-v5", actions, skip=4, grey=True), strict=True
    ):
        _, got, terminated, truncated, _ = game.step(action)
        assert (got, terminated, truncated) == (reward, over, False)
        total += reward
        if over:
            break
    assert total != 0


@pytest.mark.parametrize(
    ("options", "shape"),
    [({}, (3, 96, 96)), ({"size": 84}, (3, 84, 84)), ({"size": 84, "colour": False}, (1, 84, 84))],
)
def test_size_and_colour_make_the_shape_of_frames(options: dict[str, Any], shape: tuple[int, ...]) -> None:
    game = AtariGame("Pong", **options)
    assert (game.spec.observation_shape, game.spec.observation_dtype) == (shape, "uint8")
    observation, _ = game.reset(0)
    assert (observation.shape, observation.dtype) == (shape, np.uint8)
    assert game.spec.input_shape == (4 * shape[0], *shape[1:])
    assert AtariGame("Pong", frame_stack=2).spec.input_shape == (6, 96, 96)


def test_the_picture_is_the_consoles_screen_and_changes_nothing() -> None:
    seen, unseen = AtariGame("Breakout", **PLAIN), AtariGame("Breakout", **PLAIN)
    actions = random_actions(seen, 10)
    expected = played(unseen, 0, actions)
    played(seen, 0, actions)
    first, _ = seen.reset(0)
    start = seen.render()  # before any frame of this game is played, the console still shows the last one
    np.testing.assert_array_equal(first, naive_shrink(start, 96, 96))
    assert [seen.step(action)[0].tobytes() for action in actions] == [answer[0] for answer in expected[1:]]
    picture = seen.render()
    assert (picture.shape, picture.dtype) == ((210, 160, 3), np.uint8)
    np.testing.assert_array_equal(picture, seen._ale.getScreenRGB())


# Starts and chance.


def test_a_game_begins_with_1_to_30_frames_without_action_each_number_as_likely() -> None:
    game, spy = spied(preset="muzero")
    counts = []
    for seed in range(300):
        spy.actions.clear()
        game.reset(seed)
        assert set(spy.actions) == {ale_py.Action.NOOP.value}
        counts.append(len(spy.actions))
    assert set(counts) == set(range(1, 31))
    assert abs(np.mean(counts) - 15.5) < 2.0  # four standard errors: 4 * 8.66 / sqrt(300)


def test_without_no_op_starts_a_game_begins_at_once() -> None:
    game, spy = spied(preset="machado")
    game.reset(0)
    assert spy.actions == []


# Consoles of these games remember something of the last game when they are reset.
@pytest.mark.parametrize("name", ["Pong", "Berzerk", "Solaris", "ElevatorAction", "YarsRevenge"])
@pytest.mark.parametrize("preset", PRESETS)
def test_the_same_seed_and_actions_are_the_same_episode(name: str, preset: str) -> None:
    game, other = AtariGame(name, preset=preset), AtariGame(name, preset=preset)
    actions = random_actions(game, 60)
    first = played(game, 7, actions)
    assert played(game, 7, actions) == first
    assert played(other, 7, actions) == first
    assert played(AtariGame(name, preset=preset), 8, actions) != first


def test_with_sticky_actions_off_the_console_does_as_it_is_told() -> None:
    game, spy = spied(**PLAIN)
    actions = random_actions(game, 50)
    played(game, 0, actions)
    assert spy.actions == [game._actions[action].value for action in actions for _ in range(4)]


def test_sticky_actions_hold_the_action_of_the_frame_before_as_often_as_said() -> None:
    game, spy = spied(**PLAIN, sticky=0.25)
    played(game, 3, [step % 2 for step in range(600)])  # every step asks for another action than the one before
    wanted = np.array([[step % 2] * 4 for step in range(600)]) == 1
    held = (np.array(spy.actions).reshape(600, 4) == ale_py.Action.FIRE.value) != wanted
    # Frame n of a step still has the old action if all n draws so far said so. Bounds: four standard errors.
    for frame in range(4):
        share = 0.25 ** (frame + 1)
        assert abs(held[:, frame].mean() - share) < 4 * np.sqrt(share * (1 - share) / 600)
    for earlier, later in zip(held.T, held.T[1:], strict=False):
        assert not (later & ~earlier).any()  # once the new action is taken, nothing brings the old one back


def test_sticky_actions_depend_on_the_seed_alone() -> None:
    game, spy = spied(**PLAIN, sticky=0.5)
    taken = []
    for seed in (1, 2, 1):
        spy.actions.clear()
        played(game, seed, [step % 2 for step in range(30)])
        taken.append(list(spy.actions))
    assert taken[0] == taken[2] != taken[1]


# Ends.


def lose_lives(game: AtariGame) -> tuple[list[tuple[int, int]], int]:
    """Plays Breakout until it is over; lives and frame at every start, and the reward in all."""
    starts, total = [], 0.0
    for seed in range(20):
        game.reset(seed)
        starts.append((game._ale.lives(), game._frames))
        terminated = False
        while not terminated:
            _, reward, terminated, truncated, _ = game.step(1)  # fires, and stays where it is
            assert not truncated
            total += reward
        if game._ale.game_over():
            break
    return starts, int(total)


def test_a_lost_life_ends_an_episode_and_the_next_goes_on_with_the_next_life() -> None:
    starts, _ = lose_lives(AtariGame("Breakout"))
    lives, frames = zip(*starts, strict=True)
    assert lives == (5, 4, 3, 2, 1)
    assert list(frames) == sorted(set(frames))  # frames are counted on


def test_after_the_last_life_a_new_game_begins() -> None:
    game = AtariGame("Breakout")
    lose_lives(game)
    game.reset(99)
    assert game._ale.lives() == 5
    assert game._frames <= 30


def test_without_life_loss_an_episode_is_the_whole_game() -> None:
    assert [lives for lives, _ in lose_lives(AtariGame("Breakout", life_loss=False))[0]] == [5]


def test_the_same_seed_after_a_lost_life_starts_the_same_game_anew() -> None:
    game = AtariGame("Breakout")
    actions = [1] * 200
    first = played(game, 5, actions)
    assert first[-1][2:4] == (True, False)
    assert played(game, 5, actions) == first
    assert played(game, 6, actions) != first


def test_the_frame_cap_truncates_and_does_not_terminate() -> None:
    game = AtariGame("Pong", preset="machado", max_frames=40)
    assert [answer[2:4] for answer in played(game, 0, [0] * 20)[1:]] == [(False, False)] * 9 + [(False, True)]
    with pytest.raises(ValueError, match="the episode is over; call reset first"):
        game.step(0)
    assert AtariOptions().max_frames == 108_000


def test_no_op_frames_count_towards_the_cap_and_lives_share_it() -> None:
    game = AtariGame("Breakout", preset="atari100k", max_frames=150)
    for seed in range(20):
        *_, terminated, truncated, _ = played(game, seed, [1] * 200)[-1]
        assert terminated != truncated
        if truncated:
            break
    assert 150 <= game._frames < 154
    assert seed > 0


# Aids of training.


def test_rewards_are_clipped_in_training_and_raw_in_evaluation() -> None:
    game = AtariGame("SpaceInvaders", preset="atari100k")
    evaluated = game.evaluated()
    assert evaluated.spec == game.spec
    actions = random_actions(game, 400)
    clipped = [answer[1] for answer in played(game, 0, actions)[1:]]
    raw = [answer[1] for answer in played(evaluated, 0, actions)[1:]]
    assert max(raw) > 1.0
    assert clipped == [min(1.0, reward) for reward in raw[: len(clipped)]]
    assert len(raw) > len(clipped)  # with all of its lives
    assert all(type(reward) is float for reward in clipped + raw)


def test_negative_rewards_are_clipped_as_well() -> None:
    game = AtariGame("Skiing", preset="atari100k")  # pays minus the time, in hundredths of a second
    rewards = [answer[1] for answer in played(game, 0, [0] * 40)[1:]]
    assert min(rewards) == -1.0
    assert min(answer[1] for answer in played(game.evaluated(), 0, [0] * 40)[1:]) < -1.0


def test_in_evaluation_a_lost_life_ends_nothing() -> None:
    assert [lives for lives, _ in lose_lives(AtariGame("Breakout").evaluated())[0]] == [5]  # type: ignore[arg-type]


def test_a_game_and_its_evaluated_twin_do_not_disturb_each_other() -> None:
    game = AtariGame("Breakout")
    actions = random_actions(game, 20)
    first = played(game, 1, actions)
    twin = game.evaluated()
    game.reset(1)
    played(twin, 2, actions)  # type: ignore[arg-type]
    assert [game.step(action)[0].tobytes() for action in actions] == [answer[0] for answer in first[1:]]


def test_a_game_without_aids_is_evaluated_as_it_is() -> None:
    game = AtariGame("Pong", preset="muzero")
    assert game.evaluated() is game


# Names, presets, messages.


def test_presets_set_the_protocols_together_and_single_options_override_them() -> None:
    def told(**options: Any) -> tuple[Any, ...]:
        chosen = AtariGame("Pong", **options).options
        return chosen.sticky, chosen.no_ops, chosen.full_actions, chosen.life_loss, chosen.clip_rewards

    assert told(preset="machado") == (0.25, 0, True, False, False)
    assert told(preset="muzero") == (0.0, 30, True, False, False)
    assert told(preset="atari100k") == told() == (0.0, 30, False, True, True)
    assert told(preset="machado", sticky=0.1, full_actions=False) == (0.1, 0, False, False, False)


def test_the_protocol_names_all_that_scores_depend_on_in_one_line() -> None:
    assert AtariGame("Breakout").spec.protocol == (
        "Breakout, preset atari100k: 96x96 colour, 4 stacked, frame skip 4, no sticky actions, 1 to 30 no-ops "
        "at the start, 4 actions (minimal set), at most 108,000 frames a game, in training only: rewards cut to +-1 "
        "and a lost life ends it"
    )
    machado = AtariGame("Pong", preset="machado", sticky=0.1, size=84, colour=False)
    assert machado.spec.protocol == (
        "Pong, preset machado but sticky=0.1: 84x84 grey, 4 stacked, frame skip 4, sticky actions 0.1, no no-op "
        "starts, 18 actions (full set), at most 108,000 frames a game, no aids in training"
    )


def test_actions_are_called_as_ale_calls_them() -> None:
    game = AtariGame("Pong")
    assert [game.action_to_string(action) for action in range(6)] == [
        "NOOP",
        "FIRE",
        "RIGHT",
        "LEFT",
        "RIGHTFIRE",
        "LEFTFIRE",
    ]
    assert game.string_to_action("LEFT") == 3
    assert AtariGame("Pong", full_actions=True).spec.num_actions == 18


@pytest.mark.parametrize("action", [-1, 6])
def test_an_action_out_of_range_is_refused(action: int) -> None:
    game = AtariGame("Pong")
    game.reset(0)
    with pytest.raises(ValueError, match=rf"Pong: action must lie in 0\.\.5, got {action}"):
        game.step(action)


@pytest.mark.parametrize("name", atari_names())
def test_every_game_of_ale_can_be_made_and_begun(name: str) -> None:
    game = AtariGame(name)
    observation, _ = game.reset(0)
    assert observation.shape == game.spec.observation_shape
    assert game.spec.num_actions == len({game.action_to_string(a) for a in range(game.spec.num_actions)})


def test_there_are_more_than_a_hundred_games_under_gymnasiums_names() -> None:
    names = atari_names()
    assert len(names) > 100
    assert {"Pong", "SpaceInvaders", "MsPacman", "MontezumaRevenge", "Qbert", "UpNDown", "YarsRevenge"} <= set(names)


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("atari:Pnog", r"atari: no game 'Pnog'; did you mean Pong"),
        ("atari:space_invaders", r"atari: no game 'space_invaders'; did you mean SpaceInvaders"),
        ("atari:Zzz", r"atari: no game 'Zzz'; choose one of Adventure, AirRaid, .*, Zaxxon"),
        ("atari:Warlords", r"atari: no game 'Warlords'; "),  # for two; ALE ends the process where it is asked for it
        ("atari:", r"atari: wanted a name, as in atari:Pong; .*, Zaxxon"),
        ("atari:Pong(preset=muzro)", r"atari:Pong: no preset 'muzro'; did you mean muzero\?"),
        ("atari:Pong(frameskip=4)", r"atari:Pong: no option 'frameskip'; did you mean frame_skip or "),
        ("atari:Pong(sticky=1)", r"atari:Pong: sticky: wanted less than 1, got '1'"),
        ("atari:Pong(preset=muzero", r"Pong\(preset=muzero: wanted a closing bracket"),
    ],
)
def test_a_wrong_name_option_value_or_preset_is_told_with_the_nearest_valid_one(name: str, message: str) -> None:
    with pytest.raises(GameLoadError, match=message):
        load_game(name)


def test_a_game_is_named_with_its_options_in_brackets() -> None:
    factory = load_game("atari:SpaceInvaders(preset=muzero, size=84, colour=false, frame_stack=1)")
    game = factory()
    assert isinstance(game, AtariGame)
    assert (game.spec.observation_shape, game.spec.frame_stack) == ((1, 84, 84), 1)
    assert not game.options.clip_rewards
    assert game_title("atari:Pong") == "Pong, an Atari game"


def test_a_missing_rom_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ALE_ROMS_DIR", str(tmp_path))
    with pytest.raises(GameLoadError, match=r"the ROM of Pong cannot be used \(.*pong.bin.*\); install ale-py again"):
        load_game("atari:Pong")
    monkeypatch.setenv("ALE_ROMS_DIR", str(tmp_path / "nowhere"))
    with pytest.raises(GameLoadError, match=r"the ROM of Pong cannot be used \(.*nowhere.*\); install ale-py again"):
        load_game("atari:Pong")


@pytest.mark.parametrize(
    "name",
    [
        "Breakout(max_frames=400)",
        "Pong(max_frames=400)",
        "Pong(preset=machado,max_frames=400)",
        "MsPacman(preset=muzero,max_frames=400)",
    ],
)
def test_the_contract_of_games_is_kept(name: str) -> None:
    assert check_game(load_game(f"atari:{name}"), episodes=4) == []
