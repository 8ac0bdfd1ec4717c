//! The compose file: valid, and what is in it with and without its profile.

use std::process::Command;

use super::{documents, file, run, skipped};

const COMPOSE: &str = "deploy/compose.yml";

#[test]
fn compose_takes_it_without_complaint() {
    let words = [&["docker", "compose"][..], &["docker-compose"]]
        .into_iter()
        .find(|words| {
            let version = Command::new(words[0]).args(&words[1..]).arg("version").output();
            version.is_ok_and(|output| output.status.success())
        });
    let Some(words) = words else {
        return skipped(COMPOSE, "there is neither `docker compose` nor `docker-compose`");
    };
    for profile in [&[][..], &["--profile", "elastic"]] {
        let mut command = Command::new(words[0]);
        command
            .args(&words[1..])
            .arg("--file")
            .arg(file(COMPOSE))
            .args(profile);
        let said = run(command.args(["config", "--quiet"])).well();
        assert_eq!(said.all.lines().skip(1).collect::<Vec<_>>(), Vec::<&str>::new());
    }
}

#[test]
fn the_elastic_stack_is_there_for_who_asks() {
    let compose = &documents(COMPOSE)[0];
    let services = compose["services"].as_object().unwrap();
    let of = |profile: Option<&str>| {
        let chosen = services
            .iter()
            .filter(|(_, service)| service["profiles"][0].as_str() == profile);
        let mut names: Vec<&str> = chosen.map(|(name, _)| name.as_str()).collect();
        names.sort_unstable();
        names
    };
    assert_eq!(of(Some("elastic")), ["elastic", "kibana"]);
    let usual = [
        "ecs",
        "elasticsearch",
        "etcd-1",
        "etcd-2",
        "etcd-3",
        "haproxy",
        "node-a",
        "node-b",
        "node-c",
    ];
    assert_eq!(of(None), usual);
    // A replica writes to its volume and nowhere else.
    assert_eq!(compose["x-ecsbeat"]["read_only"], true);
    assert_eq!(compose["x-ecsbeat"]["cap_drop"][0], "ALL");
}
