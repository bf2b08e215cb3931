"""Objects of trusted classes that make whoever loads them call what the file chose, by a name that was only stored.

No callable is called by an opcode here. A class takes a state, a dict hashes a key, an array takes an item, and asks
what it is given for an attribute or a method; the file answers with a function or a class that may stand among data.
"""

from __future__ import annotations

from collections.abc import Callable

from fixtures.assemble import P4, Ops

from .payloads import Sample

# Reads its configuration, and evaluates the text of the activation in it.
CLASS = P4.name("ultralytics.nn.tasks", "DetectionModel")
CONFIGURATION = {"activation": "print('weighbridge')", "nc": 1, "backbone": [], "head": []}
# May stand among data: with what an object holds, calling it does no more than to compute.
FUNCTION = P4.name("numpy", "full")
POINTERS = {"data": (4096, False), "shape": (1,), "typestr": "|O", "version": 3}


def made(name: str, state: object) -> Ops:
    """Return an object of a class with a state."""
    return P4.build(P4.newobj(name), state)


def holder(**attributes: object) -> Ops:
    """Return an object that has whatever methods the file gives it."""
    return P4.build(P4.call("types:SimpleNamespace"), dict(attributes))


def optimizer(name: str, **state: object) -> Ops:
    """Return an optimiser that is ordinary but for some of its attributes."""
    ordinary = {"defaults": {"lr": 0.1}, "state": {}, "param_groups": [{"params": [], "lr": 0.1}]}
    return made(f"torch.optim.{name}", {**ordinary, **state})


def layer(**state: object) -> Ops:
    """Return a layer, which looks up what it misses in its tables."""
    return made("torch.nn.modules.linear:Linear", {"_parameters": {}, "_buffers": {}, "_modules": {}, **state})


def array(dtype: Ops, items: object) -> Ops:
    """Return an array of one item."""
    empty = P4.call("numpy._core.multiarray:_reconstruct", P4.name("numpy", "ndarray"), (0,), b"b")
    return P4.build(empty, (1, (1,), dtype, False, items))


def dtype(text: str, *state: object) -> Ops:
    """Return a dtype with its state behind version 3."""
    return P4.build(P4.call("numpy:dtype", text, False, True), (3, *state))


NUMBER = dtype("i8", "<", None, None, None, -1, -1, 0)
OBJECT = dtype("O8", "|", None, None, None, -1, -1, 63)
NUMBERS = dtype("V16", "|", (NUMBER, (2,)), None, None, 16, 8, 0)
TEXT = dtype("S8", "|", None, None, None, 8, 1, 0)
STRINGS = P4.call("numpy._core._internal:_convert_to_stringdtype_kwargs", True)


def record(field: Ops, size: int) -> Ops:
    """Return the dtype of a record of an object and a field."""
    fields = {"a": (OBJECT, 0), "b": (field, 8)}
    return dtype("V24", "|", None, ("a", "b"), fields, 8 + size, 8, 27)


def attributes(state: object, name: str = "scipy.optimize._optimize:OptimizeResult") -> Ops:
    """Return a dict whose items are its attributes, as protocols 0 and 1 make it."""
    module, _, last = name.partition(":")
    return P4.call("copyreg:_reconstructor", P4.name(module, last), P4.name("builtins", "dict"), state)


def keyed(key: Ops) -> Ops:
    """Return a dict with a key."""
    return P4.dict_of({key: 1})


def index(values: Ops) -> Ops:
    """Return an index of values."""
    return P4.call("pandas.core.indexes.base:_new_Index", P4.name("pandas", "Index"), {"data": values, "name": None})


def wrapped(objects: Ops) -> Ops:
    """Return an array of objects as joblib writes it: a wrapper, and a pickle of its own behind it."""
    state = {"subclass": P4.name("numpy", "ndarray"), "shape": (1,), "order": "C", "dtype": OBJECT, "allow_mmap": False}
    return Ops(P4.build(P4.newobj("joblib.numpy_pickle:NumpyArrayWrapper"), state) + P4.stream(objects, framed=False))


GENERATION = made(
    "transformers.generation.configuration_utils:GenerationConfig", {"to_json_string": FUNCTION, "max_length": 1}
)
ZONE = made("dateutil.tz.tz:tzoffset", {"_name": "X", "utcoffset": FUNCTION})
MOMENT = b"\x07\xe6\x01\x01\x01\x01\x01\x01\x01\x01"
TABLE = P4.build(P4.newobj("torch.nn.modules.container:ParameterDict"), {"_keys": {}, "_key_to_attr": FUNCTION})
PARAMETER = P4.call("torch._utils:_rebuild_meta_tensor_no_storage", P4.name("torch", "float32"), (1,), (1,), False)

ABUSES: dict[str, Ops] = {
    # methods of tables that an optimiser asks when it takes a state, and its own
    "optimizer-state": optimizer("adam:Adam", state=holder(get=FUNCTION), param_groups=[{"params": [CONFIGURATION]}]),
    "optimizer-state-adagrad": optimizer("adagrad:Adagrad", state=holder(values=FUNCTION)),
    "optimizer-state-ordered": optimizer(
        "asgd:ASGD",
        state=P4.build(P4.call("collections:OrderedDict"), {"get": FUNCTION}),
        param_groups=[{"params": ["x"]}],
    ),
    "optimizer-state-of-one": optimizer("radam:RAdam", state={"x": TABLE}, param_groups=[{"params": ["x"]}]),
    "optimizer-state-of-one-by-default": optimizer(
        "nadam:NAdam",
        state=P4.set_item(P4.call("collections:defaultdict", P4.name("builtins", "dict")), "x", TABLE),
        param_groups=[{"params": ["x"]}],
    ),
    "optimizer-defaults": optimizer("sgd:SGD", defaults=holder(setdefault=FUNCTION)),
    "optimizer-group": optimizer("rprop:Rprop", param_groups=[holder(setdefault=FUNCTION)]),
    "optimizer-setting": optimizer("rmsprop:RMSprop", param_groups=[{"params": [], "capturable": TABLE}]),
    "optimizer-groups": optimizer("adamw:AdamW", param_groups=layer()),
    "optimizer-method": optimizer("adamax:Adamax", _patch_step_function=FUNCTION),
    "optimizer-method-of-class": optimizer("adadelta:Adadelta", profile_hook_step=FUNCTION),
    "module-table": made(
        "torch.nn.modules.linear:Linear",
        {"_parameters": made("torch.nn.modules.container:Sequential", {"_modules": holder(values=FUNCTION)})},
    ),
    "module-table-named": layer(_buffers={"__array_interface__": POINTERS}),
    "module-table-ordered": layer(
        _buffers=P4.set_item(P4.call("collections:OrderedDict"), "__array_interface__", POINTERS)
    ),
    "module-table-of-pairs": layer(_buffers=P4.call("collections:OrderedDict", [("__array__", FUNCTION)])),
    # what fits, forms and warns when an estimator or a distribution takes a state
    "regression-method": made(
        "sklearn.isotonic:IsotonicRegression",
        {"X_thresholds_": CONFIGURATION, "y_thresholds_": [], "_build_f": FUNCTION},
    ),
    "estimator-version": made(
        "sklearn.preprocessing._data:StandardScaler", {"_sklearn_version": layer(extra_repr=FUNCTION)}
    ),
    "predictor-nodes": made(
        "sklearn.ensemble._hist_gradient_boosting.predictor:TreePredictor",
        {"nodes": holder(dtype=1, astype=FUNCTION)},
    ),
    "distribution-method": made(
        "scipy.stats._continuous_distns:norm_gen", {"_attach_methods": FUNCTION, "_ctor_param": None}
    ),
    "interpolator-part": made(
        "scipy.interpolate._rbfinterp:RBFInterpolator",
        ((layer(_buffers={"__array_namespace__": FUNCTION}), None, None, None, 1, 1, "linear", 1, None), (None,)),
    ),
    # attributes that are items, and attributes that a layer looks up in its tables
    "item-interface": attributes({"__array_interface__": POINTERS}),
    "item-interface-later": P4.set_item(attributes({}), "__array_interface__", POINTERS),
    "item-state": P4.build(attributes({"__setstate__": FUNCTION}), None),
    "item-state-bunch": P4.build(attributes({"__array__": FUNCTION}, "sklearn.utils._bunch:Bunch"), {}),
    "mapping-method": P4.build(P4.call("collections:OrderedDict"), {"keys": FUNCTION}),
    "record-interface": array(record(NUMBERS, 16), [(None, layer(_buffers={"__array_interface__": POINTERS}))]),
    "record-text": array(record(TEXT, 8), [(None, layer(extra_repr=FUNCTION))]),
    "string-text": array(STRINGS, [layer(extra_repr=FUNCTION)]),
    # keys
    "key-configuration": keyed(GENERATION),
    "key-configuration-in-tuple": P4.dict_of({P4.tuple_of(1, GENERATION): 1}),
    "key-configuration-in-named-tuple": keyed(P4.newobj("sklearn.utils._encode:MissingValues", GENERATION, 1)),
    "key-in-set": P4.call("builtins:set", [GENERATION]),
    "key-in-frozenset": P4.call("builtins:frozenset", [P4.tuple_of(GENERATION)]),
    "key-in-ordered": P4.call("collections:OrderedDict", [(GENERATION, 1)]),
    "key-in-pairs": P4.call("builtins:dict", [P4.list_of(GENERATION, 1)]),
    "key-time-zone": keyed(P4.call("datetime:datetime", MOMENT, ZONE)),
    "key-category": keyed(made("pandas.core.dtypes.dtypes:CategoricalDtype", {"categories": None, "ordered": TABLE})),
    "key-version": keyed(
        made("packaging.version:Version", {"_version": None, "_key": (0, (GENERATION,), "a", "b", "c", "d")})
    ),
    "index-name": P4.call(
        "pandas.core.indexes.base:_new_Index",
        P4.name("pandas", "Index"),
        {"data": array(OBJECT, [1]), "name": GENERATION},
    ),
    "index-names": P4.call(
        "pandas.core.indexes.base:_new_Index",
        P4.name("pandas", "MultiIndex"),
        {"levels": [], "codes": [], "names": layer(_modules=holder(values=FUNCTION))},
    ),
    "index-values": index(array(OBJECT, [GENERATION])),
    "index-values-of-wrapper": index(wrapped(array(OBJECT, [GENERATION]))),
    "index-values-of-array": index(
        made("pandas.core.arrays.integer:IntegerArray", {"_data": holder(dtype=GENERATION), "_mask": None})
    ),
    "series-name": made("pandas.core.series:Series", {"_name": GENERATION, "_typ": "series"}),
    "offset-words": made("pandas:DateOffset", {"offset": 1, "kwds": TABLE, "n": 1, "normalize": False}),
    # a state for an object that has one, which its class asks for methods
    "second-state": P4.build(
        made("transformers.tokenization_utils_fast:PreTrainedTokenizerFast", {"_special_tokens_map": {}}), {"x": 1}
    ),
    # classes that read files, evaluate text or reach a network when whoever finds them calls them
    "class-stored": P4.list_of(CLASS),
    "class-stored-as-method": layer(forward=CLASS),
    "class-of-model-stored": layer(norm=P4.name("transformers.models.bert.modeling_bert", "BertModel")),
    "class-of-process-stored": layer(norm=P4.name("accelerate.state", "PartialState")),
    "class-of-file-stored": P4.list_of(P4.name("numpy", "memmap")),
}


def samples() -> list[Sample]:
    """Return a file for each abuse."""
    return [Sample(f"hooks/{name}.pkl", f"hooks-{name.partition('-')[0]}", _given(ABUSES[name])) for name in ABUSES]


def _given(body: Ops) -> Callable[[], bytes]:
    return lambda: stream(body)


def stream(body: Ops) -> bytes:
    """Return a whole pickle; without a frame, as joblib takes an array from behind the frame that is open."""
    return P4.stream(body, framed=False)
