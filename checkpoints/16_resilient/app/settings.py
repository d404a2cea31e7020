"""What the shop reads from its environment."""

from pathlib import Path

from pydantic import PositiveInt
from pydantic_settings import BaseSettings


class Settings(BaseSettings):
    database_url: str = "postgresql://surge@127.0.0.1:5432/surge"
    """Where PostgreSQL is."""

    web_concurrency: int = 1
    """Processes that serve. uvicorn reads the same variable, and starts as many."""

    instances: int = 1
    """Instances of the service, each with that many processes."""

    workers: int = 1
    """Processes that do jobs."""

    pool_size: int = 20
    """Connections to PostgreSQL that each process may hold."""

    other_connections: int = 5
    """Connections left to others: migrations, a psql prompt, the readiness check."""

    request_seconds: float = 10.0
    """Seconds that a request may take. Its caller may give it less, not more."""

    limit_most: int = 128
    """Requests that may be under way while nothing queues, besides those that memory answers."""

    limit_least: int = 32
    """Requests that may be under way whatever happens. On a busy machine everything is late, and a
    few dozen are no queue."""

    limit_step: int = 5
    """Added to the limit after every 60 milliseconds in which nothing has queued."""

    limit_loop: float = 0.03
    """Seconds that the event loop may be late. When it always is, requests are turned away."""

    limit_pool: float = 0.5
    """The same for the time that requests wait for a connection to PostgreSQL."""

    retries: int = 3
    """Times that a read is tried again when its connection is lost."""

    retry_share: float = 0.1
    """Retries for every read, in the long run."""

    retry_burst: float = 20.0
    """Retries that may be saved up."""

    breaker_calls: int = 20
    """Last calls to a partner that count: when half of them have failed, the breaker opens."""

    breaker_pause: float = 5.0
    """Seconds until a single call tests whether the partner works again."""

    connect_timeout: float = 2.0
    """Seconds that PostgreSQL may take to accept a connection."""

    lock_timeout: float = 0.5
    """Seconds that a sale waits for a product that somebody else has locked."""

    pool_timeout: float = 5.0
    """Seconds a request may wait for a connection before it is turned away."""

    redis_url: str = "redis://127.0.0.1:6379/0"
    """Where Redis is, or something that speaks its protocol: Valkey from 8.1 on, Redis from 8.4."""

    cache_prefix: str = "shop"
    """How our keys begin, for a Redis that we share with others."""

    cache_connections: int = 20
    """Connections to Redis that this process may hold."""

    memory_bytes: int = 64_000_000
    """Bytes that the answers in this process's memory may take together."""

    memory_spellings: int = 10_000
    """URLs for which this process remembers their cache entry."""

    memory_seconds: float = 5.0
    """Seconds that they are sent without asking Redis. If the message of a change is lost, two
    instances may disagree for as long."""

    edge_seconds: int = 1
    """Seconds that a proxy may send an answer without asking us, and as many more while it asks.
    Proxies count in whole seconds, so what they send may be a second older than both together."""

    cache_seconds: float = 60.0
    """Seconds that an answer in Redis is fresh, give or take a tenth."""

    cache_missing: float = 5.0
    """The same for the answer that a product does not exist."""

    cache_stale: float = 30.0
    """Seconds that it is kept after that, and sent while a new one is fetched. Memory keeps its
    entries as long, and sends them while neither Redis nor PostgreSQL answers."""

    cache_patience: float = 1.0
    """Seconds to wait for another instance that is fetching what we need."""

    cache_timeout: float = 0.2
    """Seconds that Redis may take for an answer."""

    cache_pause: float = 1.0
    """Seconds that we do not ask Redis after it has failed. When it answers again, other instances
    may read entries that our changes have made stale: for as long, and one or two `cache_timeout`
    more."""

    partners_url: str = "http://127.0.0.1:9000"
    """Where the partner services are; each has a path of its own below it."""

    partner_timeout: float = 2.0
    """Seconds a partner may take before its offer is given up."""

    mail_url: str = "http://127.0.0.1:9000/mail"
    """Where the mail service is."""

    mail_timeout: float = 5.0
    """Seconds it may take for a message."""

    job_concurrency: int = 4
    """Jobs that a worker does at once."""

    job_connections: int = 2
    """Connections to PostgreSQL that a worker may hold for the queue itself, besides its pool and
    the one on which it hears of new jobs."""

    job_database_timeout: float = 5.0
    """Seconds that PostgreSQL may take to answer a worker, for a job or for the queue."""

    job_retries: PositiveInt = 5  # 0 would mean for ever to procrastinate
    """Times that a job is tried again, a little later each time."""

    job_patience: float = 5.0
    """Seconds that a worker that is told to stop may take to finish its jobs."""

    worker_silence: float = 20.0
    """Seconds without a heartbeat after which other workers do a worker's jobs."""

    otel_exporter_otlp_endpoint: str = ""
    """Where the collector of traces is, if there is one. The exporter reads the same variable."""

    trace_share: float = 0.01
    """Share of traces that are kept, of those that no proxy has started."""

    trace_slow: float = 1.0
    """Seconds after which a request is kept in any case, as are those that fail."""

    trace_timeout: float = 2.0
    """Seconds that the collector may take for a batch."""

    metrics_port: int = 0
    """Where a worker answers /metrics; 0 for nowhere. The service does so where it serves."""

    metrics_host: str = "127.0.0.1"
    """And at which address."""

    ready_timeout: int = 2
    """Seconds a dependency may take to prove that it is there."""

    ready_patience: float = 30.0
    """Seconds that PostgreSQL may be down until /readyz fails. As long as there are cached answers,
    getting requests is better than getting none."""

    drain_seconds: float = 0.0
    """Seconds between SIGTERM, when /readyz starts to fail, and the stop. A balancer that polls
    /readyz needs two of its intervals; ours is told before."""

    close_seconds: float = 1.0
    """Seconds that closing the connections may take."""

    log_file: Path = Path("requests.log")
    """Where a line per request is written."""

    log_queue: int = 10_000
    """Lines that may wait to be written, about a kilobyte each; more are dropped."""

    log_patience: float = 5.0
    """Seconds that a stop waits for the last lines to be written."""


settings = Settings()
