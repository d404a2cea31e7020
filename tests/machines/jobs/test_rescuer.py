"""The rescuer requeues the jobs of workers without a heartbeat, but not for ever."""

import asyncio
from dataclasses import dataclass, field

import pytest
from app.jobs import worker
from app.settings import settings


@dataclass
class StalledJob:
    attempts: int
    id: int = 1
    task_name: str = "make_report"
    task_kwargs: dict[str, int] = field(default_factory=dict)


@dataclass
class Jobs:
    """Stands in for procrastinate's job manager: it has stalled jobs, and notes their end."""

    stalled: list[StalledJob]
    requeued: list[StalledJob] = field(default_factory=list)
    failed: list[StalledJob] = field(default_factory=list)

    async def get_stalled_jobs(self, seconds_since_heartbeat: float) -> list[StalledJob]:
        return self.stalled if seconds_since_heartbeat == settings.worker_silence else []

    async def retry_job(self, job: StalledJob) -> None:
        self.requeued.append(job)

    async def finish_job(self, job: StalledJob, status: object, delete_job: bool) -> None:
        self.failed.append(job)


def test_stalled_jobs_are_requeued_until_they_were_tried_too_often(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    fresh, tried, hopeless = (
        StalledJob(attempts) for attempts in (0, settings.job_retries - 1, settings.job_retries)
    )
    jobs = Jobs([fresh, tried, hopeless])
    monkeypatch.setattr(worker.procrastinate_app, "job_manager", jobs)
    asyncio.run(worker.requeue_stalled_jobs())
    assert (jobs.requeued, jobs.failed) == ([fresh, tried], [hopeless])
