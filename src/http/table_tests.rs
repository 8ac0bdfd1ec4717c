//! Every path, every method, every state, and everything that can be wrong: first through the router, then over real
//! connections from several sides at once while the runtime of the process is blocked.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::sync::Arc;
use std::time::Duration;

use axum::http::Method;
use jiff::Timestamp;
use serde_json::{Value, json};
use tokio_util::sync::CancellationToken;

use super::Endpoints;
use super::tests::{TOKEN, ask, endpoints, http_config, leader, unit};
use crate::clock::since_boot;
use crate::config::Secret;
use crate::election::order::Desk;
use crate::status::{Cluster, Leadership, OutputStatus, State};
use crate::telemetry::identity::Identity;

const STATES: [State; 8] = [
    State::Starting,
    State::Standby,
    State::Candidate,
    State::Leader,
    State::Draining,
    State::Lost,
    State::Single,
    State::Stopped,
];

/// What is wrong, and what that makes of each check in each state: 200 (`+`) or 503 (`-`).
struct Case {
    name: &'static str,
    spoil: fn(&mut Endpoints, &mut Leadership),
    codes: [(&'static str, &'static str); 5],
}

//                    starting standby candidate leader draining lost single stopped
const CASES: [Case; 8] = [
    Case {
        name: "all is well",
        spoil: |_, _| {},
        codes: [
            ("/leader", "---+--+-"),
            ("/standby", "-++-----"),
            ("/health", "-++++-+-"),
            ("/readiness", "-+++--+-"),
            ("/liveness", "++++++++"),
        ],
    },
    Case {
        name: "etcd is down",
        spoil: |_, leadership| leadership.dcs_reachable = false,
        codes: [
            ("/leader", "---+--+-"),
            ("/standby", "--------"),
            ("/health", "---++-+-"),
            ("/readiness", "---+--+-"),
            ("/liveness", "++++++++"),
        ],
    },
    Case {
        name: "this instance may not lead",
        spoil: |_, leadership| leadership.barred = Some("identity_mismatch"),
        codes: [
            ("/leader", "---+--+-"),
            ("/standby", "--------"),
            ("/health", "-++++-+-"),
            ("/readiness", "---+--+-"),
            ("/liveness", "++++++++"),
        ],
    },
    Case {
        name: "the cluster is paused",
        spoil: |_, leadership| leadership.paused = true,
        codes: [
            ("/leader", "---+--+-"),
            ("/standby", "-++-----"),
            ("/health", "-++++-+-"),
            ("/readiness", "-+++--+-"),
            ("/liveness", "++++++++"),
        ],
    },
    Case {
        name: "the deadline has passed",
        spoil: |_, leadership| leadership.deadline = leadership.deadline.map(|_| since_boot()),
        codes: [
            ("/leader", "------+-"),
            ("/standby", "-++-----"),
            ("/health", "-++-+-+-"),
            ("/readiness", "-++---+-"),
            ("/liveness", "++++++++"),
        ],
    },
    Case {
        name: "the configuration differs from the leader's",
        spoil: |_, leadership| leadership.config_mismatch = true,
        codes: [
            ("/leader", "---+--+-"),
            ("/standby", "-++-----"),
            ("/health", "-++++-+-"),
            ("/readiness", "-+++--+-"),
            ("/liveness", "++++++++"),
        ],
    },
    Case {
        name: "output and ECS are down",
        spoil: |endpoints, _| {
            unit(endpoints, "VDC1", "nodes", Some("refused"));
            let down = OutputStatus {
                up: Some(false),
                ..OutputStatus::default()
            };
            endpoints.status.output("elasticsearch").store(Arc::new(down));
        },
        codes: [
            ("/leader", "---+--+-"),
            ("/standby", "-++-----"),
            ("/health", "-++++-+-"),
            ("/readiness", "-+++--+-"),
            ("/liveness", "++++++++"),
        ],
    },
    Case {
        name: "the loop stands still",
        spoil: |endpoints, _| endpoints.ttl = Duration::ZERO,
        codes: [
            ("/leader", "---+--+-"),
            ("/standby", "-++-----"),
            ("/health", "-++++-+-"),
            ("/readiness", "-+++--+-"),
            ("/liveness", "--------"),
        ],
    },
];

/// Paths that are 200 whatever is wrong.
const ALWAYS: [&str; 7] = [
    "/cluster",
    "/history",
    "/commands",
    "/metrics",
    "/",
    "/stats",
    "/state",
];

/// A path and the code it must be answered with.
type Want = (&'static str, u16);

impl Case {
    fn endpoints(&self, state: State) -> Endpoints {
        let mut endpoints = endpoints();
        let own = matches!(state, State::Leader | State::Draining);
        let mut leadership = Leadership::default();
        if state != State::Single {
            let mut identity = Identity::clone(&endpoints.identity);
            identity.cluster = Some("prod".into());
            endpoints.identity = Arc::new(identity);
            endpoints.desk = Some(Desk::new().0);
            leadership = Leadership {
                term: 7,
                leader: Some(leader(if own { "node-a" } else { "node-b" })),
                deadline: own.then(|| since_boot() + Duration::from_secs(3600)),
                dcs_reachable: true,
                dcs_last_seen: Some(Timestamp::UNIX_EPOCH),
                ..Leadership::default()
            };
            endpoints.status.tell_cluster(Cluster {
                members: vec![super::cluster_tests::member("node-b")],
                seen: Some(since_boot()),
                ..Cluster::default()
            });
        }
        (self.spoil)(&mut endpoints, &mut leadership);
        endpoints.status.tell_leadership(leadership);
        endpoints.status.enter(state, Timestamp::UNIX_EPOCH);
        endpoints.token = Some(Secret::new(TOKEN));
        endpoints
    }

    fn wants(&self, state: State) -> Vec<Want> {
        let at = STATES.iter().position(|known| *known == state).unwrap();
        let mut wants: Vec<Want> = ALWAYS.iter().map(|path| (*path, 200)).collect();
        for (path, codes) in self.codes {
            let want = if codes.as_bytes()[at] == b'+' { 200 } else { 503 };
            wants.push((path, want));
            match path {
                "/leader" => wants.push(("/primary", want)),
                "/standby" => wants.push(("/replica", want)),
                _ => {}
            }
        }
        wants
    }
}

/// What holds for the body of every health answer.
fn check_body(body: &Value, state: State, want: u16, told: &str) {
    let leads = body["is_self"].as_bool().unwrap();
    let role = body["role"].as_str().unwrap();
    let left = body["lease_remaining_ms"].as_u64();
    let shown = body["state"].as_str().unwrap();
    assert_eq!(body["instance"], "node-a", "{told}");
    assert_eq!(body["ha_enabled"], state != State::Single, "{told}");
    assert_eq!(leads, matches!(shown, "leader" | "single"), "{told}");
    assert!(!leads || role == "leader", "{told}");
    assert_eq!(
        shown == state.as_str(),
        shown != "lost" || state == State::Lost,
        "{told}"
    );
    // Whoever leads names itself, and nobody else does.
    let own = body["leader"]["name"] == "node-a";
    assert_eq!(role == "leader", own, "{told}");
    assert!(left != Some(0) || !own, "{told}");
    assert!(
        want == 200
            || body["reasons"]
                .as_array()
                .is_some_and(|reasons| !reasons.is_empty()),
        "{told}"
    );
    assert_eq!(body["dcs"].is_object(), state != State::Single, "{told}");
}

#[tokio::test]
async fn every_path_and_method_in_every_state_whatever_is_wrong() {
    for case in &CASES {
        for state in STATES {
            let endpoints = case.endpoints(state);
            for (path, want) in case.wants(state) {
                let told = format!("{} {path} while {}", state.as_str(), case.name);
                let (status, body) = ask(&endpoints, Method::GET, path).await;
                assert_eq!(status, want, "{told}: {body}");
                assert!(!body.contains(TOKEN), "{told}");
                if path != "/metrics" {
                    let body: Value = serde_json::from_str(&body).unwrap();
                    if !ALWAYS.contains(&path) {
                        check_body(&body, state, want, &format!("{told}: {body}"));
                    }
                }
                for method in [Method::HEAD, Method::OPTIONS] {
                    let (status, body) = ask(&endpoints, method.clone(), path).await;
                    assert_eq!((status.as_u16(), body.as_str()), (want, ""), "{method} {told}");
                }
            }
            let strict = ask(&endpoints, Method::GET, "/health?strict=true").await.0;
            let at = |path| case.wants(state).iter().find(|want| want.0 == path).unwrap().1;
            let works = matches!(state, State::Leader | State::Draining | State::Single);
            let want = if case.name.starts_with("output") && works {
                503
            } else {
                at("/health")
            };
            assert_eq!(strict, want, "strict, {} while {}", state.as_str(), case.name);
        }
    }
}

#[tokio::test]
async fn the_body_of_health_says_what_is_wrong() {
    for (case, state, want) in [
        (1, State::Standby, json!(["dcs_unreachable"])),
        (1, State::Leader, json!(["dcs_unreachable"])),
        (2, State::Standby, json!(["identity_mismatch"])),
        (3, State::Standby, json!([])),
        (4, State::Leader, json!(["lease_expired"])),
        (6, State::Leader, json!(["output_down", "ecs_down"])),
        (7, State::Leader, json!(["loop_stalled"])),
    ] {
        let case: &Case = &CASES[case];
        let (_, body) = ask(&case.endpoints(state), Method::GET, "/health").await;
        let body: Value = serde_json::from_str(&body).unwrap();
        assert_eq!(body["reasons"], want, "{} while {}", state.as_str(), case.name);
        assert_eq!(body["pause"], case.name == "the cluster is paused");
        assert_eq!(
            body["config_mismatch"],
            case.name.starts_with("the configuration differs")
        );
    }
}

/// One request on a connection that stays open: code and length of the body that came with it.
fn exchange(connection: &mut BufReader<TcpStream>, method: &str, path: &str) -> (u16, usize) {
    let request = format!("{method} {path} HTTP/1.1\r\nHost: x\r\n\r\n");
    connection.get_mut().write_all(request.as_bytes()).unwrap();
    let mut line = String::new();
    connection.read_line(&mut line).unwrap();
    let code = line.split(' ').nth(1).unwrap().parse().unwrap();
    let mut length = 0;
    loop {
        line.clear();
        connection.read_line(&mut line).unwrap();
        let header = line.trim_end().to_ascii_lowercase();
        if header.is_empty() {
            break;
        }
        if let Some(value) = header.strip_prefix("content-length:") {
            length = value.trim().parse().unwrap();
        }
    }
    // The length of what GET would give is told to HEAD too, and does not come.
    if method != "GET" {
        length = 0;
    }
    connection.read_exact(&mut vec![0; length]).unwrap();
    (code, length)
}

/// Asks everything, over and over, on one connection: how many answers came, and each that was wrong.
fn probe(address: SocketAddr, wants: &[Want], rounds: usize) -> (usize, Vec<String>) {
    let stream = TcpStream::connect(address).unwrap();
    stream.set_read_timeout(Some(Duration::from_secs(30))).unwrap();
    let mut connection = BufReader::new(stream);
    let mut answered = 0;
    let mut wrong = Vec::new();
    for _ in 0..rounds {
        for (path, want) in wants {
            for method in ["GET", "HEAD", "OPTIONS"] {
                let (code, length) = exchange(&mut connection, method, path);
                answered += 1;
                if code != *want || (length > 0) != (method == "GET") {
                    wrong.push(format!("{method} {path}: {code} with {length} bytes, not {want}"));
                }
            }
        }
    }
    (answered, wrong)
}

#[test]
fn all_of_it_is_answered_to_many_at_once_while_the_process_is_blocked() {
    const CONNECTIONS: usize = 4;
    const ROUNDS: usize = 1;
    let process = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .unwrap();
    process.block_on(async {
        for case in &CASES {
            for state in STATES {
                let wants = case.wants(state);
                let bound = super::bind(&http_config()).unwrap();
                let address = bound.local_addr();
                let endpoints = Arc::new(case.endpoints(state));
                let server = bound.serve(endpoints, CancellationToken::new()).unwrap();
                // Nothing is awaited meanwhile: this runtime stands still.
                let answers: Vec<_> = std::thread::scope(|scope| {
                    let probes = [(); CONNECTIONS].map(|()| scope.spawn(|| probe(address, &wants, ROUNDS)));
                    probes.map(|probe| probe.join().unwrap()).into()
                });
                for (answered, wrong) in answers {
                    let told = format!("{} while {}", state.as_str(), case.name);
                    assert_eq!(wrong, Vec::<String>::new(), "{told}");
                    assert_eq!(answered, wants.len() * 3 * ROUNDS, "{told}");
                }
                server.stop().await.unwrap();
            }
        }
    });
}
