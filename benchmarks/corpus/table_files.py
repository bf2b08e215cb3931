# mypy: ignore-errors
# The libraries are installed where the corpus is built, not where the project is checked.
"""Ordinary pandas objects and boosted trees."""

from __future__ import annotations

from typing import Any

import numpy as np

from .sklearn_files import data
from .writer import Corpus


def frames() -> dict[str, object]:
    """Return one pandas object of every dtype and index."""
    import pandas as pd

    times = pd.date_range("2024-01-01", periods=3, freq="D")
    zoned = times.tz_localize("UTC")
    mixed = pd.DataFrame(
        {"i": [1, 2, 3], "f": [0.5, 1.5, None], "b": [True, False, True], "s": ["a", "b", None], "t": times}
    )
    nullable = mixed.convert_dtypes()
    return {
        "frame": mixed,
        "frame_nullable": nullable,
        "frame_empty": pd.DataFrame(),
        "frame_multiindex": pd.DataFrame(
            {"x": [1, 2]}, index=pd.MultiIndex.from_tuples([("a", 1), ("b", 2)], names=["k", "n"])
        ),
        "frame_columns": pd.DataFrame(np.zeros((2, 4)), columns=pd.MultiIndex.from_product([["a", "b"], ["x", "y"]])),
        "frame_sparse": pd.DataFrame({"x": pd.arrays.SparseArray([0, 0, 1])}),
        "frame_attrs": mixed.copy(),
        "series": pd.Series([1.0, 2.0], name="y", index=["a", "b"]),
        "series_category": pd.Series(["a", "b", "a"], dtype="category"),
        "series_ordered": pd.Series(pd.Categorical(["low", "high"], categories=["low", "high"], ordered=True)),
        "series_dtypes": [
            pd.Series([1, 2], dtype=kind)
            for kind in ["int8", "int16", "int32", "uint8", "uint64", "float32", "complex128", "bool", "object"]
        ],
        "series_nullable": [
            pd.Series([1, None], dtype=kind)
            for kind in ["Int8", "Int32", "Int64", "UInt8", "Float32", "Float64", "boolean"]
        ],
        "series_string": [
            pd.Series(["a", None], dtype="string"),
            pd.Series(["a"], dtype="str"),
            pd.Series(["a"], dtype=object),
        ],
        "series_zoned": pd.Series(zoned),
        "series_period": pd.Series(pd.period_range("2024-01", periods=3, freq="M")),
        "series_interval": pd.Series(pd.interval_range(0, 3)),
        "series_timedelta": pd.Series(pd.to_timedelta(["1D", "2h"])),
        "indexes": [pd.RangeIndex(3), pd.Index([1, 2]), pd.Index(["a"]), times, zoned, pd.CategoricalIndex(["a"])],
        "more_indexes": [
            pd.interval_range(0, 2),
            pd.period_range("2024", periods=2, freq="Y"),
            pd.to_timedelta(["1D"]),
        ],
        "float_indexes": [pd.Index([0.5]), pd.Index([1], dtype="uint8"), pd.Index([True]), pd.Index([(1, 2), (3, 4)])],
        "scalars": [
            pd.Timestamp("2024-01-01"),
            pd.Timedelta("1D"),
            pd.Period("2024-01", "M"),
            pd.Interval(0, 1),
            pd.NaT,
            pd.NA,
        ],
        "zoned_scalars": [pd.Timestamp("2024-01-01", tz="UTC"), pd.Timestamp("2024-01-01", tz="Europe/Paris")],
        "dtypes": [
            pd.CategoricalDtype(["a"]),
            pd.DatetimeTZDtype(tz="UTC"),
            pd.PeriodDtype("D"),
            pd.IntervalDtype("int64"),
            pd.Int64Dtype(),
        ],
        "offsets": [
            pd.offsets.Day(2),
            pd.offsets.MonthEnd(),
            pd.offsets.BusinessDay(),
            pd.offsets.Hour(1),
            pd.DateOffset(months=1),
        ],
        "dict": {"train": mixed, "labels": pd.Series([0, 1, 1]), "classes": pd.Index(["a", "b"])},
    }


def build_pandas(corpus: Corpus) -> None:
    """Write every pandas object pickled, one frame compressed, and one with joblib."""
    import joblib

    found = frames()
    for name, value in found.items():
        corpus.pickle(f"pandas/{name}", value, (2, 4, 5))
    frame: Any = found["frame"]
    for suffix in ("pkl.gz", "pkl.bz2", "pkl.xz", "pkl.zip", "pkl.tar"):
        frame.to_pickle(corpus.path(f"pandas/frame.{suffix}"))
    joblib.dump(found["dict"], corpus.path("pandas/dict.joblib"))


def save(corpus: Corpus, folder: str, models: dict[str, Any]) -> None:
    """Write each model pickled and with joblib."""
    import joblib

    for name, model in models.items():
        corpus.pickle(f"{folder}/{name}", model, (2, 4, 5))
        joblib.dump(model, corpus.path(f"{folder}/{name}.joblib"))


def build_xgboost(corpus: Corpus) -> None:
    """Write xgboost's scikit-learn wrappers and its booster."""
    import xgboost

    rows, classes, values = data()
    few: dict[str, Any] = {"n_estimators": 3, "max_depth": 2, "n_jobs": 1}
    models = {
        "classifier": xgboost.XGBClassifier(**few).fit(rows, classes),
        "multiclass": xgboost.XGBClassifier(**few).fit(rows, np.arange(20) % 3),
        "regressor": xgboost.XGBRegressor(**few).fit(rows, values),
        "forest_classifier": xgboost.XGBRFClassifier(**few).fit(rows, classes),
        "forest_regressor": xgboost.XGBRFRegressor(**few).fit(rows, values),
        "ranker": xgboost.XGBRanker(**few).fit(rows, classes, qid=np.arange(20) // 5),
        "unfitted": xgboost.XGBClassifier(),
        "validated": xgboost.XGBClassifier(**few).fit(rows, classes, eval_set=[(rows, classes)], verbose=False),
    }
    save(corpus, "xgboost", models | {"booster": models["classifier"].get_booster()})


def build_lightgbm(corpus: Corpus) -> None:
    """Write lightgbm's scikit-learn wrappers and its booster."""
    import lightgbm

    rows, classes, values = data()
    few: dict[str, Any] = {"n_estimators": 3, "min_child_samples": 2, "verbose": -1, "n_jobs": 1}
    models = {
        "classifier": lightgbm.LGBMClassifier(**few).fit(rows, classes),
        "regressor": lightgbm.LGBMRegressor(**few).fit(rows, values),
        "ranker": lightgbm.LGBMRanker(**few).fit(rows, classes, group=[10, 10]),
        "unfitted": lightgbm.LGBMClassifier(),
        "validated": lightgbm.LGBMClassifier(**few).fit(rows, classes, eval_set=[(rows, classes)]),
    }
    save(corpus, "lightgbm", models | {"booster": models["classifier"].booster_})


def build_catboost(corpus: Corpus) -> None:
    """Write catboost's models."""
    import catboost

    rows, classes, values = data()
    few: dict[str, Any] = {
        "iterations": 3,
        "depth": 2,
        "verbose": False,
        "allow_writing_files": False,
        "thread_count": 1,
    }
    models = {
        "classifier": catboost.CatBoostClassifier(**few).fit(rows, classes),
        "regressor": catboost.CatBoostRegressor(**few).fit(rows, values),
        "model": catboost.CatBoost(few).fit(rows, values),
        "unfitted": catboost.CatBoostClassifier(**few),
    }
    save(corpus, "catboost", models)
