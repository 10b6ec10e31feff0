"""Ray's Python processes of a forked command, forked likewise: PyTorch is not imported anew.

A campaign of a few seconds spends most of its processor time on imports: of PyTorch and a hundred
libraries in each worker, of some in Ray's two agents. Here a helper forks these processes from what
the command itself was forked from. They run Ray's own scripts, with the arguments, environment,
folder and streams that the raylet gives them. They import Ray and connect to it as ever. The raylet
ends them as any other, and they end with it.

The raylet starts this file in place of Ray's scripts. It starts in a moment, asks the helper for
the process, and ends when that one ends:

    python tests/e2e/prefork_ray.py [SCRIPT] ARGUMENTS...     by default a worker
"""

import json
import os
import socket
import sys

HELPER = "PCSEARCH_TEST_PREFORK"
"""The variable with the name of the helper's socket, an abstract one: it has no file."""
WORKER = "PCSEARCH_TEST_PREFORK_WORKER"
"""The variable with Ray's script for a worker. The raylet tells only the arguments."""
BY_PIPE = "RAY_enable_pipe_based_agent_to_parent_health_check"


def offer() -> None:
    """Start the helper of this command, and let Ray in this process know of it.

    Call while there is one thread and no Ray.
    """
    listening = socket.socket(socket.AF_UNIX)
    listening.bind("\0pcsearch-prefork-" + os.urandom(16).hex())
    listening.listen()
    command = os.getpid()
    if os.fork() == 0:
        _help(listening, command)
    os.environ[HELPER] = listening.getsockname()[1:].decode()
    listening.close()
    _tell_ray()


def _tell_ray() -> None:
    import functools

    from ray._private import parameter, services

    def agent(*_: object, **__: object) -> list[str]:
        return [sys.executable, "-S", "-u", __file__]

    services._build_python_executable_command_memory_profileable = agent
    folder = os.path.dirname(services.__file__)  # noqa: PTH120
    os.environ[WORKER] = os.path.join(folder, "workers", "default_worker.py")  # noqa: PTH118
    parameter.RayParams = functools.partial(parameter.RayParams, worker_path=__file__)
    # By default an agent ends when the raylet is not its parent. With this setting of Ray's it ends
    # when the raylet's end of its standard input is closed.
    os.environ[BY_PIPE] = "1"


def _help(listening: socket.socket, command: int) -> None:
    """Fork a process for each request, until the command ends, however it ends."""
    import ctypes
    import signal
    import struct

    ctypes.CDLL(None).prctl(1, signal.SIGKILL)  # PR_SET_PDEATHSIG
    if os.getppid() != command:
        os._exit(0)
    nothing = os.open(os.devnull, os.O_RDWR)
    for stream in (0, 1, 2):  # else the command's streams would be open for longer than it lives
        os.dup2(nothing, stream)
    os.close(nothing)
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)  # nobody waits for them
    while True:
        asking, _ = listening.accept()
        credentials = asking.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, 12)
        if struct.unpack("3i", credentials)[1] == os.getuid() and os.fork() == 0:
            listening.close()
            signal.signal(signal.SIGCHLD, signal.SIG_DFL)
            signal.signal(signal.SIGINT, signal.default_int_handler)
            _become(asking)
        asking.close()


def _become(asking: socket.socket) -> None:
    """Run the script. `asking` stays open as long as this process lives."""
    import runpy
    import traceback

    content, streams, _, _ = socket.recv_fds(asking, 1 << 20, 3)
    while not content.endswith(b"\n"):
        content += asking.recv(1 << 20)
    wanted = json.loads(content)
    for number, stream in enumerate(streams):
        os.dup2(stream, number)
        os.close(stream)
    os.chdir(wanted["folder"])
    os.environ.clear()
    os.environ.update(wanted["environment"])
    sys.argv = wanted["arguments"]
    code = 1
    try:
        runpy.run_path(sys.argv[0], run_name="__main__")
        code = 0
    except SystemExit as ended:
        code = ended.code if isinstance(ended.code, int) else int(ended.code is not None)
    except BaseException:
        traceback.print_exc()
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(code & 0xFF)


def _ask() -> None:
    arguments = sys.argv[1:]
    if arguments[0].startswith("-"):
        arguments.insert(0, os.environ[WORKER])
    wanted = {
        "arguments": arguments,
        "environment": dict(os.environ),
        "folder": os.path.realpath("."),
    }
    content = json.dumps(wanted).encode() + b"\n"
    helper = socket.socket(socket.AF_UNIX)
    helper.connect("\0" + os.environ[HELPER])
    sent = socket.send_fds(helper, [content], [0, 1, 2])
    helper.sendall(content[sent:])
    helper.recv(1)  # nothing ever comes; the end of the process closes it


if __name__ == "__main__":
    _ask()
