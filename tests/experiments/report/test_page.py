"""The report in a real browser: nothing it complains about, every way to scroll, masks where they belong."""

from __future__ import annotations

import base64
import os
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from bunet.experiments.report.data import ReportData
from bunet.experiments.report.page import write_report
from tests.experiments.report.made_up_report import report_data

webdriver = pytest.importorskip("selenium.webdriver", reason="the browser test needs selenium: pip install '.[dev]'")
from selenium.webdriver.chrome.service import Service  # noqa: E402
from selenium.webdriver.common.action_chains import ActionChains  # noqa: E402
from selenium.webdriver.common.actions.wheel_input import ScrollOrigin  # noqa: E402
from selenium.webdriver.common.by import By  # noqa: E402
from selenium.webdriver.common.keys import Keys  # noqa: E402
from selenium.webdriver.support.ui import Select, WebDriverWait  # noqa: E402

CHROMIUM = next((p for p in map(shutil.which, ("chromium", "chromium-browser", "google-chrome")) if p), None)
DRIVER = shutil.which("chromedriver")
pytestmark = pytest.mark.skipif(
    CHROMIUM is None or DRIVER is None, reason="no Chromium here with its chromedriver (Debian: chromium, chromium-driver)"
)

# No account, no update, no network: nothing but the page.
FLAGS = (
    "--headless", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking",
    "--disable-component-update", "--disable-sync", "--force-device-scale-factor=1", "--force-color-profile=srgb",
)  # fmt: skip
ADD = "const s = document.createElement('{tag}'); s.textContent = '{text}'; document.body.append(s)"
SIZE, SLICES = 64, 24
RED, BLUE, GREEN, YELLOW = (np.array(c) for c in ((255, 90, 54), (53, 208, 255), (154, 224, 128), (255, 215, 64)))


@pytest.fixture(scope="module")
def browser(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Any]:
    options = webdriver.ChromeOptions()
    options.binary_location = CHROMIUM
    for flag in (*FLAGS, f"--user-data-dir={tmp_path_factory.mktemp('chromium')}"):
        options.add_argument(flag)
    if os.geteuid() == 0:
        options.add_argument("--no-sandbox")  # Chromium's sandbox refuses to run as root
    options.set_capability("goog:loggingPrefs", {"browser": "ALL"})
    driver = webdriver.Chrome(options=options, service=Service(DRIVER))
    yield driver
    driver.quit()


@pytest.fixture(scope="module")
def data() -> ReportData:
    return report_data(SIZE, SLICES, case="<script>document.title = 'taken over'</script>")


@pytest.fixture(scope="module")
def written(data: ReportData, tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("report") / "report.html"
    write_report(path, data)
    return path


@pytest.fixture
def opened(browser: Any, written: Path) -> Any:
    """The report, at a desktop's width."""
    return show(browser, written)


def show(browser: Any, path: Path) -> Any:
    resize(browser, 1280, 1300)  # high enough to click without scrolling
    browser.get_log("browser")
    browser.get(path.as_uri())
    WebDriverWait(browser, 20).until(lambda b: b.execute_script("return document.documentElement.dataset.ready === 'yes'"))
    settle(browser)
    return browser


def resize(browser: Any, width: int, height: int, phone: bool = False) -> None:
    settings = {"width": width, "height": height, "deviceScaleFactor": 2 if phone else 1, "mobile": phone}
    browser.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", settings)


def settle(browser: Any) -> None:
    """Wait until what was asked for is drawn."""
    browser.execute_async_script("""
        const done = arguments[0];
        requestAnimationFrame(() => requestAnimationFrame(() => requestAnimationFrame(done)));
    """)


def pixels(browser: Any) -> np.ndarray:
    """The picture, (rows, columns, RGB)."""
    settle(browser)
    rows, columns, values = browser.execute_script("""
        const c = document.getElementById('picture');
        const bytes = c.getContext('2d').getImageData(0, 0, c.width, c.height).data;
        let text = '';
        for (let k = 0; k < bytes.length; k += 8192) text += String.fromCharCode(...bytes.subarray(k, k + 8192));
        return [c.height, c.width, btoa(text)];
    """)
    image = np.frombuffer(base64.b64decode(values), np.uint8).reshape(rows, columns, 4)
    return image[..., :3].astype(np.int64)


def position(browser: Any) -> int:
    """The slice that is told in words, which the slider must agree with."""
    words = browser.find_element(By.ID, "where").text.split()
    assert browser.find_element(By.ID, "slice").get_attribute("value") == words[1]
    return int(words[1])


def at_voxels(image: np.ndarray, shape: tuple[int, int]) -> np.ndarray:
    """The pixel in the middle of each voxel of a plane of cubes, which lies as large as it can in the picture's middle."""
    rows, columns = shape
    scale = min(image.shape[0] / rows, image.shape[1] / columns)
    top, left = (image.shape[0] - rows * scale) / 2, (image.shape[1] - columns * scale) / 2
    y, x = ((np.arange(n) + 0.5) * scale + start for n, start in ((rows, top), (columns, left)))
    return image[y.astype(int)[:, None], x.astype(int)[None, :]]


def test_the_browser_has_nothing_to_complain_about(opened: Any) -> None:
    assert opened.title == "Lung infection: <script>document.title = 'taken over'</script>"
    assert opened.get_log("browser") == []
    # Not one request: a page that needs a file or a host would show up here.
    assert opened.execute_script("return performance.getEntriesByType('resource').length") == 0


@pytest.mark.parametrize(
    ("attempt", "directive"),
    [
        ("fetch('https://example.invalid/')", "connect-src"),
        ("new Image().src = 'https://example.invalid/x.png'", "img-src"),
        (ADD.format(tag="script", text="document.title = 1"), "script-src-elem"),
        (ADD.format(tag="style", text="p { color: red }"), "style-src-elem"),
    ],
)
def test_the_policy_stops_what_would_lead_out_or_come_in(opened: Any, attempt: str, directive: str) -> None:
    refused = opened.execute_async_script(f"""
        const done = arguments[0];
        document.addEventListener('securitypolicyviolation', (event) => done(event.effectiveDirective));
        {attempt};
    """)
    assert refused == directive


@pytest.mark.parametrize(("width", "phone"), [(1280, False), (390, True), (320, True)])
def test_nothing_is_wider_than_the_screen(opened: Any, width: int, phone: bool) -> None:
    resize(opened, width, 844, phone)
    for details in opened.find_elements(By.TAG_NAME, "details"):
        opened.execute_script("arguments[0].open = true", details)
    settle(opened)
    wide, screen, left, right = opened.execute_script("""
        const page = document.documentElement, frame = document.getElementById('frame').getBoundingClientRect();
        return [page.scrollWidth, page.clientWidth, frame.left, frame.right];
    """)
    assert wide == screen <= width
    assert 0 <= left < right <= screen
    assert pixels(opened).std() > 20, "the picture is drawn at this size as well"


def wheel(browser: Any, delta: int) -> None:
    origin = ScrollOrigin.from_element(browser.find_element(By.ID, "frame"))
    ActionChains(browser).scroll_from_origin(origin, 0, delta).perform()


def keys(*pressed: str) -> Callable[[Any], None]:
    return lambda browser: browser.find_element(By.ID, "frame").send_keys(*pressed)


def drag(browser: Any) -> None:
    frame = browser.find_element(By.ID, "frame")
    ActionChains(browser).click_and_hold(frame).move_by_offset(-frame.size["width"] // 4, 0).release().perform()


@pytest.mark.parametrize(
    ("move", "step"),
    [
        (lambda b: b.find_element(By.ID, "slice").send_keys(Keys.ARROW_RIGHT), 1),
        (keys(Keys.ARROW_UP), 1),
        (keys(Keys.ARROW_LEFT, Keys.ARROW_LEFT), -2),
        (keys(Keys.HOME), -99),
        (keys(Keys.PAGE_UP), 10),
        (lambda b: wheel(b, 120), -1),
        (lambda b: wheel(b, -120), 1),
        (drag, -6),
    ],
    ids=["slider", "up", "left", "home", "page up", "wheel down", "wheel up", "drag"],
)
def test_every_way_to_scroll_changes_the_picture(opened: Any, move: Callable[[Any], None], step: int) -> None:
    before, picture = position(opened), pixels(opened)
    move(opened)
    WebDriverWait(opened, 5).until(lambda b: position(b) != before)
    assert position(opened) == min(SLICES - 1, max(0, before + step))
    assert np.abs(pixels(opened) - picture).mean() > 1
    assert opened.execute_script("return window.scrollY") == 0, "the page stays where it is"


@pytest.mark.parametrize("axis", [0, 1, 2])
def test_the_mask_is_drawn_where_it_is(opened: Any, data: ReportData, axis: int) -> None:
    opened.find_element(By.CSS_SELECTOR, f"input[name=axis][value='{axis}']").click()
    for bit in (2, 3):  # label and lung: their outlines would cross the fill
        opened.find_element(By.CSS_SELECTOR, f"input[data-mask='{bit}']").click()
    opened.find_element(By.ID, "opacity").send_keys(Keys.END)
    index = position(opened)
    mask = np.take(data.masks["secure"], index, axis) != 0
    grey = np.take(np.asarray(data.volume), index, axis)
    if axis:  # the head is on top
        mask, grey = mask[::-1], grey[::-1]
    image = at_voxels(pixels(opened), mask.shape)
    assert 10 < mask.sum() < mask.size / 2
    assert np.abs(image[mask] - RED).max() <= 2
    # Beside the mask's rim nothing is tinted, and the CT is what it was, smoothed.
    near = mask.copy()
    for shift in ((0, 1), (0, -1), (1, 0), (-1, 0)):
        near |= np.roll(mask, shift, (0, 1))
    assert np.ptp(image[~near], axis=-1).max() <= 2
    assert np.abs(image[~near][:, 0] - 255 * grey[~near]).mean() < 12


def test_switches_show_and_hide_each_mask(opened: Any) -> None:
    def coloured() -> np.ndarray:
        image = pixels(opened)
        return np.array([(np.abs(image - rgb).max(axis=-1) <= 8).sum() for rgb in (BLUE, GREEN, YELLOW)])

    def tinted() -> int:
        image = pixels(opened)
        return int((image[..., 0] - image[..., 2] > 60).sum())

    switches = [opened.find_element(By.CSS_SELECTOR, f"input[data-mask='{bit}']") for bit in range(4)]
    assert [s.is_selected() for s in switches] == [True, False, True, True], "the float model's mask waits to be asked for"
    label, lung, float_model = coloured()
    assert label > 50
    assert lung > 50
    assert float_model == 0
    switches[1].click()
    assert coloured()[2] > 20
    switches[1].click()
    switches[2].click()
    assert coloured()[0] == 0
    switches[3].click()
    assert coloured()[1] == 0
    assert tinted() > 200
    switches[0].click()
    assert tinted() == 0
    switches[0].click()
    keys("m")(opened)
    assert tinted() == 0, "M hides all"
    keys("m")(opened)
    assert tinted() > 200


def test_what_was_not_segmented_is_dimmed(browser: Any, tmp_path: Path) -> None:
    grey = np.full((20, 32, 32), 0.8, np.float32)
    mask = np.zeros(grey.shape, np.uint8)
    mask[8, 4:6, 4:6] = 1
    part = slice(6, 12), slice(None), slice(None)
    write_report(tmp_path / "part.html", report_data(volume=grey, masks={"secure": mask}, region=part))
    show(browser, tmp_path / "part.html")
    badge = browser.find_element(By.ID, "badge")
    assert position(browser) == 8
    assert not badge.is_displayed()
    assert np.abs(at_voxels(pixels(browser), (32, 32))[25] - 204).max() <= 2
    keys(Keys.HOME)(browser)
    settle(browser)
    assert badge.is_displayed()
    assert np.abs(at_voxels(pixels(browser), (32, 32))[25] - 102).max() <= 2


def test_a_click_moves_the_other_views_there(opened: Any) -> None:
    frame = opened.find_element(By.ID, "frame")
    picture = opened.execute_script("const c = document.getElementById('picture'); return [c.width, c.height]")
    scale = min(picture) / SIZE
    offset = round((10.5 - SIZE / 2) * scale)  # column 10, and as far below the middle: row 53
    ActionChains(opened).move_to_element_with_offset(frame, offset, -offset).click().perform()
    for axis, expected in ((1, 53), (2, 10)):
        opened.find_element(By.CSS_SELECTOR, f"input[name=axis][value='{axis}']").click()
        assert position(opened) == expected


def test_a_finger_scrolls_too(opened: Any) -> None:
    resize(opened, 390, 844, phone=True)
    settle(opened)
    before = position(opened)
    x, y = opened.execute_script(
        "const r = document.getElementById('frame').getBoundingClientRect(); return [r.x + r.width / 2, r.y + r.height / 2]"
    )
    opened.execute_script("window.scrollTo(0, arguments[0])", y - 400)
    y = 400 if y > 400 else y
    touch = "Input.dispatchTouchEvent"
    opened.execute_cdp_cmd(touch, {"type": "touchStart", "touchPoints": [{"x": x, "y": y}]})
    for far in range(10, 81, 10):
        opened.execute_cdp_cmd(touch, {"type": "touchMove", "touchPoints": [{"x": x - far, "y": y}]})
    opened.execute_cdp_cmd(touch, {"type": "touchEnd", "touchPoints": []})
    settle(opened)
    assert position(opened) < before


@pytest.mark.parametrize(("choice", "low", "high"), [("1500,-600", -1350, 150), ("400,40", -160, 240), ("", -1250, 250)])
def test_a_window_is_drawn_as_its_name_says(browser: Any, tmp_path: Path, choice: str, low: float, high: float) -> None:
    hounsfield = np.linspace(-1250, 250, 32)
    grey = np.broadcast_to(((hounsfield + 1250) / 1500).astype(np.float32)[None, None, :], (4, 32, 32))
    mask = np.zeros(grey.shape, np.uint8)
    write_report(tmp_path / "window.html", report_data(volume=grey, masks={"secure": mask}))
    show(browser, tmp_path / "window.html")
    Select(browser.find_element(By.ID, "window")).select_by_value(choice)
    row = at_voxels(pixels(browser), (32, 32))[16, :, 0]
    expected = 255 * np.clip((hounsfield - low) / (high - low), 0, 1)
    steps = 1500 / 255 / (high - low) * 255  # a shade of the file is so many on the screen
    assert np.abs(row - expected).max() <= steps + 3
    browser.find_element(By.ID, "reset").click()
    row = at_voxels(pixels(browser), (32, 32))[16, :, 0]
    assert np.abs(row - 255 * (hounsfield + 1250) / 1500).max() <= 4, "as it was"


def test_sides_are_lettered_only_where_they_are_known(opened: Any, tmp_path: Path) -> None:
    def letters() -> str:
        return "".join(opened.find_element(By.ID, f"edge-{side}").text for side in ("top", "right", "bottom", "left"))

    assert letters() == "ALPR"
    write_report(tmp_path / "lost.html", report_data(spacing=None))
    show(opened, tmp_path / "lost.html")
    for axis in range(3):
        opened.find_element(By.CSS_SELECTOR, f"input[name=axis][value='{axis}']").click()
        assert letters() == ""
