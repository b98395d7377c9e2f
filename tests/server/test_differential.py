"""One job, read in every way there is, says the same each time: as it happens, afterwards, after a kill, by frame, line, page and poll."""
import json
import unittest

from rivulet_server import BOUNDARY, Rivulet, form, image

VALUES = [{'plain': [1, 2.5, -1e300, 'ü 中 "q" \\ \n', {}, [], True]}, 7, 'text', False, {'noop': {'fail': 'no "luck"\nat all'}},
          {'noop': {'fail': 'not right', 'error_type': 'validation'}}, {'noop': {'retry': 'try again'}}, {'noop': {'pad': 200000}},
          {'noop': {'pad': 65500}}, {'noop': {'accuracy': 81.25, 'result': {'named': 'x'}}}, {'noop': {'crash': True}},
          {'noop': {'result': []}}, {'value': {'noop': {'sleep_ms': 60}}, 'name': 'a name', 'key': 'k'}] + list(range(60))


def lines_of(content):
    return [json.loads(line) for line in content.decode().splitlines() if line]


class Differential(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.server = Rivulet(MAX_WORKERS=2, MAX_FILE_SIZE_MB=1)

    @classmethod
    def tearDownClass(cls):
        cls.server.close()

    def large(self, said):
        """The result, be it elsewhere."""
        return self.server.get(said['result_url']).json() if 'result_url' in said else said['result']

    def from_native(self, events):
        """(event name, data) … → index → (name, result | error, error_type)."""
        found = {}
        for event, data in events:
            if event == 'result':
                ending = (data['name'], self.large(data), None)
            elif event == 'failed':
                ending = (data['name'], data['error'], data['error_type'])
            else:
                continue
            self.assertNotIn(data['item'], found)
            found[data['item']] = ending
        self.assertEqual(events[-1][0], 'complete')
        return found

    def from_lines(self, content, key):
        found = {}
        for line in lines_of(content):
            self.assertNotIn(line['index'], found)
            found[line['index']] = (line['filename'], line[key] if key in line else line['error'], line.get('error_type'))
        return found

    def by_frames(self, job):
        return self.from_native([(frame.event, frame.data) for frame in self.server.events(job).frames()])

    def by_seed_frames(self, job, key):
        found = {}
        for frame in self.server.events(job, '?face=seed').frames():
            if frame.event in ('result', 'error'):
                data = frame.data
                found[data['index']] = (data['filename'], data[key] if frame.event == 'result' else data['error'], data.get('error_type'))
        return found

    def by_event_lines(self, job):
        answer = self.server.get(f'/v1/jobs/{job}/events', Accept='application/x-ndjson')
        return self.from_native([(line['event'], line['data']) for line in lines_of(answer.body()) if line['event'] != 'heartbeat'])

    def by_polls(self, job):
        events, after, ended = [], 0, False
        while not ended:
            answer = self.server.get(f'/v1/jobs/{job}/events?wait=5&after={after}').json()
            events += [(event['event'], event['data']) for event in answer['events']]
            after, ended = answer['next'], answer['ended']
        return self.from_native(events)

    def by_several(self, job):
        answer = self.server.get(f'/v1/events?job={job}')
        frames = []
        while not frames or frames[-1].event != 'complete':
            frame = answer.frame()
            self.assertIsNotNone(frame, frames[-1:])
            if frame.event and frame.event != 'heartbeat':
                frames.append(frame)
        answer.leave()
        return self.from_native([(frame.event, frame.data) for frame in frames])

    def by_results(self, job, key, query):
        return self.from_lines(self.server.get(f'/v1/jobs/{job}/results{query}').body(), key)

    def ending(self, one):
        if one['state'] == 'completed':
            return one['name'], self.large(one), None
        self.assertEqual(one['state'], 'failed')
        return one['name'], one['error'], one['error_type']

    def by_pages(self, job):
        found, path = {}, f'/v1/jobs/{job}/items?limit=7'
        while path:
            answer = self.server.get(path)
            link = answer.header('Link')
            path = link.split('>')[0].lstrip('<') if link and 'rel="next"' in link else None
            for one in answer.json()['items']:
                found[one['item']] = self.ending(one)
        return found

    def one_by_one(self, job, total):
        return {n: self.ending(self.server.get(f'/v1/jobs/{job}/items/{n}').json()) for n in range(total)}

    def compare(self, job, key, total, truth):
        """`truth` was read while it happened."""
        self.assertEqual(sorted(truth), list(range(total)))
        ways = {
            'frames': self.by_frames(job), 'frames of the /process endpoints': self.by_seed_frames(job, key),
            'lines of events': self.by_event_lines(job), 'polls': self.by_polls(job), 'one connection for several': self.by_several(job),
            'results': self.by_results(job, key, ''), 'results by input': self.by_results(job, key, '?order=input'),
            'results by score': self.by_results(job, key, '?order=score'), 'results, following': self.by_results(job, key, '?follow=1'),
            'pages': self.by_pages(job), 'one by one': self.one_by_one(job, total),
        }
        for way, found in ways.items():
            self.assertEqual(sorted(found), sorted(truth), way)
            for index, ending in truth.items():
                self.check_one(way, index, found[index], ending)
        failed = sum(kind is not None for _, _, kind in truth.values())
        document = self.server.document(job)
        self.assertEqual((document['batches_completed'], document['batches_failed']), (total - failed, failed))
        return document

    def check_one(self, way, index, found, ending):
        """The plain face has two words for what was wrong; all other ways have the same."""
        name, result, kind = ending
        self.assertEqual(found[:2], (name, result), (way, index))
        if kind is None or way == 'frames of the /process endpoints' or way.startswith('results'):
            self.assertEqual(found[2] is None, kind is None, (way, index))
        else:
            self.assertEqual(found[2], kind, (way, index))

    def test_values(self):
        body = json.dumps({'items': VALUES}).encode()
        headers = {'Content-Type': 'application/json', 'Accept': 'text/event-stream'}
        answer = self.server.ask('POST', '/v1/jobs?pipeline=noop', body, headers)
        truth = self.from_native([(frame.event, frame.data) for frame in answer.frames()])
        self.assertEqual(truth[0], ('item_0', VALUES[0], None))
        self.assertEqual(len(truth[7][1]['pad']), 200000)
        document = self.compare(answer.job, 'result', len(VALUES), truth)
        self.server.kill()
        self.server.start()
        self.assertEqual(self.compare(answer.job, 'result', len(VALUES), truth), document)

    def test_files(self):
        files = [image('a.jpg', accuracy=90), ('no.txt', 'text/plain', b'x'), image('b.jpg', fail='broken'), image('large.jpg', bytes((1 << 20) + 1)),
                 image('c.jpg', pad=70000)]
        headers = {'Content-Type': f'multipart/form-data; boundary={BOUNDARY}', 'Accept': 'text/event-stream'}
        answer = self.server.ask('POST', '/v1/jobs?pipeline=decklists', form(files), headers)
        truth = self.from_native([(frame.event, frame.data) for frame in answer.frames()])
        self.compare(answer.job, 'decklist', len(files), truth)

    def test_the_awaited_document_is_the_one_that_is_read(self):
        body = json.dumps({'items': VALUES[:9]}).encode()
        answer = self.server.ask('POST', '/v1/jobs?pipeline=noop', body, {'Content-Type': 'application/json', 'Prefer': 'wait=30'})
        self.assertEqual(answer.status, 200)
        document = answer.json()
        self.assertEqual(document, self.server.document(document['id']))
        self.assertEqual((document['batches_completed'], document['batches_failed']), (6, 3))


if __name__ == '__main__':
    unittest.main()
