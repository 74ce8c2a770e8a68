"""The CPU time of one streamed reply, with our client and with google-generativeai."""

import json
import os
import subprocess
from typing import Any

from aiohttp import web

from tests.bench import trees
from tests.bench.host import BenchError
from tests.bench.lab import Lab
from tests.support.standins import run_app

CHUNKS = 60
TIMES = 30
PIECE = "Some words of an answer, as a model writes them. "
OURS, GOOGLES = "our client", "google-generativeai"

ASK_OURS = """
from geminichat.clients import gemini
gemini.secret = lambda _: "key"
question = gemini.Question(model="gemini-3.6-flash", prompt="Hello")

def ask():
    return "".join(gemini.Generation(question, silence=30, whole=60))
"""
ASK_GOOGLES = """
import google.generativeai as genai
from google.generativeai.types import RequestOptions
endpoint = {"api_endpoint": os.environ["GEMINI_ENDPOINT"]}
genai.configure(api_key="key", transport="rest", client_options=endpoint)
model = genai.GenerativeModel("gemini-3.6-flash")
options = RequestOptions(timeout=60, retry=None)

def ask():
    stream = model.generate_content("Hello", stream=True, request_options=options)
    return "".join(chunk.text for chunk in stream)
"""
MEASURE = """
import os, statistics, sys, time, warnings
warnings.simplefilter("ignore")
{ask}
def measure_reply():
    began = time.process_time_ns()
    text = ask().strip()
    assert len(text) == {length}, len(text)
    return time.process_time_ns() - began

ask()
print(statistics.median(measure_reply() for _ in range({times})) / 1e6)
"""


def measure(lab: Lab) -> dict[str, float]:
    """Return each client's milliseconds of CPU per reply of `CHUNKS` pieces."""
    with run_app(_app) as url:
        return {
            OURS: _run(ASK_OURS, [lab.trees.layer("core")], url),
            GOOGLES: _run(
                ASK_GOOGLES, [lab.trees.package("gemini"), lab.trees.package("core")], url
            ),
        }


def _run(ask: str, path: list[Any], url: str) -> float:
    length = len((PIECE * CHUNKS).strip())
    done = subprocess.run(
        [trees.PYTHON, "-sS", "-c", MEASURE.format(ask=ask, length=length, times=TIMES)],
        env={
            "PATH": os.environ["PATH"],
            "PYTHONPATH": os.pathsep.join(map(str, path)),
            "PYTHONDONTWRITEBYTECODE": "1",
            "GEMINI_ENDPOINT": url,
            "NO_PROXY": "127.0.0.1",
        },
        capture_output=True,
        text=True,
    )
    if done.returncode:
        raise BenchError(f"A streamed reply could not be measured:\n{done.stderr[-2000:]}")
    return float(done.stdout.splitlines()[-1])


def _app() -> web.Application:
    app = web.Application()
    app.router.add_post("/v1beta/models/{call}", _answer)
    return app


async def _answer(request: web.Request) -> web.StreamResponse:
    sse = request.query.get("alt") == "sse"
    kind = "text/event-stream" if sse else "application/json"
    response = web.StreamResponse(headers={"content-type": kind})
    await response.prepare(request)
    for number in range(CHUNKS):
        body = json.dumps(_chunk(number)).encode()
        between = b"[" if number == 0 else b","
        await response.write(b"data: " + body + b"\r\n\r\n" if sse else between + body)
    await response.write(b"" if sse else b"]")
    await response.write_eof()
    return response


def _chunk(number: int) -> dict[str, Any]:
    candidate: dict[str, Any] = {
        "content": {"role": "model", "parts": [{"text": PIECE}]},
        "index": 0,
    }
    if number == CHUNKS - 1:
        candidate["finishReason"] = 1
    used = {
        "promptTokenCount": 8,
        "totalTokenCount": 9 + number,
        "candidatesTokenCount": number + 1,
    }
    return {
        "candidates": [candidate],
        "usageMetadata": used,
        "modelVersion": "gemini-3.6-flash",
        "responseId": "r",
    }
