"""The engine, and a session for every request."""

from collections.abc import Iterator
from typing import Annotated

from fastapi import Depends
from sqlalchemy import NullPool, create_engine
from sqlalchemy.orm import Session, sessionmaker

from app.settings import settings

engine = create_engine(
    settings.database_url,
    poolclass=NullPool,  # a connection per request: always fresh, nothing to tune
    connect_args={"options": "-c timezone=UTC"},
)
new_session = sessionmaker(engine)


def get_session() -> Iterator[Session]:
    with new_session() as session:
        yield session


Database = Annotated[Session, Depends(get_session)]
