//! One collector, its federation and its output.
//!
//! Owns [`World`]: the real binary polls windows of a simulated federation, whose rows are known, and a proxy stands
//! between the output and its server. Faults are applied in the middle and undone; then everything must arrive.

use std::collections::BTreeSet;
use std::net::{Ipv4Addr, SocketAddr};
use std::time::Instant;

use chaos::{Chaos, Fault, Identity};
use ecs_sim::{Config, Journal, Sim};

use super::receiver::{Reach, Receiver};
use super::report::{self, Measured};
use super::table::{Face, Kind, Line, Until, set};
use crate::support::authority::Authority;
use crate::support::etcd::own_address;
use crate::support::names::Names;
use crate::support::process::{Home, Process, SOON, customers, get};
use crate::support::windowed::{COMMANDS, Row, busy, doubled, missing, rows, strange, truth};

/// How the server is called where its address may change: in as many letters as 127.0.0.1, see [`Receiver::behind`].
const NAME: &str = "sink.test";
/// How often a condition is looked at.
const LOOK: std::time::Duration = std::time::Duration::from_millis(50);

/// What differs from the ordinary.
#[derive(Debug, Default)]
pub(crate) struct Setup {
    /// The proxy speaks TLS with clients.
    pub(crate) tls: bool,
    /// The server is known by a name.
    pub(crate) named: bool,
    /// Entries of `commands` besides audit events and alerts.
    pub(crate) commands: &'static str,
    /// The section `queue` in place of the usual one.
    pub(crate) queue: Option<&'static str>,
    /// Another federation.
    pub(crate) sim: Option<Config>,
}

/// A collector at work.
pub(crate) struct World<R> {
    pub(crate) sim: Sim,
    pub(crate) receiver: R,
    pub(crate) chaos: Option<Chaos>,
    pub(crate) process: Process,
    pub(crate) http: SocketAddr,
    /// Rows from this second on must arrive.
    pub(crate) from: i64,
    /// Where the name leads to after it has moved.
    second: Option<Chaos>,
    names: Option<Names>,
    authority: Authority,
    measured: Vec<Measured>,
    _home: Home,
}

/// The counters of the output at one moment.
#[derive(Debug, Clone, Copy)]
struct Counters {
    errors: f64,
    accepted: f64,
    /// Connections that the proxy has seen.
    connections: u64,
}

/// Two VDCs with so many rows that each batch has several.
fn federation() -> Config {
    Config {
        journal: Journal {
            events_per_minute: 300,
            alerts_per_minute: 300,
            ..busy().journal
        },
        ..busy()
    }
}

fn identity(authority: &Authority, clients: Option<&Authority>) -> Identity {
    let pair = authority.issue(NAME, &[NAME, "127.0.0.1"]);
    let clients = clients.map(Authority::pem);
    Identity::new(&pair.certificate, &pair.key, clients.as_deref()).unwrap()
}

impl<R: Receiver> World<R> {
    /// Starts everything, and waits until documents arrive. `None` where the machine does not allow it.
    pub(crate) async fn start(setup: Setup) -> Option<Self> {
        let receiver = R::start().await?;
        let home = Home::new();
        let authority = Authority::new("outputs");
        let ip = if setup.named {
            own_address()
        } else {
            Ipv4Addr::LOCALHOST
        };
        let chaos = match receiver.address() {
            Some(address) => Some(Chaos::start_at((ip, 0).into(), address).await.unwrap()),
            None => None,
        };
        let names = match setup.named {
            true => Some(Names::new(&home, NAME, ip)?),
            false => None,
        };
        if setup.tls {
            let chaos = chaos.as_ref().expect("TLS is between an output and its server");
            chaos.show(Some(identity(&authority, None)));
        }
        let at = match chaos.as_ref().map(Chaos::address) {
            Some(at) => {
                let host = if setup.named {
                    NAME.to_owned()
                } else {
                    at.ip().to_string()
                };
                receiver.behind(&host, at.port());
                format!("{host}:{}", at.port())
            }
            None => String::new(),
        };
        let reach = Reach {
            at,
            authority: setup.tls.then(|| home.write("output-ca.pem", &authority.pem())),
        };
        let sim = Sim::start(setup.sim.unwrap_or_else(federation)).await.unwrap();
        let queue = setup.queue.unwrap_or("queue.mem: {flush.timeout: 100ms}\n");
        home.configure(&format!(
            "ecsbeat:\n{COMMANDS}{}{}{queue}http: {{enabled: true, port: 0}}\n{}\n",
            setup.commands,
            customers(&sim, &home),
            receiver.config(&reach)
        ));
        let from = sim.now() + 1;
        let command = home.command(&[]);
        let mut process = Process::spawn(match &names {
            Some(names) => names.command(&command),
            None => command,
        });
        let http = process.http().await;
        let world = Self {
            sim,
            receiver,
            chaos,
            process,
            http,
            from,
            second: None,
            names,
            authority,
            measured: Vec::new(),
            _home: home,
        };
        let begin = Instant::now();
        while world.rows().await.len() < 20 {
            assert!(
                begin.elapsed() < SOON,
                "nothing arrives:\n{}",
                world.process.stderr()
            );
            tokio::time::sleep(LOOK).await;
        }
        Some(world)
    }

    fn chaos(&self) -> &Chaos {
        self.chaos.as_ref().expect("this output has a network")
    }

    /// The audit events and alerts that are stored.
    pub(crate) async fn rows(&self) -> Vec<Row> {
        let documents = self.receiver.documents().await;
        rows(documents.iter().map(|document| &document[..]))
    }

    async fn counters(&self) -> Counters {
        let metrics = get(self.http, "/metrics").await;
        let of = |name: &str| {
            let name = format!("ecsbeat_output_{name}_total{{output=\"{}\"}}", R::NAME);
            metrics.metric(&name).unwrap_or_default()
        };
        Counters {
            connections: self.chaos.as_ref().map_or(0, |chaos| chaos.counts().connections),
            errors: of("write_errors") + of("read_errors"),
            accepted: of("acked_events") + of("duplicate_events"),
        }
    }

    /// Applies a fault until it has shown, undoes it, and waits until everything has arrived.
    pub(crate) async fn measure(&mut self, line: Line) {
        let name = line.name;
        let before = self.counters().await;
        let stored = self.rows().await;
        let recognized = self.receiver.recognized().await;
        let since = self.sim.now();

        self.strike(&line.kind).await;
        self.lasting(&name, &line.kind, line.until, before, since).await;
        self.undo(&line.kind).await;

        let (begin, to) = (Instant::now(), self.sim.now());
        let now = self.complete(&name, to).await;
        let repeated = twice(&now).difference(&twice(&stored)).count();
        assert!(
            repeated == 0 || (line.repeats && !R::RECOGNIZES),
            "{name}: {repeated} rows are stored more than once: {:?}",
            doubled(&now)
        );
        self.is_well(&name).await;
        let after = self.counters().await;
        self.measured.push(Measured {
            output: R::NAME,
            rows: truth(&self.sim, since, to).len(),
            lost: missing(&self.sim, self.from, to, &now).len(),
            repeated,
            recognized: self.receiver.recognized().await - recognized,
            connections: after.connections - before.connections,
            errors: after.errors - before.errors,
            recovery: begin.elapsed(),
            fault: name,
        });
    }

    /// Waits until every row up to `to` is there; fails with those that are not.
    pub(crate) async fn complete(&self, what: &str, to: i64) -> Vec<Row> {
        let begin = Instant::now();
        loop {
            let rows = self.rows().await;
            let missing = missing(&self.sim, self.from, to, &rows);
            if missing.is_empty() {
                return rows;
            }
            assert!(
                begin.elapsed() < SOON,
                "{what}: {} rows of {}..{to} are missing: {missing:?}\n{}",
                missing.len(),
                self.from,
                self.process.stderr()
            );
            tokio::time::sleep(4 * LOOK).await;
        }
    }

    async fn strike(&mut self, kind: &Kind) {
        match kind {
            Kind::Between(rule) => {
                set(self.chaos(), rule);
            }
            Kind::BetweenAnew(rule) => set(self.chaos(), rule).reset_all(),
            Kind::CloseIdle => {}
            Kind::Show(face) => {
                let stranger = Authority::new("stranger");
                let shown = match face {
                    Face::Renewed => Some(identity(&self.authority, None)),
                    Face::Stranger => Some(identity(&stranger, None)),
                    Face::AsksForOne => Some(identity(&self.authority, Some(&stranger))),
                    Face::Plain => None,
                };
                self.chaos().show(shown);
                self.chaos().reset_all();
            }
            Kind::Move => {
                let upstream = self.receiver.address().expect("this output has a network");
                let at = (own_address(), self.chaos().address().port()).into();
                let second = Chaos::start_at(at, upstream).await.unwrap();
                self.chaos().set(Fault::HalfOpen);
                let names = self.names.as_ref().expect("the server has a name");
                let SocketAddr::V4(at) = second.address() else {
                    panic!("{} is of IPv4", second.address());
                };
                names.point(*at.ip());
                self.second = Some(second);
            }
            Kind::Own(own) => self.receiver.strike(own).await,
        }
    }

    /// Waits until a fault has shown, and something has happened since that could be lost.
    async fn lasting(&mut self, name: &str, kind: &Kind, until: Until, before: Counters, since: i64) {
        let begin = Instant::now();
        let mut seen = before.accepted;
        let connections = before.connections;
        loop {
            let now = self.counters().await;
            let is_over = match until {
                Until::Errors(count) => now.errors >= before.errors + f64::from(count),
                Until::Accepted(count) => now.accepted >= before.accepted + f64::from(count),
            };
            let has_struck = match kind {
                Kind::Between(_) | Kind::BetweenAnew(_) if matches!(until, Until::Errors(_)) => {
                    // Refusing is the system's part, not the proxy's.
                    self.chaos().struck() > 0 || now.errors > before.errors
                }
                Kind::Show(Face::Renewed) => self.chaos().counts().connections > connections,
                Kind::Move => self
                    .second
                    .as_ref()
                    .is_some_and(|second| second.counts().to_upstream > 0),
                _ => true,
            };
            let has_happened = !truth(&self.sim, since, self.sim.now()).is_empty();
            if is_over && has_struck && has_happened {
                return;
            }
            if matches!(kind, Kind::CloseIdle) && now.accepted > seen {
                seen = now.accepted;
                self.chaos().close_idle();
            }
            assert!(
                begin.elapsed() < SOON && self.process.runs(),
                "{name} does not show: {before:?} became {now:?}\n{}",
                self.process.stderr()
            );
            tokio::time::sleep(LOOK).await;
        }
    }

    async fn undo(&mut self, kind: &Kind) {
        match kind {
            Kind::Between(_) | Kind::BetweenAnew(_) => self.chaos().pass(),
            Kind::CloseIdle => {}
            Kind::Show(Face::Renewed) => {}
            Kind::Show(_) => self.chaos().show(Some(identity(&self.authority, None))),
            // Whoever still goes to the old address goes nowhere.
            Kind::Move => {}
            Kind::Own(own) => self.receiver.undo(own).await,
        }
    }

    /// It runs, and has given nothing up.
    pub(crate) async fn is_well(&mut self, what: &str) {
        assert!(self.process.runs(), "{what}:\n{}", self.process.stderr());
        let metrics = get(self.http, "/metrics").await;
        assert_eq!(
            metrics.sum("ecsbeat_output_dropped_events_total"),
            0.0,
            "{what}: {}",
            metrics.body
        );
    }

    /// Stops, and looks at all that arrived.
    pub(crate) async fn stop(&mut self) {
        self.complete("the end", self.sim.now()).await;
        self.process.stopped().await.expect(0);
        let violations = self.receiver.violations().await;
        assert!(violations.is_empty(), "{violations:?}");
        let rows = self.rows().await;
        let strange = strange(&self.sim, &rows);
        assert!(strange.is_empty(), "never happened: {strange:?}");
        for (urn, ids) in doubled(&rows) {
            assert!(
                ids.iter().all(|id| *id == ids[0]),
                "{urn} is stored under different ids: {ids:?}"
            );
        }
    }

    /// Stops, and prints what was measured.
    pub(crate) async fn finish(mut self) {
        assert!(!self.measured.is_empty(), "nothing was measured");
        self.stop().await;
        println!("\n{}", report::table(&self.measured));
    }
}

/// The rows that are stored more than once.
fn twice(rows: &[Row]) -> BTreeSet<String> {
    doubled(rows).into_keys().map(str::to_owned).collect()
}
