"""Whatever a role tells another without waiting for an answer: an error there is an error of the role."""

from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from reference.batches import random_batch
from reference.networks import SPEC
from reference.tiny_runs import tiny_config

from muzero_ray.actors import build, names, reanalyze, shared_storage, trainer
from muzero_ray.core.types import ReanalyzeRequest
from muzero_ray.nn.networks import build_network, to_weights


class Answer:
    """A reference: to a value, or to an error that whoever gets it meets."""

    def __init__(self, value: Any = None, error: Exception | None = None) -> None:
        self.value, self.error = value, error


def get(references: Any) -> Any:
    if isinstance(references, list):
        return [get(reference) for reference in references]
    if isinstance(references, Answer) and references.error is not None:
        raise references.error
    return references.value if isinstance(references, Answer) else references


def actor(**answers: Answer) -> SimpleNamespace:
    methods = {name: SimpleNamespace(remote=lambda *_, a=a: a) for name, a in answers.items()}
    for method in methods.values():
        method.options = lambda method=method, **_: method
    return SimpleNamespace(**methods)


def use(monkeypatch: pytest.MonkeyPatch, **actors: SimpleNamespace) -> None:
    fake = SimpleNamespace(
        get_actor=actors.__getitem__, get=get, wait=lambda refs, **_: (refs, []), put=Answer, ObjectRef=object
    )
    for module in (trainer, reanalyze, shared_storage):
        monkeypatch.setattr(module, "ray", fake)


@pytest.mark.parametrize("told", ["update_priorities", "set_weights", "publish"])
def test_an_error_in_what_the_trainer_tells_others_is_not_lost(monkeypatch, told: str):
    answers = {name: Answer() for name in ("update_priorities", "set_weights", "publish")}
    answers[told] = Answer(error=KeyError("lost"))
    batch = random_batch(np.random.default_rng(0))
    publish = answers.pop("publish")
    buffer = actor(sample=Answer([batch]), **answers)
    use(monkeypatch, **{names.BUFFER: buffer, names.STORAGE: actor(publish=publish)})
    config = tiny_config(replay={"prioritized": True}, train={"publish_interval": 1})
    role = trainer.Trainer(config, SPEC, "cpu", 1)
    role.start(None)
    with pytest.raises(KeyError, match="lost"):
        role.train(0.2)


def test_an_error_in_what_reanalysis_tells_the_buffer_is_not_lost(monkeypatch):
    config = tiny_config()
    spec = build.Agent(config).spec
    weights = to_weights(build_network(config.network, spec, consistency=False))
    request = ReanalyzeRequest(np.arange(4), np.zeros((4, 4), np.float32), np.ones((4, 2), bool))
    storage = actor(register=Answer(0), newest=Answer((1, Answer(weights))))
    buffer = actor(reanalyze_request=Answer(request), refresh=Answer(error=KeyError("lost")))
    use(monkeypatch, **{names.BUFFER: buffer, names.STORAGE: storage})
    with pytest.raises(KeyError, match="lost"):
        reanalyze.Reanalyze(config).work(0.2)
