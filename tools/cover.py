#!/usr/bin/env python3
"""How much of the core, of the parsers and of the fence the tests go through: lines and branches, and each one that they do not.

Usage: tools/cover.py [--build DIR] [--kept] [--all] [--seed N]     (`make cover`)

A build of its own (build-cover, -Db_coverage=true, unoptimised: a branch is what the source says) runs the unit tests, the golden files, 300 lives of the
simulator and every kept fuzz input; gcovr reads what was counted. --kept takes the counts of the last run instead, --all lists every missed branch, not only
the first of a file. Not counted, because no test could go there and none should: lines of asserts; branches that the compiler makes of lines without code
of their own (--exclude-unreachable-branches, --exclude-throw-branches). What MEM_NEW does without memory is inside mem.c, which is not among these.
A group holds its bars when every line and 95 % of the branches were gone through. The rows are those of the scorecard, the last line is `N passed, N failed`.
"""
import glob
import json
import os
import shutil
import subprocess
import sys

ROOT = os.path.normpath(os.path.join(os.path.dirname(os.path.abspath(__file__)), '..'))
sys.path.insert(0, os.path.join(ROOT, 'tests', 'trust'))
from scorecard import Scorecard   # noqa: E402  (where it lies is said above)

LIVES = 300
LINES_BAR, BRANCHES_BAR = 100.0, 95.0
SHOWN_BRANCHES = 3
GROUPS = {
    'core': ['src/core/*.c'],
    'parsers': ['src/base/json*.c', 'src/base/text.c', 'src/core/codec*.c', 'src/http/http_parse.c', 'src/http/http_head.c', 'src/http/multipart.c',
                'src/http/query.c', 'src/config/yaml*.c', 'src/config/compile*.c', 'src/config/units.c', 'src/os/frame.c', 'src/engine/wire.c',
                'src/vision/image.c', 'src/vision/exif.c'],
    'fence': ['src/store/outcomes.c', 'src/store/claim.c', 'src/store/local.c'],
}
PROGRAMS = ['unit', 'golden', 'sim', 'tests/test-worker', 'tests/fuzz/fuzz-replay']
RUNS = [['unit'], ['golden', 'tests/golden'], ['sim', '--seeds', str(LIVES), '--seed'], ['tests/fuzz/fuzz-replay', 'tests/fuzz']]


def files_of(patterns):
    found = {os.path.relpath(path, ROOT) for pattern in patterns for path in glob.glob(os.path.join(ROOT, pattern))}
    return sorted(path for path in found if not path.endswith('_test.c'))


def told(command, **more):
    """Its output, or None after it was shown because it failed."""
    done = subprocess.run(command, cwd=ROOT, text=True, errors='replace', stdout=subprocess.PIPE, stderr=subprocess.STDOUT, **more)
    if done.returncode:
        print(done.stdout[-4000:])
        print(f'{" ".join(command)} ended with status {done.returncode}')
    return None if done.returncode else done.stdout


def make(build):
    if not os.path.exists(os.path.join(build, 'build.ninja')):
        if told(['meson', 'setup', build, ROOT, '-Db_coverage=true', '-Dbuildtype=debug', '-Dwerror=false']) is None:
            return False
    return told(['ninja', '-C', build, *PROGRAMS]) is not None


def count(card, build):
    """Counts anew; each program that runs is a row."""
    for path in glob.glob(os.path.join(build, '**', '*.gcda'), recursive=True):
        os.unlink(path)
    for name, *words in RUNS:
        words += [str(card.options.seed)] if words[-1:] == ['--seed'] else []
        said = told([os.path.join(build, name), *words])
        last = said.splitlines()[-1] if said and said.strip() else 'failed'
        card.row(f'{name} under the counters', last, good=said is not None)


def read(build):
    """{path: {line: (times, [times of each branch])}}, what is excluded left away."""
    paths = [path for patterns in GROUPS.values() for path in files_of(patterns)]
    answer = os.path.join(build, 'cover.json')
    filters = [word for path in paths for word in ('--filter', path.replace('.', r'\.') + '$')]
    said = told(['gcovr', '--root', ROOT, '--json', answer, '--exclude-unreachable-branches', '--exclude-throw-branches',
                 '--exclude-lines-by-pattern', r'.*assert\(.*', '-j', '2', *filters, os.path.join(build, 'libhouse.a.p')])
    if said is None:
        return None
    with open(answer, encoding='utf-8') as file:
        files = json.load(file)['files']
    found = {}
    for file in files:
        lines = found.setdefault(file.get('file') or file['filename'], {})
        for line in file['lines']:
            if not line.get('gcovr/noncode') and not line.get('gcovr/excluded'):
                branches = [branch['count'] for branch in line['branches'] if not branch.get('gcovr/excluded')]
                lines[line['line_number']] = (line['count'], branches)
    return found


def sums(lines):
    """Lines gone through, lines, branches gone through, branches."""
    return (sum(times > 0 for times, _ in lines.values()), len(lines), sum(taken > 0 for _, branches in lines.values() for taken in branches),
            sum(len(branches) for _, branches in lines.values()))


def percent(part, whole):
    return 100.0 * part / whole if whole else 0.0


def list_missed(path, lines, every):
    """Each line that nothing went through; of the branches, which line and how many of them."""
    for number, (times, _) in sorted(lines.items()):
        if not times:
            print(f'{path}:{number}: not gone through')
    half = [(number, branches) for number, (times, branches) in sorted(lines.items()) if times and not all(branches)]
    for number, branches in half if every else half[:SHOWN_BRANCHES]:
        print(f'{path}:{number}: {sum(not taken for taken in branches)} of {len(branches)} branches not taken')
    if len(half) > SHOWN_BRANCHES and not every:
        print(f'{path}: branches of {len(half) - SHOWN_BRANCHES} lines more (--all lists them)')


def table(found, paths):
    print(f'{"file":32} {"lines":>12} {"":>7} {"branches":>12}')
    for path in paths:
        a, b, c, d = sums(found.get(path, {}))
        print(f'{path:32} {a:5} of {b:4} {percent(a, b):6.1f}% {c:5} of {d:4} {percent(c, d):6.1f}%')


def main():
    card = Scorecard('cover', __doc__)
    card.parser.add_argument('--build', default=os.path.join(ROOT, 'build-cover'), help='where it is built (build-cover)')
    card.parser.add_argument('--kept', action='store_true', help='the counts of the last run')
    card.parser.add_argument('--all', action='store_true', help='list every branch that was not taken')
    options = card.begin()
    options.build = os.path.abspath(options.build)
    missing = [name for name in ('gcovr', 'gcov', 'meson', 'ninja') if not shutil.which(name)]
    if missing:
        print(f'coverage needs {" and ".join(missing)}: apt-get install gcovr gcc meson ninja-build\n0 passed, 1 failed')
        return 1
    if not options.kept and not make(options.build):
        print('0 passed, 1 failed')
        return 1
    if not options.kept:
        count(card, options.build)
    found = read(options.build)
    if not found:
        print('gcovr found no counts\n0 passed, 1 failed')
        return 1
    for group, patterns in GROUPS.items():
        table(found, files_of(patterns))
        for path in files_of(patterns):
            list_missed(path, found.get(path, {}), options.all)
        a, b, c, d = sums({(path, number): line for path in files_of(patterns) for number, line in found.get(path, {}).items()})
        card.row(f'lines of the {group} gone through', f'{percent(a, b):.1f} % of {b:,}', bar=f'{LINES_BAR:g} %', good=b > 0 and a == b)
        card.row(f'branches of the {group} taken', f'{percent(c, d):.1f} % of {d:,}', bar=f'{BRANCHES_BAR:g} %', good=percent(c, d) >= BRANCHES_BAR)
    return card.end()


if __name__ == '__main__':
    sys.exit(main())
