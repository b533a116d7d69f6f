"""A clean guest for every test or, where it costs less than it proves, for every file; what the logs said of a failure.

The images are built on the first run.  Without them nothing is skipped: every test is an error that says what is
missing.
"""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterator
from typing import TypeVar

import pytest

from tests.vm import image as images
from tests.vm import package as packages
from tests.vm.guest import Guest
from tests.vm.image import Image
from tests.vm.lab import Plug
from tests.vm.package import Package

T = TypeVar("T")
Say = Callable[[str], None]


@pytest.fixture(scope="session")
def aloud(pytestconfig: pytest.Config) -> Callable[[Callable[[Say], T]], T]:
    """Does something long whose words are seen at once."""

    def do(what: Callable[[Say], T]) -> T:
        capture = pytestconfig.pluginmanager.getplugin("capturemanager")
        assert capture is not None
        with capture.global_and_fixture_disabled():
            return what(print)

    return do


@pytest.fixture(scope="session")
def image(aloud: Callable[[Callable[[Say], Image]], Image]) -> Image:
    return aloud(images.ensure)


@pytest.fixture(scope="session")
def package(aloud: Callable[[Callable[[Say], Package]], Package]) -> Package:
    return aloud(packages.build)


@pytest.fixture(scope="session")
def installed(image: Image, package: Package, aloud: Callable[[Callable[[Say], Image]], Image]) -> Image:
    return aloud(lambda say: packages.installed(image, package, say))


@pytest.fixture
def guest(image: Image) -> Iterator[Guest]:
    with Guest.start(image) as running:
        yield running


@pytest.fixture
def plug(guest: Guest) -> Plug:
    return Plug(guest)


@pytest.fixture(scope="module")
def common(image: Image) -> Iterator[Guest]:
    """A clean guest that the tests of one file share."""
    with Guest.start(image) as running:
        yield running


@pytest.fixture(scope="module")
def bench(common: Guest) -> Plug:
    """The plug of the common guest."""
    return Plug(common)


@pytest.fixture(scope="module")
def shared(installed: Image) -> Iterator[Guest]:
    """A guest with the package installed that the tests of one file share."""
    with Guest.start(installed) as running:
        yield running


@pytest.fixture(scope="module")
def hub(shared: Guest) -> Plug:
    """The plug of the shared guest."""
    return Plug(shared)


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(
    item: pytest.Item, call: pytest.CallInfo[None]
) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    report = yield
    if report.when != "teardown" and report.failed:
        values = getattr(item, "funcargs", {}).values()
        guests = {value for value in values if isinstance(value, Guest)}
        guests |= {value.guest for value in values if isinstance(getattr(value, "guest", None), Guest)}
        for running in guests:
            report.sections.append(("the guest's logs", _logs(running)))
    return report


def _logs(running: Guest) -> str:
    try:
        return running.report()
    except (OSError, EOFError, TimeoutError) as error:
        return f"the guest does not answer any more: {error}"
