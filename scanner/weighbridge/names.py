"""One spelling for every name a pickle can import.

The same object goes by many names: `posix.system` and `nt.system` are `os.system`, Python 2's
`__builtin__` is `builtins`, `_io.open` is `io.open`. Rules and trust entries are written for one
spelling; the others are brought to it here. Mapping a name that today's interpreter would
not map is harmless: the name is then judged as its more capable relative.
"""

from __future__ import annotations

from _compat_pickle import IMPORT_MAPPING, NAME_MAPPING
from collections.abc import Iterator
from functools import lru_cache
from typing import Final

# Modules whose public face has another name. `_x` -> `x` is not general: `_codecs.encode` and
# `_aix_support` are no twins of a public module.
MODULE_ALIASES: Final = {
    "__builtin__": "builtins",
    "__builtins__": "builtins",
    "posix": "os",
    "nt": "os",
    "posixpath": "os.path",
    "ntpath": "os.path",
    "cPickle": "pickle",
    "cStringIO": "io",
    "StringIO": "io",
    "pathlib._local": "pathlib",
    "pathlib._abc": "pathlib",
    "six.moves.builtins": "builtins",
    "__mp_main__": "__main__",
    **{
        f"_{name}": name
        for name in (
            "asyncio bisect bz2 collections csv ctypes datetime decimal functools hashlib heapq imp io json "
            "lzma multiprocessing operator pickle posixsubprocess pydatetime pydecimal pyio queue random "
            "signal socket sqlite3 ssl string struct thread threading tkinter uuid weakref winapi"
        ).split()
    },
}
# More steps than any real name has. The spellings grow with the square of the steps, and a stream may
# write a name of a million dots; only its last steps are walked then.
MAX_STEPS: Final = 32
_RENAMED: Final = {"_pydatetime": "datetime", "_pydecimal": "decimal", "_pyio": "io"}


@lru_cache(maxsize=65536)
def normalise(module: str, name: str) -> tuple[str, str]:
    """Return the spelling that rules and trust entries use for `module` and `name`.

    >>> normalise("__builtin__", "eval")
    ('builtins', 'eval')
    >>> normalise("numpy.core.multiarray", "_reconstruct")
    ('numpy._core.multiarray', '_reconstruct')
    """
    module, name = NAME_MAPPING.get((module, name), (module, name))
    module = _RENAMED.get(module, module)
    module = MODULE_ALIASES.get(module, IMPORT_MAPPING.get(module, module))
    module = MODULE_ALIASES.get(module, module)
    if module == "numpy.core" or module.startswith("numpy.core."):
        module = "numpy._core" + module[len("numpy.core") :]
    return module, name


@lru_cache(maxsize=65536)
def reachable(module: str, name: str) -> tuple[str, ...]:
    """Return every dotted name under which `module : name` might be known to a rule.

    A dotted attribute walks from object to object, and any step may be another module's door:
    `shutil : os.system` is `os.system`, `builtins : eval.__call__` holds `builtins.eval`.

    >>> reachable("random", "_os.system")
    ('random._os.system', 'random._os', 'os.system')
    """
    return tuple(dict.fromkeys(_reachable(module, name)))


def _reachable(module: str, name: str) -> Iterator[str]:
    yield f"{module}.{name}"
    module, name = (".".join(text.split(".")[-MAX_STEPS:]) for text in (module, name))
    parts = name.split(".")
    for end in range(len(parts) - 1, 0, -1):
        yield f"{module}.{'.'.join(parts[:end])}"
    whole = [*module.split("."), *parts]
    for begin in range(1, len(whole) - 1):
        for end in range(len(whole), begin + 1, -1):
            inner, last = ".".join(whole[begin : end - 1]), whole[end - 1]
            yield ".".join(normalise(inner, last))
            stripped = inner.lstrip("_")
            if stripped != inner and stripped:
                yield ".".join(normalise(stripped, last))
