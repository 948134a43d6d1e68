"""The page on the whole stack, as `make run` starts it, without a key or a model: a file from the browser to a cited answer."""

from __future__ import annotations

import asyncio
import os
import subprocess
import sys
from pathlib import Path

from playwright.async_api import Dialog, Page, expect

from infra.local.processes import ROOT, free_port
from infra.local.stack import StackOptions, run_stack
from tests.browser.test_page import recorded

READY_MS = 60_000


async def test_a_file_goes_up_and_is_answered_from_and_all_of_it_is_seen(page: Page, tmp_path: Path) -> None:
    options = StackOptions(tmp_path / "stack", port=free_port(), s3_port=free_port())
    async with run_stack(options, environ=os.environ, report=lambda _: None) as stack:
        (tmp_path / "sluice.txt").write_text("The sluice at Lindisle is opened with a crank of 1300 turns.")
        await page.goto(f"{stack.url}/#documents")
        await page.get_by_label("Tags, with commas").fill("dams")
        await page.locator("#file").set_input_files(tmp_path / "sluice.txt")
        await expect(page.locator("#uploads")).to_contain_text("sluice.txt has arrived", timeout=READY_MS)
        await page.get_by_label("Filter by name").fill("sluice")
        row = page.locator("#listed tr")
        await expect(row).to_contain_text("ready", timeout=READY_MS)
        await expect(row).to_contain_text("dams")

        await page.get_by_role("link", name="Chat").click()
        await page.get_by_label("Your question").fill("How many turns has the crank of the sluice at Lindisle?")
        await page.keyboard.press("Enter")
        await expect(page.locator(".told").last).to_contain_text("1300 turns")
        await page.get_by_role("button", name="Source 1").first.click()
        await expect(page.locator("#passages mark").first).to_contain_text("1300 turns")
        async with page.context.expect_page() as opening:
            await page.locator("#passages").get_by_role("button", name="Open the file").first.click()
        file = await opening.value
        await expect(file.locator("body")).to_contain_text("The sluice at Lindisle")
        await file.close()

        await recorded(page, 1)
        await page.get_by_role("link", name="Answers").click()
        await expect(page.locator("#records")).to_contain_text("crank of the sluice")
        evaluated = await asyncio.to_thread(_evaluate, stack.url)
        await page.reload()
        await expect(page.locator("#evaluations")).to_contain_text("refusal 1.00")

        async def accept(dialog: Dialog) -> None:
            await dialog.accept()

        page.on("dialog", accept)
        await page.get_by_role("link", name="Documents").click()
        await page.get_by_label("Filter by name").fill("sluice")
        await row.get_by_role("button", name="Delete: sluice.txt").click()
        await expect(row).to_have_count(0, timeout=READY_MS)
    assert evaluated.returncode == 0, evaluated.stdout + evaluated.stderr


def _evaluate(url: str) -> subprocess.CompletedProcess[str]:
    """The shipped set, whose questions even quotes alone answer for the most part."""
    bars = ("hit=0.9", "facts=0.7", "refusal=0.9")
    command = [
        sys.executable,
        "-m",
        "infra.evaluation",
        "--url",
        url,
        *(part for bar in bars for part in ("--bar", bar)),
    ]
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join((str(ROOT), str(ROOT / "shared")))}
    return subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, check=False, timeout=120)
