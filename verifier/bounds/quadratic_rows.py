"""Bounds of many rows at once by quadratic multipliers that they share: what lines lose on many ReLUs adds up.

Of an open ReLU h = relu(y), l ≤ y ≤ u, lines say h ≥ 0, h ≥ y and h ≤ s(y − l). Besides, h(h − y) = 0 and h(u − h) ≥ 0,
of an entry of the box ξ² ≤ 1 (Raghunathan et al. 2018; Dathathri et al. 2020), and of all of them in L2 ‖d + e∘ξ‖² ≤ 1.
Over z = (ξ, h), y = F z + f, a row g·z + g₀ is at least q at every point of the network,

    q(z) = g·z + g₀ − t Σ [τ(1 − ξ²) + π h(u − h) − κ h(h − y)] − t ρ(1 − ‖d + e∘ξ‖²)
           − Σ [λ h + μ(h − y) + σ(s(y − l) − h)],

for all multipliers ≥ 0. τ, ρ, κ and π are the same for all rows, which have a t, λ, μ and σ each: one Cholesky factor
of H, of which q's second derivatives are 2 t H, serves all of them. As H has T = τ + ρ e² on the diagonal for the
input, it takes only the h × h matrix H_hh − H_hξ T⁻¹ H_ξh. The least value of q is concave in the multipliers, and its
derivatives are what the constraints are at the minimiser; Adam climbs (Kingma & Ba 2015), t and what is shared by their
logarithms.

`proved` is safe: for any upper triangular R and any z*, with D_j ≥ |z_j − z*_j| over the box,

    q(z) ≥ q(z*) − |∇q(z*)|·D − t Dᵀ|H − RᵀR|D,

each sum charged its rounding, and forms what they are off by, so that nothing rests on a library's factorisation.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from encoders.network.graph import Array
from verifier.bounds.adam import AdamMoments
from verifier.bounds.quadratic_forms import AffineForms, QuadraticForms
from verifier.bounds.relu_lines import LINE_SLACK, lower_slope, upper_slope
from verifier.problem.budget import Budget

AnyFloats = npt.NDArray[np.floating]

STEPS = 100
"""Steps of an ascent: twice as many gain another hundredth of the ends of hidden layers."""

STEP = 0.15
"""The first step, of each multiplier in its own units; they shrink linearly, to `LAST` of it."""

LAST = 0.05

FAINT, FAINTEST = 0.05, 1e-6
"""A ReLU's multipliers move in units of what its lines cost, or at least of such a share of their mean over all ReLUs,
and of the row's size: none is stuck at 0."""

FIRST_INPUT = 0.25
"""τ at first is half of what the rows pull at each entry, in the mean, and at least such a share of its mean."""

FIRST_BOX = 0.02
"""τ at first in L2, as a share of that: there the whole ball's ρ holds most."""

FIRST_SQUARE = 0.3
"""π at first, as a share of κ's unit: what a ReLU costs by the width of its argument."""

INSIDE = 0.4
"""Share of the largest κ, halved from its unit until H is positive definite, that the ascent begins with."""

HALVINGS = 60
"""Times that κ is halved there, and shrunk by `SHRUNK` where a step has led out of where H is positive definite."""

SHRUNK = 0.1
"""In logarithms."""


NOT_ROUND: AnyFloats = np.zeros(0)
"""ρ where there is no such multiplier."""


class SharedMultipliers(NamedTuple):
    """What rows share: τ (moving,), κ and π (h,), ρ (1,), or (0,) where the ball is its box."""

    tau: AnyFloats
    kappa: AnyFloats
    pi: AnyFloats
    rho: AnyFloats = NOT_ROUND


class OwnMultipliers(NamedTuple):
    """What rows have each: t (r,), λ, μ and σ (r, h)."""

    t: AnyFloats
    lam: AnyFloats
    mu: AnyFloats
    sigma: AnyFloats


QuadraticMultipliers = tuple[SharedMultipliers, OwnMultipliers]


class Proved(NamedTuple):
    """Lower bounds of rows (r,): over the reals, and for every evaluation that the forms are charged for."""

    real: Array
    charged: Array


class Hessian(NamedTuple):
    """H_hξ (h, moving), H_hh (h, h), and the lower Cholesky factor of what is left of H_hh."""

    coupling: AnyFloats
    own: AnyFloats
    factor: AnyFloats


@dataclass(frozen=True, eq=False)
class _Least:
    """q of each row (r, ·): least at moved, hidden, where arguments are `arguments`; its linear part and constant."""

    moved: AnyFloats
    hidden: AnyFloats
    arguments: AnyFloats
    values: AnyFloats
    linear: tuple[AnyFloats, AnyFloats]
    constant: AnyFloats


class QuadraticRows:
    """The bounds of some rows over one box, by the forms of its ReLUs, in floats of one type."""

    def __init__(self, forms: QuadraticForms, rows: AffineForms, dtype: type[np.floating] = np.float64) -> None:
        self.forms, self.rows, self.dtype = forms, rows, dtype
        own, count = forms.arguments, forms.moving
        self.moving, self.count = count, forms.places.size
        self.inputs, self.hidden = (np.ascontiguousarray(part, dtype) for part in np.split(own.rows, [count], axis=1))
        self.pulls, self.reads = (np.ascontiguousarray(part, dtype) for part in np.split(rows.rows, [count], axis=1))
        self.constants, self.base = own.constants.astype(dtype), rows.constants.astype(dtype)
        self.lower, self.upper = forms.lower.astype(dtype), forms.upper.astype(dtype)
        self.slope = (upper_slope(forms.lower, forms.upper) * (1.0 + LINE_SLACK)).astype(dtype)
        rounds = [] if forms.round is None else [forms.round]
        self.shift, self.share = (
            np.array([getattr(each, name) for each in rounds], dtype).reshape(len(rounds), self.moving)
            for name in ("shift", "share")
        )
        """Of ρ's constraint, (1, moving), or (0, moving)."""

    def diagonal(self, shared: SharedMultipliers) -> AnyFloats:
        """T = τ + ρ e², (moving,)."""
        return np.asarray(shared.tau + shared.rho @ self.share**2)

    def start(self) -> tuple[SharedMultipliers, OwnMultipliers]:
        """Where the ascent begins, next to the bound by CROWN's lines."""
        forms, count = self.forms, self.moving
        row = np.array(self.rows.rows)
        lam, mu, sigma = (np.zeros((len(row), self.count)) for _ in range(3))
        alpha, slope = lower_slope(forms.lower, forms.upper), upper_slope(forms.lower, forms.upper)
        for place in range(self.count - 1, -1, -1):
            weight = row[:, count + place].copy()
            above, below = np.maximum(weight, 0.0), np.minimum(weight, 0.0)
            row[:, count + place] = 0.0
            mu[:, place], sigma[:, place] = above * alpha[place], -below
            lam[:, place] = above - mu[:, place]
            row += np.outer(mu[:, place] + below * slope[place], forms.arguments.rows[place])
        least = FAINTEST * float(self.rows.sizes.mean()) or 1.0
        pulls = 0.5 * np.abs(row[:, :count]).mean(axis=0)
        tau = np.maximum(pulls, FIRST_INPUT * float(pulls.mean())) + least
        # In L2 a step along the pulls is as long as the radius: ‖pulls/e‖ is what they come to.
        rho = np.array([0.5 * float(np.linalg.norm(row[:, :count] / e, axis=1).mean()) + least for e in self.share])
        tau *= FIRST_BOX if rho.size else 1.0
        cost = (lam + mu + sigma).mean(axis=0)
        square = (cost + FAINT * float(cost.mean()) + least) / (forms.upper - forms.lower)
        shared, most = SharedMultipliers(tau, square, FIRST_SQUARE * square, rho), 1.0
        for _ in range(HALVINGS):
            if self.hessian(shared) is not None:
                break
            most *= 0.5
            shared = shared._replace(kappa=most * square)
        shared = shared._replace(kappa=INSIDE * shared.kappa)
        own = OwnMultipliers(np.ones(len(row)), lam, mu, sigma)
        return SharedMultipliers(*(part.astype(self.dtype) for part in shared)), OwnMultipliers(
            *(part.astype(self.dtype) for part in own)
        )

    def hessian(self, shared: SharedMultipliers) -> Hessian | None:
        """H; None where it is not positive definite."""
        half = (-0.5 * shared.kappa)[:, np.newaxis]
        coupling, own = half * self.inputs, half * self.hidden
        own = own + own.T
        own[np.diag_indices(self.count)] += shared.kappa + shared.pi
        diagonal = self.diagonal(shared)
        if not (np.all(diagonal > 0.0) and np.all(np.isfinite(own)) and np.all(np.isfinite(diagonal))):
            return None
        sent = coupling / np.sqrt(diagonal)
        try:
            # In float64: the ascent comes near to where H is singular.
            return Hessian(coupling, own, np.linalg.cholesky((own - sent @ sent.T).astype(np.float64)))
        except np.linalg.LinAlgError:
            return None

    def least(self, shared: SharedMultipliers, own: OwnMultipliers, hessian: Hessian) -> _Least:
        """Where each row's q is least, about."""
        inverse = np.linalg.inv(hessian.factor)
        inverse = (inverse.T @ inverse).astype(self.dtype)
        pulls, reads, constant = self._coefficients(shared, own)
        t, diagonal = own.t[:, np.newaxis], self.diagonal(shared)
        hidden = -0.5 * ((reads - (pulls / diagonal) @ hessian.coupling.T) @ inverse) / t
        moved = -(0.5 * pulls / t + hidden @ hessian.coupling) / diagonal
        arguments = moved @ self.inputs.T + hidden @ self.hidden.T + self.constants
        values = constant + 0.5 * (np.einsum("ij,ij->i", pulls, moved) + np.einsum("ij,ij->i", reads, hidden))
        return _Least(moved, hidden, arguments, values, (pulls, reads), constant)

    def gains(
        self, shared: SharedMultipliers, own: OwnMultipliers, at: _Least
    ) -> tuple[SharedMultipliers, OwnMultipliers]:
        """The derivatives of the values' sum by what is shared, and of each value by its own; of t, τ, κ, π and ρ by
        their logarithms."""
        hidden, arguments = at.hidden, at.arguments
        square = hidden * hidden
        input_, product, upper = at.moved**2 - 1.0, square - hidden * arguments, square - hidden * self.upper
        beyond = [((d + e * at.moved) ** 2).sum(axis=1) - 1.0 for d, e in zip(self.shift, self.share, strict=True)]
        each = input_, product, upper, np.array(beyond, self.dtype).reshape(len(beyond), len(own.t)).T
        gains = [own.t @ part * multipliers for part, multipliers in zip(each, shared, strict=True)]
        t = own.t * sum(part @ multipliers for part, multipliers in zip(each, shared, strict=True))
        over = hidden - self.slope * (arguments - self.lower)
        return SharedMultipliers(*gains), OwnMultipliers(t, -hidden, arguments - hidden, over)

    def _coefficients(self, shared: SharedMultipliers, own: OwnMultipliers) -> tuple[AnyFloats, AnyFloats, AnyFloats]:
        """q's linear part, of ξ and of h, and its constant."""
        steps = own.mu - own.sigma * self.slope
        squares = np.outer(own.t, shared.kappa * self.constants + shared.pi * self.upper)
        reads = self.reads - squares - own.lam - own.mu + own.sigma + steps @ self.hidden
        free = shared.tau.sum() + shared.rho @ (1.0 - (self.shift**2).sum(axis=1))
        constant = self.base - own.t * free + steps @ self.constants + (own.sigma * self.slope) @ self.lower
        aside = 2.0 * shared.rho @ (self.shift * self.share)
        return self.pulls + steps @ self.inputs + np.outer(own.t, aside), reads, constant


def proved(forms: QuadraticForms, rows: AffineForms, shared: SharedMultipliers, own: OwnMultipliers) -> Proved:
    """Safe lower bounds of the rows over the box, for any multipliers, which are made valid ones first."""
    bound = QuadraticRows(forms, rows)
    shared = SharedMultipliers(*(np.maximum(part.astype(np.float64), 0.0) for part in shared))
    own = OwnMultipliers(*(np.maximum(part.astype(np.float64), 0.0) for part in own))
    hessian = bound.hessian(shared)
    if hessian is None or not np.all(own.t > 0.0):
        return Proved(*(np.full(len(rows.rows), -np.inf) for _ in range(2)))
    at, upper, t, diagonal = bound.least(shared, own, hessian), forms.upper, own.t, bound.diagonal(shared)
    (pulls, reads), (coupling, square, factor) = at.linear, hessian
    large, wide = np.abs(coupling), np.abs(square)
    d_moved, d_hidden = 1.0 + np.abs(at.moved), upper + np.abs(at.hidden)
    # ∇q(z*), q(z*), and the sizes of what is added up for both.
    twice = 2.0 * t[:, np.newaxis]
    slopes = (
        pulls + twice * (at.moved * diagonal + at.hidden @ coupling),
        reads + twice * (at.moved @ coupling.T + at.hidden @ square),
    )
    value: Array = at.constant + 0.5 * (_dots(pulls + slopes[0], at.moved) + _dots(reads + slopes[1], at.hidden))
    value -= _dots(np.abs(slopes[0]), d_moved) + _dots(np.abs(slopes[1]), d_hidden)
    size = np.abs(at.constant) + 2.0 * (_dots(np.abs(pulls), d_moved) + _dots(np.abs(reads), d_hidden))
    # H − RᵀR for R = [[√T, H_ξh/√T], [0, factorᵀ]].
    sent = coupling / np.sqrt(diagonal)
    left = np.abs(square - sent @ sent.T - factor @ factor.T)
    value -= t * _dots(d_hidden @ left, d_hidden)
    spread = d_moved**2 @ diagonal + 2.0 * _dots(d_hidden @ large, d_moved) + _dots(d_hidden @ wide, d_hidden)
    spread += ((d_hidden @ np.abs(sent)) ** 2).sum(axis=1) + ((d_hidden @ np.abs(factor)) ** 2).sum(axis=1)
    steps = own.mu + own.sigma * bound.slope
    products = np.outer(t, shared.kappa)
    size += (
        4.0 * t * spread + t * shared.tau.sum() + rows.sizes + (2.0 * products * upper + steps) @ forms.arguments.sizes
    )
    size += (own.lam + own.mu + own.sigma + products * upper) @ upper + 2.0 * t * (upper**2 @ shared.pi)
    size -= (own.sigma * bound.slope) @ forms.lower
    for rho, d, e in zip(shared.rho, np.abs(bound.shift), bound.share, strict=True):
        size += 4.0 * t * rho * (1.0 + ((d + e * d_moved) ** 2).sum(axis=1))
    value -= 4.0 * forms.rate * size + forms.slack * (1.0 + size)
    cost = products * upper + steps
    found = (
        value - (cost @ getattr(forms.arguments, name) + getattr(rows, name)) * (1.0 + forms.rate)
        for name in ("real", "errors")
    )
    return Proved(*(np.where(np.isfinite(each), each, -np.inf) for each in found))


def _dots(a: AnyFloats, b: AnyFloats) -> Array:
    return np.asarray(np.einsum("ij,ij->i", a, b), dtype=np.float64)


def quadratic_lower(forms: QuadraticForms, rows: AffineForms, budget: Budget, steps: int = STEPS) -> Proved:
    """Proved lower bounds of the rows over the box, by an ascent in float32. Raises OutOfTimeError."""
    return quadratic_climb(forms, rows, budget, steps, STEP)[0]


def quadratic_climb(
    forms: QuadraticForms,
    rows: AffineForms,
    budget: Budget,
    steps: int,
    first: float,
    start: QuadraticMultipliers | None = None,
) -> tuple[Proved, QuadraticMultipliers | None]:
    """`quadratic_lower` from a start, and the multipliers that show it. Raises OutOfTimeError."""
    found = climbed(forms, rows, budget, steps, first, start)
    budget.check()
    if found is None:
        return Proved(*(np.full(len(rows.rows), -np.inf) for _ in range(2))), None
    with _silent():
        return proved(forms, rows, *found), found


def _silent() -> np.errstate:
    """Large weights overflow float32, and BLAS flags what is none (`FLAGS_OF_BLAS`): either shows in the values."""
    return np.errstate(over="ignore", invalid="ignore", divide="ignore", under="ignore")


def climbed(
    forms: QuadraticForms,
    rows: AffineForms,
    budget: Budget,
    steps: int,
    first: float,
    start: QuadraticMultipliers | None = None,
) -> QuadraticMultipliers | None:
    """The best multipliers of all rows together within so many steps from a start, by float32; None where
    there are none to begin with."""
    with _silent():
        return _climbed(QuadraticRows(forms, rows, np.float32), budget, steps, first, start)


def _climbed(
    bound: QuadraticRows, budget: Budget, steps: int, first: float, start: QuadraticMultipliers | None
) -> QuadraticMultipliers | None:
    shared, own = start or bound.start()
    hessian = bound.hessian(shared)
    if hessian is None or not own.t.size:
        return None
    cost = own.lam + own.mu + own.sigma
    scale = cost + 2.0 * FAINT * cost.mean(axis=1, keepdims=True) + FAINT * cost.mean() + np.float32(FAINTEST)
    moments = [AdamMoments() for _ in (*shared, *own)]
    best, highest = (shared, own), -np.inf
    for count in range(steps + 1):
        budget.check()
        at = bound.least(shared, own, hessian)
        height = float(at.values.sum())
        if height > highest:
            best, highest = (shared, own), height
        if count == steps:
            break
        sums, each = bound.gains(shared, own, at)
        length = np.float32(first * (1.0 - (1.0 - LAST) * count / max(1, steps - 1)))
        gains = (*sums, each.t, *(part * scale for part in each[1:]))
        moves = [length * moment.step(gain) for moment, gain in zip(moments, gains, strict=True)]
        ours, t, theirs = moves[: len(shared)], moves[len(shared)], moves[len(shared) + 1 :]
        shared = SharedMultipliers(*(part * np.exp(move) for part, move in zip(shared, ours, strict=True)))
        lines = (np.maximum(part + scale * move, 0.0) for part, move in zip(own[1:], theirs, strict=True))
        own = OwnMultipliers(own.t * np.exp(t), *lines)
        shared, hessian = _inwards(bound, shared)
        if hessian is None:
            break
    return best


def _inwards(bound: QuadraticRows, shared: SharedMultipliers) -> tuple[SharedMultipliers, Hessian | None]:
    """SharedMultipliers multipliers with a smaller κ where H is not positive definite."""
    for _ in range(HALVINGS):
        hessian = bound.hessian(shared)
        if hessian is not None:
            return shared, hessian
        shared = shared._replace(kappa=shared.kappa * np.float32(np.exp(-SHRUNK)))
    return shared, None
