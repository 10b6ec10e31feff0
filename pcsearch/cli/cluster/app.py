"""`pcsearch cluster`: check, start and end clusters, and run campaigns on them."""

from __future__ import annotations

import typer

from pcsearch.cli.cluster import check, follow, init, lifecycle, status, submit
from pcsearch.cli.options import register

app = typer.Typer(
    no_args_is_help=True,
    help="Describe, check, start and end Ray clusters, and run campaigns on them.",
)

app.add_typer(init.app, name="init")
register(app, "check", check.check, check.EPILOG)
register(app, "up", lifecycle.up, lifecycle.UP_EPILOG)
register(app, "submit", submit.submit, submit.EPILOG)
register(app, "status", status.status, status.EPILOG)
register(app, "attach", follow.attach, follow.ATTACH_EPILOG)
register(app, "logs", follow.logs, follow.LOGS_EPILOG)
register(app, "stop", lifecycle.stop, lifecycle.STOP_EPILOG)
register(app, "down", lifecycle.down, lifecycle.DOWN_EPILOG)
