"""Takes the pictures of README and docs in an installed Chromium, of the run that `make demo` left: `make pictures`.

To that run it adds what the demo has not: a stress run, in which one card computes wrongly.
"""

import shutil
from pathlib import Path

from playwright.sync_api import Page, sync_playwright

from api.client.client import Client
from api.documents.jobs import JobView
from cli.stack.embedded import StackPlan, free_port, running
from cli.waiting.batches import followed
from orchestrator.model.batches import BatchRequest

HERE = Path(__file__).parent
STATE = Path(".tx81/demo").absolute()
SIZE = {"width": 1440, "height": 900}
WITHIN = 240
"""Seconds for the jobs of the stress run."""
PAINTED = 500
"""Milliseconds after a page has loaded in which its times and plots are drawn."""
WORKING = 1500
"""Milliseconds after which the jobs of the stress run are under way."""
WRONG_CARD = "21"


def stress(client: Client, job: JobView) -> int:
    """Start a batch of three rounds on every card group."""
    request = {"name": "stress", "template": client.job(job.id).request, "times": 3, "slots": "all"}
    return client.batches.submit(BatchRequest.model_validate(request)).id


def take(page: Page, name: str, address: str) -> None:
    """A picture of a page."""
    page.goto(address)
    page.wait_for_timeout(PAINTED)
    page.screenshot(path=HERE / f"{name}.png")


def main() -> None:
    """Take them all."""
    plan = StackPlan(state=STATE, api_port=free_port(8081), flower_port=free_port(5555))
    program = shutil.which("chromium") or shutil.which("google-chrome")
    with running(plan) as stack, Client(stack.server, stack.token) as client, sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=program, args=["--no-sandbox"])
        page = browser.new_page(base_url=stack.server, viewport=SIZE, locale="en-US")
        page.goto(client.sign_ins.make().path)
        page.locator("#board").wait_for()
        jobs = {job.name: job for job in client.all_jobs()}
        plain, quantised = jobs["bf16-infer"].id, jobs["int8-infer"].id
        fault = Path(stack.tools["faults"]) / WRONG_CARD
        fault.write_text("corrupt\n")
        try:
            batch = stress(client, jobs["bf16-infer"])
            page.wait_for_timeout(WORKING)
            take(page, "board", "/")
            followed(client, batch, timeout=WITHIN)
        finally:
            fault.unlink()
        take(page, "stress", f"/batches/{batch}")
        take(page, "job", f"/jobs/{plain}")
        take(page, "comparison", f"/compare?of=job:{plain}&of=job:{quantised}&across=precision")
        browser.close()


if __name__ == "__main__":
    main()
