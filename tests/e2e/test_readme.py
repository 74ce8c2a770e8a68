"""The README's conversation, pasted into a shell."""

import re
import subprocess

from infra.paths import ROOT
from tests.support.deployed import RunningStack


def test_the_conversation_in_the_readme_works_twice_in_a_row(stack: RunningStack) -> None:
    readme = (ROOT / "README.md").read_text()
    [block] = re.findall(r"```bash\n(api=.*?)```", readme, re.DOTALL)
    here = block.replace("http://127.0.0.1:8000", stack.url)
    assert here != block
    done = subprocess.run(["bash", "-c", here + here], capture_output=True, text=True, timeout=90)
    assert done.stderr == ""
    replies = done.stdout.splitlines()
    assert len(replies) == 2
    assert all("You said: Hello (turn 1)" in reply for reply in replies)
