"""What the measuring programs share: the line that says on which machine, waiting for a quiet moment, and the table they end in."""
import os
import platform
import sys
import time

ROOT = os.path.normpath(os.path.join(os.path.dirname(os.path.abspath(__file__)), '..'))
IDLE_MIN, LOOK_S = 0.93, 0.4


def machine():
    """Processor, cores, kernel, date: figures mean nothing without them."""
    model = 'unknown processor'
    with open('/proc/cpuinfo') as file:
        for line in file:
            if line.startswith('model name'):
                model = line.partition(':')[2].strip()
                break
    return f'{model}, {os.cpu_count()} cores, Linux {platform.release()}, {time.strftime("%Y-%m-%d")}'


def cpu_times():
    """(idle, all) in ticks since the start of the machine."""
    with open('/proc/stat') as file:
        fields = [int(field) for field in file.readline().split()[1:9]]
    return fields[3] + fields[4], sum(fields)


def quiet(seconds_max):
    """Waits for a moment in which nobody else works; True when there was one. What is measured besides others' work is told as such."""
    end = time.monotonic() + seconds_max
    while True:
        idle, total = cpu_times()
        time.sleep(LOOK_S)
        now_idle, now_total = cpu_times()
        if now_idle - idle >= IDLE_MIN * (now_total - total):
            return True
        if time.monotonic() > end:
            return False


class Table:
    """Rows of what was measured against what it must be; prints each at once."""

    def __init__(self, title):
        self.bad = 0
        print(f'{title}\n{machine()}')

    def row(self, what, value, unit='', bar=None, good=None):
        """good: value <= bar unless it is given."""
        words = f'{value:.3g}' if isinstance(value, float) and abs(value) < 100 else f'{value:.0f}' if isinstance(value, float) else str(value)
        verdict = ''
        if bar is not None:
            good = value <= bar if good is None else good
            verdict = f'  bar {bar}: {"held" if good else "MISSED"}'
            self.bad += not good
        print(f'  {what:96} {words:>9} {unit:10}{verdict}', flush=True)

    def note(self, text):
        print(f'  ({text})', flush=True)

    def end(self):
        sys.exit(1 if self.bad else 0)


def median(values):
    values = sorted(values)
    middle = len(values) // 2
    return values[middle] if len(values) % 2 else (values[middle - 1] + values[middle]) / 2
