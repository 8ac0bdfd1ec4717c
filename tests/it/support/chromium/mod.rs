//! A real Chromium without a window.
//!
//! Owns [`Chromium`] (one process with a profile of its own, killed when dropped) and [`Tab`] (a page in it: what it
//! shows, what it complains of, what it is for those who cannot see it). Spoken to over two pipes, so that no port is
//! taken.

mod pipe;

use std::ffi::OsString;
use std::fs;
use std::io::Write as _;
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use rustix::process::{Pid, Signal, kill_process_group};
use serde_json::{Value, json};
use tempfile::TempDir;

use super::cluster::until;
use super::process::SOON;
use pipe::Pipe;

/// Chromium expects its pipes as the descriptors 3 and 4.
const PIPES: &str = r#"exec "$0" "$@" 3<&0 4>&1 0</dev/null 1>&2"#;
const FLAGS: [&str; 10] = [
    "--headless",
    "--remote-debugging-pipe",
    // Tests may run as root, and in containers.
    "--no-sandbox",
    "--disable-dev-shm-usage",
    "--disable-gpu",
    "--no-first-run",
    "--hide-scrollbars",
    "--disable-extensions",
    // Nothing is asked of anybody but what the page asks.
    "--disable-background-networking",
    "--disable-component-update",
];

/// A running browser.
pub(crate) struct Chromium {
    child: Child,
    pipe: Pipe,
    _profile: TempDir,
}

/// A page.
pub(crate) struct Tab<'a> {
    pipe: &'a Pipe,
    session: String,
}

/// A node of the accessibility tree.
#[derive(Debug, Clone)]
pub(crate) struct Node {
    pub(crate) role: String,
    pub(crate) name: String,
    /// Of headings.
    pub(crate) level: u64,
}

/// The browser to test with, unless one is named in `CHROMIUM_BIN`: what `make tools` unpacks, or what is installed.
fn binary() -> Option<PathBuf> {
    if let Some(path) = std::env::var_os("CHROMIUM_BIN") {
        let path = PathBuf::from(path);
        assert!(path.is_file(), "CHROMIUM_BIN: {} is no file", path.display());
        return Some(path);
    }
    let known = [
        unpacked().join("usr/lib/chromium/chromium"),
        PathBuf::from("/usr/bin/chromium"),
    ];
    known.into_iter().find(|path| path.is_file())
}

fn unpacked() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("target/chromium")
}

/// The folders of the libraries that were unpacked with the browser; some packages have one of their own.
fn libraries() -> OsString {
    let mut folders = Vec::new();
    for architecture in folders_in(&unpacked().join("usr/lib")) {
        folders.extend(folders_in(&architecture));
        folders.push(architecture);
    }
    std::env::join_paths(folders).unwrap()
}

fn folders_in(folder: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(folder).into_iter().flatten();
    let paths = entries.map(|entry| entry.unwrap().path());
    paths.filter(|path| path.is_dir()).collect()
}

impl Chromium {
    /// Starts one. `None`, loudly, where there is none.
    pub(crate) fn start() -> Option<Self> {
        let Some(binary) = binary() else {
            // Past the capture of the test's own output.
            let _ = writeln!(
                std::io::stderr(),
                "SKIPPED: there is no Chromium to look at the status page with: run `make tools`, or set CHROMIUM_BIN"
            );
            return None;
        };
        let profile = tempfile::tempdir().unwrap();
        // The fonts of the machine, and those that were unpacked.
        let fonts = profile.path().join("fonts.conf");
        let text = format!(
            "<fontconfig><dir>/usr/share/fonts</dir><dir>{}</dir><cachedir>{}</cachedir>\
             <match><edit name='family' mode='append_last'><string>DejaVu Sans</string></edit></match></fontconfig>",
            unpacked().join("usr/share/fonts").display(),
            profile.path().join("fonts").display()
        );
        fs::write(&fonts, text).unwrap();
        let mut child = Command::new("sh")
            .args(["-c", PIPES])
            .arg(binary)
            .args(FLAGS)
            .arg(format!("--user-data-dir={}", profile.path().display()))
            .env_clear()
            .env("HOME", profile.path())
            .env("PATH", "/usr/bin:/bin")
            .env("LD_LIBRARY_PATH", libraries())
            .env("FONTCONFIG_FILE", fonts)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .process_group(0)
            .spawn()
            .unwrap();
        let pipe = Pipe::new(child.stdin.take().unwrap(), child.stdout.take().unwrap());
        Some(Self {
            child,
            pipe,
            _profile: profile,
        })
    }

    /// A new page, which shows nothing yet. In a window of its own: one behind another is hidden, and a hidden page
    /// does not keep itself up to date.
    pub(crate) async fn tab(&self) -> Tab<'_> {
        let window = json!({"url": "about:blank", "newWindow": true});
        let target = self.pipe.call("", "Target.createTarget", window).await;
        let attach = json!({"targetId": target["targetId"], "flatten": true});
        let attached = self.pipe.call("", "Target.attachToTarget", attach).await;
        let tab = Tab {
            pipe: &self.pipe,
            session: attached["sessionId"].as_str().unwrap().to_owned(),
        };
        for domain in ["Page", "Runtime", "Log", "Network", "Accessibility"] {
            tab.call(&format!("{domain}.enable"), json!({})).await;
        }
        tab
    }
}

impl Drop for Chromium {
    fn drop(&mut self) {
        let _ = kill_process_group(Pid::from_child(&self.child), Signal::KILL);
        let _ = self.child.wait();
    }
}

impl Tab<'_> {
    async fn call(&self, method: &str, parameters: Value) -> Value {
        self.pipe.call(&self.session, method, parameters).await
    }

    /// Goes to an address and waits until the page is there.
    pub(crate) async fn open(&self, url: &str) {
        let went = self.call("Page.navigate", json!({"url": url})).await;
        assert!(went["errorText"].is_null(), "{url}: {went}");
        self.until("the page is there", "document.readyState === 'complete'")
            .await;
    }

    /// What an expression comes to in the page.
    pub(crate) async fn value(&self, expression: &str) -> Value {
        let parameters = json!({"expression": expression, "returnByValue": true});
        let answer = self.call("Runtime.evaluate", parameters).await;
        assert!(answer["exceptionDetails"].is_null(), "{expression}: {answer}");
        answer["result"]["value"].clone()
    }

    /// Waits until an expression holds.
    pub(crate) async fn until(&self, what: &str, expression: &str) {
        until(what, SOON, async || {
            (self.value(expression).await == true).then_some(())
        })
        .await;
    }

    /// The text that stands in the page.
    pub(crate) async fn text(&self) -> String {
        let text = self.value("document.body.innerText").await;
        text.as_str().unwrap().to_owned()
    }

    /// Waits until this text stands in the page.
    pub(crate) async fn shows(&self, part: &str) {
        let expression = format!("document.body.innerText.includes({})", json!(part));
        self.until(&format!("the page shows {part:?}"), &expression).await;
    }

    /// The page as it is for whoever cannot see it.
    pub(crate) async fn tree(&self) -> Vec<Node> {
        let tree = self.call("Accessibility.getFullAXTree", json!({})).await;
        let nodes = tree["nodes"].as_array().unwrap().iter();
        let text = |value: &Value| value["value"].as_str().unwrap_or_default().to_owned();
        nodes
            .filter(|node| node["ignored"] == false)
            .map(|node| Node {
                role: text(&node["role"]),
                name: text(&node["name"]),
                level: node["properties"]
                    .as_array()
                    .into_iter()
                    .flatten()
                    .find(|property| property["name"] == "level")
                    .and_then(|property| property["value"]["value"].as_u64())
                    .unwrap_or_default(),
            })
            .collect()
    }

    /// Errors and warnings of the console, of scripts and of the browser itself, so far.
    pub(crate) fn complaints(&self) -> Vec<String> {
        let events = self.pipe.events(&self.session);
        let complains = |event: &Value| match event["method"].as_str().unwrap_or_default() {
            "Runtime.exceptionThrown" => true,
            "Runtime.consoleAPICalled" => true,
            "Log.entryAdded" => event["params"]["entry"]["level"] != "verbose",
            _ => false,
        };
        let complaints = events.iter().filter(|event| complains(event));
        complaints.map(|event| event["params"].to_string()).collect()
    }

    /// Everything that was asked for so far, by address.
    pub(crate) fn requests(&self) -> Vec<String> {
        let events = self.pipe.events(&self.session);
        events
            .iter()
            .filter(|event| event["method"] == "Network.requestWillBeSent")
            .map(|event| event["params"]["request"]["url"].as_str().unwrap().to_owned())
            .collect()
    }

    /// The size of the window; a small one is that of a phone.
    pub(crate) async fn window(&self, (width, height): (u32, u32)) {
        let metrics =
            json!({"width": width, "height": height, "deviceScaleFactor": 1, "mobile": width < 600});
        self.call("Emulation.setDeviceMetricsOverride", metrics).await;
    }

    /// What the user prefers: `light` or `dark`.
    pub(crate) async fn scheme(&self, scheme: &str) {
        let features = json!([{"name": "prefers-color-scheme", "value": scheme}]);
        self.call("Emulation.setEmulatedMedia", json!({"features": features}))
            .await;
    }

    /// From the next page on scripts do not run.
    pub(crate) async fn without_scripts(&self) {
        self.call("Emulation.setScriptExecutionDisabled", json!({"value": true}))
            .await;
    }

    /// A picture of the whole page, for people: into the folder that `ECSBEAT_PICTURES` names, if it does.
    pub(crate) async fn picture(&self, name: &str) {
        let Some(folder) = std::env::var_os("ECSBEAT_PICTURES") else {
            return;
        };
        let metrics = self.call("Page.getLayoutMetrics", json!({})).await;
        let mut clip = metrics["cssContentSize"].clone();
        clip["scale"] = json!(1);
        let parameters = json!({"format": "png", "captureBeyondViewport": true, "clip": clip});
        let taken = self.call("Page.captureScreenshot", parameters).await;
        let png = BASE64_STANDARD.decode(taken["data"].as_str().unwrap()).unwrap();
        fs::create_dir_all(&folder).unwrap();
        fs::write(Path::new(&folder).join(format!("{name}.png")), png).unwrap();
    }
}
