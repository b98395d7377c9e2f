"""Fan-out as it is usually written with FastAPI: a queue a subscriber, a generator that waits on it. For bench/fanout.py."""
import asyncio

from fastapi import FastAPI, Request
from fastapi.responses import StreamingResponse

app = FastAPI()
queues = set()


@app.get('/events')
async def events():
    queue = asyncio.Queue()
    queues.add(queue)

    async def frames():
        try:
            while True:
                yield await queue.get()
        finally:
            queues.discard(queue)

    return StreamingResponse(frames(), media_type='text/event-stream')


@app.post('/publish')
async def publish(request: Request):
    frame = f'event: result\ndata: {(await request.body()).decode()}\n\n'
    for queue in queues:
        queue.put_nowait(frame)
    return {}
