"""A dead daemon cannot report itself: its schedule pings SYNC_HEARTBEAT_URL, and who waits there raises the alarm."""

import dagster as dg

from sync_pipelines.failures import no_secrets
from sync_pipelines.resources.environment import value

NAME, JOB, VARIABLE = "sync_heartbeat", "sync_heartbeat_ping", "SYNC_HEARTBEAT_URL"
TIMEOUT_SECONDS = 5.0


def build_heartbeat() -> dg.Definitions:
    """The schedule, whose tick pings by itself and starts no run; and a job that pings once, for people."""

    @dg.op(name="sync_ping_heartbeat_url", out=dg.Out(dg.Nothing))
    def ping_once(context: dg.OpExecutionContext):
        context.log.info(ping())

    @dg.job(name=JOB, description=f"Ping {VARIABLE} once, by hand; the schedule needs no run.")
    def sync_heartbeat_ping():
        ping_once()

    @dg.schedule(
        name=NAME,
        job=sync_heartbeat_ping,
        cron_schedule="* * * * *",
        execution_timezone="UTC",
        default_status=dg.DefaultScheduleStatus.RUNNING,
        description=f"Pings {VARIABLE} every minute while the daemons live; it starts no run.",
    )
    @no_secrets()
    def sync_heartbeat(context: dg.ScheduleEvaluationContext):
        return dg.SkipReason(beat(context.instance))

    return dg.Definitions(jobs=[sync_heartbeat_ping], schedules=[sync_heartbeat])


def beat(instance: dg.DagsterInstance) -> str:
    """Ping, unless one of Dagster's other daemons is silent: then the silence should be heard. What was done."""
    if value(VARIABLE) is None:
        return f"{VARIABLE} is not set, so nobody notices when this daemon dies."
    from sync_pipelines.daemons import silent_daemons

    if silent := silent_daemons(instance):
        return f"Not pinged, so that somebody looks: no young heartbeat of {', '.join(silent)}."
    try:
        return ping()
    except dg.Failure as failure:
        return failure.description or "The ping failed."


def ping() -> str:
    """One GET; a sentence.

    Raises:
        Failure: not set, or not answered with 2xx. The URL, whose path is a secret, is not repeated.
    """
    import requests

    url = value(VARIABLE)
    if url is None:
        raise dg.Failure(f"{VARIABLE} is not set.", allow_retries=False)
    try:
        with requests.get(url, timeout=TIMEOUT_SECONDS, stream=True) as answer:
            status = answer.status_code
    except (requests.RequestException, ValueError) as error:
        raise dg.Failure(f"{VARIABLE} was not reached ({type(error).__name__}).", allow_retries=False) from None
    if not 200 <= status < 300:
        raise dg.Failure(f"{VARIABLE} answered {status}.", allow_retries=False)
    return f"Pinged {VARIABLE}: {status}."
