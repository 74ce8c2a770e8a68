"""Every command, file, endpoint and parameter that a document names exists."""

import re
from pathlib import Path

import pytest

from infra.local.standins import stripe
from infra.stages.stage import PLACEHOLDER, SAMCONFIG
from infra.template import ROOT
from tests.support import plain_english
from tests.support.template import FUNCTIONS, TEMPLATE, routes_of

DOCUMENTS = [*ROOT.glob("*.md"), *ROOT.glob(".github/workflows/*.yml")]
TARGETS = set(re.findall(r"(?m)^([a-z0-9 -]+):(?!=)", (ROOT / "Makefile").read_text()))
TARGETS = {name for names in TARGETS for name in names.split()}
COMMAND = re.compile(r"(?:`|^ {4,}(?:.*&& )?|run: |; |&& )make ([a-z][a-z0-9-]*)", re.MULTILINE)
README = (ROOT / "README.md").read_text()
PARTS_OF_A_PAGE = {"GET /console/{file}", "GET /docs/{file}"}
DEPLOYING = (ROOT / "DEPLOYING.md").read_text()


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: path.name)
def test_every_make_command_in_a_document_exists(document: Path) -> None:
    assert set(COMMAND.findall(document.read_text())) <= TARGETS


def test_make_commands_are_found_in_documents() -> None:
    text = "`make up` and\n\n    make test    # all\n    git checkout x && make deploy\n"
    text += "make sense\n - run: make check\n"
    assert COMMAND.findall(text) == ["up", "test", "deploy", "check"]


@pytest.mark.parametrize("document", [path for path in DOCUMENTS if path.suffix == ".md"])
def test_every_file_that_a_document_links_to_exists(document: Path) -> None:
    links = re.findall(r"\]\(([^)#:]+)\)", document.read_text())
    assert [link for link in links if not (ROOT / link).exists()] == []


FILES = [f"/{name}" for name in plain_english.files()]
PATH = re.compile(r"`([\w.-][\w./-]*(?:/|\.(?:css|html|js|json|md|py|toml|txt|ya?ml)))`")
"""A folder or a file, named from the root or by the end of its path."""


@pytest.mark.parametrize(
    "document", [path for path in DOCUMENTS if path.name not in {"DECISIONS.md", "CHANGELOG.md"}]
)
def test_every_path_that_a_document_names_exists(document: Path) -> None:
    named = sorted(set(PATH.findall(document.read_text())))
    assert [path for path in named if not any(f"/{path}" in name for name in FILES)] == []


@pytest.mark.parametrize("function", [name for name in FUNCTIONS if routes_of(name)])
def test_readme_has_every_endpoint(function: str) -> None:
    [route] = routes_of(function)
    assert f"`{route}" in README or route in PARTS_OF_A_PAGE


def test_deploying_md_names_every_event_type_that_the_webhook_handles() -> None:
    for event in stripe.EVENTS:
        _, _, last = event.rpartition(".")
        assert f"`{event}`" in DEPLOYING or f"`.{last}`" in DEPLOYING, event


def test_every_parameter_that_deploying_md_names_exists() -> None:
    assert PLACEHOLDER in SAMCONFIG.read_text()
    named = set(re.findall(r"`\"?([A-Z][a-z]+[A-Za-z]*)(?:=[^`]*)?`", DEPLOYING))
    outputs = {"PipelineRole", "GithubProvider", "SupportPolicy"}
    assert named - outputs <= set(TEMPLATE["Parameters"]), (
        "template.yaml does not declare these parameters"
    )


ENTRIES = (ROOT / "DECISIONS.md").read_text().split("\n## ")[1:]
DECISIONS = [(entry.partition("\n")[0], entry) for entry in ENTRIES]


@pytest.mark.parametrize(("title", "entry"), DECISIONS, ids=[title for title, _ in DECISIONS])
def test_a_decision_is_dated_complete_and_at_most_fifteen_lines(title: str, entry: str) -> None:
    assert re.match(r"20\d\d-\d\d-\d\d — ", title)
    assert len(entry.strip().splitlines()) <= 15
    for part in ("**Context.**", "**Decision.**", "**Consequences.**"):
        assert part in entry


def test_a_superseded_decision_names_the_decision_that_replaced_it() -> None:
    titles = {title.partition(" — ")[2]: title[:10] for title, _ in DECISIONS}
    named = re.findall(r'\*\*Superseded\*\* by "(.+?)" \((.+?)\)', "\n".join(ENTRIES))
    assert named
    assert [title for title, day in named if titles.get(title) != day] == []
