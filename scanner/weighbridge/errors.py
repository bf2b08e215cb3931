"""The exceptions this package raises on purpose.

* WeighbridgeError
  * ArtifactError          the bytes are not what the format says (has a Location)
    * TruncatedError       a read went past the end
    * LimitError           a size, depth, count or time passed its limit
    * MissingExtraError    an optional library is needed to read these bytes
    * UnconvertibleError   the bytes are understood and have no exact form in the format that is wanted
  * DocumentError          a rule, trust, policy or waiver file is wrong (`file:line:column`)
  * MismatchError          what was converted is not what it was converted from
  * UsageError             an option or a combination of options makes no sense
  * SourceError            the model could not be fetched or opened
    * UnavailableError     the source did not answer or broke off; the same request may succeed later
    * WholeOnlyError       the source has no parts of a file to give, or another file than before
  * Refusal                evidence that is missing or wrong, a file that is not loaded; the kinds are in `refusals`
"""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar

if TYPE_CHECKING:
    from weighbridge.location import Location


class WeighbridgeError(Exception):
    """Base of every error a caller may want to catch."""


class ArtifactError(WeighbridgeError):
    """The bytes at `location` break the format they claim."""

    def __init__(self, location: Location, reason: str) -> None:
        super().__init__(f"{location}: {reason}")
        self.location = location
        self.reason = reason


class TruncatedError(ArtifactError):
    """A read went past the end of the bytes."""


class LimitError(ArtifactError):
    """A size, depth, count or time passed the limit set for untrusted input."""


class MissingExtraError(ArtifactError):
    """Reading these bytes needs an optional library that is not installed."""


class UnconvertibleError(ArtifactError):
    """The bytes are understood and have no exact form in the format that is wanted; the reason says what to do.

    `details` has a line for each thing that stands in the way, when there are several.
    """

    def __init__(self, location: Location, reason: str, details: tuple[str, ...] = ()) -> None:
        super().__init__(location, reason)
        self.details = details


class MismatchError(WeighbridgeError):
    """What was converted is not what it was converted from."""


class DocumentError(WeighbridgeError):
    """A rule, trust, policy or waiver file is wrong at a known place."""

    def __init__(self, where: str, reason: str) -> None:
        super().__init__(f"{where}: {reason}")
        self.where = where
        self.reason = reason


class UsageError(WeighbridgeError):
    """An option, or a combination of options, makes no sense (exit code 2)."""


class SourceError(WeighbridgeError):
    """The model could not be fetched or opened (exit code 4)."""


class UnavailableError(SourceError):
    """The source did not answer, asked to wait, or broke off: the same request may succeed later.

    `wait` is how many seconds the source asked to wait, or None.
    """

    def __init__(self, reason: str, wait: float | None = None) -> None:
        super().__init__(reason)
        self.wait = wait


class WholeOnlyError(SourceError):
    """The source answered the request for a part of a file with all of it: it gives no parts, or the file changed."""


class Refusal(WeighbridgeError):
    """Something is refused: `where` is the file or what else was looked at, `fix` says what to do.

    The message is one line: where, why, the code and the fix, which is that of the kind where nothing better is known.
    """

    code: ClassVar[str]
    usual_fix: ClassVar[str] = ""

    def __init__(self, where: str, reason: str, fix: str = "") -> None:
        fix = fix or self.usual_fix
        super().__init__(f"{where}: {reason} [{self.code}]" + (f"; {fix}" if fix else ""))
        self.where = where
        self.reason = reason
        self.fix = fix
