//! The unit: valid, closed to what it does not need, and in line with the product.

use std::fs;
use std::process::Command;

use ecsbeat::cli::{self, Environment};

use super::{file, program, run, text, with_libraries};
use crate::support::process::{Home, Process, SOON};

const UNIT: &str = "deploy/systemd/ecsbeat.service";
/// Of 100, as `systemd-analyze security` counts: what is left is that it uses the network, and that there is a host.
const EXPOSURE: &str = "--threshold=14";

/// The values of a key, in order.
fn values(unit: &str, key: &str) -> Vec<String> {
    let unit = unit.replace("\\\n", " ");
    unit.lines()
        .filter_map(|line| line.strip_prefix(key)?.strip_prefix('='))
        .map(str::to_owned)
        .collect()
}

/// The only one.
fn value(unit: &str, key: &str) -> String {
    let [value] = &values(unit, key)[..] else {
        panic!("{key} is not there once");
    };
    value.clone()
}

fn seconds(unit: &str, key: &str) -> u64 {
    let value = value(unit, key);
    let digits = value.strip_suffix('s').unwrap();
    digits.parse().unwrap()
}

#[test]
fn systemd_takes_it_without_complaint_and_finds_it_hardened() {
    let Some(analyze) = program(
        "systemd-analyze",
        "systemd/usr/bin/systemd-analyze",
        "the systemd unit",
    ) else {
        return;
    };
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("ecsbeat.service");
    // The program is not installed where the tests run.
    let unit = text(UNIT).replace("/usr/lib/ecsbeat/ecsbeat", env!("CARGO_BIN_EXE_ecsbeat"));
    fs::write(&path, unit).unwrap();
    let analyze = |arguments: &[&str]| {
        let mut command = Command::new(&analyze);
        with_libraries(&mut command, &analyze);
        if !fs::exists("/usr/lib/systemd/system/network-online.target").unwrap() {
            command.env("SYSTEMD_UNIT_PATH", file("target/systemd/lib/systemd/system"));
        }
        run(command.args(arguments).arg(&path))
    };
    let said = analyze(&["verify", "--man=no"]).well();
    // A key that it does not know is a warning, and the key is as good as not there.
    let complaints = said.all.lines().skip(1).filter(|line| line.contains("ecsbeat"));
    assert_eq!(complaints.collect::<Vec<_>>(), Vec::<&str>::new());
    analyze(&["security", "--offline=true", "--no-pager", EXPOSURE]).well();
}

#[test]
fn it_is_in_line_with_the_product() {
    let unit = text(UNIT);
    let start = value(&unit, "ExecStart");
    let cli = cli::parse(start.split_whitespace().map(Into::into)).unwrap();
    assert_eq!(cli.command, cli::Command::Run { once: false });
    assert_eq!(cli.environment, Environment::Systemd);
    // The same places as those of the command that people use.
    let wrapper = text("deploy/debian/ecsbeat").replace("\\\n", " ");
    let (_, exec) = wrapper.split_once("\nexec ").unwrap();
    let by_hand = cli::parse(exec.replace("\"$@\"", "run").split_whitespace().map(Into::into)).unwrap();
    assert_eq!(by_hand.paths, cli.paths);
    let directory = |path: &Option<std::path::PathBuf>| path.as_ref().unwrap().display().to_string();
    assert_eq!(
        directory(&cli.paths.data),
        format!("/var/lib/{}", value(&unit, "StateDirectory"))
    );
    assert_eq!(
        directory(&cli.paths.logs),
        format!("/var/log/{}", value(&unit, "LogsDirectory"))
    );

    assert_eq!(
        value(&unit, "RestartPreventExitStatus"),
        cli::INVALID_CONFIG.to_string()
    );
    // An orderly stop is not cut off: the default of shutdown_timeout, and what comes after it.
    let sample = text("ecsbeat.yml");
    let (_, timeout) = sample.split_once("\n#shutdown_timeout: ").unwrap();
    let timeout: u64 = timeout.split_once("s\n").unwrap().0.parse().unwrap();
    assert!(seconds(&unit, "TimeoutStopSec") >= timeout + 15);
    // A pause of a virtual machine is no reason to kill it.
    assert!(seconds(&unit, "WatchdogSec") >= 20);
    assert_eq!(value(&unit, "Type"), "notify");

    let users = text("deploy/systemd/ecsbeat.sysusers");
    let user = value(&unit, "User");
    assert_eq!(value(&unit, "Group"), user);
    assert!(
        users.lines().any(|line| line.starts_with(&format!("u {user} "))),
        "{users}"
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn secrets_get_in_as_its_comments_say() {
    let unit = text(UNIT);
    let shown = |start: &str| {
        let line = unit
            .lines()
            .find_map(|line| line.strip_prefix("#   ")?.strip_prefix(start));
        line.unwrap_or_else(|| panic!("{start} is not shown")).to_owned()
    };
    let credential = shown("LoadCredential=");
    let (name, _) = credential.split_once(':').unwrap();
    let home = Home::new();
    home.configure(&format!(
        "ecsbeat.customers:\n- customername: c\n  username: u\n  password: {}\n  \
         vdcs: [{{vdcname: v, nodes: [{{host: h}}]}}]\noutput.console: {{}}\n",
        shown("password: ")
    ));
    for there in [true, false] {
        let credentials = tempfile::tempdir().unwrap();
        if there {
            fs::write(credentials.path().join(name), "CANARY-credential\n").unwrap();
        }
        let mut command = home.command(&["test", "config"]);
        command.env("CREDENTIALS_DIRECTORY", credentials.path());
        let ended = Process::spawn(command).ended(SOON).await;
        ended.expect(if there { 0 } else { cli::INVALID_CONFIG.into() });
        assert_eq!(
            ended.stderr.contains(&format!("/{name}")),
            !there,
            "{}",
            ended.stderr
        );
    }
}
