//! Blocks of shell can be pasted into one: bash takes each as it stands, without running it.

use std::io::Write as _;
use std::process::{Command, Stdio};

use super::page;

/// What bash says against a text.
fn complaint(text: &str) -> Option<String> {
    let mut bash = Command::new("bash")
        .arg("-n")
        .stdin(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    bash.stdin.take().unwrap().write_all(text.as_bytes()).unwrap();
    let ended = bash.wait_with_output().unwrap();
    (!ended.status.success()).then(|| String::from_utf8_lossy(&ended.stderr).into_owned())
}

#[test]
fn every_block_of_shell_is_one() {
    let mut checked = 0;
    let mut wrong = Vec::new();
    for page in page::all() {
        let blocks = page.blocks.iter().filter(|block| {
            let language = block.info.split_whitespace().next();
            matches!(language, Some("sh" | "bash"))
        });
        for block in blocks {
            checked += 1;
            if let Some(complaint) = complaint(&block.text) {
                wrong.push(format!("{}: {complaint}\n{}", page.name, block.text));
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    assert!(checked > 50, "{checked}");
    assert!(complaint("until true; do").is_some() && complaint("echo '").is_some());
}
