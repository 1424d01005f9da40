"""Write the parts of docs/ that are drawn from the code: the plan's defaults."""

import re
from pathlib import Path

from tilth.build.plan import Plan

page = Path(__file__).parents[1] / "docs" / "plan.md"
text = page.read_text("utf-8")
block = f"```toml\n{Plan().to_toml().strip()}\n```"
page.write_text(re.sub(r"```toml\n.*?\n```", lambda _: block, text, count=1, flags=re.S), "utf-8")
