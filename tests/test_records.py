"""Our `dataclass` does what the standard one does."""

from __future__ import annotations

import copy
import dataclasses
import pickle
from collections.abc import Callable
from dataclasses import FrozenInstanceError
from functools import cached_property
from typing import Any, ClassVar

import pytest

from weighbridge import records
from weighbridge.location import Location

Decorator = Callable[..., Callable[[type], Any]]


BOTH: list[Decorator] = [records.dataclass, dataclasses.dataclass]
FIELD: dict[Decorator, Any] = {records.dataclass: records.field, dataclasses.dataclass: dataclasses.field}


def point(decorate: Decorator) -> Any:
    @decorate(frozen=True, slots=True)
    class Point:
        """A point."""

        kind: ClassVar[str] = "point"
        x: int
        y: int = 2

        def __post_init__(self) -> None:
            if self.x < 0:
                raise ValueError("negative")

    return Point


def tagged(decorate: Decorator) -> Any:
    base: Any = point(decorate)

    @decorate(frozen=True, slots=True, kw_only=True)
    class Tagged(base):  # type: ignore[misc]
        label: str = "tagged"
        tags: list[str] = FIELD[decorate](default_factory=list, hash=False, metadata={"help": "words"})
        note: str = FIELD[decorate](default="", compare=False, repr=False)

    return Tagged


def loose(decorate: Decorator) -> Any:
    @decorate(frozen=True, kw_only=True)
    class Loose:
        a: int
        b: str = "b"

        @cached_property
        def both(self) -> str:
            return f"{self.a}{self.b}"

    return Loose


def changing(decorate: Decorator) -> Any:
    @decorate(slots=True)
    class Changing:
        a: int = 0
        parts: list[int] = FIELD[decorate](default_factory=list)

    return Changing


def ranked(decorate: Decorator) -> Any:
    @decorate(frozen=True, slots=True, order=True)
    class Ranked:
        a: int
        b: str

    return Ranked


CASES: list[tuple[Callable[[Decorator], Any], tuple[Any, ...], dict[str, Any]]] = [
    (point, (1,), {}),
    (point, (1, 3), {}),
    (point, (), {"y": 5, "x": 4}),
    (point, (), {}),
    (point, (1, 2, 3), {}),
    (point, (1,), {"x": 2}),
    (point, (1,), {"z": 2}),
    (point, (-1,), {}),
    (tagged, (1,), {"tags": ["a"], "note": "n"}),
    (tagged, (1, 2, "label"), {}),
    (loose, (), {"a": 1}),
    (loose, (1,), {}),
    (changing, (), {}),
    (changing, (3,), {"parts": [1]}),
    (ranked, (1, "a"), {}),
]


def outcome(make: Callable[[], Any]) -> object:
    """Return what a call gives, or the kind of error."""
    try:
        return repr(make())
    except (TypeError, ValueError, AttributeError) as error:
        return type(error)


@pytest.mark.parametrize(("define", "args", "given"), CASES)
def test_it_behaves_as_the_standard_one(
    define: Callable[[Decorator], Any], args: tuple[Any, ...], given: dict[str, Any]
) -> None:
    ours, standard = define(records.dataclass), define(dataclasses.dataclass)
    assert outcome(lambda: ours(*args, **given)) == outcome(lambda: standard(*args, **given))
    described = [[(f.name, f.type, f.kw_only, f.metadata) for f in dataclasses.fields(cls)] for cls in (ours, standard)]
    assert described[0] == described[1]
    assert (ours.__match_args__, ours.__doc__ or "", ours.__qualname__) == (
        standard.__match_args__,
        standard.__doc__ if define is point else "",
        standard.__qualname__,
    )


@pytest.mark.parametrize("decorate", BOTH)
def test_values_compare_hash_and_stay_as_they_are(decorate: Decorator) -> None:
    point_, tagged_ = point(decorate), tagged(decorate)
    one = tagged_(1, tags=["a"], note="x")
    assert one == tagged_(1, tags=["a"], note="y") != tagged_(1, tags=["b"])
    assert hash(one) == hash(tagged_(1, tags=["b"]))
    assert one != point_(1) and point_(1) != (1, 2)
    assert dataclasses.replace(one, x=7).x == 7
    assert copy.copy(one) == one == copy.deepcopy(one)
    with pytest.raises(FrozenInstanceError):
        one.x = 2
    with pytest.raises(FrozenInstanceError):
        del one.x
    assert not hasattr(one, "__dict__")
    assert dataclasses.is_dataclass(tagged_)


@pytest.mark.parametrize("decorate", BOTH)
def test_what_changes_is_not_hashed(decorate: Decorator) -> None:
    value: Any = changing(decorate)(1)
    value.a = 2
    assert value == type(value)(2)
    with pytest.raises(TypeError):
        hash(value)


@pytest.mark.parametrize("decorate", BOTH)
def test_order_and_caches(decorate: Decorator) -> None:
    kind = ranked(decorate)
    assert sorted([kind(2, "a"), kind(1, "b"), kind(1, "a")]) == [kind(1, "a"), kind(1, "b"), kind(2, "a")]
    with pytest.raises(TypeError):
        kind(1, "a") < 1  # noqa: B015
    value = loose(decorate)(a=1)
    assert value.both == "1b" and value.both is value.both


@pytest.mark.parametrize("decorate", BOTH)
def test_a_field_may_take_the_place_of_a_class_variable(decorate: Decorator) -> None:
    base: Any = point(decorate)

    class Kinded(base):  # type: ignore[misc]
        kind: str = "other"

    made: Any = decorate(frozen=True, slots=True, kw_only=True)(Kinded)
    assert (base(1).kind, made(x=1).kind, made(x=1, kind="third").kind) == ("point", "other", "third")


def test_values_cross_to_another_process() -> None:
    place = Location(("a", "b"), 3)
    assert pickle.loads(pickle.dumps(place)) == place
