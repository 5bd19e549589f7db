"""The harness of the interop cases.

It starts a program and ends exactly that program, limits the time of a case, keeps output for failed cases, and counts
results. It knows nothing of mail.
"""

import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time


class Failure(Exception):
    """An expectation of a case was not met; the text names it."""


def check(condition, why):
    """Fails the case with `why` unless `condition` holds."""
    if not condition:
        raise Failure(why)


def wait_for(what, attempt, seconds=10.0):
    """Calls `attempt` until it returns a true value, and returns that. Fails with `what` after `seconds`."""
    end = time.monotonic() + seconds
    while True:
        value = attempt()
        if value:
            return value
        if time.monotonic() > end:
            raise Failure(f"{what}: not within {seconds:g} s")
        time.sleep(0.02)


_given = set()


def free_port():
    """A free loopback port, below the range from which the kernel assigns ports to clients."""
    for port in range(20000 + (os.getpid() * 37) % 8000, 32000):
        if port in _given:
            continue
        with socket.socket() as probe:
            try:
                probe.bind(("0.0.0.0", port))
            except OSError:
                continue
        _given.add(port)
        return port
    raise Failure("no free port between 20000 and 32000")


class Outcome:
    """The result of a finished program."""

    def __init__(self, arguments, status, out, err, seconds, peak_kib):
        self.arguments, self.status, self.out, self.err = arguments, status, out, err
        self.seconds, self.peak_kib = seconds, peak_kib

    @property
    def text(self):
        """Standard output and standard error, decoded leniently."""
        return (self.out + self.err).decode("utf-8", "replace")

    def expect(self, *statuses):
        """Fails unless the exit status is one of `statuses`; returns the outcome."""
        if self.status not in statuses:
            wanted = " or ".join(map(str, statuses))
            raise Failure(f"exit status {self.status} instead of {wanted}: {shown(self.arguments)}")
        return self


def shown(arguments):
    """A command line, shortened for the log."""
    line = " ".join(str(argument) for argument in arguments)
    return line if len(line) < 300 else line[:297] + "..."


class Process:
    """A program that runs beside the cases; only its own pid ends it."""

    def __init__(self, name, arguments, log, env=None, stdout=None):
        self.name, self.log = name, log
        sink = open(log, "ab")
        self.child = subprocess.Popen(
            [str(argument) for argument in arguments],
            stdin=subprocess.DEVNULL,
            stdout=stdout if stdout is not None else sink,
            stderr=sink,
            env=env,
            start_new_session=True,
        )
        sink.close()

    @property
    def pid(self):
        return self.child.pid

    def alive(self):
        return self.child.poll() is None

    def peak_kib(self):
        """The peak resident memory, in KiB."""
        with open(f"/proc/{self.pid}/status") as status:
            for line in status:
                if line.startswith("VmHWM:"):
                    return int(line.split()[1])
        raise Failure(f"{self.name} has no VmHWM: did it end?")

    def stop(self, number=signal.SIGTERM, seconds=10):
        """Signals and waits; after `seconds` kills. Returns the exit status."""
        if self.alive():
            self.child.send_signal(number)
        try:
            return self.child.wait(seconds)
        except subprocess.TimeoutExpired:
            self.child.kill()
            self.child.wait()
            return None

    def tail(self, lines=15):
        try:
            with open(self.log, "rb") as log:
                return log.read()[-20000:].decode("utf-8", "replace").splitlines()[-lines:]
        except OSError:
            return []


class Bench:
    """One run: its temporary directory, its programs, its cases and their count."""

    def __init__(self, keep, serve_options=()):
        self.serve_options = list(serve_options)
        self.directory = tempfile.mkdtemp(prefix="mailwire-interop.", dir="/tmp")
        os.chmod(self.directory, 0o755)  # daemons drop root and still have to reach their files
        self.keep, self.processes, self.said = keep, [], []
        self.passed = self.failed = 0
        self._paths = 0
        self.secrets = []

    def path(self, name):
        """A new, unused path under the run's directory."""
        self._paths += 1
        return os.path.join(self.directory, f"{self._paths}-{name}")

    def folder(self, name):
        path = self.path(name)
        os.mkdir(path)
        return path

    def file(self, name, content):
        path = self.path(name)
        with open(path, "wb") as file:
            file.write(content if isinstance(content, bytes) else content.encode())
        return path

    def say(self, line):
        """Adds a line to the log of the running case."""
        self.said.append(line)

    def note(self, text):
        """Adds a figure to the line of the running case."""
        self.noted = f" ({text})"

    def start(self, name, arguments, env=None, stdout=None):
        """Starts a program that runs until `stop` or the end of the run."""
        process = Process(name, arguments, self.path(name + ".log"), env, stdout)
        self.processes.append(process)
        return process

    def run(self, arguments, stdin=b"", env=None, seconds=30, cwd=None):
        """Runs a program to its end, or kills it after `seconds`. `stdin` is bytes or an open file."""
        arguments = [str(argument) for argument in arguments]
        self.say("$ " + shown(arguments))
        began = time.monotonic()
        out, err = self.path("out"), self.path("err")
        feed = stdin
        if isinstance(stdin, bytes):
            feed = tempfile.TemporaryFile()
            feed.write(stdin)
            feed.seek(0)
        with open(out, "wb") as out_file, open(err, "wb") as err_file:
            child = subprocess.Popen(
                arguments, stdin=feed, stdout=out_file, stderr=err_file, env=env, cwd=cwd, start_new_session=True
            )
        status, usage = self._reap(child, began + seconds)
        took = time.monotonic() - began
        outcome = Outcome(arguments, status, _read(out), _read(err), took, usage.ru_maxrss)
        for line in outcome.text.splitlines()[-25:]:
            self.say("  " + line[:300])
        self.say(f"  [exit status {status}, {took:.2f} s]")
        if status is None:
            raise Failure(f"not finished within {seconds} s: {shown(arguments)}")
        return outcome

    def _reap(self, child, end):
        pause = 0.002
        while True:
            pid, status, usage = os.wait4(child.pid, os.WNOHANG)
            if pid:
                child.returncode = os.waitstatus_to_exitcode(status)
                return child.returncode, usage
            if time.monotonic() > end:
                child.kill()
                _, _, usage = os.wait4(child.pid, 0)
                child.returncode = -signal.SIGKILL
                return None, usage
            time.sleep(pause)
            pause = min(pause * 1.5, 0.05)

    def case(self, name, body, seconds=60):
        """Runs one case: prints one line, and after a failure its log. Returns whether it passed."""
        self.said = []
        self.noted = ""
        began = time.monotonic()

        def late(_number, _frame):
            raise Failure(f"not finished within {seconds} s")

        signal.signal(signal.SIGALRM, late)
        signal.alarm(seconds)
        try:
            body()
            why = None
        except Failure as failure:
            why = str(failure)
        except Exception as error:  # a client library's own complaint is a failed case, not a failed run
            why = f"{type(error).__name__}: {error}"
            self.say(_where(error))
        finally:
            signal.alarm(0)
        took = time.monotonic() - began
        if why is None:
            self.passed += 1
            print(f"ok   {name} {took:.1f}s{self.noted}", flush=True)
            return True
        self.failed += 1
        print(f"FAIL {name} {why}", flush=True)
        for line in self.said[-40:]:
            print("     | " + line)
        for process in self.processes:
            for line in process.tail(8) if process.alive() or process.child.returncode else []:
                print(f"     {process.name}: {line[:300]}")
        sys.stdout.flush()
        return False

    def stop(self, process):
        process.stop()
        self.processes.remove(process)

    def close(self):
        """Ends all running programs and removes the directory."""
        for process in reversed(self.processes):
            process.stop()
        if self.keep:
            print(f"kept {self.directory}")
        else:
            shutil.rmtree(self.directory, ignore_errors=True)


def _read(path):
    with open(path, "rb") as file:
        return file.read()


def _where(error):
    trace = error.__traceback__
    places = []
    while trace:
        code = trace.tb_frame.f_code
        places.append(f"{os.path.basename(code.co_filename)}:{trace.tb_lineno}")
        trace = trace.tb_next
    return "raised at " + " < ".join(reversed(places[-6:]))
