"""Pages of results in a real browser: live, with orders, the plot of a series, the keyboard, both languages."""

import pytest
from builders.desk import a_desk
from builders.results import a_batch, a_run
from builders.rows import a_job_row, a_slot_row
from builders.suites import Outcome, SuiteDesk
from playwright.sync_api import expect
from test_browser import chromium, database_url, open_page, pytestmark, signed_in  # noqa: F401  # fixtures
