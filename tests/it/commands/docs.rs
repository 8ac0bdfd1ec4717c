//! The examples of `docs/commands.md`: what can be run here is run, and gives what is written below it; trees are those
//! of the tests. `UPDATE_GOLDEN=1` writes both anew.

use std::fmt::Write as _;
use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::process::Command;

use crate::support::process::Home;

const PAGE: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/docs/commands.md");
const SETTINGS: &str = "\
ecsbeat:
  customers:
  - customername: one
    password: ${ECS_PASSWORD}
    username: root
    vdcs: [{vdcname: v, nodes: [10.1.83.51]}]
output.elasticsearch.hosts: [localhost:9200]
";

/// A home with `ecsbeat` in its path.
fn home() -> Home {
    let home = Home::new();
    home.configure(SETTINGS);
    let program = home.write(
        "ecsbeat",
        &format!(
            "#!/bin/sh\nexec {} --path.home {} \"$@\"\n",
            env!("CARGO_BIN_EXE_ecsbeat"),
            home.path().display()
        ),
    );
    fs::set_permissions(program, fs::Permissions::from_mode(0o755)).unwrap();
    home
}

fn run(home: &Home, script: &str) -> String {
    let path = format!("{}:/usr/bin:/bin", home.path().display());
    let output = Command::new("bash")
        .args(["-c", &format!("exec 2>&1\n{script}")])
        .env_clear()
        .envs([("PATH", path.as_str()), ("ECS_PASSWORD", "secret")])
        .output()
        .unwrap();
    String::from_utf8(output.stdout).unwrap()
}

/// The tree of a test, with the names of what differs replaced.
fn tree(mark: &str) -> String {
    let mut words = mark.split(' ');
    let name = words.next().unwrap();
    let file = Path::new(env!("CARGO_MANIFEST_DIR")).join(format!("tests/data/{name}.txt"));
    let mut text = fs::read_to_string(file).unwrap();
    for word in words {
        let (found, name) = word.split_once('=').unwrap();
        assert!(text.contains(found), "{mark}: no {found}");
        text = text.replace(found, name);
    }
    text
}

/// The block that begins at the next line with this fence: its lines, all taken.
fn block<'l>(lines: &mut impl Iterator<Item = &'l str>, fence: &str, page: &mut String) -> String {
    for line in lines.by_ref() {
        writeln!(page, "{line}").unwrap();
        assert!(
            line.is_empty() || line == fence,
            "{fence} was to follow, and not {line:?}"
        );
        if line == fence {
            break;
        }
    }
    let taken: Vec<&str> = lines.take_while(|line| *line != "```").collect();
    taken.iter().map(|line| format!("{line}\n")).collect()
}

#[test]
fn every_example_is_as_it_is_written() {
    let written = fs::read_to_string(PAGE).unwrap();
    let home = home();
    let mut page = String::new();
    let mut lines = written.lines();
    let mut examples = 0;
    while let Some(line) = lines.next() {
        writeln!(page, "{line}").unwrap();
        let real = if line == "<!-- run -->" {
            let script = block(&mut lines, "```sh", &mut page);
            writeln!(page, "{script}```").unwrap();
            run(&home, &script)
        } else if let Some(mark) = line.strip_prefix("<!-- golden ") {
            tree(mark.trim_end_matches(" -->"))
        } else {
            continue;
        };
        examples += 1;
        block(&mut lines, "```text", &mut page);
        writeln!(page, "{real}```").unwrap();
    }
    assert!(examples > 10, "{examples}");
    if std::env::var_os("UPDATE_GOLDEN").is_some() {
        fs::write(PAGE, &page).unwrap();
    }
    let pairs = page.lines().zip(written.lines()).enumerate();
    for (number, (real, written)) in pairs {
        assert_eq!(real, written, "docs/commands.md:{}", number + 1);
    }
    assert_eq!(page.len(), written.len(), "lines are missing at its end");
}
