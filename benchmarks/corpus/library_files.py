# mypy: ignore-errors
# The libraries are installed where the corpus is built, not where the project is checked.
"""Ordinary files of smaller libraries: around scikit-learn, for texts, studies, settings, agents and regressions."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import numpy as np

from .sklearn_files import TEXTS, data
from .writer import Corpus


def build(corpus: Corpus) -> None:
    """Write what every library that is installed keeps; a missing one leaves a note."""
    models = (balanced, encoders, detectors, sequences, words, stemmed, regressions, trees)
    for part in (*models, studies, settings, agents, plain):
        with corpus.optional(part.__name__):
            part(corpus)


def save(corpus: Corpus, folder: str, makers: dict[str, Callable[[], Any]]) -> None:
    """Write each value pickled and with joblib."""
    import joblib

    for name, make in makers.items():
        with corpus.optional(f"{folder} {name}"):
            value = make()
            corpus.pickle(f"libraries/{folder}/{name}", value, (2, 4, 5))
            joblib.dump(value, corpus.path(f"libraries/{folder}/{name}.joblib"))


def balanced(corpus: Corpus) -> None:
    """Write pipelines and ensembles of imbalanced-learn, and estimators of mlxtend."""
    import imblearn.ensemble as ensembles
    import imblearn.over_sampling as over
    from imblearn.pipeline import Pipeline
    from sklearn.linear_model import LogisticRegression

    rows, _, _ = data()
    classes = (np.arange(20) < 7).astype(int)
    pipeline = Pipeline([("sample", over.SMOTE(k_neighbors=2)), ("model", LogisticRegression())])
    makers: dict[str, Callable[[], Any]] = {
        "pipeline": lambda: pipeline.fit(rows, classes),
        "forest": lambda: ensembles.BalancedRandomForestClassifier(3).fit(rows, classes),
        "sampler": lambda: over.ADASYN(),
    }
    save(corpus, "imblearn", makers)


def encoders(corpus: Corpus) -> None:
    """Write encoders of categories and transformers of frames."""
    import category_encoders
    import pandas as pd

    frame = pd.DataFrame({"city": ["a", "b", "c", "a"] * 5, "size": np.arange(20.0)})
    classes = np.arange(20) % 2
    for name in ("TargetEncoder", "OrdinalEncoder", "WOEEncoder", "BinaryEncoder", "CountEncoder", "HashingEncoder"):
        kind = getattr(category_encoders, name)
        save(corpus, "category_encoders", {name: lambda kind=kind: kind(cols=["city"]).fit(frame, classes)})
    import feature_engine.encoding as encoding
    import feature_engine.imputation as imputation

    save(corpus, "feature_engine", {"median": lambda: imputation.MeanMedianImputer().fit(frame[["size"]])})
    save(corpus, "feature_engine", {"one_hot": lambda: encoding.OneHotEncoder().fit(frame)})


def detectors(corpus: Corpus) -> None:
    """Write detectors of pyod."""
    from pyod.models import copod, ecod, iforest, knn, pca

    rows, _, _ = data()
    for kind in (ecod.ECOD, copod.COPOD, iforest.IForest, knn.KNN, pca.PCA):
        save(corpus, "pyod", {kind.__name__: lambda kind=kind: kind().fit(rows)})


def sequences(corpus: Corpus) -> None:
    """Write hidden Markov models."""
    from hmmlearn import hmm

    rows, classes, _ = data()
    save(corpus, "hmmlearn", {"gaussian": lambda: hmm.GaussianHMM(2, n_iter=2).fit(rows)})
    save(corpus, "hmmlearn", {"categorical": lambda: hmm.CategoricalHMM(2, n_iter=2).fit(classes.reshape(-1, 1))})


def words(corpus: Corpus) -> None:
    """Write models of gensim, pickled and as they save themselves."""
    from gensim.corpora import Dictionary
    from gensim.models import FastText, LdaModel, Phrases, TfidfModel, Word2Vec

    sentences = [text.split() for text in TEXTS]
    table = Dictionary(sentences)
    bags = [table.doc2bow(sentence) for sentence in sentences]
    few: dict[str, Any] = {"vector_size": 4, "min_count": 1, "workers": 1, "epochs": 1}
    makers: dict[str, Callable[[], Any]] = {
        "word2vec": lambda: Word2Vec(sentences, **few),
        "fasttext": lambda: FastText(sentences, bucket=20, **few),
        "lda": lambda: LdaModel(bags, 2, table, passes=1),
        "tfidf": lambda: TfidfModel(bags),
        "phrases": lambda: Phrases(sentences, min_count=1, threshold=0.1),
        "dictionary": lambda: table,
    }
    save(corpus, "gensim", makers)
    for name, make in makers.items():
        make().save(str(corpus.path(f"libraries/gensim/{name}.model")))


def stemmed(corpus: Corpus) -> None:
    """Write classifiers, stemmers and counts of nltk."""
    import nltk
    from nltk.stem import LancasterStemmer, PorterStemmer

    labelled = [({"a": 1}, "x"), ({"a": 2}, "y")]
    makers: dict[str, Callable[[], Any]] = {
        "bayes": lambda: nltk.NaiveBayesClassifier.train(labelled),
        "porter": PorterStemmer,
        "lancaster": LancasterStemmer,
        "counts": lambda: nltk.FreqDist("abca"),
        "tagger": lambda: nltk.UnigramTagger([[("a", "DT"), ("dog", "NN")]]),
        "tree": lambda: nltk.Tree("S", ["a", nltk.Tree("NP", ["b"])]),
    }
    save(corpus, "nltk", makers)


def studies(corpus: Corpus) -> None:
    """Write a study of optuna and its trials."""
    import optuna

    optuna.logging.set_verbosity(optuna.logging.ERROR)
    study = optuna.create_study(sampler=optuna.samplers.TPESampler(seed=0))
    study.optimize(lambda trial: trial.suggest_float("x", 0, 1) + trial.suggest_int("n", 1, 3), 4)
    save(corpus, "optuna", {"study": lambda: study, "trials": lambda: study.trials, "best": lambda: study.best_trial})


def settings(corpus: Corpus) -> None:
    """Write configurations of omegaconf and ml_collections."""
    from omegaconf import OmegaConf

    config = OmegaConf.create({"model": {"name": "x", "layers": [1, 2], "path": "${model.name}/y"}, "seed": None})
    save(corpus, "omegaconf", {"dict": lambda: config, "list": lambda: OmegaConf.create([1, {"a": 2}])})
    import ml_collections

    save(corpus, "ml_collections", {"config": lambda: ml_collections.ConfigDict({"a": 1, "b": {"c": [1]}})})


def agents(corpus: Corpus) -> None:
    """Write spaces of gymnasium and an agent of stable-baselines3."""
    from gymnasium import spaces

    box = spaces.Box(0, 1, (2,))
    save(corpus, "gymnasium", {"spaces": lambda: spaces.Dict({"a": box, "b": spaces.MultiDiscrete([2, 3])})})
    import stable_baselines3

    agent = stable_baselines3.PPO("MlpPolicy", "CartPole-v1", n_steps=8, batch_size=8, policy_kwargs={"net_arch": [4]})
    agent.save(corpus.path("libraries/stable_baselines3/ppo.zip"))


def regressions(corpus: Corpus) -> None:
    """Write results of statsmodels that were not made of a formula, which loading evaluates."""
    import statsmodels.api as sm

    rows, classes, values = data()
    makers: dict[str, Callable[[], Any]] = {
        "ols": lambda: sm.OLS(values, sm.add_constant(rows)).fit(),
        "glm": lambda: sm.GLM(classes, rows, family=sm.families.Binomial()).fit(),
        "autoregression": lambda: sm.tsa.AutoReg(values, 1).fit(),
    }
    save(corpus, "statsmodels", makers)


def plain(corpus: Corpus) -> None:
    """Write plain data with dill, and frames whose texts are columns of Arrow."""
    import dill

    for protocol in (2, 4, 5):
        value = {"rows": np.zeros((2, 3)), "names": ["a", "b"], "slice": slice(1, 2), "type": int}
        corpus.path(f"libraries/dill/plain-p{protocol}.pkl").write_bytes(dill.dumps(value, protocol))
    import pandas as pd
    import pyarrow as pa

    column = pd.arrays.ArrowStringArray(pa.array(["a", None, "c"], pa.large_string()))
    frame = pd.DataFrame({"text": column, "number": [1, 2, 3]})
    save(corpus, "arrow", {"frame": lambda: frame, "index": lambda: pd.Index(column), "table": lambda: pa.table(frame)})


def trees(corpus: Corpus) -> None:
    """Write boosted trees in the forms of their own libraries."""
    import lightgbm
    import xgboost

    rows, classes, _ = data()
    booster = xgboost.XGBClassifier(n_estimators=2).fit(rows, classes)
    for ending in ("ubj", "json"):
        booster.save_model(corpus.path(f"libraries/xgboost/model.{ending}"))
    model = lightgbm.LGBMClassifier(n_estimators=2, min_child_samples=2, verbose=-1).fit(rows, classes)
    model.booster_.save_model(corpus.path("libraries/lightgbm/model.txt"))
    corpus.path("libraries/lightgbm/model.json").write_text(json.dumps(model.booster_.dump_model()), encoding="utf-8")
