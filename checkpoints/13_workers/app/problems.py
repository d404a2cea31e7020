"""Errors as problem details (RFC 9457): what happened, and what to do about it."""

import json
from http import HTTPStatus
from typing import Any

from fastapi import FastAPI, HTTPException, Request, Response
from fastapi.exceptions import RequestValidationError
from pydantic import BaseModel
from sqlalchemy.exc import TimeoutError as PoolTimeout
from starlette.exceptions import HTTPException as StarletteHTTPException

MEDIA_TYPE = "application/problem+json"

# The framework's own errors say what happened, not what to do.
DETAILS_BY_STATUS = {
    400: "The body cannot be read. Send JSON in UTF-8.",
    404: "There is nothing at this address. GET /docs lists all there is.",
    405: "This address does not take this method. The Allow header names those it takes.",
}


class FieldError(BaseModel):
    loc: list[str | int]
    msg: str


class Problem(BaseModel):
    type: str = "about:blank"
    title: str
    status: int
    detail: str
    errors: list[FieldError] | None = None


class Service(FastAPI):
    """FastAPI documents every body as application/json; our problems are not."""

    def openapi(self) -> dict[str, Any]:
        document = super().openapi()
        for path in document["paths"].values():
            for operation in path.values():
                for status, response in operation["responses"].items():
                    if status >= "400":
                        response["content"] = {MEDIA_TYPE: {"schema": PROBLEM_SCHEMA}}
        return document


PROBLEM_SCHEMA = {"$ref": "#/components/schemas/Problem"}


def problems(*statuses: int) -> dict[int | str, dict[str, Any]]:
    """Document the errors of an endpoint, for its `responses`."""
    return {
        status: {"model": Problem, "description": HTTPStatus(status).phrase} for status in statuses
    }


def not_found(what: str, number: int) -> HTTPException:
    return HTTPException(404, f"There is no {what} {number}. Check the number.")


def problem(
    status: int, detail: str, headers: dict[str, str] | None = None, **extra: Any
) -> Response:
    body = {
        "type": "about:blank",
        "title": HTTPStatus(status).phrase,
        "status": status,
        "detail": detail,
        **extra,
    }
    # A message may quote half a surrogate pair from the request, which UTF-8 cannot hold.
    content = json.dumps(body, ensure_ascii=False).encode("utf-8", "replace")
    return Response(content, status, headers, MEDIA_TYPE)


async def on_http_error(request: Request, error: Exception) -> Response:
    assert isinstance(error, StarletteHTTPException)
    status = error.status_code
    detail = error.detail
    if detail == HTTPStatus(status).phrase or status == 400:
        detail = DETAILS_BY_STATUS.get(status, detail)
    return problem(status, detail, dict(error.headers or {}))


async def on_invalid(request: Request, error: Exception) -> Response:
    assert isinstance(error, RequestValidationError)
    errors = [{"loc": list(item["loc"]), "msg": item["msg"]} for item in error.errors()]
    detail = "The request has values that cannot be used. Correct what `errors` lists."
    return problem(422, detail, errors=errors)


async def on_pool_timeout(request: Request, error: Exception) -> Response:
    detail = "Too many requests wait for the database. Try again in a second."
    return problem(503, detail, {"Retry-After": "1"})


async def on_error(request: Request, error: Exception) -> Response:
    headers = {"X-Request-ID": request.state.request_id}  # the middleware is inside of this
    return problem(500, "The shop failed, not you. Try again later.", headers)


def add_problem_handlers(app: FastAPI) -> None:
    app.add_exception_handler(StarletteHTTPException, on_http_error)
    app.add_exception_handler(RequestValidationError, on_invalid)
    app.add_exception_handler(PoolTimeout, on_pool_timeout)
    app.add_exception_handler(Exception, on_error)
