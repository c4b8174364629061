//! The pages in a real browser: by keyboard, without a script, in the dark, on a narrow screen.
//!
//! Chromium is driven over `WebDriver`, which is a few calls of JSON. Where it cannot be had,
//! `TRENDLAKE_NO_BROWSER=1` says so, and this proves nothing.

use std::io::{BufRead, BufReader, Read};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use chrono::{TimeDelta, Utc};
use serde_json::{Value, json};
use trendlake::clock::Clock;
use trendlake::report::exit;
use trendlake::simulator::Settings;

use super::moto::block_on;
use super::serve::{Daemon, SERVE};
use super::spine::months_ago;
use super::support::{Sandbox, settled};

/// Keys as `WebDriver` names them.
const TAB: &str = "\u{e004}";
const ENTER: &str = "\u{e007}";
const LEFT: &str = "\u{e012}";

/// A browser that ends with the test.
struct Browser {
    driver: Child,
    session: String,
    /// Its profile, which goes with it.
    _folder: tempfile::TempDir,
}

/// Whether browsers are to be left out, which is told so that nobody takes it for a proof.
#[expect(clippy::print_stderr, reason = "a test that proves nothing has to say so")]
fn is_left_out() -> bool {
    let left_out = std::env::var_os("TRENDLAKE_NO_BROWSER").is_some_and(|v| v == "1");
    if left_out {
        eprintln!("\n*** SKIPPED: no page was looked at in a browser (TRENDLAKE_NO_BROWSER=1) ***\n");
    }
    left_out
}

impl Browser {
    fn start() -> Self {
        let mut driver = Command::new("chromedriver")
            .arg("--port=0")
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .unwrap_or_else(|e| {
                panic!(
                    "chromedriver: {e}: `make setup` installs it as root; TRENDLAKE_NO_BROWSER=1 does without"
                )
            });
        let mut log = BufReader::new(driver.stdout.take().unwrap());
        let mut said = String::new();
        let port = loop {
            let start = said.len();
            assert!(log.read_line(&mut said).unwrap() > 0, "chromedriver did not start:\n{said}");
            if let Some((_, port)) = said[start..].split_once("started successfully on port ") {
                break port.trim().trim_end_matches('.').to_owned();
            }
        };
        std::thread::spawn(move || log.read_to_end(&mut Vec::new()));
        let folder = tempfile::tempdir().unwrap();
        let profile = format!("--user-data-dir={}", folder.path().display());
        let wanted = json!({ "capabilities": { "alwaysMatch": {
            "goog:chromeOptions": { "args": [
                "--headless=new", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage", "--hide-scrollbars", "--lang=en",
                "--no-first-run", "--disable-background-networking", "--window-size=1280,900", profile
            ] },
            "goog:loggingPrefs": { "browser": "ALL" },
        } } });
        let mut browser =
            Self { driver, session: format!("http://127.0.0.1:{port}/session"), _folder: folder };
        let session = browser.call("POST", "", &wanted)["sessionId"].as_str().unwrap().to_owned();
        browser.session = format!("{}/{session}", browser.session);
        browser
    }

    #[track_caller]
    fn call(&self, method: &str, path: &str, body: &Value) -> Value {
        let url = format!("{}{path}", self.session);
        let client = reqwest::Client::new();
        let request =
            if method == "POST" { client.post(url).body(body.to_string()) } else { client.delete(url) };
        let request = request.header("content-type", "application/json").timeout(Duration::from_mins(1));
        let answer = block_on(async { request.send().await?.text().await }).unwrap();
        let mut answer: Value = serde_json::from_str(&answer).unwrap();
        assert!(answer["value"]["error"].is_null(), "{path} {body}: {answer}");
        answer["value"].take()
    }

    #[track_caller]
    fn post(&self, path: &str, body: &Value) -> Value {
        self.call("POST", path, body)
    }

    fn go(&self, daemon: &Daemon, path: &str) {
        self.post("/url", &json!({ "url": format!("http://{}{path}", daemon.address) }));
    }

    /// What an expression gives in the page.
    #[track_caller]
    fn eval(&self, expression: &str) -> Value {
        self.post("/execute/sync", &json!({ "script": format!("return {expression}"), "args": [] }))
    }

    /// Tells the browser something that is no page's business.
    fn tell(&self, command: &str, parameters: &Value) -> Value {
        self.post("/goog/cdp/execute", &json!({ "cmd": command, "params": parameters }))
    }

    /// Presses keys, one after another.
    fn press(&self, keys: &[&str]) {
        let actions: Vec<_> = keys
            .iter()
            .flat_map(|key| {
                [json!({ "type": "keyDown", "value": key }), json!({ "type": "keyUp", "value": key })]
            })
            .collect();
        self.post("/actions", &json!({ "actions": [{ "type": "key", "id": "keys", "actions": actions }] }));
    }

    /// Presses Tab until what has the focus is as wanted: a keyboard gets there.
    #[track_caller]
    fn tab_to(&self, is_there: &str) {
        for _ in 0..60 {
            self.press(&[TAB]);
            if self.eval(&format!("(e => {is_there})(document.activeElement)")) == true {
                return;
            }
        }
        panic!("the keyboard does not reach {is_there}");
    }

    /// What the console has said since the last time: nothing, if all is well.
    fn console(&self) -> Vec<Value> {
        self.post("/se/log", &json!({ "type": "browser" })).as_array().unwrap().clone()
    }

    #[track_caller]
    fn is_quiet(&self, path: &str) {
        let said = self.console();
        assert!(said.is_empty(), "{path}: {said:?}");
    }

    fn size(&self, width: u32, height: u32) {
        let size = json!({ "width": width, "height": height, "deviceScaleFactor": 1, "mobile": false });
        self.tell("Emulation.setDeviceMetricsOverride", &size);
    }
}

impl Drop for Browser {
    fn drop(&mut self) {
        // The driver ends its browser with the session.
        let url = self.session.clone();
        let _ = block_on(async {
            reqwest::Client::new().delete(url).timeout(Duration::from_secs(20)).send().await
        });
        let _ = self.driver.kill();
        let _ = self.driver.wait();
    }
}

fn daemon() -> (Sandbox, Daemon, [String; 6]) {
    #[expect(clippy::disallowed_methods, reason = "the program under test lives in real time")]
    let clock = Clock::starting_at(Utc::now());
    let settings = Settings { restate_days: 60, ..settled() };
    let sandbox = Sandbox::at(&clock, 3, &months_ago(13), settings);
    sandbox.configure(2, &months_ago(13), &format!("{SERVE}[streams.\"a rather-long-name-without-any-place-to-break-it <b>\"]\nid = \"st-3\"\nclient_id = \"cs-3\"\n"));
    sandbox.simulator.set_faults(vec!["http-412@st-2".parse().unwrap()]);
    // One stream is refused; figures of the others are restated.
    sandbox.run(&["run"]).expect(exit::DATA.into());
    clock.step(TimeDelta::days(3));
    let daemon = Daemon::start(&sandbox);
    daemon.ready();
    let runs: Value = serde_json::from_str(&daemon.get("/api/v1/runs").1).unwrap();
    let run = format!("/runs/{}", runs[0]["run_id"].as_str().unwrap());
    let stream = format!("/streams/st-3?month={}", &months_ago(1)[..7]);
    (sandbox, daemon, ["/".into(), stream, "/runs".into(), run, "/config".into(), "/streams/st-2".into()])
}

#[test]
fn by_keyboard_and_pointer() {
    if is_left_out() {
        return;
    }
    let (_sandbox, daemon, _) = daemon();
    let browser = Browser::start();
    browser.go(&daemon, "/");
    // Past the head of the page, to a stream, and on to its chart.
    browser.press(&[TAB]);
    assert_eq!(browser.eval("document.activeElement.className"), "skip");
    browser.press(&[ENTER]);
    assert_eq!(browser.eval("document.activeElement.id"), "main");
    browser.tab_to("e.pathname === '/streams/st-1'");
    browser.press(&[ENTER]);
    assert_eq!(browser.eval("document.querySelector('h1').textContent"), "s1");
    browser.tab_to("e.matches('.figure-box')");
    // The day before the last one, and its figures as the table has them.
    browser.press(&[LEFT, LEFT]);
    let shown = browser.eval("[...document.querySelectorAll('[data-of]')].map(e => e.textContent)");
    let row = "[...document.querySelectorAll('#days-table tbody tr')].at(-3)";
    let unique_returning_new = browser.eval(&format!("[1, 3, 2].map(n => {row}.cells[n].textContent)"));
    assert_eq!(shown, unique_returning_new);
    assert_eq!(browser.eval("document.querySelector('.cursor').getAttribute('visibility')"), "visible");
    browser.tab_to("e.matches('summary')");
    browser.press(&[ENTER]);
    assert_eq!(browser.eval("document.querySelector('details').open"), true);
    // The pointer, on the left edge of the chart: the first day.
    browser.eval("document.querySelector('.figure-box').scrollIntoView({ block: 'center' })");
    let place = browser.eval("(r => [Math.ceil(r.left), Math.round(r.top + r.height / 2)])(document.querySelector('#days-t').parentNode.getBoundingClientRect())");
    let hover = json!({ "type": "pointerMove", "duration": 0, "x": place[0], "y": place[1] });
    browser
        .post("/actions", &json!({ "actions": [{ "type": "pointer", "id": "mouse", "actions": [hover] }] }));
    let first = browser.eval("document.querySelector('#days-table tbody tr').cells[1].textContent");
    assert_eq!(browser.eval("document.querySelector('[data-of=unique]').textContent"), first);
    // To a month's days, and home.
    browser.tab_to("e.matches('.calendar a')");
    browser.press(&[ENTER]);
    assert_eq!(browser.eval("document.querySelectorAll('.month .day').length >= 28"), true);
    // To a month with restated figures.
    browser.go(&daemon, "/streams/st-1");
    browser.tab_to("e.matches('#restated-months a')");
    browser.press(&[ENTER]);
    assert_eq!(browser.eval("document.querySelectorAll('.month .day').length >= 28"), true);
    browser.is_quiet("by keyboard");
    // The policy is in force: what is put into a page does not run.
    browser.eval("document.body.appendChild(Object.assign(document.createElement('script'), { textContent: 'window.ran = 1' })) && 1");
    assert_eq!(browser.eval("window.ran === undefined"), true);
    assert!(browser.console()[0]["message"].as_str().unwrap().contains("Content Security Policy"));
}

#[test]
fn narrow_dark_and_without_a_script() {
    if is_left_out() {
        return;
    }
    let (_sandbox, daemon, paths) = daemon();
    let browser = Browser::start();
    let ground = "getComputedStyle(document.body).backgroundColor";
    let mut texts = Vec::new();
    for scripts in [true, false] {
        browser.tell("Emulation.setScriptExecutionDisabled", &json!({ "value": !scripts }));
        for dark in [false, true] {
            let scheme = if dark { "dark" } else { "light" };
            let media = json!({ "features": [{ "name": "prefers-color-scheme", "value": scheme }] });
            browser.tell("Emulation.setEmulatedMedia", &media);
            for path in &paths {
                browser.size(360, 740);
                browser.go(&daemon, path);
                let wide = browser.eval("document.scrollingElement.scrollWidth");
                assert_eq!(wide, 360, "{path}: it scrolls sideways");
                browser.size(1280, 900);
                let wide = browser.eval("document.scrollingElement.scrollWidth");
                assert_eq!(wide, 1280, "{path}: it scrolls sideways");
                let is_dark = browser.eval(&format!("{ground}.match(/\\d+/g).every(n => n < 64)"));
                assert_eq!(is_dark, dark, "{path}: {}", browser.eval(ground));
                assert_contrast(&browser, path);
                assert_named(&browser, path);
                browser.is_quiet(path);
                texts.push((path, browser.eval("document.querySelector('main h1').textContent")));
                assert_eq!(
                    browser.eval("document.querySelector('.figure-box')?.tabIndex ?? 0"),
                    if scripts {
                        0
                    } else if path.starts_with("/streams/st-3") {
                        -1
                    } else {
                        0
                    },
                    "{path}"
                );
            }
        }
    }
    let (with, without) = texts.split_at(texts.len() / 2);
    assert_eq!(with, without);
}

/// Every text stands out from its ground by 4.5 to 1.
#[track_caller]
fn assert_contrast(browser: &Browser, path: &str) {
    let faint = browser.eval(
        "(() => {
            const light = (c) => {
                const [r, g, b] = c.match(/[\\d.]+/g).map(Number).map((n) => n / 255)
                    .map((n) => n <= 0.03928 ? n / 12.92 : ((n + 0.055) / 1.055) ** 2.4);
                return 0.2126 * r + 0.7152 * g + 0.0722 * b;
            };
            const ground = (e) => {
                for (; e; e = e.parentElement) {
                    const c = getComputedStyle(e).backgroundColor;
                    if (!c.startsWith('rgba')) return c;
                }
                return 'rgb(255, 255, 255)';
            };
            const faint = new Set();
            for (const e of document.querySelectorAll('body *')) {
                const own = [...e.childNodes].some((n) => n.nodeType === 3 && n.textContent.trim());
                if (!own || !e.checkVisibility?.() || ['title', 'desc', 'TITLE'].includes(e.tagName)) continue;
                const style = getComputedStyle(e);
                const ink = e.namespaceURI.endsWith('svg') ? style.fill : style.color;
                const [a, b] = [light(ink), light(ground(e))].sort((x, y) => y - x);
                if ((a + 0.05) / (b + 0.05) < 4.5) faint.add(`${e.tagName}.${e.getAttribute('class')}: ${ink} on ${ground(e)}`);
            }
            return [...faint];
        })()",
    );
    assert_eq!(faint, json!([]), "{path}");
}

/// Whoever listens is told what each field, each link and each picture is.
#[track_caller]
fn assert_named(browser: &Browser, path: &str) {
    let nameless = browser.eval(
        "(() => {
            const text = (id) => document.getElementById(id)?.textContent;
            const pictures = [...document.querySelectorAll('svg')].filter((e) => !e.ownerSVGElement)
                .filter((e) => !e.closest('[aria-hidden]') && !e.getAttribute('aria-label')
                    && !(e.getAttribute('role') === 'img' && e.getAttribute('aria-labelledby')?.split(' ').every(text)));
            const links = [...document.querySelectorAll('a')]
                .filter((e) => !e.textContent.trim() && !e.getAttribute('aria-label'));
            const fields = [...document.querySelectorAll('input, select')].filter((e) => !e.labels.length);
            const ids = [...document.querySelectorAll('[id]')].map((e) => e.id);
            const double = ids.filter((id, n) => ids.indexOf(id) !== n);
            return [...[...pictures, ...links, ...fields].map((e) => e.outerHTML.slice(0, 200)), ...double];
        })()",
    );
    assert_eq!(nameless, json!([]), "{path}");
    assert_eq!(browser.eval("document.querySelectorAll('h1').length"), 1, "{path}");
}
