//! `completion` in a real bash, and `export man` in a real reader of manual pages where there is one.

use std::process::{Command, Output};

use crate::support::process::Home;

/// What follows the script.
fn in_bash(home: &Home, script: &str, more: &str) -> Output {
    let file = home.write("completion.bash", script);
    let output = Command::new("bash")
        .args(["--norc", "--noprofile", "-eu", "-c"])
        .arg(format!("source {}\n{more}", file.display()))
        .output()
        .unwrap();
    assert!(output.status.success(), "{output:?}");
    output
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn bash_loads_the_script_and_completes_commands_and_flags() {
    let home = Home::new();
    let script = home.run(&["completion", "bash"]).await.expect(0).stdout.clone();
    let checked = Command::new("bash")
        .arg("-n")
        .arg(home.write("checked.bash", &script))
        .output()
        .unwrap();
    assert!(
        checked.status.success() && checked.stderr.is_empty(),
        "{checked:?}"
    );
    let registered = in_bash(&home, &script, "complete -p ecsbeat");
    let registered = String::from_utf8(registered.stdout).unwrap();
    assert!(
        registered.contains("-F _ecsbeat") && registered.trim_end().ends_with("ecsbeat"),
        "{registered}"
    );
    // What bash does when the tab key is pressed behind these words.
    let pressed = |words: &str| {
        let words: Vec<&str> = words.split(' ').collect();
        let (last, before) = words.split_last().unwrap();
        let quoted: Vec<String> = words.iter().map(|word| format!("'{word}'")).collect();
        let more = format!(
            "COMP_WORDS=({})\nCOMP_CWORD={}\n_ecsbeat ecsbeat '{last}' '{}'\nprintf '%s\\n' \"${{COMPREPLY[@]}}\"",
            quoted.join(" "),
            before.len(),
            before.last().unwrap()
        );
        let output = in_bash(&home, &script, &more);
        let text = String::from_utf8(output.stdout).unwrap();
        text.lines().map(str::to_owned).collect::<Vec<_>>()
    };
    assert_eq!(pressed("ecsbeat swi"), ["switchover"]);
    assert_eq!(pressed("ecsbeat test e"), ["ecs"]);
    assert_eq!(
        pressed("ecsbeat keystore add --st"),
        ["--strict.perms", "--stdin"]
    );
    assert_eq!(pressed("ecsbeat setup --fo"), ["--force"]);
    assert_eq!(
        pressed("ecsbeat run --environment "),
        ["default", "container", "systemd"]
    );
    let offered = pressed("ecsbeat keystore ");
    for command in ["create", "add", "list", "remove"] {
        assert!(
            offered.iter().any(|word| word == command),
            "{command} in {offered:?}"
        );
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_manual_page_is_one_that_man_can_show() {
    let home = Home::new();
    let page = home.run(&["export", "man"]).await.expect(0).stdout.clone();
    let known = [
        ".ie", ".el", ".TH", ".SH", ".TP", ".PP", ".IP", ".br", ".RS", ".RE", ".nf", ".fi",
    ];
    for line in page.lines().filter(|line| line.starts_with(['.', '\''])) {
        let request = line.split(' ').next().unwrap();
        assert!(known.contains(&request), "no request of man(7): {line}");
    }
    let titles: Vec<&str> = page
        .lines()
        .filter_map(|line| line.strip_prefix(".SH "))
        .collect();
    assert_eq!(titles[..2], ["NAME", "SYNOPSIS"]);
    assert!(titles.contains(&"\"ECSBEAT TEST ECS\""), "{titles:?}");
    let file = home.write("ecsbeat.1", &page);
    let Ok(shown) = Command::new("man")
        .args(["-l", "-Tascii", "--warnings=w"])
        .arg(file)
        .env("MANPAGER", "cat")
        .env("MANWIDTH", "100")
        .output()
    else {
        println!("SKIPPED: there is no man here");
        return;
    };
    let text = String::from_utf8_lossy(&shown.stdout);
    if !shown.status.success() && text.is_empty() {
        println!("SKIPPED: man has no formatter here");
        return;
    }
    assert!(
        shown.stderr.is_empty(),
        "{}",
        String::from_utf8_lossy(&shown.stderr)
    );
    // Bold letters are printed twice, one over the other.
    let plain: String = text
        .split('\u{8}')
        .enumerate()
        .map(|(at, part)| if at == 0 { part } else { &part[1..] })
        .collect();
    for part in [
        "ECSBEAT SWITCHOVER",
        "--candidate",
        "--strict.perms",
        "ECSBEAT KEYSTORE ADD",
    ] {
        assert!(
            text.contains(part) || plain.contains(part),
            "{part} is missing in\n{text}"
        );
    }
}
