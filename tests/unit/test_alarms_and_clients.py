"""A client can raise an alarm only if something is wrong on the operator's side.

A table says for every alarm why no client can raise it. If the reason is a limit, a test computes
from the template's numbers how much one client can do. If only one place in the code emits the
metric, a test checks that place.
"""

import pytest

from infra.paths import ROOT
from tests.support import worst_cost
from tests.support.alarms import Alarm, Metric, alarms
from tests.support.template import TEMPLATE

ROWS = {
    "dead-letters": "Google's refusals of the service, and attempts that crashed",
    "title-dead-letters": "only a message that crashed the function again and again",
    "exports-failed": "a user may fill an account, which takes weeks, and export it once per day",
    "spending": "one user's cap is far below the threshold",
    "oldest-prompt": (
        "the age counts only while no prompt ends; a pro user's prompts end within an hour"
    ),
    "worker-errors": "conflicts of a user's own requests and slow replies are not worker errors",
    "sweep-stopped": "no client invokes or delays the sweep",
    "gemini-failing": "only outages count, and no prompt causes an outage",
    "gemini-refuses": "key, billing, location, daily quota or a retired model: never a prompt",
    "models": "a daily check of the catalogue",
    "redis-down": "only failed calls and a used-up Redis plan count; no request selects calls",
    "webhook-failures": "unsigned bodies and conflicts do not count",
    "reconcile-failed": "only a schedule invokes it",
    "texts": "an attack that the operator must see: it takes hours from one IP address",
    "notices-failed": "a notice goes to a proven identity, which received a code before",
    "purge-failed": "only a schedule invokes it; one purge that fails delays no other",
    "logins-failed": "an attack that the operator must see: it needs many IP addresses",
    "codes-failed": "an attack that the operator must see: it needs many IP addresses",
    "sign-ups": "an attack that the operator must see: SignupsPerAddress limits one IP address",
    "server-errors": "5xx are for our own failures only; a conflict is a 409",
    "throttles": "the API's rate limit is below what the account's concurrency serves",
    "connections": "a bad ticket or frame is refused and not counted",
}


def test_every_alarm_has_a_row_that_says_why_no_client_can_raise_it() -> None:
    assert set(ROWS) == {alarm.name for alarm in alarms()}


def default(name: str) -> float:
    return float(TEMPLATE["Parameters"][name]["Default"])


def alarm(name: str) -> Alarm:
    [found] = [one for one in alarms() if one.name == name]
    return found


def ours(name: str) -> Metric:
    return Metric("geminichat", name, (("stage", "prod"),))


def test_a_pro_users_waiting_prompts_do_not_raise_the_alarm_on_old_prompts() -> None:
    times = 3  # a prompt is sent to Gemini at most three times while the reply is a recitation
    longest = default("ProInFlight") * times * default("GeminiTimeout")
    age = Metric(
        "AWS/SQS", "ApproximateAgeOfOldestMessage", (("QueueName", "ProPromptsQueueName"),)
    )
    assert not alarm("oldest-prompt").is_in_alarm(
        {age: [longest], ours("PromptsFailed"): [1, *[None] * 8]}
    )


def test_a_client_with_one_ip_address_raises_no_alarm_on_sign_ups_or_sms() -> None:
    assert not alarm("sign-ups").is_in_alarm({ours("SignUps"): [default("SignupsPerAddress")]})
    share = 100 * default("CodesPerAddress") / default("TextsPerDay")
    assert not alarm("texts").is_in_alarm({ours("TextsShare"): [share]})


def test_the_spending_of_one_user_raises_no_alarm() -> None:
    for plan in ("BasicDailyDollars", "ProDailyDollars"):
        share = 100 * default(plan) / default("StageDailyDollars")
        assert not alarm("spending").is_in_alarm({ours("SpendingShare"): [share]})
    unproven = default("UnprovenDailyPrompts") * worst_cost.unproven_prompt()
    share = 100 * unproven / default("StageDailyDollars")
    assert not alarm("spending").is_in_alarm({ours("SpendingShare"): [share]})


@pytest.mark.parametrize(
    ("metric", "place"),
    [
        ("GeminiFailures", "operations/answer_prompt.py"),
        ("GeminiRefusals", "operations/answer_prompt.py"),
        ("RedisUnavailable", "upstash/redis.py"),
        ("DeadLetters", "clients/prompt_queue.py"),
    ],
)
def test_a_metric_of_an_alarm_is_emitted_in_one_place(metric: str, place: str) -> None:
    package = ROOT / "layers" / "core" / "geminichat"
    files = [*package.rglob("*.py"), *(ROOT / "functions").rglob("*.py")]
    found = [path for path in files if f"{metric}=" in path.read_text()]
    assert found == [package / place]
