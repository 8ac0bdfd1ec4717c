//! Which hosts there are, and what runs on them with which arguments and configuration.
//!
//! Owns the one configuration that all replicas share, and the timers in it.

use std::time::Duration;

use crate::ground::{Ground, Host, Net, Program};

/// The shortest lease that is allowed.
pub(crate) const TTL: Duration = Duration::from_secs(5);
/// Where the endpoints of a replica are.
pub(crate) const PORT: u16 = 5066;
/// The file of the configuration.
pub(crate) const CONFIGURATION: &str = "ecsbeat.yml";

const REPLICAS: [&str; 3] = ["a", "b", "c"];
/// The first replica's number among the addresses, and the first member's.
const NUMBERS: (u8, u8) = (11, 21);

/// The replicas; `control` names a safeguard that is switched off.
pub(crate) fn replicas(ground: &dyn Ground, control: Option<&str>) -> Vec<Host> {
    let mut replicas: Vec<Host> = (NUMBERS.0..)
        .zip(REPLICAS)
        .map(|(number, name)| Host {
            name: name.to_owned(),
            number,
            program: Program::Ecsbeat,
            arguments: Vec::new(),
            environment: Vec::new(),
        })
        .collect();
    for host in &mut replicas {
        host.arguments = vec![
            "--environment=container".to_owned(),
            format!("-c={}/{CONFIGURATION}", ground.folder()),
            format!("--path.data={}", ground.data(host)),
        ];
    }
    if let Some(control) = control {
        let variable = ("ECSBEAT_NEGATIVE_CONTROL".to_owned(), control.to_owned());
        for host in &mut replicas {
            host.environment.push(variable.clone());
        }
    }
    replicas
}

/// The members of etcd.
pub(crate) fn members(ground: &dyn Ground, count: u8) -> Vec<Host> {
    let mut hosts: Vec<Host> = (0..count)
        .map(|number| Host {
            name: format!("etcd-{number}"),
            number: NUMBERS.1 + number,
            program: Program::Etcd,
            arguments: Vec::new(),
            environment: Vec::new(),
        })
        .collect();
    let peers: Vec<String> = (hosts.iter())
        .map(|host| format!("{}=http://{}:2380", host.name, ground.called(host)))
        .collect();
    for host in &mut hosts {
        let (own, called) = (ground.address(host, Net::Etcd), ground.called(host));
        host.arguments = vec![
            format!("--name={}", host.name),
            format!("--data-dir={}", ground.data(host)),
            format!("--listen-client-urls=http://{own}:2379"),
            format!("--advertise-client-urls=http://{called}:2379"),
            format!("--listen-peer-urls=http://{own}:2380"),
            format!("--initial-advertise-peer-urls=http://{called}:2380"),
            format!("--initial-cluster={}", peers.join(",")),
            "--initial-cluster-token=hosts".to_owned(),
            "--log-level=warn".to_owned(),
            // What is tried is the loss of hosts, not of their disks.
            "--unsafe-no-fsync".to_owned(),
        ];
    }
    hosts
}

/// What all replicas are told but for what they collect.
pub(crate) fn replicated(ground: &dyn Ground, output: &str, members: &[Host]) -> String {
    let etcd: Vec<String> = (members.iter())
        .map(|host| format!("'http://{}:2379'", ground.called(host)))
        .collect();
    // No `instance`: that is the host's name.
    format!(
        "name: hosts
shutdown_timeout: 5s
logging: {{level: info, metrics.enabled: false}}
http: {{enabled: true, host: 0.0.0.0, port: {PORT}}}
queue.mem: {{events: 2000, flush.min_events: 100, flush.timeout: 50ms}}
setup.template.enabled: false
output.elasticsearch:
  hosts: ['http://{output}']
  backoff: {{init: 100ms, max: 500ms}}
ha:
  enabled: true
  cluster: hosts
  advertise: 'http://${{HOSTNAME}}:{PORT}'
  ttl: {ttl}s
  loop_wait: 1s
  retry_timeout: 1s
  safety_margin: 1s
  drain_timeout: 2s
  config_mismatch: refuse
  etcd: {{hosts: [{etcd}]}}
",
        ttl = TTL.as_secs(),
        etcd = etcd.join(", "),
    )
}
