"""What a store hands to a search about a model that was trained again."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable
from dataclasses import replace

import numpy as np

from verifier.campaign.plan.messages import Outcome
from verifier.campaign.plan.plan import Plan
from verifier.campaign.plan.tasks import Wanted
from verifier.campaign.store.store import Store
from verifier.problem.verdict import Bracket


def retrained(one: Wanted, name: str = "d" * 64) -> Wanted:
    return replace(one, task=replace(one.task, model_sha256=name))


def test_what_is_known_of_other_models_at_the_same_input(
    store: Store, plan: Callable[..., Plan], wanted: list[Wanted], bracket: Callable[..., Bracket]
) -> None:
    old, new = wanted[0], retrained(wanted[0])
    store.begin(plan(), [old])
    assert store.of_other_models(old.task.id).trees == {}
    store.save(
        Outcome(old.task.id, 1, bracket(0.1, 0.1005), trees={1: b"first"}),
        Outcome(old.task.id, 2, bracket(0.1, 0.3), trees={2: b"second"}),
    )
    store.begin(plan(), [new])
    assert store.of_other_models(old.task.id).trees == {}, "its own are no others'"
    found = store.of_other_models(new.task.id)
    assert found.trees == {1: b"first", 2: b"second"}
    assert [float(point[0]) for point in found.witnesses] == [np.float32(0.1005), np.float32(0.3)]
    assert [float(point[0]) for point in found.minima] == [np.float32(0.1005)]
    nothing = store.of_other_models(retrained(wanted[1]).task.id)
    assert (nothing.witnesses, nothing.minima, nothing.trees) == ((), (), {})


def test_the_tree_of_the_highest_lower_end_stays(
    store: Store, plan: Callable[..., Plan], wanted: list[Wanted], bracket: Callable[..., Bracket]
) -> None:
    old, new = wanted[0], retrained(wanted[0])
    store.begin(plan(), [old, new])
    for lower, tree in ((0.1, b"a"), (0.2, b"b"), (0.15, b"c")):
        store.save(Outcome(old.task.id, 1, bracket(lower, 0.3), trees={1: tree}))
    assert store.of_other_models(new.task.id).trees == {1: b"b"}


def test_another_norm_or_margin_is_another_question(
    store: Store, plan: Callable[..., Plan], wanted: list[Wanted], bracket: Callable[..., Bracket]
) -> None:
    old, new = wanted[0], retrained(wanted[0])
    others = [replace(new, task=replace(new.task, **change)) for change in ({"norm": "l1"}, {"margin": 0.5})]
    store.begin(plan(), [old, *others])
    store.save(Outcome(old.task.id, 1, bracket(0.1, 0.1005), trees={1: b"tree"}))
    assert [store.of_other_models(other.task.id).trees for other in others] == [{}, {}]


def test_of_several_models_the_last_one_counts(
    store: Store, plan: Callable[..., Plan], wanted: list[Wanted], bracket: Callable[..., Bracket]
) -> None:
    models = [retrained(wanted[0], sign * 64) for sign in "abc"]
    store.begin(plan(), models)
    for one in models[:2]:
        store.save(Outcome(one.task.id, 1, bracket(0.1, 0.1005), trees={1: one.task.model_sha256[:1].encode()}))
    assert store.of_other_models(models[2].task.id).trees == {1: b"b"}


def test_trees_of_models_long_gone_are_not_kept(
    store: Store, plan: Callable[..., Plan], wanted: list[Wanted], bracket: Callable[..., Bracket]
) -> None:
    models = [retrained(wanted[0], sign * 64) for sign in "abcdef"]
    store.begin(plan(), models)
    for one in models:
        sign = one.task.model_sha256[:1].encode()
        store.save(Outcome(one.task.id, 1, bracket(0.1, 0.1005), trees={1: sign, 2: sign}))
    with sqlite3.connect(store.path) as connection:
        kept = connection.execute("SELECT goal, tree FROM trees ORDER BY goal, tree").fetchall()
    assert kept == [(goal, sign) for goal in (1, 2) for sign in (b"c", b"d", b"e", b"f")]
