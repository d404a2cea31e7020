"""What the shop reads from its environment."""

from pathlib import Path

from pydantic_settings import BaseSettings


class Settings(BaseSettings):
    database_url: str = "postgresql://surge@127.0.0.1:5432/surge"
    """Where PostgreSQL is."""

    pool_size: int = 20
    """Connections to PostgreSQL that this process may hold."""

    pool_timeout: float = 10.0
    """Seconds a request may wait for a connection before it is turned away."""

    partners_url: str = "http://127.0.0.1:9000"
    """Where the partner services are; each has a path of its own below it."""

    partner_timeout: float = 2.0
    """Seconds a partner may take before its offer is given up."""

    ready_timeout: int = 2
    """Seconds a dependency may take to prove that it is there."""

    log_file: Path = Path("requests.log")
    """Where a line per request is written."""

    log_queue: int = 10_000
    """Lines that may wait to be written, about a kilobyte each; more are dropped."""

    log_patience: float = 5.0
    """Seconds that a stop waits for the last lines to be written."""


settings = Settings()
