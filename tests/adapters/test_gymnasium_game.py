"""Gymnasium's environments come through as they are."""

from typing import Any

import gymnasium
import numpy as np
import pytest
from reference.naive_frames import naive_shrink

from muzero_ray.adapters.gymnasium_game import OBSERVATION_LIMIT, GymnasiumGame, ImageOptions
from muzero_ray.adapters.loading import GameLoadError, load_game
from muzero_ray.core.game_check import check_game


class Extremes(gymnasium.Env[np.ndarray, int]):
    """Observes infinities, in float64; its actions are -1, 0 and 1, and its reward is the action."""

    observation_space = gymnasium.spaces.Box(-np.inf, np.inf, (3,), np.float64)
    action_space = gymnasium.spaces.Discrete(3, start=-1)

    def reset(self, *, seed: int | None = None, options: Any = None) -> Any:
        return np.array([np.inf, -np.inf, 0.5]), {}

    def step(self, action: int) -> Any:
        return np.array([1e300, np.nan, 0.0]), action, False, False, {}


class Reused(gymnasium.Env[np.ndarray, int]):
    """Observes in one float32 array, which it writes anew: small numbers at first, then huge ones, then NaN."""

    observation_space = gymnasium.spaces.Box(-np.inf, np.inf, (2,), np.float32)
    action_space = gymnasium.spaces.Discrete(2)

    def reset(self, *, seed: int | None = None, options: Any = None) -> Any:
        self.seen = np.array([0.5, -2.0], np.float32)
        self.coming = [[3e38, -2e9], [1e9, np.nan]]
        return self.seen, {}

    def step(self, action: int) -> Any:
        self.seen[:] = self.coming.pop(0)
        return self.seen, 0.0, False, False, {}


class Shows(gymnasium.Env[Any, int]):
    """Shows what it is given, and nothing else happens."""

    action_space = gymnasium.spaces.Discrete(2)

    def __init__(self, space: gymnasium.Space[Any], shown: Any = None) -> None:
        self.observation_space = space
        self.shown = space.sample() if shown is None else shown

    def reset(self, *, seed: int | None = None, options: Any = None) -> Any:
        return self.shown, {}

    def step(self, action: int) -> Any:
        return self.shown, 0.0, False, False, {}


def image(*shape: int) -> gymnasium.spaces.Box:
    return gymnasium.spaces.Box(0, 255, shape, np.uint8)


def noise(*shape: int) -> np.ndarray:
    return np.random.default_rng(0).integers(0, 256, shape).astype(np.uint8)


class Grid(gymnasium.Env[np.ndarray, int]):
    """A vector as long as its own option says, and nothing happens."""

    action_space = gymnasium.spaces.Discrete(2)

    def __init__(self, size: int, colour: str = "red", frame_stack: int = 1) -> None:
        self.observation_space = gymnasium.spaces.Box(0, 1, (size * frame_stack,), np.float32)
        self.colour = colour

    def reset(self, *, seed: int | None = None, options: Any = None) -> Any:
        return np.zeros(self.observation_space.shape, np.float32), {}

    def step(self, action: int) -> Any:
        return np.zeros(self.observation_space.shape, np.float32), 0.0, False, False, {}


class GridOfFive(Grid):
    """A grid that has a size without being told."""

    def __init__(self, size: int = 5, **options: Any) -> None:
        super().__init__(size, **options)


gymnasium.register("Grid-v0", Grid)
gymnasium.register("GridOfFive-v0", GridOfFive)
gymnasium.register("Shows-v0", Shows)
gymnasium.register("Extremes-v0", Extremes)
gymnasium.register("Reused-v0", Reused)


def episode(game: GymnasiumGame, seed: int, actions: list[int]) -> list[tuple[Any, ...]]:
    game.reset(seed)
    return [game.step(action) for action in actions]


def test_infinite_observations_are_cut_to_finite_float32_and_nan_is_not_hidden() -> None:
    game = GymnasiumGame("Extremes-v0")
    observation, _ = game.reset(0)
    np.testing.assert_allclose(observation, np.array([OBSERVATION_LIMIT, -OBSERVATION_LIMIT, 0.5], np.float32))
    assert observation.dtype == np.float32
    assert np.isnan(game.step(0)[0]).tolist() == [False, True, False]


def test_float32_observations_are_copied_and_cut_likewise() -> None:
    game = GymnasiumGame("Reused-v0")
    first, _ = game.reset(0)
    huge, broken = (game.step(0)[0] for _ in range(2))
    assert first.tolist() == [0.5, -2.0]
    assert huge.tolist() == [OBSERVATION_LIMIT, -OBSERVATION_LIMIT]
    np.testing.assert_array_equal(broken, np.array([1e9, np.nan], np.float32))


def test_actions_that_do_not_start_at_0_are_shifted() -> None:
    game = GymnasiumGame("Extremes-v0")
    assert [result[1] for result in episode(game, 0, [0, 1, 2])] == [-1.0, 0.0, 1.0]


def test_a_discrete_observation_becomes_one_hot() -> None:
    game = GymnasiumGame("FrozenLake-v1", is_slippery=False)
    assert game.reset(0)[0].tolist() == [1.0] + [0.0] * 15
    assert game.step(2)[0].tolist() == [0.0, 1.0] + [0.0] * 14  # one square to the right
    assert check_game(lambda: GymnasiumGame("FrozenLake-v1"), episodes=3) == []


def test_a_time_limit_truncates_and_a_fall_terminates() -> None:
    assert [r[2:4] for r in episode(GymnasiumGame("CartPole-v1", max_episode_steps=3), 0, [0, 1, 0])] == [
        (False, False),
        (False, False),
        (False, True),
    ]
    # Pushed to the left only, the pole falls to the right within a dozen steps.
    game = GymnasiumGame("CartPole-v1")
    game.reset(0)
    flags = (False, False)
    for _ in range(12):
        flags = game.step(0)[2:4]
        if any(flags):
            break
    assert flags == (True, False)


def test_an_action_after_the_end_is_refused() -> None:
    game = GymnasiumGame("CartPole-v1", max_episode_steps=1)
    episode(game, 0, [0])
    with pytest.raises(ValueError, match="the episode is over; call reset first"):
        game.step(0)


@pytest.mark.parametrize("action", [-1, 2])
def test_an_action_out_of_range_is_refused(action: int) -> None:
    game = GymnasiumGame("CartPole-v1")
    game.reset(0)
    with pytest.raises(ValueError, match=rf"CartPole-v1: action must lie in 0\.\.1, got {action}"):
        game.step(action)


def test_drawing_a_picture_changes_nothing_about_the_episode() -> None:
    actions = [int(action) for action in np.random.default_rng(0).integers(0, 4, size=40)]
    plain, drawn = GymnasiumGame("LunarLander-v3"), GymnasiumGame("LunarLander-v3")
    expected = episode(plain, 7, actions)
    drawn.reset(7)
    for time, (action, wanted) in enumerate(zip(actions, expected, strict=True)):
        observation, *rest = drawn.step(action)
        if time in (10, 11):  # the first picture is asked for in the middle of an episode
            picture = drawn.render()
        np.testing.assert_array_equal(observation, wanted[0])
        assert rest == list(wanted[1:])
    assert picture.shape == (400, 600, 3)
    assert picture.dtype == np.uint8
    assert picture.std() > 0


def test_an_environment_without_pictures_says_so() -> None:
    game = GymnasiumGame("Extremes-v0")
    game.reset(0)
    with pytest.raises(NotImplementedError, match="no render mode rgb_array"):
        game.render()


# Images.


@pytest.mark.parametrize(
    ("shape", "frame_shape"),
    [
        ((210, 160, 3), (3, 96, 96)),
        ((64, 120, 3), (3, 64, 96)),  # a side that is short enough stays
        ((7, 7, 3), (3, 7, 7)),
        ((120, 100), (1, 96, 96)),
        ((120, 100, 1), (1, 96, 96)),
    ],
)
def test_an_image_becomes_a_small_frame_with_its_channels_first(
    shape: tuple[int, ...], frame_shape: tuple[int, ...]
) -> None:
    shown = noise(*shape)
    game = GymnasiumGame("Shows-v0", space=image(*shape), shown=shown)
    assert (game.spec.observation_shape, game.spec.observation_dtype) == (frame_shape, "uint8")
    assert (game.spec.frame_stack, game.spec.input_shape[0]) == (4, 4 * frame_shape[0])
    wanted = naive_shrink(shown.reshape(*shape[:2], -1), *frame_shape[1:])
    np.testing.assert_array_equal(game.reset(0)[0], wanted)
    np.testing.assert_array_equal(game.step(0)[0], wanted)


def test_an_image_that_has_its_channels_first_already_keeps_them_there() -> None:
    shown = noise(3, 120, 100)
    game = GymnasiumGame("Shows-v0", space=image(3, 120, 100), shown=shown)
    np.testing.assert_array_equal(game.reset(0)[0], naive_shrink(shown.transpose(1, 2, 0), 96, 96))


def test_frames_are_new_arrays_even_where_the_environment_writes_into_its_own() -> None:
    shown = noise(8, 8, 3)
    game = GymnasiumGame("Shows-v0", space=image(8, 8, 3), shown=shown)
    frame, _ = game.reset(0)
    shown[:] = 0
    assert frame.any()


def test_images_may_be_smaller_grey_and_unstacked() -> None:
    options = ImageOptions(size=16, colour=False, frame_stack=1)
    game = GymnasiumGame("Shows-v0", images=options, space=image(32, 32, 3), shown=np.full((32, 32, 3), 255, np.uint8))
    assert (game.spec.observation_shape, game.spec.frame_stack) == ((1, 16, 16), 1)
    assert (game.reset(0)[0] == 255).all()


def test_an_image_that_is_all_there_is_in_a_dictionary_is_taken_out() -> None:
    shown = noise(8, 8, 3)
    space = gymnasium.spaces.Dict(screen=gymnasium.spaces.Tuple([image(8, 8, 3)]))
    game = GymnasiumGame("Shows-v0", space=space, shown={"screen": (shown,)})
    np.testing.assert_array_equal(game.reset(0)[0], shown.transpose(2, 0, 1))


def test_an_atari_game_by_gymnasiums_id_is_gymnasiums_own() -> None:
    game = load_game("gymnasium:ALE/Pong-v5(size=84,frame_stack=2)")()
    env = gymnasium.make("ALE/Pong-v5")
    assert game.spec.input_shape == (6, 84, 84)
    assert game.spec.protocol == "ALE/Pong-v5, as Gymnasium has it: frames 84x84 of 3 channels, 2 stacked"
    np.testing.assert_array_equal(game.reset(3)[0], naive_shrink(env.reset(seed=3)[0], 84, 84))
    for action in (2, 3, 2, 0):
        np.testing.assert_array_equal(game.step(action)[0], naive_shrink(env.step(action)[0], 84, 84))
    assert game.render().shape == (210, 160, 3)


def test_options_in_brackets_are_those_of_images_and_of_the_environment() -> None:
    game = load_game("gymnasium:CarRacing-v3(continuous=false, size=48)")()
    assert (game.spec.observation_shape, game.spec.num_actions) == ((3, 48, 48), 5)
    short = load_game("gymnasium:CartPole-v1(max_episode_steps=3)")()
    assert [result[3] for result in episode(short, 0, [0, 1, 0])] == [False, False, True]
    frozen = load_game("gymnasium:FrozenLake-v1(map_name=8x8,is_slippery=false)")()
    assert frozen.spec.observation_shape == (64,)


@pytest.mark.parametrize(
    ("name", "length"),
    [
        ("Grid-v0(size=7)", 7),
        ("Grid-v0(size=7,colour=blue,frame_stack=2)", 14),
        ("GridOfFive-v0(size=7,max_episode_steps=3)", 7),
        ("GridOfFive-v0(colour=blue)", 5),
    ],
)
def test_an_environment_without_images_has_options_of_these_names_to_itself(name: str, length: int) -> None:
    game = load_game(f"gymnasium:{name}")()
    assert game.spec.observation_shape == game.reset(0)[0].shape == (length,)


def test_an_image_game_keeps_the_contract() -> None:
    assert check_game(lambda: GymnasiumGame("ALE/Pong-v5", max_episode_steps=60), episodes=3) == []


# Dictionaries and tuples of vectors.


def test_vectors_in_dictionaries_and_tuples_are_joined() -> None:
    spaces = gymnasium.spaces
    space = spaces.Dict(
        a=spaces.Box(-1, 1, (2,), np.float64), b=spaces.Tuple([spaces.Discrete(3, start=5), spaces.MultiBinary(2)])
    )
    shown = {"a": np.array([0.5, -0.25]), "b": (np.int64(6), np.array([1, 0], np.int8))}
    game = GymnasiumGame("Shows-v0", space=space, shown=shown)
    observation, _ = game.reset(0)
    assert observation.dtype == np.float32
    assert observation.tolist() == [0.5, -0.25, 0.0, 1.0, 0.0, 1.0, 0.0]


def test_blackjack_is_a_tuple_of_numbers() -> None:
    game = load_game("gymnasium:Blackjack-v1")()
    observation, _ = game.reset(0)
    assert (observation.shape, observation.sum()) == ((32 + 11 + 2,), 3.0)
    assert check_game(load_game("gymnasium:Blackjack-v1"), episodes=5) == []


# Refusals.


@pytest.mark.parametrize(
    ("space", "message"),
    [
        (
            gymnasium.spaces.Dict(image=image(8, 8, 3), speed=gymnasium.spaces.Box(0, 1, (1,))),
            r"Shows-v0: observation_space must be an image or vectors, not both, got Dict.*; write a game file",
        ),
        (
            image(20, 20, 20),
            r"Shows-v0: an image must have shape \[H, W\], \[H, W, C\] or .*, got \(20, 20, 20\); write",
        ),
        (
            gymnasium.spaces.Text(5),
            r"Shows-v0: observation_space must be an image, or numbers .*, got Text.*; write a",
        ),
        (gymnasium.spaces.Sequence(gymnasium.spaces.Discrete(2)), r"observation_space must be .*, got Sequence"),
    ],
)
def test_observations_of_other_kinds_are_refused_in_a_sentence(space: gymnasium.Space[Any], message: str) -> None:
    with pytest.raises(GameLoadError, match=message):
        GymnasiumGame("Shows-v0", space=space, shown=0)


@pytest.mark.parametrize("actions", [gymnasium.spaces.MultiDiscrete([2, 3]), gymnasium.spaces.Box(-1, 1, (2,))])
def test_actions_of_other_kinds_are_refused_in_a_sentence(
    actions: gymnasium.Space[Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Shows, "action_space", actions)
    with pytest.raises(GameLoadError, match=r"Shows-v0: action_space must be Discrete, got .*; write a game file with"):
        GymnasiumGame("Shows-v0", space=image(8, 8, 3))


def test_options_of_images_are_refused_where_there_are_none() -> None:
    with pytest.raises(GameLoadError, match=r"CartPole-v1: size, colour and frame_stack are for images, got Box"):
        GymnasiumGame("CartPole-v1", images=ImageOptions())


@pytest.mark.parametrize(
    ("name", "message"),
    [
        (
            "CarRacing-v3(siz=64,continuous=false)",
            r"cannot make 'CarRacing-v3' with siz, continuous: .*; besides .* size, ",
        ),
        ("CarRacing-v3(size=4,continuous=false)", r"CarRacing-v3: size: wanted greater than or equal to 8, got '4'"),
        (
            "CartPole-v1(colour=false)",
            r"cannot make 'CartPole-v1' with colour: .*; besides .* there are, where it shows an image, size, colour",
        ),
        ("GridOfFive-v0(siz=7)", r"cannot make 'GridOfFive-v0' with siz: .*"),
        ("ALE/Pnog-v5", r"gymnasium knows no environment 'ALE/Pnog-v5'; did you mean ALE/Pong-v5"),
    ],
)
def test_wrong_options_and_names_are_told(name: str, message: str) -> None:
    with pytest.raises(GameLoadError, match=message):
        load_game(f"gymnasium:{name}")
