"""A competition whose folds cost next to nothing, so that what is left is the engine's own cost."""

from pathlib import Path

import numpy as np

FAMILY = "noop:NoOp"
N_FOLDS = 5

# The scores depend on the parameters: a sampler that sees only ties would do less work than in a real search.
CODE = '''
"""A weighted sum of two columns: its fit does nothing."""

import json

import numpy as np

from foldsmith.spaces.family import Family, Resources
from foldsmith.spaces.space import Float, Space


class Fitted:
    curve = None

    def __init__(self, params):
        self.params, self.facts = params, {"device": "cpu"}

    def predict(self, table, round=None):
        X = table.numeric
        score = self.params["x0"] * X[:, 0] + self.params["x1"] * X[:, 1]
        return (1 / (1 + np.exp(-score)))[:, None].astype(np.float32)

    def save(self, folder):
        (folder / "params.json").write_text(json.dumps(dict(self.params)))


class NoOp(Family):
    name = "noop:NoOp"
    prefix = "no"

    def space(self, facts):
        return Space("noop@1", {f"x{number}": Float(-1.0, 1.0) for number in range(8)})

    def defaults(self, facts):
        return [{f"x{number}": 0.0 for number in range(8)}]

    def resources(self, facts, params):
        return Resources()

    def fit_fold(self, task):
        return Fitted(task.params)

    def load(self, folder):
        return Fitted(json.loads((folder / "params.json").read_text()))
'''


def make_noop(root: Path, *, n_rows: int = 200, n_test: int = 50, seed: int = 0) -> Path:
    """Set up the competition in ``root``, folds frozen and the family in ``code/``; returns ``root``.

    Args:
        n_rows: of the train file, with four numeric columns.
    """
    import pandas as pd

    from foldsmith.flow.setup import SetupRequest, init
    from foldsmith.problem.contract import open_problem

    random = np.random.default_rng(seed)
    X = random.normal(size=(n_rows + n_test, 4)).round(3)
    frame = pd.DataFrame(X, columns=[f"c{number}" for number in range(4)])
    frame.insert(0, "id", range(len(frame)))
    y = (X[:, 0] + 0.5 * X[:, 1] + random.normal(size=len(X)) > 0).astype(int)
    data = root.with_name(f"{root.name}-data")
    data.mkdir(parents=True)
    frame.assign(y=y)[:n_rows].to_csv(data / "train.csv", index=False)
    frame[n_rows:].to_csv(data / "test.csv", index=False)
    request = SetupRequest(data / "train.csv", data / "test.csv", "y", id="id", metric="auc", n_folds=N_FOLDS)
    init(root, request)
    (root / "code").mkdir(exist_ok=True)
    (root / "code" / "noop.py").write_text(CODE)
    open_problem(root, freeze=True)
    return root
