"""A command whose last line is `N passed, N failed`: run under a time limit, with all that it leaves behind ended. tools/check.py and tools/trust.py stand on it."""
import os
import re
import signal
import subprocess

ROOT = os.path.normpath(os.path.join(os.path.dirname(os.path.abspath(__file__)), '..'))
LINE = re.compile(r'^(\d+) passed, (\d+) failed$')
SHOWN_LINES_MAX = 40


def read_lines(log):
    with open(log, encoding='utf-8', errors='replace') as output:
        return output.read().splitlines()


def run(command, seconds_max, log, env=None):
    """(lines, passed, failed, note) of a shell command; its output goes to the file `log`. One that prints no such line, dies, exits other than 0
    while it tells of no failure, or takes too long counts as one failure, and the note says which."""
    note, status = '', None
    with open(log, 'wb') as output:
        child = subprocess.Popen(['sh', '-c', command], cwd=ROOT, env=env, stdin=subprocess.DEVNULL, stdout=output, stderr=subprocess.STDOUT,
                                 start_new_session=True)
        try:
            status = child.wait(seconds_max)
        except subprocess.TimeoutExpired:
            note = f'took longer than {seconds_max} s'
        try:
            os.killpg(child.pid, signal.SIGKILL)        # whatever it left behind
        except ProcessLookupError:
            pass
        child.wait()
    lines = read_lines(log)
    match = LINE.match(lines[-1].strip()) if lines else None
    passed, failed = (int(match.group(1)), int(match.group(2))) if match else (0, 0)
    if not note and not match:
        note = f'ended without its line (status {status})'
    if not note and passed + failed == 0:
        note = 'ran no test'
    if not note and status != 0 and not failed:
        note = f'exited with status {status}'
    return lines, passed, failed + bool(note), note


def show_end(lines):
    for line in lines[-SHOWN_LINES_MAX:]:
        print(f'    | {line}', flush=True)
