"""One run from its start to its exit code: makes what it consists of, has `session` carry it through, tells the end.

The same for a run in one process and a run over Ray; what differs is `LocalRun` and `DistributedRun`.
"""

import logging
import signal
from contextlib import ExitStack

from muzero_ray.actors.logs import Logs, head_logging
from muzero_ray.app.clean_output import say
from muzero_ray.app.config_io import write_config
from muzero_ray.app.errors import UserError, game_in_words
from muzero_ray.app.reporting.curve import Curve
from muzero_ray.app.reporting.live_view import LiveView
from muzero_ray.app.reporting.metrics import MetricsWriter
from muzero_ray.app.reporting.monitor import Monitor
from muzero_ray.app.reporting.status_file import StatusFile
from muzero_ray.app.saving.checkpoint import remove_leftovers
from muzero_ray.app.saving.checkpoint_reader import Checkpoint
from muzero_ray.app.saving.remote_copies import RemoteCopies, find_copies
from muzero_ray.app.saving.run_folder import RunFolder
from muzero_ray.app.session import Session
from muzero_ray.app.start import check_same_game, one_process, over_ray, read_snapshot, say_protocol
from muzero_ray.app.stopping import StopRequest, Wish, stop_signals
from muzero_ray.core.config import Config

logger = logging.getLogger(__name__)


def train(config: Config, folder: RunFolder, resume: Checkpoint | None) -> int:
    """Trains until the budget is spent, or until Ctrl-C or SIGTERM.

    Ctrl-C once stops the run with a checkpoint and the final evaluation; twice, and SIGTERM, with a checkpoint; the
    third time it is left at once.

    Args:
        config: of the run; written to the folder once it is known that the run is possible.
        folder: of the run; removed again if a new run cannot begin.
        resume: what to continue from; None for a new run.

    Returns:
        The process's exit code: 0 when the budget is spent, 1 when the run failed, 130 or 143 when it was stopped.

    Raises:
        UserError: if the machine, the game or the disk cannot do what the configuration asks.
    """
    session = None
    try:
        with stop_signals() as stop, ExitStack() as opened:
            with stop.interrupted_by(Wish.EVALUATE):
                session = _start(config, folder, resume, stop, opened)
            code = session.run()
    except (KeyboardInterrupt, SystemExit) as interruption:
        if session is None:
            say("stopped before the run began" + (f"; {folder.path} is as it was" if resume else ""))
        else:
            session.outcome += ["left at once", *session.where_it_stands(saved=False)]
        # While it starts, Ray answers SIGTERM itself, by SystemExit.
        asked = signal.SIGTERM if isinstance(interruption, SystemExit) else signal.SIGINT
        code = 128 + int(stop.signal or asked)
    except (ValueError, MemoryError) as error:
        if session is not None:
            raise
        logger.debug("the run could not begin", exc_info=error)
        raise UserError(game_in_words(error) or str(error)) from error
    finally:
        if session is None and resume is None:
            folder.remove()
    for line in session.outcome if session else ():
        say(line)
    return code


def _start(
    config: Config, folder: RunFolder, resume: Checkpoint | None, stop: StopRequest, opened: ExitStack
) -> Session:
    """Begins a run; `opened` holds what is to be closed after it, or after a start that fails half way."""
    snapshot = read_snapshot(resume) if resume else None
    if resume and snapshot:
        check_same_game(config, resume, snapshot)
    say(f"run folder       {folder.path}")
    say(f"watch it         tensorboard --logdir {config.results} --bind_all")
    if resume:
        say(f"continues from   env step {resume.env_steps:,}, training step {resume.training_steps:,}")
    protocol = say_protocol(config)
    place = None
    if config.system.copy_checkpoints_to is not None:
        place = find_copies(config.system.copy_checkpoints_to, folder, config.game, new=resume is None)
        say(f"copies           {place.uri}")
    make_run = one_process(config) if config.num_actors == 0 else over_ray(config, folder, opened)
    # From here on the run is possible: only now is anything written to the folder of a run that is resumed.
    try:
        opened.enter_context(head_logging(Logs(folder.logs, config.system.log_level)))
        remove_leftovers(folder)
        write_config(folder.config, config)
        curve = Curve(folder.curve, resume.env_steps if resume else None)
        opened.callback(curve.close)
        writer = MetricsWriter(folder, resume.env_steps if resume else None)
        opened.callback(writer.close)
    except OSError as error:
        raise UserError(
            f"results: cannot write to {folder.path} ({error.strerror or error}); make room there"
            + ("" if resume else ", or choose another place with --results FOLDER")
        ) from error
    view = opened.enter_context(LiveView())
    seconds, training_steps = (resume.seconds, resume.training_steps) if resume else (0.0, 0)
    monitor = Monitor(config, curve, writer, view, seconds, StatusFile(folder.status), training_steps)
    active = make_run(monitor, snapshot)
    opened.callback(active.close)
    opened.callback(monitor.close)
    copies = None
    if place is not None:
        copies = RemoteCopies(folder, place, config.system.keep_checkpoints)
        opened.callback(copies.close)
    return Session(config, folder, active, monitor, curve, stop, protocol, copies, resume)
