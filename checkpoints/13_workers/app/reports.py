"""Sales reports: promised here, made by a worker."""

from fastapi import APIRouter, Response

from app.database import Database
from app.jobs.queue import enqueue
from app.models import Report
from app.problems import not_found, problems
from app.schemas import NewReport, ReportOut, ReportStatus, RowId

router = APIRouter(prefix="/reports", tags=["reports"])


@router.post("", status_code=202, responses=problems(400, 422))
async def start_report(new: NewReport, response: Response, session: Database) -> ReportStatus:
    report = Report(category=new.category, status="pending")
    session.add(report)
    await session.flush()  # now it has an id
    await enqueue(session, "make_report", report_id=report.id)
    await session.commit()
    await session.close()
    response.headers["Location"] = f"/reports/{report.id}"
    return ReportStatus.model_validate(report)


@router.get("/{report_id}", responses=problems(404, 422))
async def get_report(report_id: RowId, session: Database) -> ReportOut:
    report = await session.get(Report, report_id)
    if report is None:
        raise not_found("report", report_id)
    await session.close()
    return ReportOut.model_validate(report)
