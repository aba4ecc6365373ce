"""Every option of a run, with its meaning, unit, range and default.

One frozen model per concern. A run's configuration is: the defaults here, then the game's YAML file
(`configs/<game>.yaml`, which holds only what differs), then the command line. Reading and merging
those is `app/config_io.py`; this module only says what is valid. Only `actors/` and `app/` see a whole
`Config`: everything below takes the few numbers that it uses.

Defaults suit a small control task on a CPU. Sources: research by ablation for ours where no other is
named; "MuZero" is arXiv:1911.08265, "Gumbel MuZero" is Danihelka et al., ICLR 2022.
"""

import math
from typing import Any, Literal, Self, get_args, get_origin

from pydantic import BaseModel, ConfigDict, Field, ValidationInfo, field_validator, model_validator
from pydantic_core import PydanticKnownError

_MOST_BINS = 100_000
"""How often a support may hold its spacing; 600 times in MuZero."""
_LARGEST_LAYER = 65_536
"""Width beyond which one layer alone has weights of 17 GB."""
_DEEPEST_TOWER = 1_000
"""Residual blocks one after another; 16 in MuZero."""


class _Problems(ValueError):
    """Several at once; `args` has them one by one."""

    def __str__(self) -> str:
        return "; ".join(map(str, self.args))


class Section(BaseModel):
    """A group of options: frozen, strict about types, closed to unknown keys, and with numbers that are finite."""

    model_config = ConfigDict(
        frozen=True, extra="forbid", use_attribute_docstrings=True, validate_default=True, allow_inf_nan=False
    )

    @field_validator("*", mode="before")
    @classmethod
    def _truth_is_no_number(cls, value: Any, info: ValidationInfo) -> Any:
        """Refuses what Python, and with it pydantic, takes for 1 and 0: YAML reads `yes` and `off` so."""
        kind = cls.model_fields[str(info.field_name)].annotation
        parts, kinds = value if isinstance(value, list | tuple) else [value], (kind, *get_args(kind))
        if any(isinstance(part, bool) for part in parts) and (int in kinds or float in kinds):
            raise PydanticKnownError(
                "tuple_type" if get_origin(kind) is tuple else "int_type" if int in kinds else "float_type"
            )
        return value


class SearchConfig(Section):
    """Planning: how each move is searched."""

    algorithm: Literal["gumbel", "muzero"] = "gumbel"
    """"gumbel" improves the policy at any number of simulations (Gumbel MuZero); "muzero" is pUCT with
    visit-count targets, as first published."""
    num_simulations: int = Field(16, ge=1, le=100_000)
    """Simulations per move in self-play."""
    max_candidates: int = Field(128, ge=2)
    """Actions that a node of the tree keeps: all of a game that has no more, else the most probable ones (at the root,
    of the legal ones). Bounds the memory of chess and shogi, whose actions count in thousands."""
    q_normalization: Literal["tree", "bounds", "node"] = "tree"
    """How values are brought to [0, 1]: "tree" by the smallest and largest value seen in the tree,
    "bounds" by the game's known value bounds, "node" by the values at one node, as mctx does."""
    q_floor: float = Field(0.01, ge=0)
    """With "tree": smallest range of values that is stretched to [0, 1], so that noise in a flat tree is not."""
    max_considered_actions: int = Field(16, ge=1)
    """Gumbel: number of root actions that enter sequential halving (m)."""
    c_visit: float = Field(50.0, ge=0)
    """Gumbel: offset of the visit count in the weight of Q (Gumbel MuZero: 50)."""
    c_scale: float = Field(0.1, gt=0)
    """Gumbel: weight of Q against the policy's logits (Gumbel MuZero: 1.0 for boards, 0.1 for Atari)."""
    pb_c_init: float = Field(1.25, ge=0)
    """pUCT: weight of the prior (MuZero: 1.25)."""
    pb_c_base: float = Field(19652.0, gt=0)
    """pUCT: visits at which the prior's weight starts to grow (MuZero: 19652)."""
    dirichlet_alpha: float = Field(0.25, gt=0)
    """pUCT: concentration of the root noise (MuZero: 0.25 for Atari, 0.3 for chess)."""
    dirichlet_per_action: float | None = Field(None, gt=0)
    """pUCT: concentration of the root noise times the number of legal actions, used instead of `dirichlet_alpha`
    (AlphaZero's 0.3, 0.15 and 0.03 for chess, shogi and Go are about 10 by the usual number of moves)."""
    exploration_fraction: float = Field(0.25, ge=0, le=1)
    """pUCT: share of the root noise in the root prior (MuZero: 0.25)."""


class NetworkConfig(Section):
    """The network: representation, dynamics and prediction."""

    kind: Literal["mlp", "conv", "image"] = "mlp"
    """"mlp" for vector observations (others are flattened), "conv" for boards `[C, H, W]`: a residual tower, "image"
    for frames `[C, H, W]`: the same on a board of a sixteenth of their height and width (96 x 96 becomes 6 x 6)."""
    normalize_observations: bool = True
    """Whether floats are shifted and scaled to mean 0 and standard deviation 1 of all observations trained on so
    far, and clipped to +-5; off leaves them as they are. Frames (uint8) are divided by 255 in any case instead."""
    latent_size: int = Field(64, ge=2, le=_LARGEST_LAYER)
    """"mlp": size of the latent state."""
    hidden_size: int = Field(128, ge=1, le=_LARGEST_LAYER)
    """"mlp": width of the hidden layers of representation and dynamics."""
    head_size: int = Field(128, ge=1, le=_LARGEST_LAYER)
    """Width of the hidden layer that reward, value and policy share ("conv", "image": reward and value, or one each
    with a value prefix)."""
    channels: int = Field(32, ge=1, le=_LARGEST_LAYER)
    """"conv", "image": planes of the latent state and of every layer (MuZero: 256, EfficientZero: 64)."""
    blocks: int = Field(2, ge=1, le=_DEEPEST_TOWER)
    """"conv", "image": residual blocks of the representation, and of the dynamics (MuZero: 16, EfficientZero: 1).
    "image" has 2, 3 and 3 more, or so many if these are fewer, on the way down to the board."""
    dynamics_blocks: int | None = Field(None, ge=0, le=_DEEPEST_TOWER)
    """"conv", "image": residual blocks of the dynamics; none: as many as `blocks`. A move changes little of a board,
    and the dynamics is what a search asks."""
    value_prefix_steps: int = Field(0, ge=0)
    """"conv", "image": 0: each reward is predicted by itself (MuZero). Else sums of rewards are, which an LSTM adds up
    and which start anew after so many steps (EfficientZero: 5): when a reward falls is often hard to tell, that it
    falls is not. `reward_support` must have room for the sums."""
    value_prefix_size: int = Field(512, ge=1, le=_LARGEST_LAYER)
    """Width of that LSTM."""
    value_head: Literal["categorical", "scalar"] = "categorical"
    """"categorical": a distribution over `value_support`; "scalar": one number within the game's value bounds."""
    support_transform: bool = True
    """Whether the bins of supports are evenly spaced on the scale of h(x) = sign(x) (sqrt(|x| + 1) - 1) + 0.001 x
    (MuZero), fine near 0 and coarse far from it, rather than on the plain one."""
    value_support: tuple[float, float] = (-20.0, 20.0)
    """Smallest and largest value that can be predicted, on the support's scale: 20 is h(422)."""
    reward_support: tuple[float, float] = (-12.0, 12.0)
    """Smallest and largest reward that can be predicted, on the support's scale: 12 is h(164)."""
    support_spacing: float = Field(1.0, gt=0)
    """Distance of two neighbouring bins of a support, on its scale."""

    @model_validator(mode="after")
    def _value_prefix_has_a_network(self) -> Self:
        if self.kind == "mlp" and self.value_prefix_steps > 0:
            raise ValueError(
                f'value_prefix_steps ({self.value_prefix_steps}) needs kind "conv" or "image", got "mlp"; set it to 0'
            )
        return self

    @field_validator("value_support", "reward_support")
    @classmethod
    def _bounds_rise(cls, bounds: tuple[float, float]) -> tuple[float, float]:
        if not bounds[0] < bounds[1]:
            raise ValueError(f"wanted the lower number first, then a higher one, got {bounds[0]} and {bounds[1]}")
        return bounds

    @model_validator(mode="after")
    def _supports_are_whole(self) -> Self:
        for name in ("value_support", "reward_support"):
            low, high = getattr(self, name)
            bins = (high - low) / self.support_spacing
            if bins > _MOST_BINS:
                raise ValueError(
                    f"{name} from {low} to {high} is {bins:,.0f} times support_spacing {self.support_spacing}, wanted "
                    f"at most {_MOST_BINS:,}; choose a wider spacing or narrower bounds"
                )
            if not math.isclose(bins, round(bins), abs_tol=1e-6):
                raise ValueError(
                    f"{name} from {low} to {high} is no whole number of support_spacing {self.support_spacing}"
                )
        return self


class SelfPlayConfig(Section):
    """Generating games."""

    games_per_actor: int = Field(32, ge=1, le=65_536)
    """Games that one actor plays at once, with one batched search per move."""
    num_gpus: float = Field(0.0, ge=0, le=1)
    """Share of a GPU that each actor takes, on which its network then works. 0: on the CPU, where small networks are
    faster."""
    groups: int = Field(1, ge=1)
    """Groups into which an actor's games are divided, each with a search and a thread of its own. With two, the GPU
    works for one while the other's trees are searched and its games are stepped."""
    segment_moves: int = Field(16, ge=1, le=10_000)
    """Moves of every game between two deliveries to the replay buffer (and two looks for newer weights)."""
    noise_scale: tuple[float, float] = (0.0, 1.0)
    """Exploration noise of an actor's first and last game, the others evenly between: factor on the
    Gumbel noise, or on `exploration_fraction`."""
    noise_moves: float = Field(1.0, ge=1)
    """"gumbel" only: moves for which a game keeps its noise, on average (how many is drawn each time). Each move is as
    random as with 1, fresh noise for every move, but neighbours are alike: what only pays when done for many moves in
    a row is tried."""
    temperature: tuple[float, float] = (1.0, 1.0)
    """"muzero" only: temperature on the visit counts of an actor's first and last game, the others evenly between."""
    temperature_moves: int | None = Field(None, ge=0)
    """Moves after which the most visited action is always played; none: never (MuZero: 30 for boards)."""
    sampled_moves: int = Field(0, ge=0)
    """"gumbel" only: opening moves drawn from the improved policy rather than chosen, for variety in board games."""
    random_opening_moves: int = Field(0, ge=0, le=10_000)
    """A game starts after 0 to so many random moves, each number equally likely; they are not learnt from."""
    resign_value: float | None = Field(None, gt=0)
    """Two players: a game is given up where the search says that the player to move is worth less than minus this;
    none: never (AlphaZero chose it so that fewer than 5 in 100 given up games could have been held)."""
    resign_exempt: float = Field(0.1, ge=0, le=1)
    """Share of the games that are never given up, which tell how many of the others were so falsely."""

    @field_validator("noise_scale", "temperature")
    @classmethod
    def _no_end_is_negative(cls, ends: tuple[float, float]) -> tuple[float, float]:
        if min(ends) < 0:
            raise ValueError(f"wanted two numbers of at least 0, got {ends[0]} and {ends[1]}")
        return ends


class ReplayConfig(Section):
    """What is remembered, and how it is drawn."""

    capacity_steps: int = Field(200_000, ge=1)
    """Transitions kept; the oldest leave first."""
    capacity_mb: int = Field(2_000, ge=1)
    """Memory for them in MB; the smaller of the two limits holds."""
    min_steps: int = Field(1_000, ge=0)
    """Transitions before training starts."""
    shards: int = Field(1, ge=1)
    """Processes that hold it together and draw as if they were one, for hundreds of actors or large frames, where one
    no longer keeps up. A resumed run has as many as it had."""
    num_gpus: float = Field(0.0, ge=0, le=1)
    """Share of a GPU that each of these processes takes for `reanalyze.fresh_values`. 0: they are computed on the CPU,
    which is too slow for frames."""
    augment: bool = True
    """Turn and mirror what is drawn at random, where the game says what may be turned and mirrored."""
    prioritized: bool = False
    """Draw transitions by priority (|search value - target|) rather than uniformly."""
    priority_exponent: float = Field(0.6, ge=0)
    """Prioritised: 0 draws uniformly, 1 in proportion to the priority."""
    importance_exponent: float = Field(0.4, ge=0, le=1)
    """Prioritised: how far the bias of such draws is corrected; 1 wholly."""


class TrainConfig(Section):
    """Learning from what is remembered."""

    env_steps: int = Field(100_000, ge=1)
    """Budget of the run: transitions played in all."""
    discount: float = Field(0.997, gt=0, le=1)
    """Weight of a reward one step later (MuZero: 0.997 for Atari, 1 for boards)."""
    batch_size: int = Field(256, ge=1, le=1_000_000)
    """Windows per training step, of all ranks together."""
    num_gpus: int = Field(1, ge=1)
    """Trainer ranks: processes that train one network together, each on its own share of every batch. One GPU each
    where the trainer runs on GPUs; on CPUs they are for tests."""
    unroll_steps: int = Field(5, ge=1, le=1_000)
    """Steps that the model is unrolled in training, K (MuZero: 5)."""
    td_steps: int = Field(10, ge=1)
    """Rewards added up before a value target bootstraps (MuZero: 10 for Atari); the game's length: none does."""
    off_policy_cut: float = Field(0.2, ge=0, le=1)
    """They are added up only along actions that the newest search of their state finds at least so many times as
    likely as its likeliest one (Watkins' Q(lambda)): old and exploring moves say little of today's play. 0: always."""
    off_policy_cut_warmup: int = Field(0, ge=0)
    """Env steps over which the cut rises evenly from 0: what exploring moves led to is how a young agent learns what
    its own never try."""
    policy_smoothing: float = Field(0.05, ge=0, le=1)
    """Share of every policy target that is spread evenly over the legal actions. Searches start from what earlier ones
    made of the policy; smoothed, it never becomes so certain that later ones cannot change its mind."""
    replay_ratio: float = Field(32.0, gt=0)
    """Trained positions per env step, held in both directions: acting waits for learning and learning for acting."""
    learning_rate: float = Field(1e-3, gt=0)
    """Peak learning rate of AdamW."""
    learning_rate_final: float = Field(1e-4, ge=0)
    """Learning rate at the end of the budget; it falls there along a cosine."""
    learning_rate_warmup: int = Field(100, ge=0)
    """Training steps over which the learning rate rises to its peak."""
    weight_decay: float = Field(1e-4, ge=0)
    """Decoupled weight decay of AdamW (MuZero: 1e-4, as L2)."""
    max_grad_norm: float = Field(5.0, gt=0)
    """The gradient is scaled down to this norm."""
    value_weight: float = Field(0.5, ge=0)
    """Weight of the value loss (MuZero Reanalyze: 0.25)."""
    reward_weight: float = Field(1.0, ge=0)
    """Weight of the reward loss."""
    policy_weight: float = Field(1.0, ge=0)
    """Weight of the policy loss."""
    turn_weight: float = Field(1.0, ge=0)
    """Weight of the loss of whose turn comes next, in games whose turns do not alternate."""
    consistency_weight: float = Field(0.0, ge=0)
    """Weight of the self-supervised consistency loss (EfficientZero: 2); 0 leaves it and its layers out."""
    dynamics_gradient: float = Field(0.5, ge=0, le=1)
    """Share of the gradient that passes each dynamics step backwards (MuZero: one half)."""
    target_interval: int = Field(200, ge=1)
    """Training steps between two copies of the weights to the target weights."""
    publish_interval: int = Field(20, ge=1)
    """Training steps between two publications of new weights."""


class ReanalyzeConfig(Section):
    """Searching stored positions again with newer weights."""

    ratio: float = Field(4.0, ge=0)
    """Positions searched again per env step; 0: none. Much more than ten sharpens the policy on the
    same data until it collapses."""
    fresh_values: bool = True
    """Whether value targets bootstrap from the network's present value of the state reached, rather than from the
    value that its last search found, which may be thousands of training steps old."""
    batch_size: int = Field(256, ge=1, le=1_000_000)
    """Positions searched at once."""
    num_simulations: int | None = Field(None, ge=1, le=100_000)
    """Simulations for each; none: as in self-play."""
    noise_scale: float = Field(1.0, ge=0)
    """Exploration noise of these searches; see `self_play.noise_scale`."""
    weights: Literal["newest", "target"] = "newest"
    """Whether to search with the newest weights or with the steadier target weights."""
    num_gpus: float = Field(0.0, ge=0, le=1)
    """Share of a GPU that these searches take; see `self_play.num_gpus`."""


class EvaluateConfig(Section):
    """Measuring the greedy agent, on seeds that training never uses."""

    interval: int = Field(10_000, ge=1)
    """Env steps between two evaluations."""
    episodes: int = Field(20, ge=1, le=1_000_000)
    """Episodes of each."""
    final_episodes: int = Field(100, ge=1, le=1_000_000)
    """Episodes of the last evaluation, and of `muzero-ray evaluate`."""
    num_simulations: int | None = Field(None, ge=1, le=100_000)
    """Simulations per move; none: as in self-play."""
    opponents: str = "random"
    """Two players: whom the agent meets besides its earlier selves, named as for `muzero-ray match`, with commas
    between them ("random,uct:100"). They are the fixed points of the Elo scale, the first of them at 0."""
    earlier_agents: int = Field(3, ge=0)
    """Two players: how many earlier selves it meets in each evaluation."""
    num_gpus: float = Field(0.0, ge=0, le=1)
    """Share of a GPU that evaluations take; see `self_play.num_gpus`."""
    video: bool = True
    """Write a video of one episode of the final agent at the end of the run."""


class SystemConfig(Section):
    """The machine: processes, threads, devices, files."""

    device: Literal["auto", "cpu", "cuda"] = "auto"
    """Where the trainer runs; auto: on a GPU if there is one."""
    engine: Literal["auto", "compiled", "torch"] = "auto"
    """Inference of the acting side; auto: compiled for an MLP on a CPU (about ten times faster), torch otherwise."""
    precision: Literal["auto", "float32", "bfloat16"] = "auto"
    """Numbers in which GPUs multiply; weights, latent states and losses are float32 in any case. auto: bfloat16 where
    the GPU has it. Without it, and on CPUs, float32 is taken and the reason printed."""
    compile: Literal["auto", "on", "off"] = "auto"
    """Whether the trainer compiles the network and its loss (`torch.compile`), for a minute or two at the start, and on
    one GPU records its step as a CUDA graph. auto: on GPUs; on CPUs it made nothing faster. Where it fails, the reason
    is printed and training goes on without."""
    lockstep: Literal["auto", "on", "off"] = "off"
    """Whether the order of all that actors give each other is laid down, so that a seed gives the same run every time:
    to the bit, with as many actors on CPUs of one kind, if none dies. Whoever is slow is then waited for, and the
    trainer waits a moment whenever it has published. auto: on a machine of its own without GPUs, unless something is
    asked for that does not go with it; then with one self-play actor if `num_actors` does not say more."""
    trainer_threads: int = Field(1, ge=1, le=1_024)
    """CPU threads of the trainer. A small network is fastest with one: threads wait for each other at every layer."""
    prefetch: int = Field(2, ge=1)
    """Requests for batches that are on their way before they are needed; in lockstep one."""
    max_pending: int = Field(2, ge=1)
    """Deliveries of one self-play actor that the buffer has not yet acknowledged; in lockstep one."""
    checkpoint_seconds: float = Field(60.0, gt=0)
    """Wall-clock seconds between two checkpoints."""
    keep_checkpoints: int = Field(3, ge=1)
    """Newest checkpoints kept, besides the best."""
    copy_checkpoints_to: str | None = None
    """Where each new checkpoint is copied to, with all that `--resume` needs: a folder, s3://bucket/path,
    gs://bucket/path (with the packages s3fs and gcsfs), or what else fsspec knows. none: nowhere."""
    dashboard: bool = True
    """Start the Ray dashboard with a cluster of our own."""
    dashboard_port: int = Field(8265, ge=1, le=65535)
    """Its port, on the loopback interface."""
    address: str | None = None
    """Ray cluster to join ("auto" or host:port); none: RAY_ADDRESS, the cluster of `ray submit`, or one of our own."""
    node_wait_seconds: float = Field(300.0, ge=0)
    """On a cluster that was joined: how long to wait for the machines that `num_actors` needs, for which its autoscaler
    is asked. Then the run starts with as many actors as fit."""
    stall_seconds: float = Field(600.0, gt=0)
    """A role that does not answer for so long is named; after twice as long the run ends."""
    memory_fraction: float = Field(0.9, gt=0, le=1)
    """Share of a machine's memory, or of a container's, in use from which on the replay buffer lets its oldest half go
    and whoever else holds most is named. Ray ends processes from 0.95 on. 1: never."""
    log_level: Literal["debug", "info", "warning", "error"] = "info"
    """From which level on the files in the run's folder `logs` are told: one for each actor, and one for the head."""
    max_restarts: int = Field(5, ge=0)
    """Crashes of one actor's process in a row that are forgiven, with longer and longer waits between them; the next
    one ends the run. An actor that has worked for `checkpoint_seconds` since its last crash begins anew with them."""

    @field_validator("copy_checkpoints_to")
    @classmethod
    def _copies_have_a_place(cls, place: str | None) -> str | None:
        if place is not None and not place.strip():
            raise ValueError(f"wanted a folder or an address, got {place!r}; none copies nowhere")
        return place


class Config(Section):
    """Everything about a run."""

    game: str = "lunarlander"
    """A game of `muzero-ray games`, a file (games/mygame.py), gymnasium:ENV_ID, open_spiel:NAME or atari:NAME."""
    seed: int = Field(0, ge=0, lt=2**63)
    """Everything random in the run starts from this."""
    num_actors: int | None = Field(None, ge=0)
    """Self-play actors; none: what the machine has room for. 0 runs all roles in this one process, without
    Ray, and is reproducible to the bit."""
    max_actors: int | None = Field(None, ge=1)
    """On a cluster that was joined: self-play actors at most. Those above `num_actors` begin as machines come, for
    which its autoscaler sees them wait; none: `num_actors` of them."""
    results: str = "results"
    """Folder for runs: <results>/<game>/<date--time>/."""
    search: SearchConfig = SearchConfig()
    network: NetworkConfig = NetworkConfig()
    self_play: SelfPlayConfig = SelfPlayConfig()
    replay: ReplayConfig = ReplayConfig()
    train: TrainConfig = TrainConfig()
    reanalyze: ReanalyzeConfig = ReanalyzeConfig()
    evaluate: EvaluateConfig = EvaluateConfig()
    system: SystemConfig = SystemConfig()

    @field_validator("results")
    @classmethod
    def _results_are_local(cls, results: str) -> str:
        if "://" in results:
            advice = "use --system.copy-checkpoints-to for cloud storage"
        elif not results.strip():
            advice = ". is the working folder"
        else:
            return results
        raise ValueError(f"wanted a local folder, got {results!r}; {advice}")

    @model_validator(mode="after")
    def _sections_fit_together(self) -> Self:
        problems = []
        if self.replay.min_steps > self.replay.capacity_steps:
            problems.append(
                f"replay.min_steps ({self.replay.min_steps}) must not exceed "
                f"replay.capacity_steps ({self.replay.capacity_steps})"
            )
        if self.replay.min_steps >= self.train.env_steps:
            problems.append(
                f"replay.min_steps ({self.replay.min_steps}) must be below train.env_steps "
                f"({self.train.env_steps}), or nothing is ever trained"
            )
        if self.network.value_prefix_steps > self.train.unroll_steps:
            problems.append(
                f"network.value_prefix_steps ({self.network.value_prefix_steps}) must not exceed train.unroll_steps "
                f"({self.train.unroll_steps}): longer sums are never trained"
            )
        if self.train.batch_size % self.train.num_gpus:
            problems.append(
                f"train.batch_size ({self.train.batch_size}) must be a multiple of train.num_gpus "
                f"({self.train.num_gpus}), each of which takes its share"
            )
        if self.self_play.groups > self.self_play.games_per_actor:
            problems.append(
                f"self_play.groups ({self.self_play.groups}) must not exceed "
                f"self_play.games_per_actor ({self.self_play.games_per_actor})"
            )
        if self.train.num_gpus > 1 and self.num_actors == 0:
            problems.append(
                f"train.num_gpus ({self.train.num_gpus}): one process has one trainer; leave out num_actors 0"
            )
        if self.max_actors is not None and self.num_actors == 0:
            problems.append(f"max_actors ({self.max_actors}): one process has no actors; leave out num_actors 0")
        elif self.max_actors is not None and self.max_actors < (self.num_actors or 0):
            problems.append(f"max_actors ({self.max_actors}) must not be below num_actors ({self.num_actors})")
        if self.replay.shards > 1 and self.num_actors == 0:
            problems.append(f"replay.shards ({self.replay.shards}): one process has one buffer; leave out num_actors 0")
        if self.train.learning_rate_final > self.train.learning_rate:
            problems.append(
                f"train.learning_rate_final ({self.train.learning_rate_final}) must not exceed "
                f"train.learning_rate ({self.train.learning_rate})"
            )
        if self.in_lockstep:
            problems += [f"system.lockstep does not go with {obstacle}" for obstacle in self.lockstep_obstacles()]
        if problems:
            raise _Problems(*problems)
        return self

    @property
    def in_lockstep(self) -> bool:
        """Whether a run with these options is in lockstep; auto is not decided yet, and not."""
        return self.system.lockstep == "on"

    def lockstep_obstacles(self) -> list[str]:
        """What of this has no order that could be laid down, and what to do instead."""
        found = []
        if self.replay.shards > 1:
            found.append(f"replay.shards {self.replay.shards}; use 1")
        if self.train.num_gpus > 1:
            found.append(f"train.num_gpus {self.train.num_gpus}; use 1")
        if self.max_actors is not None:
            found.append(f"max_actors {self.max_actors}: actors that come later; leave it out")
        return found

    @property
    def buffer_gpus(self) -> float:
        """Share of a GPU that each process of the replay buffer takes; none computes anything without fresh values."""
        return self.replay.num_gpus if self.reanalyze.fresh_values else 0.0

    @property
    def total_training_steps(self) -> int:
        """Training steps that the budget of env steps allows at the replay ratio."""
        trained = (self.train.env_steps - self.replay.min_steps) * self.train.replay_ratio
        return max(1, int(trained // self.train.batch_size))
