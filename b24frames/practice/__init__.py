"""A portal for practice and tests: an HTTP server on this machine, with generated activities."""

from __future__ import annotations

from collections.abc import Collection, Iterator
from contextlib import closing, contextmanager
from numbers import Integral, Real
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING

from b24frames.messages import short_repr
from b24frames.portal import Portal
from b24frames.portal.limits import Limits, parse_limits
from b24frames.portal.pacing import SystemClock
from b24frames.portal.portal import check_positive

if TYPE_CHECKING:
    from b24frames.practice.server import PracticeServer


class PracticePortal(Portal):
    """A `Portal` on this machine, with a cache of its own by default.

    Attributes
    ----------
    server : PracticeServer
        The server: its records, the requests that it received, and its faults.
    url : str
        The webhook URL. Its secret is no secret.
    """

    def __init__(self, server: PracticeServer, folder: Path, limits: Limits) -> None:
        clock = SystemClock(server.speed)
        operating_limit = server.operating_limit
        super().__init__(server.url, limits=limits, clock=clock, operating_limit=operating_limit)
        self.server = server
        self.url = server.url
        # Neither cache entries nor the request rate of practice mix with the user's own.
        self.folder = folder


@contextmanager
def practice_portal(
    activities: int = 2000,
    seed: int = 0,
    *,
    deleted: float | Collection[int] = 0.03,
    refused: float | Collection[int] = 0.005,
    limits: Limits = "cloud",
    speed: float = 1.0,
    latency: float = 0.0,
    command_seconds: float = 0.0,
    operating_limit: float | None = None,
    operating_cost: float = 0.0,
    secret: str = "practice",  # noqa: S107 - it guards nothing but generated data
    user_id: int = 1,
    admin: bool = True,
    scopes: Collection[str] = ("crm", "telephony", "user_brief"),
) -> Iterator[PracticePortal]:
    """Start a practice portal on this machine, and yield a `Portal` connected to it.

    Parameters
    ----------
    activities : int, default 2000
        The number of activities; their ids are 1 to this number.
    seed : int, default 0
        The same seed gives the same records.
    deleted : float or collection of int, default 0.03
        The share of ids without a record, or those ids.
    refused : float or collection of int, default 0.005
        The share of ids that ``crm.activity.get`` refuses, or those ids.
    limits : {"cloud", "enterprise", "self-hosted"} or (float, float), default "cloud"
        The request rate of server and client, as in `Portal`.
    speed : float, default 1.0
        The portal's seconds per real second.
    latency : float, default 0.0
        The duration of each HTTP request [s].
    command_seconds : float, default 0.0
        The additional duration for each command [s].
    operating_limit : float, optional
        Operating time that a method may use in ten minutes [portal's s]; by default no limit.
    operating_cost : float, default 0.0
        Operating time billed for each command, besides its duration [portal's s].
    secret : str, default "practice"
        The secret of the webhook.
    user_id : int, default 1
        The user of the webhook.
    admin : bool, default True
        Whether that user is an administrator; others see only part of the data.
    scopes : collection of str, default ("crm", "telephony", "user_brief")
        The scopes of the webhook.

    Yields
    ------
    PracticePortal
        A `Portal` with the attributes ``server`` and ``url``. Reads from it use a cache of its
        own, deleted at the end; the user's cache is not touched. (Pass the portal itself: its URL
        alone is a portal like any other.)

    Raises
    ------
    TypeError, ValueError
        An argument that is not accepted.

    Examples
    --------
    >>> with practice_portal(activities=100, deleted=[7]) as portal:
    ...     portal.call("crm.activity.get", {"id": 7})
    Traceback (most recent call last):
        ...
    b24frames.errors.ActivityNotFoundError: crm.activity.get: Not found (HTTP 400)
    """
    # Imported here, so that importing b24frames reads none of its data files.
    from b24frames.practice.methods import Webhook
    from b24frames.practice.server import PracticeServer

    check_positive("speed", speed)
    check_positive("user_id", user_id, whole=True)
    times = {
        "latency": latency,
        "command_seconds": command_seconds,
        "operating_cost": operating_cost,
    }
    for name, number in ({"activities": activities} | times).items():
        check_positive(name, 1 if number == 0 else number, whole=name == "activities")
    _check_share("deleted", deleted)
    _check_share("refused", refused)
    if not isinstance(seed, Integral):
        raise TypeError(f"seed={short_repr(seed)} is not an int")
    if isinstance(scopes, str):
        raise TypeError(f"scopes={short_repr(scopes)} is not a list of scopes")
    # The client's own presets, so that both sides agree on the request rate.
    bucket = parse_limits(limits)
    server = PracticeServer(
        activities=activities,
        seed=seed,
        deleted=deleted,
        refused=refused,
        limits=None if bucket is None else (bucket.capacity, bucket.leak),
        speed=speed,
        latency=latency,
        command_seconds=command_seconds,
        operating_limit=operating_limit,
        operating_cost=operating_cost,
        webhook=Webhook(user_id, admin, secret, set(scopes)),
    )
    with (
        server,
        # Windows does not delete open files, such as a cache that is still in use.
        TemporaryDirectory(prefix="b24frames-", ignore_cleanup_errors=True) as folder,
        closing(PracticePortal(server, Path(folder), limits)) as portal,
    ):
        yield portal


def _check_share(name: str, some: object) -> None:
    """Refuse what is neither a share nor ids."""
    is_share = isinstance(some, Real) and 0 <= float(some) <= 1
    if not is_share and not (
        isinstance(some, Collection) and all(isinstance(i, Integral) for i in some)
    ):
        raise ValueError(f"{name}={short_repr(some)} is neither a share from 0 to 1 nor ids")
