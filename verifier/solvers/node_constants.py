"""What the numpy and the compiled evaluation of a tree's node have to agree on."""

from __future__ import annotations

HIGHEST = 1e3
"""In logits, what charges for rounding do not reach: where an LP without a solution, or a margin that grows, ends."""


COSTLY = 2e-2
"""Share of what a node's bound lacks: ReLUs whose relaxations cost less of it are left out of its CROWN pass."""


FOLLOWED = 5e-2
"""The same at nodes that an earlier tree has as well, where no LP is saved by more of them."""


DEAREST = 128
"""ReLUs of a large network's node that are bounded anew, at most: close to 0 nearly all of them cost their share. Of an
oval21 net (base, image 3568) 32 of them leave open what 2 % without a limit closes with 755 nodes, 5 % with 1,371."""


SHRUNK = 0.95
"""Share of its volume from which on a node's box, cut down by the bounds of its first stage, is not worth CROWN over
it: half of the passes were saved, for hardly any more nodes."""


STEPS = 12
"""Gradient steps of one descent; more found no more in measurements."""


FARTHER = 1e-7
"""Relative: a step that falls farther than the hull of others by less is not added to it: an LP's own tolerances."""


ADDED = 20
"""Times that a hull of steps, or the columns of an LP, grow at one node: more than ever occurred."""


PRICE_GAP = 0.5
"""They grow when what they lack costs this share of the bound: cheaper to branch on a slightly weaker dual."""


SPARE_STEPS = 96
"""Steps of a round ball that a tree has beside the first ones: older ones make room."""


PIVOTS = 50
"""Pivots allowed for each row; a node's LP takes some twenty in all."""


VIOLATED = 1e-9
"""A relaxed point that is off a ReLU's graph by less counts as on it: nothing is gained by splitting there."""


STEPS_OF_ALPHA = 255
"""α is kept in an open node of a bound tree as a whole number of these: it is only where its children begin."""


NEAR = 0.1
"""Share of its argument's interval: relaxed points that lie nearer to a ReLU's graph count as this near."""


SPLIT_BY_DUAL, SPLIT_BY_LOSS, SPLIT_BY_VIOLATION = 0, 1, 2
"""The rows of `branching.RULES`, in kernels."""

AGAIN, BEYOND, CLOSES = -1, -2, -3
"""What a plunge notes in place of the ReLU that a node is split at: it is evaluated again, holds nothing within the
radius, or is closed."""
