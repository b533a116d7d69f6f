"""A clean guest for every test, and what its logs said when the test fails.

The image is built on the first run.  Without it nothing is skipped: every test is an error that says what is missing.
"""

from __future__ import annotations

from collections.abc import Generator, Iterator

import pytest

from tests.vm.guest import Guest
from tests.vm.image import Image, ensure
from tests.vm.lab import Plug


@pytest.fixture(scope="session")
def image(pytestconfig: pytest.Config) -> Image:
    capture = pytestconfig.pluginmanager.getplugin("capturemanager")
    assert capture is not None
    with capture.global_and_fixture_disabled():
        return ensure(print)


@pytest.fixture
def guest(image: Image) -> Iterator[Guest]:
    with Guest.start(image) as running:
        yield running


@pytest.fixture
def plug(guest: Guest) -> Plug:
    return Plug(guest)


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(
    item: pytest.Item, call: pytest.CallInfo[None]
) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    report = yield
    running = getattr(item, "funcargs", {}).get("guest")
    if report.when == "call" and report.failed and isinstance(running, Guest):
        try:
            report.sections.append(("the guest's logs", running.report()))
        except (OSError, EOFError, TimeoutError) as error:
            report.sections.append(("the guest's logs", f"the guest does not answer any more: {error}"))
    return report
