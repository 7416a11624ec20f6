#!/usr/bin/env python3
"""`plumb report` in a headless Chromium: every plot drawn, nothing on the console, nothing from a network,
controls and keyboard at work. Usage: browser_test.py PLUMB. Exit code 77: skipped."""
import os
import subprocess
import sys
import tempfile
import time
import unittest

from browser import Browser, find_browser

HERE = os.path.dirname(os.path.abspath(__file__))
PROGRAM = sys.argv[1] if len(sys.argv) > 1 else "build/release/trainers/plumb"
ACCEPTED_BYTES = 15_000_000

# Figures whose plot holds something that is drawn from data: a path with a shape, or an image with pixels.
DRAWN = """[...document.querySelectorAll('figure')].filter((figure) => {
  const paths = [...figure.querySelectorAll('.plot svg .mark-line path, .plot svg .mark-symbol path')];
  const images = [...figure.querySelectorAll('.plot svg .mark-image image')];
  const address = (image) => image.getAttribute('href') || image.getAttribute('xlink:href') || '';
  return paths.some((path) => (path.getAttribute('d') || '').length > 10) ||
      images.some((image) => address(image).startsWith('data:image/png'));
}).length"""
PLAIN = ("--steps", "100", "--sublayers", "12", "--plain", "--every", "10")


class Pages(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.folder = tempfile.TemporaryDirectory(prefix="plumb-report-")
        cls.browser = Browser()

    @classmethod
    def tearDownClass(cls):
        cls.browser.__exit__()
        cls.folder.cleanup()

    def make_run(self, name, *options):
        folder = os.path.join(self.folder.name, name)
        if not os.path.exists(folder):
            subprocess.run([sys.executable, os.path.join(HERE, "make_run.py"), folder, *options], check=True)
        return folder

    def report(self, *folders):
        page = os.path.join(self.folder.name, "report.html")
        done = subprocess.run([PROGRAM, "report", *folders, "--output", page], capture_output=True, text=True)
        self.assertEqual(done.returncode, 0, done.stderr)
        self.assertIn("report.html", done.stdout)
        return page

    def open(self, page):
        self.browser.open("file://" + page)
        state = self.browser.wait_until_drawn()
        self.assertEqual(self.browser.faults, [])
        self.assertEqual(state, "drawn")

    def redraw(self, action):
        """Runs an action of the page and waits for the drawing that follows."""
        self.browser.value(f"(() => {{ {action}; }})()")
        for _ in range(200):
            time.sleep(0.1)
            if self.browser.value(DRAWN) == self.figures_with_data():
                break
        self.assert_all_drawn()

    def set_control(self, name, value, event="change"):
        self.redraw(f"const control = document.getElementById('{name}'); control.value = '{value}'; "
                    f"control.dispatchEvent(new Event('{event}'))")

    def figures_with_data(self):
        """Those that do not say that the chosen run has nothing to show."""
        return self.browser.value("document.querySelectorAll('figure').length - "
                                  "document.querySelectorAll('figure .plot p.missing').length")

    def assert_all_drawn(self, at_least=1):
        figures = self.figures_with_data()
        self.assertGreaterEqual(figures, at_least)
        undrawn = figures - self.browser.value(DRAWN)
        self.assertEqual(undrawn, 0, f"{undrawn} of {figures} plots are empty")
        self.assertEqual(self.browser.faults, [])
        away = [url for url in self.browser.requests if not url.startswith(("file:", "data:", "blob:"))]
        self.assertEqual(away, [])

    def assert_all_visible(self):
        """A mark may be there and yet be clipped away: hiding marks has to change the picture of every plot."""
        places = self.browser.value("""[...document.querySelectorAll('.plot')].map((plot) => {
          const box = plot.getBoundingClientRect();
          return [box.left + scrollX, box.top + scrollY, box.width, box.height];
        })""")
        shown = [self.browser.picture(*place) for place in places]
        marks = ", ".join(f".plot .mark-{kind}" for kind in ("line", "area", "symbol", "image"))
        self.browser.value("document.head.append(element('style', {id: 'hide'}, "
                           f"'{marks} {{ visibility: hidden }}'))")
        hidden = [self.browser.picture(*place) for place in places]
        self.browser.value("document.getElementById('hide').remove()")
        titles = self.browser.value("[...document.querySelectorAll('figure h3')].map((node) => node.textContent)")
        same = [title for title, a, b in zip(titles, shown, hidden) if a == b]
        self.assertEqual(same, [], "nothing of the data is to be seen in these plots")

    def text(self):
        return self.browser.value("document.body.innerText")

    def test_long_deep_run(self):
        run = self.make_run("long", "--steps", "10000", "--sublayers", "96", "--every", "50")
        page = self.report(run)
        self.assertLess(os.path.getsize(page), ACCEPTED_BYTES)
        self.open(page)
        self.assert_all_drawn(at_least=40)
        self.assert_all_visible()
        drawn_after = self.browser.value("document.documentElement.dataset.drawnAfterMilliseconds")
        print(f"10000 steps, 96 sublayers: {os.path.getsize(page) / 1e6:.1f} MB, drawn after {drawn_after} ms")
        text = self.text()
        self.assertIn("10000 steps drawn as 500 points", text)
        self.assertIn("the gradient norm of rank 2 leaves those of the others", text)
        self.assertNotIn("Not in the log", text)
        spikes = self.browser.value("runs[0].spikes.loss.points.map((point) => point[0]).join()")
        self.assertEqual(spikes, "3100,6200")

    def test_several_runs_of_other_depth_and_length(self):
        peri = self.make_run("peri", "--steps", "300", "--sublayers", "24", "--every", "10")
        pre = self.make_run("pre", "--steps", "200", "--sublayers", "12", "--every", "20", "--placement", "pre",
                            "--nan-at", "150")
        killed = self.make_run("killed", "--steps", "400", "--stopped-at", "120", "--torn", "--sublayers", "16",
                               "--ranks", "1", "--plain", "--placement", "post", "--every", "10")
        self.open(self.report(peri, pre, killed))
        self.assert_all_drawn(at_least=25)
        text = self.text()
        for part in ("the last line is torn", "120 of 400", "Settings that differ", "model.placement",
                     "loss or gradient norm was not finite, first at step 150", "kappa: not in killed",
                     "one rank, so there is nothing to compare", "saved step 100 <&>"):
            self.assertIn(part, text)
        self.set_control("step", 2, "input")
        self.assertIn("step 20", self.browser.value("document.getElementById('step-text').textContent"))
        self.set_control("what", 1)
        self.assertEqual(self.browser.value("document.querySelectorAll('figure .plot p.missing').length"), 1,
                         "the bounds, which only the peri run has")
        self.set_control("what", "runs")
        for label in ("log values", "relative depth", "log steps"):
            self.redraw("[...document.querySelectorAll('.controls label')].find("
                        f"(label) => label.textContent.trim() === '{label}').click()")
        options = self.browser.value("[...document.getElementById('statistic').options].map((entry) => entry.value)")
        self.assertIn("profiles.branch.rms", options)
        self.set_control("statistic", "profiles.branch.rms")

    def test_logs_without_the_newer_statistics(self):
        self.open(self.report(self.make_run("plain", *PLAIN)))
        self.assert_all_drawn(at_least=20)
        text = self.text()
        for section in ("Gradient noise scale", "Bounds against measurements", "Attention"):
            self.assertIn(section, text)
        self.assertIn("Not in the log: Largest attention logit; Attention entropy; Attention entropy of the narrowest "
                      "head. Written by: statistics.attention.", text)

    def test_a_run_of_one_step(self):
        self.open(self.report(self.make_run("one", "--steps", "1", "--sublayers", "8", "--every", "1")))
        self.assertEqual(self.browser.faults, [])
        self.assertIn("finished: 1 steps", self.text())

    def test_a_run_that_has_logged_nothing(self):
        folder = os.path.join(self.folder.name, "nothing")
        os.makedirs(folder, exist_ok=True)
        open(os.path.join(folder, "metrics.jsonl"), "w").close()
        self.open(self.report(folder))
        self.assertIn("no step logged yet", self.text())

    def test_keyboard_and_numbers(self):
        self.open(self.report(self.make_run("plain", *PLAIN)))
        self.browser.press("Tab", 9)
        self.assertEqual(self.browser.value("document.activeElement.className"), "skip")
        reached = set()
        for _ in range(400):
            self.browser.press("Tab", 9)
            reached.add(self.browser.value("document.activeElement.id || document.activeElement.tagName"))
        self.assertLessEqual({"step", "A", "INPUT", "SUMMARY", "DIV"}, reached)
        # What a plot shows is there as a table too, so nothing hangs on hovering.
        self.assertEqual(self.browser.value("document.querySelectorAll('figure').length"),
                         self.browser.value("document.querySelectorAll('figure details.numbers').length"))
        self.browser.value("document.querySelectorAll('details').forEach((node) => { node.open = true; })")
        time.sleep(0.5)
        without = self.browser.value("[...document.querySelectorAll('figure')].filter((figure) => "
                                     "figure.querySelectorAll('details tbody tr').length === 0).length")
        self.assertEqual(without, 0)
        unnamed = self.browser.value("[...document.querySelectorAll('.plot')].filter((plot) => "
                                     "!(plot.getAttribute('aria-label') || '').length).length")
        self.assertEqual(unnamed, 0)
        self.assertEqual(self.browser.faults, [])

    def test_fits_its_window_and_the_paper(self):
        self.open(self.report(self.make_run("plain", *PLAIN)))
        for width in (1280, 700):
            self.browser.resize(width, 900)
            time.sleep(1.5)
            self.assertLessEqual(self.browser.value("document.documentElement.scrollWidth"), width)
            self.assert_all_drawn()
        self.browser.resize(1280, 900)
        for dark in (True, False):
            self.browser.set_dark(dark)
            ink = self.browser.value("getComputedStyle(document.querySelector('.plot svg text')).fill")
            paper = self.browser.value("getComputedStyle(document.body).backgroundColor")
            self.assertNotEqual(ink, paper)
            self.assertEqual(paper, "rgb(20, 23, 27)" if dark else "rgb(255, 255, 255)")
        page = os.path.join(self.folder.name, "report.pdf")
        self.browser.print_pdf(page)
        self.assertGreater(os.path.getsize(page), 50_000)


if __name__ == "__main__":
    if not find_browser():
        print("skipped: no Chromium here; `launch/setup.sh --browser` installs it")
        sys.exit(77)
    unittest.main(argv=sys.argv[:1])
