"""The outcome of an order for jobs, as pages show it."""

from fastapi import Request, Response

from api.documents.jobs import OrderReport
from api.pages.rendering import render


def outcome(request: Request, report: OrderReport) -> Response:
    """How many were changed, which were refused and why, and how many are left."""
    refused = [(item.job, item.detail) for item in report.items if not item.done]
    return render(request, "ordered_jobs.html", done=report.done, refused=refused, made=(), left=report.left)
