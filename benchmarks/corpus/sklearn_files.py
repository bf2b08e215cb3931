# mypy: ignore-errors
# The libraries are installed where the corpus is built, not where the project is checked.
"""Ordinary scikit-learn and joblib files: every estimator that can be fitted on tiny data, pipelines and searches."""

from __future__ import annotations

import inspect
import warnings
from collections.abc import Callable
from typing import Any

import joblib
import numpy as np
import scipy.sparse
import sklearn
from sklearn import (
    compose,
    ensemble,
    feature_extraction,
    gaussian_process,
    linear_model,
    metrics,
    model_selection,
    neighbors,
    pipeline,
    preprocessing,
    svm,
    tree,
)
from sklearn.utils import all_estimators

from .writer import UNSAVED, Corpus

TEXTS = ["a first text", "the second text", "third text here", "and a last one"] * 5
COMPRESSORS = ("zlib", "gzip", "bz2", "xz", "lzma", "lz4")
# constructor arguments for those that cannot be made, or take long, without
ARGUMENTS: dict[str, dict[str, Any]] = {
    "TSNE": {"perplexity": 3, "max_iter": 250},
    "LatentDirichletAllocation": {"max_iter": 1},
    "MLPClassifier": {"max_iter": 3},
    "MLPRegressor": {"max_iter": 3},
    "DictionaryLearning": {"max_iter": 2, "n_components": 2},
    "MiniBatchDictionaryLearning": {"max_iter": 2, "n_components": 2},
    "SequentialFeatureSelector": {"n_features_to_select": 1, "cv": 2},
    "SparseRandomProjection": {"n_components": 2},
    "GaussianRandomProjection": {"n_components": 2},
    "RandomForestClassifier": {"n_estimators": 3},
    "SelectKBest": {"k": 2},
    "GenericUnivariateSelect": {},
    "FrozenEstimator": {"estimator": linear_model.LinearRegression().fit([[0.0], [1.0]], [0, 1])},
    "SelfTrainingClassifier": {"estimator": linear_model.LogisticRegression()},
    "LocalOutlierFactor": {"novelty": True},
}
# parameters that take parts, and small ones for them
PARTS: dict[str, Callable[[], Any]] = {
    "param_grid": dict,
    "param_distributions": dict,
    "transformers": list,
    "transformer_list": lambda: [("scale", preprocessing.StandardScaler())],
    "steps": lambda: [("scale", preprocessing.StandardScaler()), ("model", linear_model.Ridge())],
    "dictionary": lambda: np.eye(4),
}
FORESTS = [
    "ExtraTreesClassifier",
    "ExtraTreesRegressor",
    "RandomForestRegressor",
    "RandomTreesEmbedding",
    "IsolationForest",
    "GradientBoostingClassifier",
    "GradientBoostingRegressor",
    "AdaBoostClassifier",
    "AdaBoostRegressor",
    "BaggingClassifier",
    "BaggingRegressor",
]


def data() -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return 20 positive rows of 4 features, their classes and their values."""
    random = np.random.default_rng(0)
    rows = random.random((20, 4)) + 0.1
    return rows, np.arange(20) % 2, rows.sum(axis=1)


def make(name: str, kind: type) -> Any:
    """Return an unfitted estimator, with inner estimators where it needs them."""
    arguments = dict(ARGUMENTS.get(name, {}))
    if name in FORESTS:
        arguments["n_estimators"] = 3
    parameters = inspect.signature(kind.__init__).parameters
    inner: Any = (
        linear_model.Ridge() if "Regressor" in name or "Transformed" in name else linear_model.LogisticRegression()
    )
    for parameter in ("estimator", "base_estimator"):
        if parameter in parameters and parameters[parameter].default is inspect.Parameter.empty:
            arguments[parameter] = inner
    if "estimators" in parameters:
        arguments["estimators"] = [
            ("a", inner),
            ("b", tree.DecisionTreeRegressor() if "Regressor" in name else svm.SVC()),
        ]
    for parameter in set(PARTS) & set(parameters):
        arguments[parameter] = PARTS[parameter]()
    return kind(**arguments)


def fit(estimator: Any, name: str) -> Any:
    """Fit on whatever of the tiny data the estimator takes."""
    rows, classes, values = data()
    for arguments in (
        (rows, classes),
        (rows, values),
        (rows,),
        (rows[:, 0], values),
        (classes,),
        (np.column_stack([classes, 1 - classes]),),
        (rows, np.column_stack([classes, 1 - classes])),
        (rows, np.column_stack([values, values])),
        (TEXTS,),
        ([{"a": 1, "b": 2.0}] * 4,),
        (rows @ rows.T, classes),
        (rows, np.where(np.arange(20) < 16, classes, -1)),
    ):
        try:
            return sklearn.clone(estimator).fit(*arguments)
        except UNSAVED:
            continue
    raise ValueError(f"{name} fits none of the data")


def build(corpus: Corpus) -> None:
    """Write every estimator pickled and with joblib, then the compositions and the compressors."""
    warnings.simplefilter("ignore")
    for name, kind in all_estimators():
        with corpus.optional(f"sklearn {name}"):
            estimator = make(name, kind)
            corpus.pickle(f"sklearn/unfitted/{name}", estimator, (2,))
            fitted = fit(estimator, name)
            corpus.pickle(f"sklearn/{name}", fitted, (4,))
            joblib.dump(fitted, corpus.path(f"sklearn/{name}.joblib"))
    compositions(corpus)
    variants(corpus)
    arrays(corpus)


def compositions(corpus: Corpus) -> None:
    """Write pipelines, column transformers and searches."""
    rows, classes, _ = data()
    scaled = pipeline.make_pipeline(preprocessing.StandardScaler(), linear_model.LogisticRegression()).fit(
        rows, classes
    )
    text = pipeline.make_pipeline(feature_extraction.text.TfidfVectorizer(), linear_model.SGDClassifier())
    columns = compose.ColumnTransformer(
        [("scale", preprocessing.StandardScaler(), [0, 1]), ("keep", "passthrough", slice(2, 3))], remainder="drop"
    )
    search = model_selection.GridSearchCV(
        svm.SVC(), {"C": [1, 2], "kernel": ["rbf", "linear"]}, cv=2, scoring="accuracy"
    )
    chance = model_selection.RandomizedSearchCV(
        ensemble.RandomForestClassifier(3), {"max_depth": scipy.stats.randint(1, 4)}, n_iter=2, cv=2, random_state=0
    )
    function = preprocessing.FunctionTransformer(np.log1p, inverse_func=np.expm1)
    files = {
        "pipeline": scaled,
        "pipeline_text": text.fit(TEXTS, [0, 1, 0, 1] * 5),
        "column_transformer": pipeline.make_pipeline(columns, ensemble.RandomForestClassifier(3)).fit(rows, classes),
        "grid_search": search.fit(rows, classes),
        "random_search": chance.fit(rows, classes),
        "function_transformer": function.fit(rows),
        "scorer": metrics.make_scorer(metrics.f1_score, average="macro"),
        "splits": [model_selection.KFold(3), model_selection.StratifiedKFold(3, shuffle=True, random_state=1)],
        "list_of_models": [
            tree.DecisionTreeClassifier().fit(rows, classes),
            {"scaler": preprocessing.MinMaxScaler().fit(rows)},
        ],
    }
    for name, value in files.items():
        corpus.pickle(f"sklearn/composed/{name}", value, (2, 3, 4, 5))
        joblib.dump(value, corpus.path(f"sklearn/composed/{name}.joblib"))


def variants(corpus: Corpus) -> None:
    """Write estimators with the kernels, losses, metrics and trees that keep compiled objects."""
    rows, classes, values = data()
    kernels = gaussian_process.kernels
    kernel = kernels.ConstantKernel() * kernels.RBF() + kernels.WhiteKernel() + kernels.Matern() ** 2
    made: dict[str, Any] = {"gaussian_process": gaussian_process.GaussianProcessRegressor(kernel).fit(rows, values)}
    for loss in ("squared_error", "absolute_error", "gamma", "poisson", "quantile"):
        booster = ensemble.HistGradientBoostingRegressor(
            loss=loss, quantile=0.5 if loss == "quantile" else None, max_iter=3
        )
        made[f"hist_{loss}"] = booster.fit(rows, values)
        if loss in ("squared_error", "absolute_error", "quantile"):
            made[f"boosting_{loss}"] = ensemble.GradientBoostingRegressor(loss=loss, n_estimators=3).fit(rows, values)
    made["hist_categories"] = ensemble.HistGradientBoostingClassifier(
        max_iter=3, categorical_features=[3], early_stopping=True, validation_fraction=0.3
    ).fit(np.column_stack([rows[:, :3], classes]), np.arange(20) % 3)
    for loss in ("hinge", "log_loss", "modified_huber", "squared_hinge", "perceptron"):
        made[f"sgd_{loss}"] = linear_model.SGDClassifier(loss=loss).fit(rows, classes)
    for loss in ("huber", "epsilon_insensitive", "squared_epsilon_insensitive"):
        made[f"sgd_{loss}"] = linear_model.SGDRegressor(loss=loss).fit(rows, values)
    for metric in ("euclidean", "manhattan", "chebyshev", "minkowski", "canberra", "braycurtis", "hamming"):
        made[f"neighbors_{metric}"] = neighbors.KNeighborsClassifier(3, metric=metric, algorithm="ball_tree").fit(
            rows, classes
        )
    for algorithm in ("kd_tree", "ball_tree", "brute"):
        made[f"neighbors_{algorithm}"] = neighbors.NearestNeighbors(algorithm=algorithm).fit(rows)
    for estimator in (svm.SVC(probability=False), svm.NuSVC(), svm.LinearSVC(), svm.OneClassSVM()):
        made[f"svm_{type(estimator).__name__}_sparse"] = estimator.fit(scipy.sparse.csr_matrix(rows), classes)
    made["words"] = preprocessing.OneHotEncoder().fit(np.array([["a"], ["b"]], dtype=object))
    made["labels"] = preprocessing.LabelEncoder().fit(["x", "y"])
    for name, value in made.items():
        corpus.pickle(f"sklearn/variants/{name}", value, (4,))
        joblib.dump(value, corpus.path(f"sklearn/variants/{name}.joblib"), compress=3)


def arrays(corpus: Corpus) -> None:
    """Write joblib files of arrays and models with each compressor and each protocol."""
    rows, classes, _ = data()
    forest = ensemble.RandomForestClassifier(3).fit(rows, classes)
    value = {
        "rows": rows,
        "fortran": np.asfortranarray(rows),
        "objects": np.array([1, "a", None], dtype=object),
        "version": sklearn.__version__,
    }
    joblib.dump(value, corpus.path("joblib/value.joblib"))
    joblib.dump(rows, corpus.path("joblib/rows.joblib"))
    joblib.dump(
        [np.zeros((0, 3)), np.array(1.0), np.zeros(3, "U5"), np.zeros(2, [("a", "i4")])],
        corpus.path("joblib/kinds.joblib"),
    )
    joblib.dump(
        [np.asmatrix(rows), np.ma.masked_array(rows), scipy.sparse.eye(3).tocsr()],
        corpus.path("joblib/subclasses.joblib"),
    )
    for name in COMPRESSORS:
        with corpus.optional(f"joblib {name}"):
            joblib.dump(value, corpus.path(f"joblib/value.{name}"), compress=(name, 3))
            joblib.dump(forest, corpus.path(f"joblib/forest.{name}"), compress=(name, 3))
    for protocol in range(2, 6):
        joblib.dump(value, corpus.path(f"joblib/value-p{protocol}.joblib"), protocol=protocol)
