"""The house rules: folders and template, layers and imports, private names, plain English."""

import ast
import graphlib
import json
import os
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from infra.template import ROOT, settings
from tests.support import grants, import_effects, plain_english, private_names
from tests.support.settings import settings_of
from tests.support.template import (
    FUNCTIONS,
    QUEUES,
    RESOURCES,
    TEMPLATE,
    as_list,
    events_of,
    folder_of,
    head_routes,
    mappings_of,
    of_type,
    queue_of,
    routes_of,
    socket_routes_of,
    statements_in,
)

PACKAGE = ROOT / "layers" / "core" / "geminichat"
GLOBALS = TEMPLATE["Globals"]["Function"]
HTTP_FUNCTIONS = [function for function in FUNCTIONS if routes_of(function)]

every_function = pytest.mark.parametrize("function", FUNCTIONS)


def test_every_folder_is_deployed_once_and_every_function_has_its_folder() -> None:
    folders = [path.parent.name for path in (ROOT / "functions").glob("*/app.py")]
    assert sorted(folder_of(function) for function in FUNCTIONS) == sorted(folders)


def test_every_layer_is_built_by_the_same_build_script() -> None:
    """Each layer has a link to the script, because SAM copies only the layer's own folder."""
    for layer in ("core", "gemini", "stripe"):
        link = ROOT / "layers" / layer / "build.py"
        assert link.is_symlink(), link
        assert link.resolve() == ROOT / "layers" / "build" / "build.py"


@every_function
def test_a_functions_logical_id_is_its_folder_in_camel_case(function: str) -> None:
    assert function == "".join(word.capitalize() for word in folder_of(function).split("_"))


@every_function
def test_a_handlers_docstring_begins_with_its_callers(function: str) -> None:
    text = (ROOT / "functions" / folder_of(function) / "app.py").read_text()
    opening = (ast.get_docstring(ast.parse(text)) or "").partition(": ")[0]
    assert opening.split(" and ") == list(callers_of(function))


def callers_of(function: str) -> Iterator[str]:
    """Yield a function's callers as its handler's docstring must name them."""
    yield from routes_of(function)
    for mapping in mappings_of(function):
        yield f"SQS {queue_of(mapping)}"
    for event in events_of(function, "ScheduleV2"):
        yield f"Schedule {event['ScheduleExpression']}"
    for route in socket_routes_of(function):
        yield f"WebSocket {route}"
    if folder_of(function).startswith("admin_"):
        yield "make admin"


ADMINISTRATION = [function for function in FUNCTIONS if function.startswith("Admin")]


def test_admin_functions_have_no_event_or_url_and_only_they_are_in_the_support_policy() -> None:
    assert ADMINISTRATION
    for function in ADMINISTRATION:
        assert not {"Events", "FunctionUrlConfig"} & set(FUNCTIONS[function])
    document = json.loads((ROOT / "functions" / "docs_openapi" / "openapi.json").read_text())
    assert [path for path in document["paths"] if "admin" in path] == []
    [statement] = statements_in(RESOURCES["Support"])
    assert as_list(statement["Action"]) == ["lambda:InvokeFunction"]
    assert statement["Resource"] == [{"Ref": f"{name}.Alias"} for name in ADMINISTRATION]


def test_only_acts_may_put_audit_items_and_no_role_may_change_or_delete_them() -> None:
    may = {
        (use.function, use.action.removeprefix("dynamodb:"))
        for use in grants.list_grants()
        if use.resource.startswith("AuditTable")
    }
    assert {action for _, action in may} == {"PutItem", "BatchGetItem", "Query"}
    putting = {function for function, action in may if action == "PutItem"}
    assert putting == set(ADMINISTRATION) - {"AdminShow"}
    code = (PACKAGE / "tables" / "audit.py").read_text()
    writes = re.findall(r"\b(?:put|update|delete|batch_write|save)\w*\(", code)
    assert writes == ["put_act(", "put_redriven_prompt(", "put("]
    assert 'put("audit", item, Audit.act_id.does_not_exist())' in code


NOT_READ_BY_OUR_CODE = {"POWERTOOLS_LOG_LEVEL", "PARAMETERS_DIGEST"}


FEW = 6
"""The most readers of a setting that may be declared per function: all variables have 4 KB."""


def test_a_setting_is_declared_for_all_functions_or_for_the_few_that_read_it() -> None:
    names = set(settings(TEMPLATE)) - NOT_READ_BY_OUR_CODE
    readers: dict[str, set[str]] = {name: set() for name in names}
    for function in FUNCTIONS:
        for name in settings_of(ROOT / "functions" / folder_of(function) / "app.py", names):
            readers[name].add(function)
    for_all = set(variables_of(GLOBALS)) - NOT_READ_BY_OUR_CODE
    assert [name for name in sorted(for_all) if len(readers[name]) < 2] == []
    assert {name for name in names if len(readers[name]) > FEW} <= for_all
    for function, properties in FUNCTIONS.items():
        assert set(variables_of(properties)) == {
            name for name in names - for_all if function in readers[name]
        }, function


@pytest.mark.parametrize(
    "setting", [name for name in settings(TEMPLATE) if name.endswith("_PARAMETER")]
)
def test_a_function_may_read_a_secret_if_and_only_if_its_code_reads_it(setting: str) -> None:
    secret = settings(TEMPLATE)[setting]["Fn::Sub"].rpartition("/")[2]
    granted = {
        use.function
        for use in grants.list_grants()
        if (use.action, use.resource) == (grants.SECRET, secret)
    }
    files = {name: ROOT / "functions" / folder_of(name) / "app.py" for name in FUNCTIONS}
    readers = {name for name, file in files.items() if settings_of(file, {setting})}
    public = {name for name, file in files.items() if "public=True" in file.read_text()}
    if setting != "SIGNING_KEYS_PARAMETER":
        public = set()  # only the keys that verify tokens are in the code of every endpoint
    assert readers - public <= granted <= readers


def test_the_environment_of_every_function_is_within_lambdas_limit_of_4_kb() -> None:
    """The test assumes AWS's lengths of resource names, and the longest ModelsPatch."""
    parameters = TEMPLATE["Parameters"]
    for function in FUNCTIONS.values():
        variables = variables_of(GLOBALS) | variables_of(function)
        size = sum(len(name) for name in variables)
        for value in variables.values():
            parameter = parameters.get(value.get("Ref"), {}) if isinstance(value, dict) else {}
            number = 10 if parameter.get("Type") == "Number" else VALUE_LENGTH
            allowed = max(map(len, parameter.get("AllowedValues", [" " * number])))
            size += parameter.get("MaxLength", allowed)
        assert size <= 4_096


VALUE_LENGTH = 60
"""The assumed characters of a text value: a table's has 50, a queue's 110, most others fewer."""


def variables_of(properties: dict[str, Any]) -> dict[str, Any]:
    """Return the environment variables that a function or the Globals declare."""
    found: dict[str, Any] = properties.get("Environment", {}).get("Variables", {})
    return found


def test_the_parameter_groups_have_every_parameter_once_in_the_order_of_declaration() -> None:
    groups = TEMPLATE["Metadata"]["AWS::CloudFormation::Interface"]["ParameterGroups"]
    assert [name for group in groups for name in group["Parameters"]] == list(
        TEMPLATE["Parameters"]
    )
    assert all(group["Label"]["default"] for group in groups)


def test_lines_of_the_template_have_at_most_100_characters() -> None:
    lines = (ROOT / "template.yaml").read_text().splitlines()
    assert [number for number, line in enumerate(lines, 1) if len(line) > 100] == []


@every_function
def test_a_function_has_a_timeout_and_a_log_group_that_the_template_makes(function: str) -> None:
    properties = GLOBALS | FUNCTIONS[function]
    assert properties["Timeout"] <= (29 if routes_of(function) else 900)
    group = RESOURCES[properties["LoggingConfig"]["LogGroup"]["Ref"]]
    assert group["Type"] == "AWS::Logs::LogGroup"
    assert group["Properties"]["RetentionInDays"]


def test_the_document_and_health_routes_answer_head_requests() -> None:
    expected = {
        "/": "ConsolePage",
        "/docs": "DocsPage",
        "/health": "HealthCheck",
        "/openapi.json": "DocsOpenapi",
    }
    assert expected.items() <= head_routes().items()
    for path, function in head_routes().items():
        assert routes_of(function) == [f"GET {path}"]


def test_browsers_may_send_tracing_headers_and_read_every_header_that_clients_need() -> None:
    cors = of_type("AWS::Serverless::HttpApi")["Api"]["CorsConfiguration"]
    assert {"traceparent", "tracestate", "baggage", "sentry-trace"} <= set(cors["AllowHeaders"])
    assert {"idempotency-replayed", "etag", "location", "retry-after"} <= set(cors["ExposeHeaders"])
    assert "HEAD" in cors["AllowMethods"]


def test_exactly_the_functions_that_hash_a_password_have_1024_mb() -> None:
    larger = {name for name, given in FUNCTIONS.items() if given.get("MemorySize") == 1024}
    hashing = {
        name
        for name in FUNCTIONS
        if imports_of(ROOT / "functions" / folder_of(name) / "app.py")
        & {"domain.hashing", "operations.login"}
    }
    assert larger == hashing


@pytest.mark.parametrize("function", [name for name in FUNCTIONS if mappings_of(name)])
def test_the_function_of_a_queue_reports_partial_failures_and_the_queue_has_a_dead_letter_queue(
    function: str,
) -> None:
    for mapping in mappings_of(function):
        assert mapping["FunctionResponseTypes"] == ["ReportBatchItemFailures"]
        queue = QUEUES[queue_of(mapping)]
        [dead_letters] = [
            QUEUES[name]
            for name in QUEUES
            if queue["RedrivePolicy"]["deadLetterTargetArn"] == {"Fn::GetAtt": [name, "Arn"]}
        ]
        assert dead_letters.get("FifoQueue") == queue.get("FifoQueue")
        assert queue["VisibilityTimeout"] > (GLOBALS | FUNCTIONS[function])["Timeout"]


# ── Who may import what ─────────────────────────────────────────────────────────────────────────

LAYERS = {
    "functions": {
        "administration",
        "api",
        "websocket",
        "operations",
        "clients",
        "upstash",
        "tables",
        "domain",
        "runtime",
    },
    "api": {"access_tokens", "domain", "runtime"},
    "websocket": {"domain", "runtime"},
    "administration": {"clients", "domain", "runtime"},
    "access_tokens": {"domain", "runtime"},
    "operations": {"clients", "upstash", "tables", "domain", "runtime"},
    "clients": {"domain", "runtime"},
    "upstash": {"domain", "runtime"},
    "tables": {"domain", "runtime"},
    "domain": set[str](),
    "runtime": set[str](),
    "config": {"domain", "runtime"},
    "metrics": {"runtime"},
    "errors": set[str](),
    "startup": set[str](),
}
"""The layers that a layer may import besides itself; a layer is a folder or a single module."""

EVERYWHERE = {"errors", "config", "metrics", "startup"}
"""The layers that all but `domain` and `runtime` may import; `domain` may import `errors`."""


def modules() -> list[str]:
    """Return every module of our package, as "tables.messages"."""
    paths = (path.relative_to(PACKAGE).with_suffix("") for path in PACKAGE.rglob("*.py"))
    return sorted(".".join(path.parts) for path in paths if path.name != "__init__")


def absolute_imports(path: Path) -> set[str]:
    """Return the dotted names of all imports in a file, including those inside functions."""
    found: set[str] = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            found |= {node.module} | {f"{node.module}.{alias.name}" for alias in node.names}
    return found


def imports_of(path: Path) -> set[str]:
    """Return the modules of our package that a file imports, even inside a function."""
    found = {name.removeprefix("geminichat.") for name in absolute_imports(path)}
    named = set(re.findall(r"\bimport_module\([f\"']*geminichat\.([\w.]+)", path.read_text()))
    return (found | named) & set(modules())


def allowed_layers(layer: str) -> set[str]:
    """Return the layers that a layer may import."""
    common = {"domain": {"errors"}, "runtime": set[str]()}.get(layer, EVERYWHERE)
    return LAYERS[layer] | common | {layer}


def layer_of(module: str) -> str:
    """Return the layer that a module of our package belongs to."""
    return module.partition(".")[0]


@pytest.mark.parametrize("module", modules())
def test_a_module_imports_only_layers_that_its_own_layer_may_import(module: str) -> None:
    imported = imports_of(PACKAGE / (module.replace(".", "/") + ".py"))
    allowed = allowed_layers(layer_of(module))
    assert {name for name in imported if layer_of(name) not in allowed} == set()


def test_architecture_md_shows_the_checked_layer_rule() -> None:
    page = (ROOT / "ARCHITECTURE.md").read_text()
    rows = re.findall(r"^\| `(\w+)/?` \| [^|]+ \| ?([^|]*) ?\|$", page, re.MULTILINE)
    shown = {layer: set(re.findall(r"`(\w+)`", may)) for layer, may in rows if layer in LAYERS}
    assert shown == LAYERS | {"functions": set()}, "functions may import everything"


def test_the_import_graph_of_the_package_has_no_cycle() -> None:
    graph = {
        name: imports_of(PACKAGE / (name.replace(".", "/") + ".py")) - {name} for name in modules()
    }
    graphlib.TopologicalSorter(graph).prepare()


def test_every_init_file_is_empty() -> None:
    assert [str(path) for path in PACKAGE.rglob("__init__.py") if path.read_text()] == []


def test_no_module_or_handler_reads_a_setting_or_opens_anything_when_it_is_imported() -> None:
    handlers = [f"functions.{folder_of(function)}.app" for function in FUNCTIONS]
    names = [*(f"geminichat.{name}" for name in modules()), *handlers]
    done = subprocess.run(
        [sys.executable, import_effects.__file__, *names],
        capture_output=True,
        text=True,
        cwd=ROOT,
        env={"PYTHONPATH": f"{PACKAGE.parent}:{ROOT}", "PYTHONDONTWRITEBYTECODE": "1"},
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines() == [], "an import of these modules has effects"


def test_an_effect_of_an_import_is_found_with_the_module_that_causes_it(tmp_path: Path) -> None:
    (tmp_path / "layers" / "core").mkdir(parents=True)
    script = tmp_path / "tests" / "support" / "import_effects.py"
    script.parent.mkdir(parents=True)
    script.write_text(Path(import_effects.__file__).read_text())
    (tmp_path / "layers" / "core" / "bad.py").write_text(
        "import os, pathlib, socket\nos.getenv('HOME')\n'HOME' in os.environ\n"
        "pathlib.Path(__file__).read_text()\nsocket.socket().close()\n"
    )
    done = subprocess.run(
        [sys.executable, script, "bad"],
        capture_output=True,
        text=True,
        env={"PYTHONPATH": str(tmp_path / "layers" / "core")},
    )
    found = [tuple(json.loads(line)) for line in done.stdout.splitlines()]
    assert [(module, effect.split()[0]) for module, effect in found] == [
        ("bad", "reads"),
        ("bad", "reads"),
        ("bad", "open"),
        ("bad", "socket.__new__"),
    ]


PRIVATE_NAMES = {
    "runtime.aws_client": {"_make_api_call"},
    "runtime.dynamodb": {"_get_connection"},
    "runtime.trimmed_imports": {"pynamodb.connection._botocore_private"},
}
"""The libraries' private names that we use, by module; the list may only become shorter."""


def test_only_the_listed_private_names_of_libraries_are_used() -> None:
    assert private_names.find_uses(PACKAGE) == PRIVATE_NAMES
    assert private_names.find_uses(ROOT / "functions") == {}


def test_only_the_listed_private_names_of_a_librarys_class_are_overridden() -> None:
    found = {name: private_names.find_overrides(f"geminichat.{name}") for name in modules()}
    assert {
        name: more for name in found if (more := found[name] - PRIVATE_NAMES.get(name, set()))
    } == {}


def test_each_use_of_a_librarys_private_name_is_found(tmp_path: Path) -> None:
    (tmp_path / "bad.py").write_text("""
from pynamodb import _schema
from pynamodb._util import bin_decode_attr
SKIPPED = "pynamodb.connection._botocore_private"
class Ours(Model):
    _own = 1
    _called_by_the_library = 2
    def _get_connection(self):
        return super()._get_connection() if self._own else self._hash_keyname
    async def _in_thread(self):
        setattr(self, "_by_name", Ours(_by_keyword=1))
        return pynamodb._own, getattr(self, "_own")
import pynamodb
from pynamodb.models import _Future
""")
    assert private_names.find_uses(tmp_path) == {
        "bad": {
            "pynamodb._schema",
            "pynamodb._util",
            "pynamodb._util.bin_decode_attr",
            "pynamodb.connection._botocore_private",
            "_called_by_the_library",
            "_get_connection",
            "_hash_keyname",
            "_in_thread",
            "_by_name",
            "_by_keyword",
            "_own",
            "pynamodb.models._Future",
        }
    }


PURE = {"argon2", "msgspec", "phonenumbers"}
"""The third-party libraries that the domain may import."""
IMPURE_MODULES = {
    *("asyncio", "concurrent", "http", "importlib", "io", "logging", "multiprocessing", "os"),
    *("pathlib", "select", "selectors", "shutil", "signal", "socket", "ssl", "subprocess"),
    *("sys", "tempfile", "threading", "time"),
}
"""Modules of the standard library that read, write, wait or use the clock."""
IMPURE_CALLS = {"input", "now", "open", "print", "sleep", "today", "utcnow"}


def find_impure_uses(tree: ast.Module) -> set[str]:
    """Return a module's imports and calls that a pure rule must not have."""
    found = set()
    for node in ast.walk(tree):
        match node:
            case ast.Import(names=names):
                found |= {name.name for name in names if is_impure(name.name)}
            case ast.ImportFrom(module=str(name)) if is_impure(name):
                found.add(name)
            case ast.Call(func=ast.Name(id=name) | ast.Attribute(attr=name)):
                found |= {name} & IMPURE_CALLS
    return found


def is_impure(module: str) -> bool:
    """Return whether a rule must not import a module."""
    top = module.partition(".")[0]
    is_known = top in PURE or top in sys.stdlib_module_names - IMPURE_MODULES
    return top != "geminichat" and (not is_known or module == "urllib.request")


@pytest.mark.parametrize("path", sorted((PACKAGE / "domain").glob("*.py")), ids=lambda p: p.stem)
def test_the_domain_contains_only_pure_rules(path: Path) -> None:
    """A pure rule uses no AWS, HTTP, environment, file or clock."""
    assert find_impure_uses(ast.parse(path.read_text())) == set()


def test_an_impure_rule_of_the_domain_is_found() -> None:
    code = """
import urllib.request, urllib.parse
from pynamodb.models import Model
def rule(path):
    from time import sleep
    sleep(1)
    return datetime.now(), open(path), json.loads("{}")
"""
    expected = {"urllib.request", "pynamodb.models", "time", "sleep", "now", "open"}
    assert find_impure_uses(ast.parse(code)) == expected


def test_a_find_function_may_return_none_and_a_get_function_never_does() -> None:
    wrong = []
    for path in [*PACKAGE.rglob("*.py"), *(ROOT / "functions").rglob("*.py")]:
        for node in ast.walk(ast.parse(path.read_text())):
            if not isinstance(node, ast.FunctionDef) or node.returns is None:
                continue
            name, result = node.name.lstrip("_"), ast.unparse(node.returns)
            may_be_nothing = re.search(r"\| None|^(list|set|dict|tuple|Iterator)\[", result)
            if name.startswith("find") and not may_be_nothing:
                wrong.append(f"{path.relative_to(ROOT)}: {node.name} returns {result}")
            if name.startswith("get") and "None" in result:
                wrong.append(f"{path.relative_to(ROOT)}: {node.name} returns {result}")
    assert wrong == [], (
        "`get` raises NotFound, and `find` returns None or a collection: rename other functions"
    )


def test_no_lambda_function_imports_another_function() -> None:
    for path in (ROOT / "functions").rglob("*.py"):
        assert not re.search(r"^\s*(import|from) functions\b", path.read_text(), re.MULTILINE), path


def test_tests_import_nothing_from_test_modules_and_conftests() -> None:
    pattern = re.compile(r"tests\..*\b(test_\w+|conftest)\b|tests\.conftest")
    found = {
        f"{path.relative_to(ROOT)} imports {name}"
        for path in (ROOT / "tests").rglob("*.py")
        for name in absolute_imports(path)
        if pattern.match(name)
    }
    assert found == set(), "move shared code to tests/support"


@pytest.mark.parametrize("where", ["stages", "openapi", "*.py"])
def test_tools_for_production_import_nothing_of_the_local_stack(where: str) -> None:
    folder = ROOT / "infra"
    paths = folder.glob(where) if "*" in where else (folder / where).rglob("*.py")
    imported = {name for path in paths for name in absolute_imports(path)}
    assert imported
    assert {name for name in imported if name.startswith("infra.local")} == set()


NOT_AT_THE_START = ["boto3", "aws_xray_sdk", "phonenumbers"]
"""Packages that no handler may import when it starts, even if they are installed."""

IN_A_LAYER = {"cryptography": None, "google": "GeminiLayer", "stripe": "StripeLayer"}
"""Packages, and the layer without which a function lacks them; None if no layer has the package.

The test hides the packages that a function lacks.
"""

IMPORT_ALL = """
import importlib, json, sys
plan, unwanted = json.loads(sys.argv[1])
loaded = {}
for folder, hidden in plan:
    for name in [name for name, module in sys.modules.items() if module is None]:
        del sys.modules[name]
    sys.modules.update(dict.fromkeys(hidden))
    importlib.import_module(f"functions.{folder}.app")
    for name in unwanted:
        if name in sys.modules:
            loaded.setdefault(name, folder)
print(json.dumps(loaded))
"""


def test_no_http_handler_imports_a_slow_module() -> None:
    plan = []
    for function in sorted(HTTP_FUNCTIONS, key=lambda name: len(layers_of(name))):
        hidden = [name for name, layer in IN_A_LAYER.items() if layer not in layers_of(function)]
        plan.append((folder_of(function), hidden))
    done = subprocess.run(
        [sys.executable, "-c", IMPORT_ALL, json.dumps([plan, NOT_AT_THE_START])],
        capture_output=True,
        text=True,
        cwd=ROOT,
        env=os.environ | {"PYTHONPATH": str(PACKAGE.parent)},
    )
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout) == {}, "handlers load these slow packages"


def layers_of(function: str) -> list[str]:
    """Return the layers that a function has in addition to the core layer."""
    return [layer["Ref"] for layer in FUNCTIONS[function].get("Layers", [])]


def test_every_route_that_calls_stripe_for_a_user_has_a_limit_per_user() -> None:
    for function in HTTP_FUNCTIONS:
        if "StripeLayer" in layers_of(function) and function != "WebhookStripe":
            text = (ROOT / "functions" / folder_of(function) / "app.py").read_text()
            assert "usage.count_stripe_request(" in text, function


# ── Plain technical English ─────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("name", list(plain_english.files()))
def test_no_text_has_a_word_or_a_pattern_that_the_house_style_bans(name: str) -> None:
    assert plain_english.findings(name) == []


def test_banned_words_are_found_in_docstrings_comments_strings_and_names(
    tmp_path: Path,
) -> None:
    (tmp_path / "module.py").write_text('''"""Hold it against the rest."""

# A comment that goes on
# beside its line.
def test_a_door_opens() -> None:
    text = f"{1} anew"


def rings() -> bool:
    """What rings."""


def works() -> bool:
    """Return whether it works."""


def found() -> str:
    """Return what was found."""


def ask(alone: bool) -> None:
    self.wanted_model = alone
''')
    found = [(each.line, each.found) for each in plain_english.findings("module.py", tmp_path)]
    assert found == [
        (1, "Hold it against"),
        (4, "beside"),
        (5, "door"),
        (6, "anew"),
        (9, "rings: What rings."),
        (13, "works: Return whether it works."),
        (17, "found: Return what was found."),
        (21, "alone"),
        (22, "wanted"),
    ]


@pytest.mark.parametrize(
    ("name", "text", "found"),
    [
        ("page.js", "// There are so\n// many.\nconst one = `${two} wants`;", ["so many", "wants"]),
        ("client.ts", "const wantedModel = 1;", ["wanted"]),
        ("stack.yaml", "Description: >\n  It lets\n  Stripe\n", ["lets"]),
        ("PAGE.md", "It gives\nway, for\never.", ["gives way", "for ever"]),
        ("Makefile", "# mended", ["mended"]),
    ],
)
def test_banned_words_are_found_in_every_kind_of_file(
    name: str, text: str, found: list[str], tmp_path: Path
) -> None:
    (tmp_path / name).write_text(text)
    assert list(plain_english.files(tmp_path)) == [name]
    assert sorted(each.found for each in plain_english.findings(name, tmp_path)) == sorted(found)
