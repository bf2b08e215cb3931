"""Every format and every report is in the table of its folder, so forgetting the line fails loudly."""

from __future__ import annotations

import importlib
import pkgutil

import weighbridge.formats as formats
import weighbridge.report as report
from weighbridge.formats.base import Format
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


def test_every_report_module_is_in_the_table() -> None:
    modules = {module.name for module in pkgutil.iter_modules(report.__path__)} - {"base"}
    assert modules == set(report.FORMATS)
    for name, load in report.FORMATS.items():
        assert load().__module__ == f"weighbridge.report.{name}"
    assert Style() == Style(color=False, quiet=False, verbose=False)
