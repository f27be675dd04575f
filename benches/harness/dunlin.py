"""dunlin for the loopback harness that measures clients side by side (BENCH_EXTRA names this file).

The harness reads the processor time of a process from before a torrent is added, and dunlin takes its
torrents on the command line: so a shell waits for the command and becomes it. The binary is the one that
DUNLIN names, or the first in the PATH.
"""
import os
import shlex
import subprocess

from adapters import Client, which


def binary():
    return os.environ.get("DUNLIN") or which("dunlin")


class Dunlin(Client):
    name, poll = "dunlin", 0.005

    def available(self):
        return bool(binary())

    def version(self):
        return subprocess.run([binary(), "--version"], capture_output=True, text=True).stdout.strip()

    def start(self):
        self.spawn(["/bin/sh", "-c", 'read -r command; eval "exec $command"'],
                   env={"DUNLIN_LOG": "error"}, stdin=subprocess.PIPE)
        self.seen = 0

    def add(self, payload, d, seed):
        what = ["seed", payload.torrent, "--data", d] if seed else ["get", payload.torrent, "-o", d, "--seed"]
        net = ["--bind", self.addr, "--port", str(self.port)]
        self.proc.stdin.write((shlex.join([binary(), *what, *net]) + "\n").encode())
        self.proc.stdin.flush()

    def done(self):
        with open(os.path.join(self.home, "log"), "rb") as log:
            return b": seeding" in log.read()


ALL = [Dunlin]
