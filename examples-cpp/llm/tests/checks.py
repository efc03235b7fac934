"""Checks that name what failed and go on, and a program run to its end: what the Python tests share."""
import subprocess

_checks = _failures = 0


def check(passed, what):
    global _checks, _failures
    _checks += 1
    if not passed:
        _failures += 1
        print("failed:", what)


def run(*command, stdin=b""):
    """Exit status, standard output in bytes, standard error as text."""
    done = subprocess.run(command, capture_output=True, timeout=300, input=stdin)
    return done.returncode, done.stdout, done.stderr.decode(errors="replace")


def summary(least=1):
    """Prints the counts; the exit status, which fails too where fewer checks than `least` were made."""
    print(f"{_checks} checks, {_failures} failed")
    return 1 if _failures or _checks < least else 0
