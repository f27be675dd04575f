"""What a case works with: a folder, addresses, processes, and waiting. Nothing here knows BitTorrent.

Whoever waits, waits for something that it names, and has a limit. The limits are for what hangs: they are
far beyond what a busy machine needs.
"""

import itertools
import os
import shutil
import signal
import subprocess
import threading
import time

# Seconds that anything may take.
LIMIT = 120
# Seconds until a process that was told to end is killed.
FAREWELL = 20
# Between two looks at what tells nobody when it changes.
LOOK = 0.05
# Lines of a party that a failure shows, from each end.
SHOWN = 40


class Failed(Exception):
    """What went wrong, for people."""


def until(condition, what, limit=LIMIT):
    """Looks until `condition` gives something true, and gives it. Of a party that has ended nothing is
    expected any more: conditions raise Failed."""
    end = time.monotonic() + limit
    while True:
        found = condition()
        if found:
            return found
        if time.monotonic() > end:
            raise Failed(f"waited {limit} s for {what}")
        time.sleep(LOOK)


def ip(*words):
    subprocess.run(["ip", *words], check=True, stdin=subprocess.DEVNULL)


class Process:
    """A program that runs, and every line that it says."""

    def __init__(self, name, argv, folder, environment=None):
        self.name = name
        self.argv = [str(word) for word in argv]
        self.lines = []  # (stream, text, seconds since it began)
        self.news = threading.Condition()
        self.began = time.monotonic()
        self.process = subprocess.Popen(
            self.argv,
            cwd=folder,
            env={**os.environ, **(environment or {})},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
        )
        streams = {"out": self.process.stdout, "err": self.process.stderr}
        self.readers = [
            threading.Thread(target=self.listen, args=stream, daemon=True) for stream in streams.items()
        ]
        for reader in self.readers:
            reader.start()

    def listen(self, stream, pipe):
        for line in pipe:
            with self.news:
                at = f"{time.monotonic() - self.began:.1f}"
                self.lines.append((stream, line.decode(errors="replace").rstrip("\n"), at))
                self.news.notify_all()
        with self.news:
            self.news.notify_all()

    @property
    def pid(self):
        return self.process.pid

    def expect(self, wanted, what, limit=LIMIT, start=0):
        """The first line, from line `start` on, of which `wanted(stream, text)` is true, as what that
        gave and the number of the next line."""
        end = time.monotonic() + limit
        number = start
        with self.news:
            while True:
                while number < len(self.lines):
                    found = wanted(*self.lines[number][:2])
                    number += 1
                    if found:
                        return found, number
                if not any(reader.is_alive() for reader in self.readers):
                    raise Failed(f"{self.name} ended (exit {self.process.poll()}) before {what}")
                if not self.news.wait(end - time.monotonic()):
                    raise Failed(f"{self.name}: waited {limit} s for {what}")

    def said(self, stream):
        with self.news:
            return "\n".join(text for from_, text, _ in self.lines if from_ == stream)

    def send(self, text):
        self.process.stdin.write(text.encode())
        self.process.stdin.flush()

    def interrupt(self, number=signal.SIGINT):
        if self.process.poll() is None:
            self.process.send_signal(number)

    def wait(self, limit=LIMIT):
        """Its exit code."""
        try:
            code = self.process.wait(limit)
        except subprocess.TimeoutExpired:
            raise Failed(f"{self.name}: waited {limit} s for its end") from None
        for reader in self.readers:
            reader.join()
        return code

    def end(self, number=signal.SIGTERM):
        """Tells it to end and waits; kills it if it does not."""
        if self.process.poll() is None:
            self.process.stdin.close()
            self.process.send_signal(number)
            try:
                self.process.wait(FAREWELL)
            except subprocess.TimeoutExpired:
                self.process.kill()
                self.process.wait()
                raise Failed(f"{self.name} did not end within {FAREWELL} s") from None
        for reader in self.readers:
            reader.join()
        return self.process.returncode

    def kill(self):
        if self.process.poll() is None:
            self.process.kill()
        self.process.wait()

    def log(self):
        text = [f"--- {self.name}: {' '.join(self.argv)}"]
        with self.news:
            lines = [f"    {at:>6} {stream}| {text[:300]}" for stream, text, at in self.lines]
        if len(lines) > 2 * SHOWN:
            lines[SHOWN:-SHOWN] = [f"    … {len(lines) - 2 * SHOWN} lines"]
        code = self.process.poll()
        end = "still running" if code is None else f"exit {code}"
        return "\n".join([*text, *lines, f"    ({end})"])


class Place:
    """Folder, addresses and processes of one case."""

    ports = itertools.count(20_000)
    ports_lock = threading.Lock()

    def __init__(self, number, folder, dunlin, size, data):
        self.number = number
        self.folder = folder
        self.dunlin = dunlin
        self.full = size == "full"
        self.data = data
        self.processes = []
        self.hosts = itertools.count(1)
        self.notes = []

    def pick(self, small, full):
        """A quantity, by the size of the run."""
        return full if self.full else small

    def address(self, version=4):
        """A new address of its own."""
        host = next(self.hosts)
        if version == 6:
            address = f"fd00:9::{self.number:x}:{host:x}"
            ip("addr", "add", f"{address}/128", "dev", "lo", "nodad")
        else:
            address = f"10.{9 + self.number // 256}.{self.number % 256}.{host}"
            ip("addr", "add", f"{address}/32", "dev", "lo")
        return address

    def port(self):
        with Place.ports_lock:
            return next(Place.ports)

    def sub(self, name):
        path = os.path.join(self.folder, name)
        os.makedirs(path, exist_ok=True)
        return path

    def start(self, name, argv, **options):
        process = Process(name, argv, self.folder, **options)
        self.processes.append(process)
        return process

    def call(self, argv, expected=0):
        """Runs a program to its end and gives what it said on standard output."""
        argv = [str(word) for word in argv]
        done = subprocess.run(
            argv, cwd=self.folder, stdin=subprocess.DEVNULL, capture_output=True, timeout=LIMIT
        )
        if done.returncode != expected:
            said = done.stderr.decode(errors="replace")
            raise Failed(f"{' '.join(argv)}: exit {done.returncode}, expected {expected}: {said}")
        return done.stdout

    def note(self, text):
        """Something to print beside the result."""
        self.notes.append(text)

    def close(self):
        for process in self.processes:
            process.kill()
        shutil.rmtree(self.folder, ignore_errors=True)

    def logs(self):
        return "\n".join(process.log() for process in self.processes)
