"""What a worker does with a job: every result on disk first, rounds chosen by the other folds."""

from collections.abc import Callable
from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest

from foldsmith.problem.contract import Problem
from foldsmith.problem.scoring import score_oof
from foldsmith.results.members import Member, MemberStore
from foldsmith.search.cgroups import CgroupLimits
from foldsmith.search.jobs import Job, JobResult, Workbench, room_for_cache
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
