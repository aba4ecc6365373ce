"""Which deliveries make a round."""

from muzero_ray.app.rounds import Rounds


def test_a_round_is_complete_when_every_actor_that_plays_has_delivered_and_is_in_the_order_of_names():
    rounds = Rounds(["a", "b"])
    rounds.begun("a")
    rounds.begun("b")
    rounds.delivered("b", 2)
    assert rounds.take() == {}
    rounds.delivered("a", 1)
    assert list(rounds.take().items()) == [("a", 1), ("b", 2)]
    assert rounds.take() == {}


def test_what_is_lost_is_not_waited_for():
    rounds = Rounds(["a", "b"])
    rounds.begun("a")
    rounds.begun("b")
    rounds.delivered("a", 1)
    rounds.lost("b")
    assert rounds.take() == {"a": 1}
