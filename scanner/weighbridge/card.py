"""What a model card declares: licences, data sets, the task. It is said by whoever wrote the card, and by nobody else.

Source: https://huggingface.co/docs/hub/model-cards, the front matter of `README.md`.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any, Final

from weighbridge.errors import DocumentError
from weighbridge.nodes import compose, items, kind, pairs, scalar
from weighbridge.records import dataclass

NAME: Final = "README.md"
# Bytes: the longest cards of the Hub have 200 kB of prose behind a few kB of front matter.
LIMIT: Final = 1 << 20
MAX_VALUES: Final = 1000  # of one key
_FRONT: Final = re.compile(r"\A\s*---[ \t]*\r?\n(.*?)\r?\n---[ \t]*(?:\r?\n|\Z)", re.DOTALL)


@dataclass(frozen=True, slots=True, kw_only=True)
class Card:
    """What a card declares; `unreadable` says why it is not known what it declares."""

    licences: tuple[str, ...] = ()
    datasets: tuple[str, ...] = ()
    languages: tuple[str, ...] = ()
    tags: tuple[str, ...] = ()
    base_models: tuple[str, ...] = ()
    task: str = ""
    library: str = ""
    unreadable: str = ""


def read(data: bytes) -> Card:
    """Return what a card declares; one that cannot be read declares nothing."""
    if len(data) > LIMIT:
        return Card(unreadable=f"longer than {LIMIT} bytes")
    try:
        front = _FRONT.match(data.decode("utf-8"))
        found = dict(_values(front[1])) if front is not None else {}
    except UnicodeDecodeError:
        return Card(unreadable="not UTF-8")
    except DocumentError as error:
        return Card(unreadable=str(error))
    named = found.get("license_name", ())
    licences = found.get("license", ())
    return Card(
        licences=named if named and licences == ("other",) else licences,
        datasets=found.get("datasets", ()),
        languages=found.get("language", ()),
        tags=found.get("tags", ()),
        base_models=found.get("base_model", ()),
        task=next(iter(found.get("pipeline_tag", ())), ""),
        library=next(iter(found.get("library_name", ())), ""),
    )


def read_file(place: Path) -> Card:
    """Return what the card in a file declares."""
    with place.open("rb") as file:
        return read(file.read(LIMIT + 1))


def _values(front: str) -> list[tuple[str, tuple[str, ...]]]:
    """Return the keys of a front matter with the texts that are under them."""
    node = compose(front, f"{NAME}.yaml")
    return [(key, tuple(_texts(value))[:MAX_VALUES]) for key, value in pairs(node, NAME)]


def _texts(node: Any) -> list[str]:
    if kind(node) == "scalar":
        return [scalar(node, NAME)] if node.value else []
    if kind(node) == "sequence":
        return [one.value for one in items(node, NAME) if kind(one) == "scalar"]
    return []
