"""The stage llm against a model that misbehaves on order: what is asked, what is paid, and what a failure is."""
import json
import os
import sys
import threading
import unittest

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
import llm_double  # noqa: E402
from rivulet_server import Rivulet  # noqa: E402

SCHEMA = {'type': 'object', 'required': ['score'], 'additionalProperties': False,
          'properties': {'score': {'type': 'integer', 'minimum': 1, 'maximum': 10}, 'why': {'type': 'string'}}}
KEY = 'sk-canary-5f2a91c07d'
PRICE = {'in': 1000000.0, 'out': 2000000.0}       # a dollar a token in, two a token out


def stage(model, **more):
    told = {'api': 'openai', 'base': model.base, 'model': 'm', 'key': {'$env': 'TEST_MODEL_KEY'}, 'prompt': '"Rate \\(.name)"', 'schema': SCHEMA}
    common = {key: more.pop(key) for key in list(more) if key in ('concurrency', 'rate', 'retry', 'cache', 'on_error', 'when', 'else', 'timeout_us')}
    return {'stage': 'llm', 'with': {**told, **more}, **common}


def pipeline(*stages, records=False, **more):
    legs = [{'stages': [one], 'timeout_s': 60, 'attempts': 3, 'backoff_ms': [10, 20]} for one in stages]
    for leg in legs:
        leg.update({'each': 'record'} if records else {})
    return {'name': 'rate', 'in_flight': 20, 'legs': legs, **more}


class Llm(unittest.TestCase):
    def begin(self, script=lambda prompt, call: {'score': 7}, delay_s=0, **pipeline_of):
        self.model = llm_double.Model(script, delay_s, key=KEY)
        self.addCleanup(self.model.close)
        make = pipeline_of.pop('make', lambda model: pipeline(stage(model)))
        self.server = Rivulet(make(self.model), TEST_MODEL_KEY=KEY, RIVULET_NET_ALLOW='127.0.0.1', **pipeline_of)
        self.addCleanup(self.server.close)

    def post(self, names, params=None):
        body = {'items': [{'name': name} if isinstance(name, str) else name for name in names], **({'params': params} if params else {})}
        answer = self.server.ask('POST', '/v1/jobs?pipeline=rate', json.dumps(body).encode(), {'Content-Type': 'application/json'})
        self.assertEqual(answer.status, 202, answer.body() if answer.status != 202 else '')
        return answer.json()['id']

    def results(self, job):
        answer = self.server.get(f'/v1/jobs/{job}/results')
        return json.loads(answer.body())

    def ended(self, job):
        return self.server.wait_for(job, 'completed', 'error', 'cancelled')

    def failure(self, job):
        items = json.loads(self.server.get(f'/v1/jobs/{job}/items').body())['items']
        return items[0]['error_type'], items[0]['error']

    def test_each_api_is_asked_in_its_own_form_and_usage_is_summed(self):
        for api in ('openai', 'responses', 'anthropic'):
            with self.subTest(api):
                self.begin(make=lambda model: pipeline(stage(model, api=api, system='"Be just."', price=PRICE)))
                document = self.ended(self.post(['a', 'b', 'c']))
                self.assertEqual((document['status'], document['counts'][2]), ('completed', 3))
                self.assertEqual(document['usage'], {'llm_calls': 3, 'tokens_in': 6, 'tokens_cached': 0, 'tokens_out': 6, 'cost': 18})
                self.assertEqual(sorted(call.prompt for call in self.model.calls), ['Rate a', 'Rate b', 'Rate c'])

    def test_an_answer_that_does_not_fit_is_mended_once(self):
        self.begin(lambda prompt, call: [{'score': 99}, '```json\n{"score": 3}\n```'][min(call, 1)])
        document = self.ended(self.post(['a']))
        self.assertEqual(document['status'], 'completed')
        self.assertEqual(len(self.model.calls), 2)
        self.assertIn('.score is 99, at most 10', self.model.calls[1].body['messages'][-1]['content'])

    def test_a_failure_is_a_failure_and_never_a_score(self):
        for told, error_type, calls in ((lambda prompt, call: 'sorry', 'invalid_json', 6), (lambda prompt, call: llm_double.CUT, 'invalid_json', 6),
                                        (lambda prompt, call: llm_double.REFUSED, 'refused', 1)):
            with self.subTest(error_type):
                self.begin(told)
                job = self.post(['a'])
                document = self.ended(job)
                self.assertEqual((document['status'], document['counts'][2:4]), ('error', [0, 1]))
                self.assertEqual(self.failure(job)[0], error_type)
                self.assertEqual(len(self.model.calls), calls)
                self.assertEqual(document['usage']['llm_calls'], calls, 'what was paid is told, whatever came of it')

    def refuse(self, status, body=None, **headers):
        raise llm_double.Fault(status, body, **headers)

    def test_no_credit_is_for_good(self):
        self.begin(lambda prompt, call: self.refuse(429, {'error': {'code': 'insufficient_quota', 'message': 'pay'}}))
        job = self.post(['a'])
        self.ended(job)
        self.assertEqual((self.failure(job)[0], len(self.model.calls)), ('budget', 1))

    def test_one_429_pauses_everybody(self):
        refused = threading.Event()

        def script(prompt, call):
            if not refused.is_set():
                refused.set()
                self.refuse(429, retry_after=1)
            return {'score': 5}
        self.begin(script, make=lambda model: pipeline(stage(model, concurrency=1)))
        document = self.ended(self.post([f'n{i}' for i in range(20)]))
        self.assertEqual(document['counts'][2], 20)
        first = next(call for call in self.model.calls if call.status == 429)
        self.assertGreaterEqual(min(call.at for call in self.model.calls if call is not first) - first.at, 0.95)

    def test_calls_at_once_and_a_minute_have_their_limits(self):
        self.begin(delay_s=0.05, make=lambda model: pipeline(stage(model, concurrency=3, rate={'requests': 10, 'requests_per_us': 1000000})))
        document = self.ended(self.post([f'n{i}' for i in range(20)]))
        self.assertEqual(document['counts'][2], 20)
        self.assertLessEqual(self.model.most_at_once, 3)
        times = sorted(call.at for call in self.model.calls)
        self.assertGreaterEqual(times[-1] - times[0], 0.9, '10 a second: the last of 20 goes a second after the first')

    def test_the_key_is_in_no_event_file_or_message(self):
        self.begin(lambda prompt, call: self.refuse(400, {'error': {'message': 'bad'}}))
        job = self.post(['a'])
        self.ended(job)
        told = self.server.events(job).body() + json.dumps(self.server.document(job)).encode()
        self.server.stop()
        for folder, _, names in os.walk(self.server.top):
            for name in names:
                with open(os.path.join(folder, name), 'rb') as file:
                    told += file.read()
        self.assertNotIn(KEY.encode(), told)
        self.assertEqual(len(self.model.calls), 1, '400 is not tried again')
        self.assertEqual(self.model.calls[0].headers.get('Authorization'), f'Bearer {KEY}')

    def test_a_job_that_costs_too_much_ends(self):
        self.begin(make=lambda model: pipeline(stage(model, price=PRICE, concurrency=1), max_cost=20.0, in_flight=1))
        document = self.ended(self.post([f'n{i}' for i in range(50)]))
        self.assertEqual(document['status'], 'error')
        self.assertIn('20', document['error'])
        self.assertLessEqual(len(self.model.calls), 6)
        self.assertEqual(sum(document['counts'][2:]), 50)

    def test_recorded_answers_are_not_paid_twice(self):
        self.begin(delay_s=0.02, make=lambda model: pipeline(stage(model, concurrency=4), records=True))
        answer = self.server.ask('POST', '/v1/jobs?pipeline=rate', json.dumps({'items': [[{'name': f'{b}-{r}'} for r in range(20)] for b in range(5)]}).encode(),
                                 {'Content-Type': 'application/json'})
        job = answer.json()['id']
        told = 0
        for kill in range(3):
            stream = self.server.events(job)
            while told < 20 * (kill + 1):
                frame = stream.frame()
                told += frame.event == 'progress' and frame.data.get('state') == 'record'
            self.server.kill()
            self.server.start()
            told = 0
        document = self.ended(job)
        self.assertEqual((document['status'], document['counts'][2], document['records']['completed']), ('completed', 5, 100))
        calls = len([call for call in self.model.calls if call.status == 200])
        self.assertLessEqual(calls, 100 + 3 * 4, 'only what was on its way at a kill is asked again')

    def test_what_the_cache_knows_is_not_asked_again(self):
        self.begin(make=lambda model: pipeline(stage(model, cache={'key': '.name', 'ttl_us': 3600 * 10**6})))
        self.ended(self.post(['a', 'b']))
        self.ended(self.post(['b', 'c']))
        self.assertEqual([self.model.paid(f'Rate {name}') for name in 'abc'], [1, 1, 1])


if __name__ == '__main__':
    unittest.main()
