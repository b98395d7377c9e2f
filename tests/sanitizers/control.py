#!/usr/bin/env python3
"""What must be reported: a worker of a real server reads freed memory, the next one counts too far, the last one loses
memory and ends well. tools/sanitize.py looks for them in the reports."""
import json
import os
import sys

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path[:0] = [os.path.join(HERE, '..', 'server'), os.path.join(HERE, '..', 'lib')]
from rivulet_server import Rivulet, image  # noqa: E402

PIPELINE = {'name': 'trying', 'legs': [{'stages': ['try'], 'timeout_s': 60, 'attempts': 1}]}


def main():
    server, held = Rivulet(PIPELINE), 0
    try:
        for order in ('freed', 'overflow', 'lost'):
            server.post('/process-batch', [image(content=json.dumps({'try': order}).encode())]).body()
            held += 1
    finally:
        server.close()
    print(f'{held} passed, 0 failed')


if __name__ == '__main__':
    main()
