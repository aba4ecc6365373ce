"""Several self-players of one process side by side, so that a GPU works for one while another is on the CPU."""

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor

from muzero_ray.core.types import SelfPlayReport, Trajectory, Weights
from muzero_ray.play.self_play import SelfPlayer


class SelfPlayGroups:
    """Plays like one `SelfPlayer` with the games of all, each of them in a thread of its own.

    What is played does not depend on the threads: the players share nothing.

    Args:
        players: at least one, each with a model, a planner and ids of games of its own.
    """

    def __init__(self, players: Sequence[SelfPlayer]) -> None:
        self._players = players
        self._threads = ThreadPoolExecutor(len(players), thread_name_prefix="self_play")

    def set_weights(self, weights: Weights, version: int) -> None:
        """See `SelfPlayer.set_weights`."""
        for player in self._players:
            player.set_weights(weights, version)

    def play(self, num_moves: int) -> tuple[list[Trajectory], SelfPlayReport]:
        """See `SelfPlayer.play`."""
        played = list(self._threads.map(lambda player: player.play(num_moves), self._players))
        return [piece for pieces, _ in played for piece in pieces], merged([report for _, report in played])


def merged(reports: Sequence[SelfPlayReport]) -> SelfPlayReport:
    """One report of what was played side by side: counts are added up, times are means."""
    stages = {stage for report in reports for stage in report.seconds}
    return SelfPlayReport(
        env_steps=sum(report.env_steps for report in reports),
        simulations=sum(report.simulations for report in reports),
        weights_version=min(report.weights_version for report in reports),
        seconds={stage: sum(report.seconds.get(stage, 0.0) for report in reports) / len(reports) for stage in stages},
        episodes=tuple(episode for report in reports for episode in report.episodes),
        resigned=sum(report.resigned for report in reports),
        resignations_tested=sum(report.resignations_tested for report in reports),
        resignations_false=sum(report.resignations_false for report in reports),
        notes=tuple(note for report in reports for note in report.notes),
    )
