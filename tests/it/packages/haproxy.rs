//! HAProxy takes what is meant for it.

use std::process::Command;

use super::{file, program, run, with_libraries};

/// What HAProxy complains of in this configuration; `None`, and told, where there is no HAProxy.
fn complaints(configuration: &str) -> Option<Vec<String>> {
    let haproxy = program("haproxy", "haproxy/usr/sbin/haproxy", configuration)?;
    let mut command = Command::new(&haproxy);
    with_libraries(&mut command, &haproxy);
    let said = run(command.args(["-c", "-f"]).arg(file(configuration))).well();
    let complaints = said
        .all
        .lines()
        .filter(|line| line.contains("[ALERT]") || line.contains("[WARNING]"));
    Some(complaints.map(str::to_owned).collect())
}

#[test]
fn haproxy_takes_its_configuration_without_complaint() {
    let Some(complaints) = complaints("deploy/haproxy/haproxy.cfg") else {
        return;
    };
    // The names are those of containers, which are not there.
    let mut other = complaints.iter();
    let other = other.find(|line| !line.contains("could not resolve address 'node-"));
    assert_eq!(other, None);
}

/// All its names are addresses, so that there is nothing to complain of.
#[test]
fn haproxy_takes_the_configuration_of_the_quick_start() {
    let Some(complaints) = complaints("deploy/examples/quick-start-haproxy.cfg") else {
        return;
    };
    assert_eq!(complaints, [""; 0]);
}
