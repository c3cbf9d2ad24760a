"""A competition with a LightGBM family whose trials all cost the same: throughput is comparable between runs."""

from pathlib import Path

FAMILY = "steady:Steady"

CODE = '''
"""LightGBM with a fixed size; only a penalty is searched."""

from foldsmith.spaces.family import Resources
from foldsmith.spaces.lightgbm import LightGBM
from foldsmith.spaces.space import Float, Space


class Steady(LightGBM):
    name = "steady:Steady"
    prefix = "st"
    stopping = "fixed"

    def space(self, facts):
        return Space("steady@1", {"lambda_l2": Float(0.0, 1.0)})

    def defaults(self, facts):
        return [{"lambda_l2": 0.0}]

    def resources(self, facts, params):
        return Resources()

    def fit_fold(self, task):
        import lightgbm

        X, y = task.table.take(task.train_rows).numeric, task.y[task.train_rows]
        params = {"objective": "binary", "num_leaves": 31, "num_threads": task.threads, "verbosity": -1}
        model = lightgbm.train({**params, **task.params}, lightgbm.Dataset(X, y, free_raw_data=True), ROUNDS)
        return Fitted(model)

    def load(self, folder):
        import lightgbm

        return Fitted(lightgbm.Booster(model_file=folder / "model.txt"))


ROUNDS = 60


class Fitted:
    curve = None

    def __init__(self, model):
        self.model, self.facts = model, {"device": "cpu"}

    def predict(self, table, round=None):
        return self.model.predict(table.numeric, num_threads=1)[:, None].astype("float32")

    def save(self, folder):
        self.model.save_model(folder / "model.txt")
'''


def add_steady(root: Path) -> None:
    """Put the family into the competition's ``code/``."""
    (root / "code" / "steady.py").write_text(CODE)
