"""The page of a timeline in a real browser: its script runs, and obeys mouse and keys.

Where there is no Chromium these tests are skipped; what the page holds is tested without.
"""

from __future__ import annotations

import re
import shutil
import subprocess
from html import unescape

import pytest

from simulator.report.timeline import timeline_page
from simulator.scenario import parse_scenario
from simulator.timeline import record_timeline
from tests.test_timeline import FAULTS, SMALL

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser")
pytestmark = pytest.mark.skipif(CHROMIUM is None, reason="no Chromium on this machine")

DRIVER = """<script>
"use strict";
const $ = (id) => document.getElementById(id), chart = $("chart"), said = [];
onerror = (message) => { said.push("error: " + message); };
const key = (name) => chart.dispatchEvent(
  new KeyboardEvent("keydown", { key: name, bubbles: true, cancelable: true }));
const wheel = (more) => {
  const event = new WheelEvent("wheel", { deltaY: -100, cancelable: true, ...more });
  chart.dispatchEvent(event);
  return event.defaultPrevented;
};
const find = (text) => { $("search").value = text; $("search").oninput({ target: $("search") }); };
const high = chart.height;
chart.focus();
find("operation 12 of epoch 1:"); said.push($("hits").textContent);
$("next").click(); said.push($("details").textContent);
find("");
for (let i = 0; i < 4; i++) key("ArrowDown");
key("Escape"); key("0"); key("]"); key("]"); said.push($("details").textContent);
key("["); said.push($("details").textContent);
key("+"); key("-"); key("ArrowLeft"); key("b"); key("Escape");
said.push("nothing chosen: " + ($("details").textContent === ""));
key("h"); said.push("hidden: " + document.querySelectorAll("#lanes input:not(:checked)").length);
said.push("smaller: " + (chart.height < high));
said.push("page scrolls: " + !wheel({}), "zooms: " + wheel({ ctrlKey: true }));
document.querySelector("[data-at]").click();
document.body.dataset.said = JSON.stringify(said);
</script></body>"""


@pytest.fixture(scope="module")
def page():
    result, timeline = record_timeline(parse_scenario(SMALL + FAULTS))
    return timeline_page(timeline, result)


def opened(tmp_path, page):
    """The page's elements after its scripts have run."""
    path = tmp_path / "t.html"
    path.write_text(page, encoding="utf-8")
    done = subprocess.run(
        [
            str(CHROMIUM),
            *("--headless", "--no-sandbox", "--disable-gpu", "--virtual-time-budget=2000"),
            *(f"--user-data-dir={tmp_path / 'profile'}", "--dump-dom", path.as_uri()),
        ],
        capture_output=True,
        text=True,
        timeout=120,
        check=True,
    )
    return done.stdout


def test_its_own_policy_lets_its_script_run(tmp_path, page):
    shown = opened(tmp_path, page)
    assert "several events summed up" in shown.partition('id="legend"')[2][:3000]
    assert shown.count('type="checkbox"') > 10, "a box for each lane"


def test_search_keys_and_wheel_do_what_the_page_says(tmp_path, page):
    free = re.sub(r'<meta http-equiv="Content-Security-Policy"[^>]*>', "", page)
    shown = opened(tmp_path, free.replace("</body>", DRIVER))
    [said] = re.findall(r'data-said="(.*?)"', shown)
    words = unescape(said)
    assert "error" not in words
    assert '"1 find"' in words
    assert "operations captured: operation 12 of epoch 1" in words
    assert "operations captured: operation 2 of epoch 1" in words, "the second event of the lane"
    assert "operations captured: operation 1 of epoch 1" in words, "and back"
    for wanted in (
        *("nothing chosen: true", "hidden: 1", "smaller: true"),
        *("page scrolls: true", "zooms: true"),
    ):
        assert f'"{wanted}"' in words, words
