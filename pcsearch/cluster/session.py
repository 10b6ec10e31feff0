"""A Ray session: started on this machine, or joined, quietly and on loopback."""

from __future__ import annotations

import contextlib
import logging
import os
from collections.abc import Iterator
from dataclasses import dataclass

from pcsearch.errors import UserError

_QUIET = {
    "RAY_AIR_NEW_OUTPUT": "0",
    "RAY_USAGE_STATS_ENABLED": "0",
    "RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO": "0",
    "TUNE_PRINT_ALL_TRIAL_ERRORS": "0",
    "TUNE_DISABLE_AUTO_CALLBACK_LOGGERS": "1",
    "TUNE_DISABLE_SIGINT_HANDLER": "1",  # Ctrl-C is ours: one clean way out
    "TUNE_FUNCTION_THREAD_TIMEOUT_S": "60",  # a reset that times out drops its trial silently
    "TUNE_MAX_PENDING_TRIALS_PG": "1",
    "TUNE_WARN_THRESHOLD_S": "1000000",
    "RAY_CHDIR_TO_TRIAL_DIR": "0",
}


@dataclass(frozen=True)
class Capacity:
    """CPUs and GPUs: those there are now, or those an autoscaler may bring it up to."""

    cpus: float
    gpus: float

    def width(self, cpus_per_trial: float, gpus_per_trial: float) -> int:
        """Trials that fit at once."""
        fits = [self.cpus / cpus_per_trial] if cpus_per_trial > 0 else []
        if gpus_per_trial > 0:
            fits.append(self.gpus / gpus_per_trial)
        return int(min(fits) + 1e-9) if fits else 1


@contextlib.contextmanager
def ray_session(address: str | None) -> Iterator[Capacity]:
    """Start Ray on this machine, or join the one at `address`; leave or end it afterwards.

    A session that is started here listens on loopback only, with token authentication on.

    Raises:
        UserError: nothing answers at the address, or it asks for another token.
    """
    for key, value in _QUIET.items():
        os.environ.setdefault(key, value)
    import ray

    if ray.is_initialized():  # a program that uses the Python API may have its own
        yield capacity()
        return
    _start(address)
    try:
        yield capacity()
    finally:
        ray.shutdown()


def capacity() -> Capacity:
    """What the cluster has or, where an autoscaler is at work, may come to have."""
    import ray
    from ray._private.state import state

    now = ray.cluster_resources()
    later = state.get_max_resources_from_cluster_config() or {}
    return Capacity(
        cpus=max(now.get("CPU", 0.0), float(later.get("CPU", 0))),
        gpus=max(now.get("GPU", 0.0), float(later.get("GPU", 0))),
    )


def _start(address: str | None) -> None:
    import ray

    logging.getLogger("ray").setLevel(logging.ERROR)
    quiet = {"log_to_driver": False, "logging_level": logging.ERROR}
    try:
        if address is None:  # Ray makes the token of a session that it starts by itself
            ray.init(include_dashboard=False, _node_ip_address="127.0.0.1", **quiet)
        else:
            os.environ.setdefault("RAY_AUTH_MODE", "token")
            ray.init(address=address, **_joining(address), **quiet)
    except Exception as error:
        where = f"at {address}" if address else "on this machine"
        raise UserError(_advice(where, error)) from error
    logging.getLogger("ray.tune").setLevel(logging.CRITICAL)


def _joining(address: str) -> dict[str, str]:
    local = address.startswith(("127.0.0.1", "localhost"))
    return {"_node_ip_address": "127.0.0.1"} if local else {}


def _advice(where: str, error: Exception) -> str:
    text = str(error).strip().splitlines()
    first = text[0] if text else type(error).__name__
    if "oken" in str(error) or "nauthenticated" in str(error):
        return (
            f"the Ray cluster {where} wants another token ({first}); set RAY_AUTH_TOKEN or "
            "RAY_AUTH_TOKEN_PATH to the token of its head (by default ~/.ray/auth_token there)"
        )
    return (
        f"cannot reach Ray {where} ({type(error).__name__}: {first}); check the address "
        "(HOST:PORT of its head, 6379 by default) and that `ray status` answers there"
    )
