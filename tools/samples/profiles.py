#!/usr/bin/env python3
"""Makes examples/profiles/urls.jsonl and records examples/profiles/fixtures: the profiles pipeline against the doubles of the tests, with makers that do
not exist. Their posts are of a far year, so that they count as active for as long as the recording is played.

Usage: tools/samples/profiles.py [PROGRAM]
"""
import json
import os
import random
import shutil
import subprocess
import sys
import zlib

ROOT = os.path.normpath(os.path.join(os.path.dirname(os.path.abspath(__file__)), '..', '..'))
sys.path[:0] = [os.path.join(ROOT, 'tests', 'lib'), os.path.join(ROOT, 'tools')]
import demo  # noqa: E402
import profiles  # noqa: E402
from collector import Collector  # noqa: E402
from llm_double import Model  # noqa: E402

FOLDER = os.path.join(ROOT, 'examples', 'profiles')
NAMES = ('ada', 'bo', 'cleo', 'dag', 'edda', 'finn', 'gry', 'hugo', 'ida', 'jon', 'kaia', 'liv', 'mads', 'nora', 'odd', 'pia')
TOPICS = ('hikes', 'bakes', 'rides', 'paints', 'camps', 'skis', 'climbs', 'cooks')
CITIES = ('Oslo', 'Bergen', 'Porto', 'Kyoto', 'Lima')
OUTDOORS = ('hikes', 'camps', 'skis', 'climbs')
COUNTS = {'instagram': 26, 'tiktok': 24}
FAR_YEAR = 2082758400        # 2036-01-01


def urls():
    chance = random.Random(7)
    accounts = [f'{name}.{topic}' for name in NAMES for topic in TOPICS]
    chance.shuffle(accounts)
    made = [f'https://www.instagram.com/{account}/' for account in accounts[:COUNTS['instagram']]]
    made += [f'https://www.tiktok.com/@{account}' for account in accounts[COUNTS['instagram']:sum(COUNTS.values())]]
    made[3] = made[3].replace('instagram.com/', 'instagram.com/gone.')
    chance.shuffle(made)
    return made


def about(url):
    name, _, topic = profiles.name_of(url).partition('.')
    city = CITIES[zlib.crc32(url.encode()) % len(CITIES)]
    return name, topic, city


def row(snapshot, _, plain):
    url = plain['url'] if 'url' in plain else plain['input']['url']
    name, topic, city = about(url)
    account, likes = profiles.name_of(url), zlib.crc32(url.encode()) % 900
    if name == 'gone':
        return {'input': {'url': url}, 'error': 'page not found', 'error_code': 'dead_page'}
    text = f'{name.title()} {topic} in and around {city}'
    if 'tiktok' in url:
        return {'input': {'url': url}, 'url': url, 'account_id': account, 'nickname': name.title(), 'biography': text, 'followers': 900 + 31 * likes,
                'top_videos': [{'video_id': account + '-1', 'description': f'A day in {city}', 'likes': likes, 'create_time': FAR_YEAR}]}
    return {'input': {'url': url}, 'url': url, 'account': account, 'fbid': str(likes), 'full_name': name.title(), 'biography': text,
            'followers': 900 + 31 * likes, 'posts': [{'id': account + '-1', 'caption': f'A day in {city}', 'likes': likes, 'taken_at': FAR_YEAR}]}


def judge(prompt, _):
    name, topic, city = about(profiles.asked_of(prompt))
    near = 6 if city == 'Oslo' else 4 if city == 'Bergen' else 1
    fits = 3 if topic in OUTDOORS else 1
    return {'score': near + fits, 'rationale': f'{name.title()} lives in {city}. {name.title()} {topic}.', 'summary': f'{name.title()} {topic} in {city}.'}


def main():
    program = sys.argv[1] if len(sys.argv) > 1 else os.path.join(ROOT, 'build', 'rivulet')
    fixtures = os.path.join(FOLDER, 'fixtures')
    shutil.rmtree(fixtures, ignore_errors=True)
    with open(os.path.join(FOLDER, 'urls.jsonl'), 'w', encoding='utf-8') as file:
        file.write(json.dumps({'urls': urls()}) + '\n')
    slow = {1: 3, 2: 9, 3: 1, 4: 6}       # seconds of a download: a tenth of it when it is played
    collector = Collector(lambda snapshot: {'row': row, 'ready_s': 0, 'download_s': slow[snapshot.number]}, port=demo.COLLECTOR_PORT)
    model = Model(judge, delay_s=lambda prompt: 1 + zlib.crc32(prompt.encode()) % 30 / 10, port=demo.MODEL_PORT)
    status = subprocess.run([program, *demo.PROFILES, '--record'], cwd=ROOT, env={**os.environ, **demo.PROFILES_ENV}, check=False).returncode
    collector.close()
    model.close()
    size = sum(os.path.getsize(os.path.join(fixtures, name)) for name in os.listdir(fixtures))
    print(f'{len(os.listdir(fixtures))} fixtures, {size} bytes; status {status}', file=sys.stderr)
    return status


if __name__ == '__main__':
    sys.exit(main())
