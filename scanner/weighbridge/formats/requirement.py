"""What a line of requirements names, as pip and conda write it: a package of the common index, or something elsewhere.

Sources: https://pip.pypa.io/en/stable/reference/requirements-file-format/, PEP 508, conda's match specifications.
"""

from __future__ import annotations

import re
from typing import Final

_NAME: Final = r"[A-Za-z0-9][A-Za-z0-9._-]*(?:\[[\w, -]+\])?"
# A single sign of equality is conda's and has no space around it: `loss = 0.5` is a result, and no package.
_VERSION: Final = r"(?:[ \t]*(?:===|==|>=|<=|~=|!=|<|>)[ \t]*|=)[\w.*+!-]+"
_REST: Final = r"(?:[ \t]*;[^\n#]*)?[ \t]*(?:#.*)?"
PINNED: Final = rf"(?P<name>{_NAME}){_VERSION}(?:[ \t]*,{_VERSION})*{_REST}"
LISTED: Final = rf"(?P<name>{_NAME})(?:{_VERSION}(?:[ \t]*,{_VERSION})*)?{_REST}"
ELSEWHERE: Final = rf"--?[a-z][a-z-]*(?:[ \t=].*)?|(?:{_NAME}[ \t]*@[ \t]*)?(?:git\+|hg\+|https?:|file:|\.{{0,2}}/)\S.*"
OPTION: Final = r"--?(?:extra-|find-|index|requirement|editable|[rce] )|\S*git\+"


def target(line: str) -> str:
    """Return the name of the package in small letters, or the whole line when it names no package of the index."""
    beside = re.fullmatch(r"-r[ \t]+([\w.-]+)", line.strip())
    if beside is not None:
        return f"-r={beside[1]}"  # a list that is a file of its own, which is read as well
    found = re.fullmatch(LISTED, line.strip())
    return found["name"].partition("[")[0].lower() if found is not None else line.strip()
