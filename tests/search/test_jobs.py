"""What a worker does with a job: every result on disk first, rounds chosen by the other folds."""

from collections.abc import Callable
from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest

from foldsmith.problem.contract import Problem, open_problem
from foldsmith.problem.scoring import score_oof
from foldsmith.results.members import Member, MemberStore
from foldsmith.search.cgroups import CgroupLimits
from foldsmith.search.driver import Driver
from foldsmith.search.executors.inline import InlineExecutor
from foldsmith.search.jobs import Job, JobResult, Workbench, room_for_cache
from foldsmith.search.options import SearchOptions
from foldsmith.search.pace import Clock
from foldsmith.search.rounds import chosen_round
from foldsmith.spaces import lightgbm
from foldsmith.spaces.family import Facts
from foldsmith.spaces.lightgbm import LightGBM


@pytest.fixture(autouse=True)
def _few_rounds(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lightgbm, "MAX_ROUNDS", 60)


def boosting_job(problem: Problem, member: str = "lgb-0001") -> Job:
    """A first fold of the family's first default."""
    MemberStore(problem.folder).path(member).mkdir(parents=True)
    record = Member(member, "trial", "running", problem.contract, "lightgbm", problem.metric.name)
    MemberStore(problem.folder).write(record)
    facts = Facts(problem.goal, problem.data.train.schema, problem.data.train.n_rows)
    return Job(member, "lightgbm", LightGBM().defaults(facts)[0], 0, model_seed=0)


def run(bench: Workbench, job: Job, *folds: int | None) -> JobResult:
    """Do the folds, or the finish (None); the last result."""
    for fold in folds:
        result = bench.run(replace(job, fold=fold))
        assert result.fault is None, result.fault
    return result


def test_rounds_come_from_the_other_folds_curves(problem: Problem) -> None:
    job, members = boosting_job(problem), MemberStore(problem.folder)
    bench = Workbench(problem.folder.root)
    result = run(bench, job, 2, 0, 1)
    assert [members.fold(job.member, 0, fold).state() for fold in range(3)] == ["fitted"] * 3
    assert result.provisional is not None

    result = run(bench, job, None)
    stores = [members.fold(job.member, 0, fold) for fold in range(3)]
    curves = [curve for store in stores if (curve := store.curve()) is not None]
    rounds = [chosen_round(curves, fold, greater_is_better=False) for fold in range(3)]
    member = members.get(job.member)
    assert member.details["rounds"] == rounds == [store.done()["round"] for store in stores]
    oof = members.oof(job.member)
    assert np.isfinite(oof).all()
    for fold, store in enumerate(stores):
        np.testing.assert_array_equal(oof[problem.plan.split(0, fold)[1]], store.valid())
    assert member.scores == result.scores == score_oof(problem.judge, oof)
    np.testing.assert_allclose(members.test(job.member), np.mean([store.test() for store in stores], axis=0), rtol=1e-6)


def test_another_process_finishes_what_one_has_fitted(problem: Problem) -> None:
    """Models come back from disk as they were in memory."""
    members, found = MemberStore(problem.folder), []
    for name, fresh in (("lgb-0001", False), ("lgb-0002", True)):
        job, bench = boosting_job(problem, name), Workbench(problem.folder.root)
        run(bench, job, 0, 1, 2)
        run(Workbench(problem.folder.root) if fresh else bench, job, None)
        found.append((members.oof(name), members.test(name)))
    np.testing.assert_allclose(found[0][0], found[1][0], atol=1e-6)
    np.testing.assert_allclose(found[0][1], found[1][1], atol=1e-6)


def test_few_models_are_kept_in_memory(problem: Problem) -> None:
    job, bench = boosting_job(problem), Workbench(problem.folder.root, n_recent=1)
    run(bench, job, 0, 1, 2, None)
    assert MemberStore(problem.folder).get(job.member).state == "complete"


@pytest.mark.parametrize(
    ("file", "state"), [("model.txt", "missing"), ("curve.npy", "missing"), ("valid.npy", "fitted")]
)
def test_harmed_files_are_made_again(
    problem: Problem, fits: Callable[[Problem], list[str]], file: str, state: str
) -> None:
    job, bench = boosting_job(problem), Workbench(problem.folder.root)
    before = run(bench, job, 0, 1, 2, None).scores
    store = MemberStore(problem.folder).fold(job.member, 0, 1)
    data = bytearray((store.path / file).read_bytes())
    data[-1] ^= 1
    (store.path / file).write_bytes(data)
    assert store.state(verify=True) == state
    again = run(Workbench(problem.folder.root), job, 0, 1, 2, None).scores
    assert again == before
    assert fits(problem).count("lgb-0001 0 1") == (2 if state == "missing" else 1)
    assert fits(problem).count("lgb-0001 0 0") == 1


def test_a_fold_that_cannot_be_stored_is_a_fault(problem: Problem, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    job = boosting_job(problem)
    monkeypatch.setattr("foldsmith.results.fold_store.FoldStore.save_fitted", full)
    fault = Workbench(problem.folder.root).run(job).fault
    assert fault is not None and fault.reason == "disk_full"
    assert "No space left" in fault.message and "Traceback" in fault.tail


def test_memory_that_is_not_there_is_a_fault(problem: Problem, monkeypatch: pytest.MonkeyPatch) -> None:
    def grab(*_: object) -> None:
        raise MemoryError("cannot allocate 1 TiB")

    job = boosting_job(problem)
    monkeypatch.setattr(LightGBM, "fit_fold", grab)
    fault = Workbench(problem.folder.root).run(job).fault
    assert fault is not None and fault.reason == "oom"


def test_a_fold_tells_the_peak_of_its_memory(problem: Problem) -> None:
    job, bench = boosting_job(problem), Workbench(problem.folder.root)
    run(bench, job, 0)
    peak = MemberStore(problem.folder).fold(job.member, 0, 0).fitted()["peak_bytes"]
    assert 20e6 < peak < 10e9


@pytest.mark.parametrize(("gib", "cores", "expected"), [(16, 2, 2.0), (24, 2, 3.0), (8, 8, 1.0), (512, 4, 4.0)])
def test_the_cache_has_its_part_of_a_cores_memory(
    monkeypatch: pytest.MonkeyPatch, gib: int, cores: int, expected: float
) -> None:
    monkeypatch.setattr("foldsmith.search.jobs.cgroup_limits", lambda: CgroupLimits(ram_bytes=gib << 30))
    monkeypatch.setattr("psutil.virtual_memory", lambda: SimpleNamespace(total=1 << 50))
    monkeypatch.setattr("os.cpu_count", lambda: cores)
    assert room_for_cache() == expected * 2**30


def test_labels() -> None:
    job = Job("lgb-0001", "lightgbm", {}, 1, 0)
    assert (job.label, job.key) == ("fold 2", ("lgb-0001", 1))
    assert replace(job, fold=None).label == "finish"


def test_rounds_that_the_scored_fold_chooses_itself_are_marked(problem: Problem) -> None:
    """The habit that ``cv-curve`` replaces: asked for in the config, told by the member and by its study's version."""
    config = problem.folder.config
    config.write_text(config.read_text().replace('stopping = "cv-curve"', 'stopping = "scored"'))
    problem = open_problem(problem.folder.root)
    Driver(problem, SearchOptions(("lightgbm", "knn"), 2), InlineExecutor(problem.folder.root), Clock()).run()
    members = MemberStore(problem.folder)
    boosted, other = members.get("lgb-0001"), members.get("knn-0001")
    assert (boosted.policy, other.policy) == ("scored", "fixed")
    assert boosted.space_version.endswith("+scored") and "+" not in other.space_version
    curves = [members.fold(boosted.id, 0, fold).curve() for fold in range(3)]
    assert boosted.details["rounds"] == [int(np.argmin(curve)) + 1 for curve in curves if curve is not None]


# A family of the user's own that is fitted once more on all rows.
REFITTED = '''
from dataclasses import dataclass

import numpy as np

from foldsmith.spaces.family import Family
from foldsmith.spaces.space import Float, Space


@dataclass
class Mean:
    """The train rows' mean target plus a share of their number: no two sets of rows predict alike."""

    level: float
    n_train: int
    curve = None
    facts = {"device": "cpu"}

    def predict(self, table, round=None):
        return np.full((table.n_rows, 1), self.level + self.n_train / 1000, np.float32)

    def save(self, folder):
        np.savez(folder / "mean.npz", level=self.level, n_train=self.n_train)


class Refitted(Family):
    name, prefix, refits = "refitted", "re", True

    def space(self, facts):
        return Space("refitted@1", {"shift": Float(0.0, 0.1)})

    def defaults(self, facts):
        return [{"shift": 0.0}]

    def fit_fold(self, task):
        return Mean(float(task.y[task.train_rows].mean()), len(task.train_rows))

    def load(self, folder):
        with np.load(folder / "mean.npz") as stored:
            return Mean(float(stored["level"]), int(stored["n_train"]))
'''


def refitted_job(problem: Problem) -> Job:
    problem.folder.code.mkdir(exist_ok=True)
    (problem.folder.code / "mine.py").write_text(REFITTED)
    MemberStore(problem.folder).path("re-0001").mkdir(parents=True)
    fingerprint = problem.data.test_fingerprint
    family, metric = "mine:Refitted", problem.metric.name
    member = Member("re-0001", "trial", "running", problem.contract, family, metric, test_fingerprint=fingerprint)
    MemberStore(problem.folder).write(member)
    return Job("re-0001", "mine:Refitted", {"shift": 0.0}, 0, model_seed=0)


def test_a_family_that_refits_predicts_folds_by_fold_models_and_test_by_one_of_all_rows(
    problem: Problem, fits: Callable[[Problem], list[str]]
) -> None:
    job, members, y = refitted_job(problem), MemberStore(problem.folder), problem.fit_y
    run(Workbench(problem.folder.root), job, 0, 1, 2, None)
    expected = np.zeros((60, 1), np.float32)
    for fold in range(3):
        train, valid = problem.plan.split(0, fold)
        expected[valid] = y[train].mean() + len(train) / 1000
        assert not (members.fold(job.member, 0, fold).path / "test.npy").exists()
    np.testing.assert_allclose(members.oof(job.member), expected, rtol=1e-6)
    np.testing.assert_allclose(members.test(job.member), np.full((12, 1), y.mean() + 0.06), rtol=1e-6)
    assert fits(problem) == ["re-0001 0 0", "re-0001 0 1", "re-0001 0 2", "re-0001 0 all"]
    assert len(members.get(job.member).details["fold_facts"]) == 4


def test_an_interrupted_refit_is_done_again_and_a_whole_one_never(
    problem: Problem, fits: Callable[[Problem], list[str]], monkeypatch: pytest.MonkeyPatch
) -> None:
    job, members = refitted_job(problem), MemberStore(problem.folder)
    run(Workbench(problem.folder.root), job, 0, 1, 2)

    def full(*_: object, **__: object) -> None:
        raise OSError(28, "No space left on device")

    store = members.refit(job.member, 0)
    with monkeypatch.context() as patch:
        patch.setattr("foldsmith.results.fold_store.FoldStore.save_fitted", full)
        assert Workbench(problem.folder.root).run(replace(job, fold=None)).fault is not None
    assert store.state() == "missing" and members.get(job.member).state == "running"
    with monkeypatch.context() as patch:
        patch.setattr("foldsmith.results.fold_store.FoldStore.save_done", full)
        assert Workbench(problem.folder.root).run(replace(job, fold=None)).fault is not None
    assert store.state() == "fitted"
    run(Workbench(problem.folder.root), job, None, None)
    assert store.state(verify=True) == "done" and members.get(job.member).state == "complete"
    assert fits(problem).count("re-0001 0 all") == 1


def test_a_stored_refit_predicts_another_test_file(problem: Problem, fits: Callable[[Problem], list[str]]) -> None:
    job, members = refitted_job(problem), MemberStore(problem.folder)
    run(Workbench(problem.folder.root), job, 0, 1, 2, None)
    test = problem.folder.root / "test.csv"
    lines = test.read_text().splitlines(keepends=True)
    test.write_text("".join(lines[:8]))
    run(Workbench(problem.folder.root), job, None)
    assert len(members.test(job.member)) == 7
    assert fits(problem).count("re-0001 0 all") == 1


def test_a_refit_leaves_the_holdout_alone(problem: Problem) -> None:
    bench = Workbench(problem.folder.root)
    holdout = np.arange(60) % 10 == 3
    bench.problem = replace(problem, plan=replace(problem.plan, holdout=holdout))
    job = refitted_job(problem)
    task = bench.refit_task(job)
    np.testing.assert_array_equal(task.train_rows, np.flatnonzero(~holdout))
    assert len(task.valid_rows) == 0
    assert task.seed not in {bench.fold_task(job, fold).seed for fold in range(3)}


def test_a_refitting_family_with_a_curve_is_refused(problem: Problem, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(LightGBM, "refits", True)
    fault = Workbench(problem.folder.root).run(boosting_job(problem)).fault
    assert fault is not None
    assert "lightgbm refits on all rows but chooses its rounds by curves (cv-curve)" in fault.message
