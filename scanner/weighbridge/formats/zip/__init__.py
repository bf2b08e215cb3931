"""zip archives, those that torch writes among them."""

from __future__ import annotations

from typing import Final

from weighbridge.formats.base import Format
from weighbridge.formats.zip.directory import sniff
from weighbridge.formats.zip.parse import parse

FORMAT: Final = Format("zip", "zip archive", sniff, parse)
