//! HAProxy takes what is meant for it.

use std::process::Command;

use super::{file, program, run, with_libraries};

#[test]
fn haproxy_takes_its_configuration_without_complaint() {
    let Some(haproxy) = program("haproxy", "haproxy/usr/sbin/haproxy", "deploy/haproxy") else {
        return;
    };
    let mut command = Command::new(&haproxy);
    with_libraries(&mut command, &haproxy);
    let configuration = file("deploy/haproxy/haproxy.cfg");
    let said = run(command.args(["-c", "-f"]).arg(configuration)).well();
    // The names are those of containers, which are not there.
    let complaints = said
        .all
        .lines()
        .filter(|line| line.contains("[ALERT]") || line.contains("[WARNING]"));
    let other: Vec<&str> = complaints
        .filter(|line| !line.contains("could not resolve address 'node-"))
        .collect();
    assert_eq!(other, Vec::<&str>::new());
}

/// All its names are addresses, so that there is nothing to complain of.
#[test]
fn haproxy_takes_the_configuration_of_the_quick_start() {
    let Some(haproxy) = program("haproxy", "haproxy/usr/sbin/haproxy", "the quick start") else {
        return;
    };
    let mut command = Command::new(&haproxy);
    with_libraries(&mut command, &haproxy);
    let configuration = file("deploy/examples/quick-start-haproxy.cfg");
    let said = run(command.args(["-c", "-f"]).arg(configuration)).well();
    let mut lines = said.all.lines();
    assert!(
        !lines.any(|line| line.contains("[ALERT]") || line.contains("[WARNING]")),
        "{}",
        said.all
    );
}
