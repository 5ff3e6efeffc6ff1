"""Take the pictures of docs/page.md in a headless Chromium: `python docs/page_pictures.py`."""

import shutil
import tempfile
from pathlib import Path

from playwright.sync_api import sync_playwright
from sklearn.datasets import load_iris

import deltaprop as dp

here = Path(__file__).resolve().parent
iris = load_iris()
names = [name.removesuffix(" (cm)") for name in iris.feature_names]
net = dp.Network(
    4, [dp.Dense(6, "tanh"), dp.Dense(3, "softmax")], loss="cross_entropy", l2=1e-3, seed=0
)
dp.fit(net, iris.data, iris.target, max_epochs=60, solver=dp.Adam(0.01))


def picture(tab, name, size, scheme, step):
    tab.set_viewport_size(size)
    tab.emulate_media(color_scheme=scheme)
    tab.click(f'dp-steps button[data-key="{step}"]')
    tab.wait_for_selector(f'body[data-step="{step}"]')
    tab.mouse.move(2, 2)
    tab.evaluate("scrollTo(0, innerWidth < 900 ? document.querySelector('dp-stage').offsetTop : 0)")
    tab.wait_for_timeout(300)
    tab.screenshot(path=here / name)


page = net.explore(
    iris.data, iris.target, feature_names=names, target_names=iris.target_names, open_browser=False
)
with page, sync_playwright() as playwright, tempfile.TemporaryDirectory() as profile:
    context = playwright.chromium.launch_persistent_context(
        profile,
        executable_path=shutil.which("chromium"),
        args=["--headless", "--no-sandbox", "--disable-gpu"],
    )
    tab = context.new_page()
    tab.goto(page.url)
    tab.wait_for_selector("body[data-step]")
    tab.fill("#row", "70")
    tab.keyboard.press("Enter")
    tab.wait_for_selector("dp-matrix[data-key=X_0] >> text=row 70")
    picture(tab, "page-desktop.png", {"width": 1280, "height": 900}, "light", "dW_0")
    picture(tab, "page-phone.png", {"width": 390, "height": 844}, "dark", "delta_0")
    context.close()
