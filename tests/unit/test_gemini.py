"""The door to Gemini, over the wire: each answer's outcome, with all of the SDK and with a part."""

import functools
import sys

import pytest

from infra.local.standins.gemini import ERRORS, FAULTS
from infra.template import ROOT
from tests.support.fresh_process import run
from tests.support.gemini_answers import CASES, Asked, Case, ask_everything

WHOLE, PART = "google.generativeai", ""


@functools.cache
def asked(first: str) -> Asked:
    python = [sys.executable, "-W", "ignore"]
    return ask_everything(python, [ROOT / "layers" / "core"], [first] if first else [])


@pytest.mark.parametrize("first", [WHOLE, PART], ids=["whole", "part"])
@pytest.mark.parametrize("case", CASES, ids=[case.name for case in CASES])
def test_every_answer_has_its_outcome(case: Case, first: str) -> None:
    assert asked(first).outcomes[case.name] == case.outcome


def test_the_cases_meet_every_fault_of_the_stand_in_and_every_status_and_reason() -> None:
    met = [case.fault for case in CASES]
    assert {fault["kind"] for fault in met if fault} == set(FAULTS)
    assert {fault["status"] for fault in met if fault.get("kind") == "error"} == set(ERRORS)
    for kind, setting in (("page", "status"), ("blocked", "reason"), ("finish", "reason")):
        named = {fault[setting] for fault in met if fault.get("kind") == kind}
        assert named == set(FAULTS[kind][setting])  # type: ignore[arg-type]


@pytest.mark.parametrize("first", [WHOLE, PART], ids=["whole", "part"])
def test_the_trusted_certificates_are_read_once_for_all_connections(first: str) -> None:
    assert asked(first).certificates_read == 1


def test_what_the_layer_does_not_have_is_never_imported() -> None:
    heavy = {"cryptography", "googleapiclient", "grpc", "httplib2", "pydantic", "tqdm"}
    assert heavy <= asked(WHOLE).modules
    assert heavy & asked(PART).modules == set()


FIRST_PROMPTS = """
from threading import Event, Thread
from geminichat.clients import gemini

begun, go_on, made = Event(), Event(), []

def configure(**asked):
    made.append(asked['api_key'])
    begun.set()
    assert go_on.wait(5)

gemini.secret = lambda _: 'key'
gemini.configure = configure
gemini.share_tls = lambda: None
asking = [Thread(target=gemini._configure) for _ in range(10)]
asking[0].start()
assert begun.wait(5)
for other in asking[1:]:
    other.start()
asking[1].join(0.2)
go_on.set()
for one in asking:
    one.join()
print(*made)
"""


def test_the_first_prompts_of_many_rooms_make_one_client() -> None:
    assert run(FIRST_PROMPTS) == "key"
