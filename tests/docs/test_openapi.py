"""The OpenAPI document is valid, every route is in it, and what the server really answers has the shapes that it promises."""
import json
import os
import subprocess
import sys
import unittest

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path.insert(0, os.path.join(HERE, '..', 'server'))
from rivulet_server import Rivulet, image, item  # noqa: E402


class OpenApi(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        if not os.path.exists(os.path.join(HERE, 'node_modules', '.package-lock.json')):
            subprocess.run(['npm', 'ci', '--silent'], cwd=HERE, check=True)
        cls.server = Rivulet(MAX_WORKERS=2, ENABLE_PARALLEL='true')

    @classmethod
    def tearDownClass(cls):
        cls.server.close()

    def take(self, schema, path, method='GET', status=200, **more):
        answer = self.server.ask(method, path, **more)
        self.assertEqual(answer.status, status, path)
        value = answer.json()
        self.samples.append({'what': f'{method} {path}', 'schema': schema, 'value': value})
        return value

    def take_lines(self, schema, path, **headers):
        for line in self.server.get(path, **headers).body().splitlines():
            if line.strip():
                self.samples.append({'what': f'a line of {path}', 'schema': schema, 'value': json.loads(line)})

    def test_document_and_answers(self):
        self.samples = []
        document = json.loads(self.server.get('/openapi.json').body())
        files = [('good', None, item()), ('bad', None, item(fail='no luck')), ('again', None, item(retry='later')), ('large', None, item(pad=100000))]
        posted = self.server.post('/v1/jobs?pipeline=noop', files)
        self.assertEqual(posted.status, 202)
        job = posted.json()
        self.samples.append({'what': 'POST /v1/jobs', 'schema': 'Job', 'value': job})
        place = f'/v1/jobs/{job["id"]}'
        self.server.wait_for(job['id'], 'completed')
        self.take('Job', place)
        self.take('Job', place + '?results=1')
        self.take('JobList', '/v1/jobs')
        self.take('ItemList', place + '/items')
        for number in range(len(files)):
            self.take('Item', f'{place}/items/{number}')
        self.take('Result', place + '/items/0/result')
        self.take('EventPage', place + '/events?wait=1')
        self.take_lines('Event', place + '/events', Accept='application/x-ndjson')
        self.take_lines('ResultLine', place + '/results')
        self.take_lines('ResultLine', place + '/results?order=input')
        self.take('PipelineList', '/v1/pipelines')
        self.take('Session', '/v1/session')
        self.take('Alive', '/livez')
        self.take('Readiness', '/readyz')
        self.take('Health', '/health')
        self.take('Stats', '/stats')
        self.take('Index', '/')
        self.take('Problem', '/nowhere', status=404)
        self.take('Ticket', place + '/tickets', 'POST', 201)
        self.take('Job', place + '/cancel', 'POST')
        self.take('Job', place + '/retry', 'POST', 202)
        self.samples.append({'what': 'POST /process-batch', 'schema': 'BatchResult',
                             'value': self.server.post('/process-batch', [image(), image(fail='x')]).json()})
        self.samples.append({'what': 'POST /process', 'schema': 'OneResult', 'value': self.server.post('/process', [image()], 'file').json()})
        for frame in self.server.post('/process-batch-stream', [image(), image(fail='x')]).frames():
            self.samples.append({'what': 'a frame', 'schema': 'SeedEvent', 'value': {'event': frame.event, 'data': frame.data}})
        done = self.server.ask('POST', '/v1/jobs?pipeline=noop&open=1')
        opened = done.json()['id']
        self.take('Added', f'/v1/jobs/{opened}/items', 'POST', 202, body=b'{"items":[1]}', headers={'Content-Type': 'application/json'})
        self.take('Job', f'/v1/jobs/{opened}/seal', 'POST')
        wrong = subprocess.run(['node', os.path.join(HERE, 'openapi.mjs')], input=json.dumps({'document': document, 'samples': self.samples}),
                               capture_output=True, text=True)
        self.assertEqual((wrong.returncode, wrong.stdout), (0, ''), wrong.stderr)

    def test_every_shape_is_used_and_every_route_has_one(self):
        document = json.loads(self.server.get('/openapi.json').body())
        text = json.dumps(document)
        for name in document['components']['schemas']:
            self.assertIn(f'#/components/schemas/{name}"', text, name)
        for path, methods in document['paths'].items():
            for method, route in methods.items():
                for status, answer in route['responses'].items():
                    for media, content in answer.get('content', {}).items():
                        if media == 'application/json' and path not in ('/openapi.json', '/api/openapi.json', '/api/v1/openapi.json'):
                            self.assertIn('$ref', content['schema'], f'{method} {path} {status}')
