"""The pace between acting and learning: ratios are held from both sides, and nobody waits for ever."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from muzero_ray.core.rate_limiter import Pace, RateLimiter


def test_training_waits_for_its_first_steps_and_then_for_each_batch():
    limiter = RateLimiter({"train": Pace(ratio=2.0, batch_size=8, min_steps=100)})
    limiter.inserted(100)
    assert not limiter.may_consume("train")
    limiter.inserted(3)
    assert not limiter.may_consume("train")  # 6 positions due, 8 in a batch
    limiter.inserted(1)
    assert limiter.may_consume("train")
    limiter.consumed("train", 8)
    assert not limiter.may_consume("train")


def test_inserting_pauses_when_training_is_more_than_the_tolerance_behind():
    limiter = RateLimiter({"train": Pace(ratio=1.0, batch_size=8)}, tolerance_batches=2)
    limiter.inserted(16)
    assert limiter.may_insert()
    limiter.inserted(1)
    assert not limiter.may_insert()
    limiter.consumed("train", 8)
    assert limiter.may_insert()


def test_a_consumer_with_ratio_zero_never_consumes_and_holds_nobody_up():
    limiter = RateLimiter({"reanalyze": Pace(ratio=0.0, batch_size=1)})
    limiter.inserted(10**9)
    assert limiter.may_insert()
    assert not limiter.may_consume("reanalyze")
    assert limiter.held_ratio("reanalyze") == 0


def test_the_slower_of_two_consumers_holds_inserting_up():
    limiter = RateLimiter({"train": Pace(4.0, 10), "reanalyze": Pace(1.0, 10)}, tolerance_batches=1)
    limiter.inserted(11)
    limiter.consumed("train", 40)
    assert not limiter.may_insert()
    assert limiter.may_consume("reanalyze")
    limiter.consumed("reanalyze", 10)
    assert limiter.may_insert()


def test_a_delivery_larger_than_the_tolerance_does_not_block():
    limiter = RateLimiter({"train": Pace(ratio=32.0, batch_size=256)})
    limiter.inserted(512)
    batches = 0
    while limiter.may_consume("train"):
        limiter.consumed("train", 256)
        batches += 1
    assert batches == 512 * 32 // 256
    assert limiter.may_insert()


def test_held_ratio_counts_from_the_start_of_the_consumer():
    limiter = RateLimiter({"train": Pace(ratio=2.0, batch_size=10, min_steps=50)})
    assert limiter.held_ratio("train") == 0
    limiter.inserted(60)
    limiter.consumed("train", 10)
    assert limiter.held_ratio("train") == 1.0


paces = st.builds(
    Pace,
    ratio=st.one_of(st.just(0.0), st.floats(0.01, 64)),
    batch_size=st.integers(1, 512),
    min_steps=st.integers(0, 2000),
)


@given(
    train=paces,
    reanalyze=paces,
    tolerance=st.floats(1, 8),
    choices=st.lists(st.tuples(st.integers(0, 2), st.integers(1, 1000)), max_size=200),
)
def test_in_every_reachable_state_somebody_may_go_on(train, reanalyze, tolerance, choices):
    limiter = RateLimiter({"train": train, "reanalyze": reanalyze}, tolerance_batches=tolerance)
    for who, delivery in choices:
        may = [limiter.may_insert(), limiter.may_consume("train"), limiter.may_consume("reanalyze")]
        assert any(may)
        if not may[who]:
            continue
        if who == 0:
            limiter.inserted(delivery)
        else:
            name = ("train", "reanalyze")[who - 1]
            limiter.consumed(name, limiter.consumers[name].batch_size)
            assert limiter.held_ratio(name) <= limiter.consumers[name].ratio * (1 + 1e-9)


@pytest.mark.parametrize("producer_speed", [0.01, 1.0, 100.0])
@pytest.mark.parametrize(("ratio", "batch_size", "delivery"), [(32.0, 256, 512), (0.25, 64, 16), (4.0, 8, 1)])
def test_the_ratio_is_held_at_any_relative_speed(producer_speed, ratio, batch_size, delivery):
    pace = Pace(ratio, batch_size, min_steps=50)
    limiter = RateLimiter({"train": pace}, tolerance_batches=2)
    inserted = 0
    credit = 0.0  # deliveries that the producer has had time for, per batch that the trainer has
    for _ in range(20_000):
        credit = min(credit + producer_speed, 100)
        while credit >= 1 and limiter.may_insert():
            limiter.inserted(delivery)
            inserted += delivery
            credit -= 1
        if limiter.may_consume("train"):
            limiter.consumed("train", batch_size)
        behind = ratio * (inserted - 50) - limiter.held_ratio("train") * max(0, inserted - 50)
        assert behind <= 2 * batch_size + ratio * delivery + 1e-6
        if inserted > 50:
            assert behind >= -1e-6
    assert inserted > 50 + 10 * delivery


def test_state_round_trip_continues_the_counts():
    paces = {"train": Pace(2.0, 8, 10), "reanalyze": Pace(1.0, 4)}
    limiter = RateLimiter(paces)
    limiter.inserted(25)
    limiter.consumed("train", 24)
    limiter.consumed("reanalyze", 8)
    other = RateLimiter(paces)
    other.load_state_dict(limiter.state_dict())
    assert other.state_dict() == limiter.state_dict()
    assert other.held_ratio("train") == limiter.held_ratio("train") == 24 / 15


def test_a_consumer_that_is_new_or_has_another_ratio_makes_nothing_up():
    limiter = RateLimiter({"train": Pace(2.0, 8)})
    limiter.inserted(10_000)
    limiter.consumed("train", 20_000)
    other = RateLimiter({"train": Pace(4.0, 8), "reanalyze": Pace(1.0, 4)})
    other.load_state_dict(limiter.state_dict())
    assert other.may_insert()
    assert not other.may_consume("train")
    other.inserted(4)
    assert other.may_consume("train")
    assert other.may_consume("reanalyze")


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ((-1.0, 1, 0), "ratio must be finite and at least 0, got -1.0"),
        ((float("nan"), 1, 0), "ratio"),
        ((1.0, 0, 0), "batch_size must be at least 1, got 0"),
        ((1.0, 1, -1), "min_steps must be at least 0, got -1"),
    ],
)
def test_wrong_paces_are_refused(arguments, message):
    with pytest.raises(ValueError, match=message):
        Pace(*arguments)


def test_wrong_calls_are_refused():
    with pytest.raises(ValueError, match="tolerance_batches"):
        RateLimiter({}, tolerance_batches=0.5)
    limiter = RateLimiter({"train": Pace(1.0, 1)})
    with pytest.raises(ValueError, match="no consumer 'trian'; there are train"):
        limiter.may_consume("trian")
    with pytest.raises(ValueError, match="positions of train"):
        limiter.consumed("train", -1)
    with pytest.raises(ValueError, match="steps"):
        limiter.inserted(-1)


def test_positions_that_were_lost_are_due_again():
    limiter = RateLimiter({"train": Pace(1.0, 10)})
    limiter.inserted(20)
    limiter.consumed("train", 20)
    assert not limiter.may_consume("train")
    limiter.returned("train", 10)
    assert limiter.may_consume("train")
    limiter.returned("train", 1000)
    assert limiter.held_ratio("train") == 0.0


def test_another_tolerance_moves_where_inserting_pauses_and_leaves_counts_and_ratio():
    limiter = RateLimiter({"train": Pace(ratio=1.0, batch_size=10)}, tolerance_batches=2.0)
    limiter.inserted(30)
    assert not limiter.may_insert()
    limiter.tolerate(3.0)  # as when more actors deliver
    assert limiter.may_insert()
    assert limiter.state_dict()["inserted"] == 30
    with pytest.raises(ValueError, match=r"at least 1, or all might wait; got 0\.5"):
        limiter.tolerate(0.5)
    assert limiter.tolerance_batches == 3.0
