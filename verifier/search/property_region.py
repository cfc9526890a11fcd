"""The answer to `check` about a property of a region, in place of an input and a radius."""

from __future__ import annotations

from collections.abc import Mapping

from encoders.errors import InputError
from verifier.problem.budget import OutOfTimeError
from verifier.runtime.model import Model
from verifier.search.property_check import PropertyCheck, check_property, undecided
from verifier.search.property_question import AskedProperty, asked_property, property_question
from verifier.search.question import Box
from verifier.search.settings import Settings


def check_region(
    model: Model,
    region: Box | None,
    asked: AskedProperty,
    semantics: str,
    settings: Settings,
    about_input: Mapping[str, object],
) -> PropertyCheck:
    """Is there a point of the region that satisfies the property? about_input: by name the arguments of a question
    about an input, None where they are not given. Raises InputError for those that are, and for what cannot be."""
    given = [name for name, value in about_input.items() if value is not None]
    if given:
        raise InputError(f"property goes with region; {', '.join(given)} {'do' if given[1:] else 'does'} not")
    try:
        prop = asked_property(model, region, asked, settings.budget)
    except OutOfTimeError as error:
        return undecided(str(error), settings.budget.spent)
    return check_property(property_question(model, prop, settings.budget, semantics), settings)
