"""A language model for tests, behind the three APIs: POST {base}/chat/completions, {base}/responses, {base}/messages.

    model = Model(lambda prompt, call: {'score': 7}, delay_s=0.1)
    … {"llm": {"base": model.base, …}} …
    model.calls, model.most_at_once, model.paid(prompt)
    model.close()

The script is asked with the prompt and how often it was asked before (from 0). What it answers: a dict or list is the answer, as JSON; a str is said as it
stands; Fault(status, body, **headers) refuses; CUT answers a half, cut off for its length; REFUSED refuses to answer; DROP cuts the wire.
Tokens are counted a word each; nothing is random.
"""
import http.server
import json
import threading
import time

CUT, REFUSED, DROP = object(), object(), object()


class Fault(Exception):
    def __init__(self, status, body=None, **headers):
        super().__init__(status)
        self.status, self.body, self.headers = status, body, headers


class Call:
    def __init__(self, path, prompt, body, headers):
        self.path, self.prompt, self.body, self.headers, self.at, self.status = path, prompt, body, headers, time.monotonic(), None


def chat(text, why, tokens_in, tokens_out):
    message = {'role': 'assistant', 'content': None if why == 'refusal' else text, 'refusal': text if why == 'refusal' else None}
    return {'choices': [{'index': 0, 'message': message, 'finish_reason': 'length' if why == 'cut' else 'stop'}],
            'usage': {'prompt_tokens': tokens_in, 'completion_tokens': tokens_out, 'total_tokens': tokens_in + tokens_out}}


def responses(text, why, tokens_in, tokens_out):
    part = {'type': 'refusal', 'refusal': text} if why == 'refusal' else {'type': 'output_text', 'text': text}
    return {'status': 'incomplete' if why == 'cut' else 'completed', 'incomplete_details': {'reason': 'max_output_tokens'} if why == 'cut' else None,
            'output': [{'type': 'reasoning', 'summary': []}, {'type': 'message', 'content': [part]}],
            'usage': {'input_tokens': tokens_in, 'output_tokens': tokens_out}}


def messages(text, why, tokens_in, tokens_out):
    return {'content': [{'type': 'text', 'text': text}], 'stop_reason': {'refusal': 'refusal', 'cut': 'max_tokens'}.get(why, 'end_turn'),
            'usage': {'input_tokens': tokens_in, 'output_tokens': tokens_out}}


FORMS = {'/chat/completions': (chat, 'messages'), '/responses': (responses, 'input'), '/messages': (messages, 'messages')}


class Model:
    def __init__(self, script=lambda prompt, call: {'score': 5}, delay_s=0, key=None, port=0):
        self.script, self.delay_s, self.key = script, delay_s, key
        self.calls, self.at_once, self.most_at_once, self.lock = [], 0, 0, threading.Lock()
        outer = self

        class Handler(http.server.BaseHTTPRequestHandler):
            protocol_version = 'HTTP/1.1'

            def do_POST(self):
                outer.serve(self)

            def log_message(self, *_):
                pass

        class Server(http.server.ThreadingHTTPServer):
            daemon_threads, request_queue_size = True, 512

            def handle_error(self, *_):
                pass

        self.server = Server(('127.0.0.1', port), Handler)
        self.base = f'http://127.0.0.1:{self.server.server_address[1]}/v1'
        threading.Thread(target=self.server.serve_forever, args=(0.05,), daemon=True).start()

    def close(self):
        self.server.shutdown()
        self.server.server_close()

    def asked(self, prompt):
        return [call for call in list(self.calls) if call.prompt == prompt]

    def paid(self, prompt):
        """How often this prompt was answered, and so paid."""
        return sum(call.status == 200 for call in self.asked(prompt))

    def serve(self, request):
        body = json.loads(request.rfile.read(int(request.headers.get('Content-Length', 0))))
        form, member = FORMS[request.path[len('/v1'):]]
        prompt = [turn['content'] for turn in body[member] if turn['role'] == 'user'][0]
        call = Call(request.path, prompt, body, dict(request.headers))
        with self.lock:
            before = len(self.asked(prompt))
            self.calls.append(call)
            self.at_once += 1
            self.most_at_once = max(self.most_at_once, self.at_once)
        try:
            if self.delay_s:
                time.sleep(self.delay_s(prompt) if callable(self.delay_s) else self.delay_s)
            self.answer(request, call, form, before)
        finally:
            with self.lock:
                self.at_once -= 1

    def answer(self, request, call, form, before):
        try:
            told = self.script(call.prompt, before)
            if self.key and self.key not in (call.headers.get('Authorization', '').removeprefix('Bearer '), call.headers.get('X-Api-Key') or call.headers.get('x-api-key')):
                raise Fault(401, {'error': {'message': 'bad key'}})
        except Fault as fault:
            told = fault
        if told is DROP:
            request.close_connection = True
            return
        if isinstance(told, Fault):
            call.status = told.status
            send(request, told.status, told.body or {'error': {'message': 'no', 'code': 'rate_limit'}}, told.headers)
            return
        why = 'cut' if told is CUT else 'refusal' if told is REFUSED else 'stop'
        text = '{"sco' if told is CUT else 'I will not.' if told is REFUSED else told if isinstance(told, str) else json.dumps(told)
        call.status = 200
        send(request, 200, form(text, why, len(call.prompt.split()), len(text.split())), {})


def send(request, status, body, headers):
    content = json.dumps(body).encode()
    request.send_response(status)
    request.send_header('Content-Type', 'application/json')
    request.send_header('Content-Length', str(len(content)))
    for name, value in headers.items():
        request.send_header(name.replace('_', '-'), str(value))
    request.end_headers()
    request.wfile.write(content)
