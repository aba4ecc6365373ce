"""Logs: which line lands in which file, and what happens where there is no place for them."""

import errno
import io
import logging
import os
import re
import sys
from logging.handlers import RotatingFileHandler

import pytest

from muzero_ray.actors import logs as logs_module
from muzero_ray.actors.logs import Logs, head_logging, start_logging

logger = logging.getLogger("muzero_ray.somewhere")


@pytest.fixture(autouse=True)
def package_logger():
    """The package's logger, as it was before when the test is done."""
    package = logging.getLogger("muzero_ray")
    level, handlers = package.level, list(package.handlers)
    yield package
    for handler in set(package.handlers) - set(handlers):
        package.removeHandler(handler)
        handler.close()
    package.setLevel(level)


def test_an_actor_writes_time_level_name_and_message_to_its_own_file(tmp_path):
    start_logging("self_play_3", Logs(tmp_path))
    logger.info("plays %s", "cartpole")
    logger.debug("too little to tell")
    try:
        raise ValueError("wrong")
    except ValueError:
        logger.exception("that went wrong")
    lines = (tmp_path / "self_play_3.log").read_text().splitlines()
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z INFO    self_play_3 plays cartpole", lines[0])
    assert "ERROR   self_play_3 that went wrong" in lines[1]
    assert lines[-1] == "ValueError: wrong"


@pytest.mark.parametrize(("level", "told"), [("debug", "DIWE"), ("info", "IWE"), ("warning", "WE"), ("error", "E")])
def test_levels_decide_what_is_told(tmp_path, level, told):
    start_logging("trainer", Logs(tmp_path, level))
    for say in (logger.debug, logger.info, logger.warning, logger.error):
        say("something")
    lines = (tmp_path / "trainer.log").read_text().splitlines()
    assert "".join(line.split()[1][0] for line in lines) == told


def test_a_restarted_actor_goes_on_in_the_same_file_and_writes_each_line_once(tmp_path):
    for attempt in (1, 2):
        start_logging("trainer", Logs(tmp_path))
        logger.info("attempt %d", attempt)
    lines = (tmp_path / "trainer.log").read_text().splitlines()
    assert [line[-9:] for line in lines] == ["attempt 1", "attempt 2"]


def test_on_a_machine_without_the_folder_an_actor_logs_to_standard_error_and_says_so(tmp_path, capsys):
    start_logging("self_play_0", Logs(tmp_path / "elsewhere"))
    logger.info("plays")
    told = capsys.readouterr().err.splitlines()
    assert f"self_play_0 logs here, since this machine has no {tmp_path / 'elsewhere'}" in told[0]
    assert "self_play_0 plays" in told[1]
    assert not (tmp_path / "elsewhere").exists()


def test_without_a_place_logging_is_left_alone(package_logger):
    before = (package_logger.level, list(package_logger.handlers))
    start_logging("trainer", None)
    assert (package_logger.level, package_logger.handlers) == before


def test_files_stay_small(tmp_path, monkeypatch):
    monkeypatch.setattr(logs_module, "_MAX_BYTES", 1000)
    start_logging("trainer", Logs(tmp_path))
    for number in range(100):
        logger.info("line %d", number)
    files = sorted(tmp_path.iterdir())
    assert [file.name for file in files] == ["trainer.log", "trainer.log.1"]
    assert max(file.stat().st_size for file in files) <= 1000
    assert "line 99" in files[0].read_text()


def test_the_head_logs_while_its_run_lasts_and_not_afterwards(tmp_path, package_logger):
    before = (package_logger.level, list(package_logger.handlers))
    with head_logging(Logs(tmp_path / "logs")):
        logger.info("inside")
    logger.info("outside")
    assert (package_logger.level, package_logger.handlers) == before
    text = (tmp_path / "logs" / "head.log").read_text()
    assert "INFO    head inside" in text
    assert "outside" not in text


def test_warnings_of_the_head_reach_the_terminal_unless_they_were_shown_there(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(logging.getLogger(), "handlers", [])  # pytest's own; a program has none
    with head_logging(Logs(tmp_path / "logs")):
        logger.info("not for the terminal")
        logger.warning("a disk is full")
        logger.warning("self_play_0 died", extra={"shown": True})
    assert capsys.readouterr().err == "a disk is full\n"
    assert (tmp_path / "logs" / "head.log").read_text().count("\n") == 3


def test_a_log_that_cannot_be_written_is_told_once_and_ends_nothing(tmp_path, capsys):
    (tmp_path / "trainer.log").mkdir()
    start_logging("trainer", Logs(tmp_path))
    logger.info("one")
    logger.info("two")
    told = capsys.readouterr().err
    assert told.count("trainer.log cannot be written: ") == 1
    assert "the run goes on" in told


def test_a_log_that_the_disk_does_not_take_ends_nothing_even_where_that_cannot_be_said(tmp_path, monkeypatch):
    class Full(io.StringIO):
        def write(self, text):
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    with head_logging(Logs(tmp_path / "logs")):
        logger.info("one")
        [handler] = [each for each in logging.getLogger("muzero_ray").handlers if isinstance(each, RotatingFileHandler)]
        handler.stream.close()
        handler.stream = open("/dev/full", "w")  # noqa: SIM115
        monkeypatch.setattr(sys, "stderr", Full())
        logger.info("two")
