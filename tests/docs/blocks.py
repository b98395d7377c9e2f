"""The fenced blocks of the documents, and what is told about each.

The words behind the fence name its language and, for data, the shape that it must have: ```json Job. Comments right above a fence, which
no reader sees, tell the test more:

    <!-- says: WORDS -->      what the block prints holds these words; may stand several times
    <!-- refused -->          the server says no, and that is meant
"""
import glob
import os
import re

ROOT = os.path.normpath(os.path.join(os.path.dirname(os.path.abspath(__file__)), '..', '..'))
NOTE = re.compile(r'^<!-- (says: (?P<says>.*)|refused) -->$')
SHELL, SCRIPTS, DATA, PROXIES = ('bash', 'sh'), ('js', 'jsx', 'vue'), ('json', 'jsonl', 'sse'), ('nginx', 'haproxy', 'caddy')
# A pipeline file: tests/cli/test_check.py looks it over.
PIPELINES = ('yaml',)
KNOWN = SHELL + SCRIPTS + DATA + PROXIES + PIPELINES + ('text',)


class Block:
    def __init__(self, path, line, info, notes):
        self.path, self.line, self.code = path, line, ''
        self.lang, _, self.shape = info.partition(' ')
        told = [NOTE.match(note) for note in notes]
        self.says = [match['says'] for match in told if match['says']]
        self.refused = any(not match['says'] for match in told)

    def __str__(self):
        return f'{self.path}:{self.line}'


def documents():
    paths = ['README.md', *sorted(glob.glob('docs/*.md', root_dir=ROOT)), 'js/README.md']
    return [path for path in paths if os.path.exists(os.path.join(ROOT, path))]


def blocks_of(path):
    blocks, block, notes = [], None, []
    with open(os.path.join(ROOT, path), encoding='utf-8') as file:
        for number, line in enumerate(file, 1):
            text = line.strip()
            if block is not None and text == '```':
                blocks.append(block)
                block, notes = None, []
            elif block is not None:
                block.code += line
            elif text.startswith('```'):
                block = Block(path, number, text[3:], notes)
            elif NOTE.match(text):
                notes.append(text)
            else:
                notes = []
    assert block is None, f'{block} does not end'
    return blocks
