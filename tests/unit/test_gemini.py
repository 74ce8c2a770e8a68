"""The client of Gemini over the wire: each answer's outcome, next to google-generativeai's."""

import functools
import sys

import pytest

from infra.local.standins.gemini import ERRORS, FAULTS
from infra.template import ROOT
from tests.support.gemini_answers import (
    CASES,
    INPUTS,
    STREAMED,
    Asked,
    Case,
    ask_googles,
    ask_ours,
)

PYTHON = [sys.executable, "-W", "ignore"]


@functools.cache
def ours() -> Asked:
    return ask_ours(PYTHON, [ROOT / "layers" / "core"])


@functools.cache
def googles() -> Asked:
    return ask_googles(PYTHON)


@pytest.mark.parametrize("case", [*CASES, *STREAMED], ids=lambda case: case.name)
def test_every_answer_has_its_outcome(case: Case) -> None:
    assert ours().outcomes[case.name] == case.outcome


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_googles_own_client_reads_the_stand_ins_answer(case: Case) -> None:
    assert googles().outcomes[case.name] == case.googles


def test_the_cases_meet_every_fault_of_the_stand_in_and_every_status_and_reason() -> None:
    met = [case.fault for case in [*CASES, *STREAMED] if case.fault]
    assert {fault["kind"] for fault in met} == set(FAULTS)
    assert {fault["status"] for fault in met if fault["kind"] == "error"} == set(ERRORS)
    for kind, setting in (("page", "status"), ("blocked", "reason"), ("finish", "reason")):
        named = {fault[setting] for fault in met if fault["kind"] == kind}
        assert named == set(FAULTS[kind][setting])  # type: ignore[arg-type]


def test_every_input_has_a_case() -> None:
    assert {path.stem for path in INPUTS.glob("*.json")} <= {case.name for case in CASES}


def test_the_trusted_certificates_are_read_once_for_all_connections() -> None:
    assert ours().certificates_read == 1


def test_our_client_imports_no_sdk() -> None:
    assert not {name for name in ours().modules if name.startswith(("google.", "requests", "grpc"))}
