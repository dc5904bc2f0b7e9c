"""Starts a child of the server: `launch.py PARENT NICE COMMAND...`, run with nothing imported (`python -I -S`).

The child dies with the server, however that dies, and is as polite as it is told to be.
"""

import os
import sys

PR_SET_PDEATHSIG, SIGKILL = 1, 9


def main() -> None:
    parent, nice, command = int(sys.argv[1]), int(sys.argv[2]), sys.argv[3:]
    if sys.platform == "linux":
        import ctypes

        ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, SIGKILL, 0, 0, 0)
        if os.getppid() != parent:  # it died before we asked
            sys.exit(1)
    if nice:
        os.nice(nice)
        if os.getsid(0) == os.getpid():  # Linux weighs sessions against one another before what runs in them
            try:
                with open("/proc/self/autogroup", "w") as group:
                    group.write(str(nice))
            except OSError:
                pass
    os.execvp(command[0], command)


if __name__ == "__main__":
    main()
