"""The pipeline examples/profiles.yaml between doubles: its clocks made short, a collector that gives made-up profiles, a model that scores them."""
import json
import os
import re
import sys
import time
import zlib

ROOT = os.path.normpath(os.path.join(os.path.dirname(os.path.abspath(__file__)), '..', '..'))
sys.path.insert(0, os.path.join(ROOT, 'tests', 'server'))
import llm_double  # noqa: E402

EXAMPLES = os.path.join(ROOT, 'examples')
KEYS = {'BRIGHTDATA_API_KEY': 'collector-canary-19ab', 'OPENAI_API_KEY': 'model-canary-77f3'}
CAMPAIGN = {'campaign': 'hiking boots in Oslo'}
TOPICS = ('hiking', 'coffee', 'pottery', 'cycling', 'bread', 'birds')
CITIES = ('Oslo', 'Porto', 'Kyoto', 'Lima')
# What a test changes in the file: (what stands there, what takes its place).
EVERY, SIZE, RATE, CONCURRENCY = 'every: 10s..30s', 'size: 20, in_flight: 10', 'rate: { requests: 500/min, tokens: 200k/min }', 'concurrency: 20'
MIRROR = re.compile(r'  - firestore: .*\n')


def write_pipeline(folder, every='100ms', size=20, in_flight=10, concurrency=20, changes=()):
    """The example with other clocks and sizes and without its mirror, in `folder`; its path. A change that finds nothing to change is a mistake."""
    with open(os.path.join(EXAMPLES, 'profiles.yaml'), encoding='utf-8') as file:
        text = MIRROR.sub('', file.read())
    for old, new in ((EVERY, f'every: {every}..{every}'), (SIZE, f'size: {size}, in_flight: {in_flight}'), (RATE, 'rate: { requests: 1000000/min }'),
                     (CONCURRENCY, f'concurrency: {concurrency}'), ('profiles/', os.path.join(EXAMPLES, 'profiles') + '/'), *changes):
        assert old in text, f'{old} is not in the example any more'
        text = text.replace(old, new)
    path = os.path.join(folder, 'profiles.yaml')
    with open(path, 'w', encoding='utf-8') as file:
        file.write(text)
    return path


def url_of(number, platform='instagram', word='maker'):
    """Names say what they do: `best` is scored 10, `idle` has not posted for long, `refused` and `silly` make the model fail."""
    return f'https://www.instagram.com/{word}{number:05d}/' if platform == 'instagram' else f'https://www.tiktok.com/@{word}{number:05d}'


def name_of(url):
    return url.rstrip('/').rsplit('/', 1)[-1].lstrip('@')


def profile(_, index, row):
    """A row of the collector: the profile behind a URL, the same each time but for its posts' dates."""
    if 'error' in row:
        return row
    name = name_of(row['url'])
    chance = zlib.crc32(name.encode())
    topic, city = TOPICS[chance % len(TOPICS)], CITIES[chance // 7 % len(CITIES)]
    at = int(time.time()) // 86400 * 86400 - (100 if name.startswith('idle') else 3) * 86400
    about = f'{topic} creator in {city}'
    if 'tiktok' in row['url']:
        return {'input': row['input'], 'url': row['url'], 'account_id': name, 'nickname': name.title(), 'biography': about, 'followers': 1000 + chance % 90000,
                'top_videos': [{'video_id': f'{name}-1', 'description': f'A day of #{topic}', 'likes': chance % 900, 'create_time': at}]}
    return {'input': row['input'], 'url': row['url'], 'account': name, 'fbid': str(chance), 'full_name': name.title(), 'biography': about,
            'followers': 1000 + chance % 90000, 'posts': [{'id': f'{name}-1', 'caption': f'A day of #{topic}', 'likes': chance % 900, 'taken_at': at},
                                                          {'id': f'{name}-0', 'caption': city, 'likes': 3, 'taken_at': at - 86400}]}


def orders(script=None):
    """A collector's script whose rows are profiles."""
    def told(snapshot):
        return {'row': profile, **((script(snapshot) if callable(script) else script) or {})}
    return told


def asked_of(prompt):
    """The URL of the profile that a prompt asks about."""
    return re.search(r'https://\S+', prompt).group()


def score_of(url):
    name = name_of(url)
    return 10 if name.startswith('best') else 1 + zlib.crc32(name.encode()) % 9


def judge(prompt, _):
    name = name_of(asked_of(prompt))
    if name.startswith('refused'):
        raise llm_double.Fault(400, {'error': {'message': 'this I do not read'}})
    if name.startswith('silly'):
        return 'It is a fine profile, I would say 7.'
    return {'score': score_of(asked_of(prompt)), 'rationale': f'{name} is what it is.', 'summary': f'{name}, in short.'}


def settings(collector, model):
    """The environment of a server or a run."""
    return {'COLLECTOR_URL': collector.base, 'LLM_URL': model.base, 'LLM_MODEL': 'judge', 'RIVULET_NET_ALLOW': '127.0.0.1', **KEYS}


def begin(server, urls, **params):
    """The id of a new job. One document of very many addresses would take its program too long."""
    body = {'items': [{'urls': urls}] if len(urls) <= 5000 else urls, 'params': {**CAMPAIGN, **params}}
    answer = server.ask('POST', '/v1/jobs?pipeline=profiles', json.dumps(body).encode(), {'Content-Type': 'application/json'})
    assert answer.status == 202, answer.body()
    return answer.json()['id']
