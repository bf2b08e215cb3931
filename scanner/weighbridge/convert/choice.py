"""Which of the tensors of a checkpoint are wanted, and what becomes of everything else.

A state dict is flat: names of tensors and their tensors. A checkpoint holds one or several of them with other things
around. When there is one group of tensors it is taken; when there are several, nobody but the user knows which, and a
refusal lists them. Names such as "model" or "ema" mean nothing here. An optimizer's state is told by its two keys,
which torch defines, and is taken only when it is asked for.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from weighbridge.convert.plan import Candidate, Dropped, Refusal, Scalar
from weighbridge.convert.symbolic import Kind, Node, join, places, where
from weighbridge.convert.torch_tensors import Unfit, View
from weighbridge.errors import UnconvertibleError
from weighbridge.location import Location, printable
from weighbridge.records import dataclass, field

EVERYTHING: Final = "."
LISTED: Final = 20  # candidates that a message names
# Scalars and things left out that the record lists one by one; the rest is counted.
RECORDED: Final = 10_000
ALONE: Final = "tensor"  # the name of a tensor that is all there is in a file


@dataclass(slots=True)
class Choice:
    """The group that was chosen: its tensors by name, and what else there is."""

    path: str
    candidates: tuple[Candidate, ...]
    tensors: list[tuple[str, View]] = field(default_factory=list)
    refused: list[Refusal] = field(default_factory=list)
    dropped: list[Dropped] = field(default_factory=list)
    scalars: dict[str, Scalar] = field(default_factory=dict)
    uncounted: int = 0

    def drop(self, path: str, what: str, tensors: int = 0) -> None:
        """Record something that is left out."""
        if len(self.dropped) < RECORDED:
            self.dropped.append(Dropped(path=path, what=what, tensors=tensors))
        else:
            self.uncounted += 1

    def keep(self, path: str, value: Scalar) -> None:
        """Record a scalar."""
        if len(self.scalars) < RECORDED:
            self.scalars[path] = value
        else:
            self.uncounted += 1


def choose(root: Node, wanted: str | None, origin: Location, *, everything: bool = False) -> Choice:
    """Return the tensors of the group at the path `wanted`, of the only group there is when that is None.

    Raises UnconvertibleError, with the candidates, when there is none or more than one, or none at that path.
    An optimizer's state inside is taken with "." alone. With `everything` the whole is taken, and objects in it are no
    reason to refuse.
    """
    found = list(groups(root))
    candidates = tuple(
        Candidate(path=path or EVERYTHING, what=_kind(node), tensors=node.tensors) for path, node in found
    )
    if everything:
        path, node = "", root
    elif wanted is not None:
        path, node = _find(root, wanted, candidates, origin)
    elif root.kind is Kind.TENSOR:
        path, node = "", root
    elif len(found) == 1 and found[0][1].kind is not Kind.OBJECT:
        path, node = found[0]
    else:
        raise UnconvertibleError(origin, _ambiguous(root, candidates))
    choice = Choice(path, candidates)
    _take(node, choice, "" if node is root else path, origin, lenient=everything)
    _leave(root, node, choice)
    if choice.uncounted:
        choice.dropped.append(Dropped(path="", what=f"{choice.uncounted} more values, which are not listed"))
    return choice


def groups(root: Node) -> Iterator[tuple[str, Node]]:
    """Yield the groups of tensors that could be what is wanted, with their paths.

    Groups of nothing but single numbers are groups only where there are no others: beside weights they are losses and
    counts of steps. So are lists of tensors: beside a state dict they are states of random number generators.
    """
    found = list(_groups("", root))
    found = [one for one in found if _has_sides(one[1])] or found
    yield from [one for one in found if one[1].kind is not Kind.LIST] or found


def _has_sides(node: Node) -> bool:
    return any(_sided(one) for _, one in places(node))


def _sided(node: Node) -> bool:
    """Tell whether a node is a tensor of more than a single number, as far as that is known."""
    content = node.content
    return node.kind is Kind.TENSOR and (
        isinstance(content, Unfit) or (isinstance(content, View) and content.shape != ())
    )


def _groups(path: str, node: Node) -> Iterator[tuple[str, Node]]:
    if node.kind is Kind.OPTIMIZER or not node.tensors:
        return
    if node.kind is Kind.MODULE:
        yield path, node
        return
    inner = [found for child in node.children for found in _groups(join(path, child.key), child)]
    direct = [child for child in node.children if child.kind is Kind.TENSOR]
    # Beside other groups a single number is a loss or a count of steps.
    if direct and (not inner or any(map(_sided, direct))):
        yield path, node
    yield from inner


def _kind(node: Node) -> str:
    return f"object {node.what}" if node.kind in (Kind.MODULE, Kind.OBJECT) else node.what


def _ambiguous(root: Node, candidates: tuple[Candidate, ...]) -> str:
    if not root.tensors:
        return "there are no tensors in it"
    if not candidates:
        return "its tensors are an optimizer's state; --state-dict PATH takes them all the same"
    shown = [f"{printable(one.path)} ({one.tensors} tensors, {printable(one.what)})" for one in candidates[:LISTED]]
    more = f" and {len(candidates) - LISTED} more" if len(candidates) > LISTED else ""
    what = "an object holds its tensors" if len(candidates) == 1 else "it has several groups of tensors"
    return f"{what}; choose with --state-dict PATH: {', '.join(shown)}{more}; {EVERYTHING} takes all of them"


def _find(root: Node, wanted: str, candidates: tuple[Candidate, ...], origin: Location) -> tuple[str, Node]:
    if wanted in (EVERYTHING, ""):
        return wanted, root
    found = list(_at(root, "", wanted))
    if len(found) == 1 and found[0].tensors:
        return wanted, found[0]
    reason = "there are no tensors at" if found else "there is nothing at"
    reason = "more than one thing is meant by" if len(found) > 1 else reason
    listed = ", ".join(printable(one.path) for one in candidates[:LISTED])
    raise UnconvertibleError(origin, f"{reason} --state-dict {printable(wanted)}; groups of tensors are at: {listed}")


def _at(node: Node, path: str, wanted: str) -> Iterator[Node]:
    """Yield what stands at a path; keys may have dots in them, so there can be more than one."""
    for child in node.children:
        here = join(path, child.key)
        if here == wanted and child.key is not None:
            yield child
        elif wanted.startswith(f"{here}."):
            yield from _at(child, here, wanted)


def _take(chosen: Node, choice: Choice, path: str, origin: Location, *, lenient: bool) -> None:
    """Put everything at and below the chosen node where it belongs."""
    inside = {id(child) for _, node in places(chosen) if node.kind is Kind.MODULE for child in node.children}
    whole = lenient or choice.path == EVERYTHING
    optimizers = {id(child) for child in _optimizers(chosen)} if not whole else set()
    for name, node in places(chosen, without=optimizers):
        here = f"{path}.{name}" if path and name else path or name
        if id(node) in optimizers:
            choice.drop(here, node.what, node.tensors)
        elif node.kind is Kind.TENSOR:
            _take_tensor(node, choice, node.key or ALONE if node is chosen else name)
        elif node.kind is Kind.SCALAR:
            choice.keep(here, node.content if not isinstance(node.content, View | Unfit) else None)
        elif node.kind is Kind.MODULE:
            if id(node) not in inside:
                choice.drop(here, f"code and settings of {node.what}, and of the modules in it")
        elif node.kind is Kind.OPAQUE or (node.kind is Kind.OBJECT and node is not chosen):
            if lenient:
                choice.drop(here, node.what, node.tensors)
            else:
                advice = "save the state dict without it, or choose another group with --state-dict PATH"
                reason = f"an object among the tensors: {node.what}"
                choice.refused.append(Refusal(location=origin, name=here, reason=reason, advice=advice))
        elif node.kind is Kind.OBJECT:
            choice.drop(here, f"code of {node.what}")
        _check_keys(node, choice, here, origin, lenient=lenient)


def _optimizers(chosen: Node) -> Iterator[Node]:
    """Yield the optimizers' states inside a group, which belong to it only when everything is asked for."""
    return (node for _, node in places(chosen) if node.kind is Kind.OPTIMIZER and node is not chosen)


def _take_tensor(node: Node, choice: Choice, name: str) -> None:
    content = node.content
    if isinstance(content, View):
        choice.tensors.append((name, content))
        for note in content.notes:
            choice.drop(name, note)
    elif isinstance(content, Unfit):
        choice.refused.append(
            Refusal(
                location=content.location,
                name=name,
                reason=content.reason,
                advice=content.advice,
                dtype=content.dtype,
                shape=content.shape,
            )
        )


def _check_keys(node: Node, choice: Choice, path: str, origin: Location, *, lenient: bool) -> None:
    """Refuse tensors under keys that no name can be made of."""
    for child in node.children:
        if child.key is None and child.tensors and not lenient:
            reason = "its key is neither a text nor a number"
            place = where(child, origin)
            choice.refused.append(Refusal(location=place, name=join(path, None), reason=reason, advice="rename it"))


def _leave(root: Node, chosen: Node, choice: Choice) -> None:
    """Record what is beside the chosen node: scalars one by one, everything else by what it is."""
    waiting = [("", root)]
    while waiting:
        path, node = waiting.pop()
        if node is chosen:
            continue
        if node.kind is Kind.SCALAR:
            choice.keep(path, node.content if not isinstance(node.content, View | Unfit) else None)
        elif node.kind is Kind.TENSOR:
            choice.drop(path, "tensor", 1)
        elif node.kind in (Kind.MAPPING, Kind.LIST, Kind.OBJECT) and _opened(node, chosen):
            if node.kind is Kind.OBJECT:
                choice.drop(path, f"object {node.what}")
            waiting += [(join(path, child.key), child) for child in reversed(node.children)]
        else:
            choice.drop(path, _kind(node), node.tensors)


def _opened(node: Node, chosen: Node) -> bool:
    """Tell whether a container is told by its parts: one without tensors, or one that holds the chosen ones."""
    return not node.tensors or any(one is chosen for _, one in places(node))
