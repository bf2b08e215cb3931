"""Every format, registry and report is in the table of its folder, so forgetting the line fails loudly."""

from __future__ import annotations

import ast
import importlib
import pkgutil
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import weighbridge.formats as formats
import weighbridge.registries as registries
import weighbridge.report as report
from weighbridge.formats.base import Format
from weighbridge.location import Location
from weighbridge.reader import from_bytes, from_path
from weighbridge.report.base import Style


def test_every_module_that_defines_a_format_is_in_the_table() -> None:
    found = set()
    for module in pkgutil.walk_packages(formats.__path__, "weighbridge.formats."):
        for value in vars(importlib.import_module(module.name)).values():
            several = value if isinstance(value, tuple) else (value,)
            found |= {one.name for one in several if isinstance(one, Format)}
    assert found == {format_.name for format_ in formats.FORMATS}


def test_the_names_of_formats_differ() -> None:
    names = [format_.name for format_ in formats.FORMATS]
    assert len(set(names)) == len(names)


@pytest.mark.parametrize("first", range(256))
@given(
    rest=st.binary(max_size=40),
    magic=st.sampled_from([b"", b"7zXZ\0", b"Zh91AY&SY", b"*M\x18\1\0\0\0\0", b"\xda\x02\0\0"]),
)
@settings(max_examples=5)
def test_the_first_byte_rules_out_only_formats_that_would_say_no(first: int, magic: bytes, rest: bytes) -> None:
    sample = from_bytes(bytes([first]) + magic + rest, Location(("file",))).sample
    assert formats.sniff(sample) == tuple(one for one in formats.FORMATS if one.sniff(sample))


def test_fixtures_begin_as_their_formats_say() -> None:
    for path in (Path(__file__).parent.parent / "fixtures").rglob("*.*"):
        if path.is_file():
            sample = from_path(path, Location((path.name,))).sample
            assert formats.sniff(sample) == tuple(one for one in formats.FORMATS if one.sniff(sample))


def test_every_report_module_is_in_the_table() -> None:
    modules = {module.name for module in pkgutil.iter_modules(report.__path__)} - {"base"}
    assert modules == {name.replace("-", "_") for name in report.FORMATS}
    assert set(report.FORMATS) >= report.DETAILED
    for name, load in report.FORMATS.items():
        assert load().__module__ == f"weighbridge.report.{name.replace('-', '_')}"
    assert Style() == Style(color=False, quiet=False, verbose=False)


def test_every_registry_is_in_the_table() -> None:
    defined = set()
    for path in Path(registries.__path__[0]).rglob("*.py"):  # read, because some need a library that is not installed
        for node in ast.parse(path.read_text(encoding="utf-8")).body:
            if isinstance(node, ast.ClassDef) and path.name != "base.py":
                methods = {method.name for method in node.body if isinstance(method, ast.FunctionDef)}
                defined |= {node.name} if {"resolve", "open"} <= methods else set()
    assert defined == {load().__name__ for load in registries.SCHEMES.values()}
    assert list(registries.SCHEMES) == sorted(registries.SCHEMES)
