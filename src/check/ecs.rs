//! `test ecs`: every VDC as a whole, then every node by itself.
//!
//! Owns what is tried and the tree that tells it. Several nodes are tried at once and told in the order of the
//! configuration. A password that was refused is tried no second time: accounts lock. Every token is logged out, also
//! where all is broken off.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicUsize, Ordering};

use futures_util::future::join_all;
use futures_util::stream::{self, StreamExt as _};
use jiff::SignedDuration;
use tokio::time::Instant;

use crate::app::Outcome;
use crate::clock::Clock;
use crate::collect::INIT_STAT;
use crate::config::{self, Config, Customer, Ecsbeat, HostPort, Level, Method};
use crate::dial::{Dialer, Way};
use crate::ecs::{self, Account, Answer, CONNECT_TIMEOUT, Client, EcsError, Endpoint, Inventory, Query};
use crate::progress::{Progress, Reached, is_colourful};
use crate::shutdown::Signals;
use crate::steps::Steps;
use crate::telemetry::metrics::Metrics;

/// VDCs that are tried at one time.
const VDCS: usize = 4;
/// Clocks that differ by more are worth a word.
const SKEW: SignedDuration = SignedDuration::from_secs(60);
/// Names that one line lists.
const LISTED: usize = 10;

/// One VDC, and all that is needed to try it.
struct Vdc<'c> {
    customer: &'c Customer,
    config: &'c config::Vdc,
    whole: Client,
    nodes: Vec<Node>,
    plan: Plan,
}

/// One node, with a client that knows no other.
struct Node {
    at: HostPort,
    client: Client,
}

/// What the configured commands need.
#[derive(Clone, Copy)]
struct Plan {
    /// Directory tables are polled, from a port of their own.
    diagnostics: bool,
    /// Nothing but billing is polled.
    billing_only: bool,
    /// Nodes that are tried at one time.
    at_once: usize,
}

/// What the VDC as a whole has told.
struct Found {
    /// A login was refused for what holds at every node.
    refused: bool,
    inventory: Option<std::sync::Arc<Inventory>>,
}

/// Logs in to every VDC and every node, and tells what happens.
pub async fn ecs(config: &Config) -> anyhow::Result<Outcome> {
    let vdcs = vdcs(&config.ecsbeat)?;
    let total: usize = vdcs.iter().map(|vdc| vdc.nodes.len()).sum();
    let stdout = std::io::stdout();
    let colour = is_colourful(&stdout);
    let mut steps = Steps::told(stdout, colour);
    let mut signals = Signals::listen()?;
    let progress = Progress::on_stderr("test ecs");
    let aside = progress.aside();
    let done = AtomicUsize::new(0);
    let work = async {
        let root = steps.branch();
        let mut tried = stream::iter(&vdcs)
            .map(|vdc| vdc.test(root.branch(), &done))
            .buffered(VDCS);
        let mut wrong = Vec::new();
        while let Some(part) = tried.next().await {
            let (part, of_part) = part?;
            wrong.extend(of_part);
            aside.during(|| steps.join(part));
        }
        anyhow::Ok(wrong)
    };
    let look = || {
        let done = done.load(Ordering::Relaxed);
        Reached {
            part: Some(done as f64 / total.max(1) as f64),
            words: format!("{done} of {} tried", counted(total, "node")),
        }
    };
    let wrong = tokio::select! {
        wrong = progress.during(work, look) => wrong.map(Some),
        () = broken_off(&mut signals, &vdcs) => Ok(None),
    };
    join_all(clients(&vdcs).map(Client::logout)).await;
    let Some(wrong) = wrong? else {
        anyhow::bail!("broken off by a signal");
    };
    let sizes = format!("{}, {}", counted(vdcs.len(), "VDC"), counted(total, "node"));
    if wrong.is_empty() {
        steps.fact("tried", &format_args!("{sizes}: no errors"));
        return Ok(Outcome::Well);
    }
    steps.fact("tried", &format_args!("{sizes}: errors at {}", listed(&wrong)));
    Ok(Outcome::Incomplete)
}

fn vdcs(settings: &Ecsbeat) -> Result<Vec<Vdc<'_>>, ecs::HttpError> {
    let metrics = Metrics::new();
    let commands = &settings.commands;
    let plan = Plan {
        diagnostics: commands.iter().any(|command| command.level == Level::Dtinfo),
        billing_only: commands
            .iter()
            .all(|command| command.uri.starts_with("/object/billing")),
        at_once: settings.max_in_flight,
    };
    // A node is asked once: what it does now is what is to be told.
    let once = Ecsbeat {
        max_attempts: 1,
        ..settings.clone()
    };
    let mut vdcs = Vec::new();
    for customer in &settings.customers {
        let http = Client::http(settings, customer)?;
        for config in &customer.vdcs {
            let node = |at: &HostPort| {
                let alone = config::Vdc {
                    nodes: vec![at.clone()],
                    ..config.clone()
                };
                Node {
                    at: at.clone(),
                    client: Client::new(http.clone(), &once, customer, &alone, &metrics),
                }
            };
            vdcs.push(Vdc {
                customer,
                config,
                whole: Client::new(http.clone(), settings, customer, config, &metrics),
                nodes: config.nodes.iter().map(node).collect(),
                plan,
            });
        }
    }
    Ok(vdcs)
}

/// Every client, for what was not logged out on the way.
fn clients<'v>(vdcs: &'v [Vdc<'_>]) -> impl Iterator<Item = &'v Client> {
    let of_vdc = |vdc: &'v Vdc<'_>| vdc.nodes.iter().map(|node| &node.client).chain([&vdc.whole]);
    vdcs.iter().flat_map(of_vdc)
}

/// Waits for a signal, and then for the logins that are under way: cut off, they would leave tokens behind that nobody
/// knows.
async fn broken_off(signals: &mut Signals, vdcs: &[Vdc<'_>]) {
    signals.next().await;
    join_all(clients(vdcs).map(Client::close)).await;
}

impl Vdc<'_> {
    /// The steps, and the names of what is not as it should be.
    async fn test(&self, mut steps: Steps, done: &AtomicUsize) -> anyhow::Result<(Steps, Vec<String>)> {
        let name = format!("{}/{}", self.customer.name, self.config.name);
        let mut wrong = Vec::new();
        steps.enter(&format!("ecs: {name}"));
        let found = self.as_a_whole(&mut steps).await;
        if steps.have_failed() {
            wrong.push(name.clone());
        }
        let mut tried = stream::iter(&self.nodes)
            .map(|node| {
                let branch = steps.branch();
                let found = &found;
                async move {
                    let tried = self.node(node, found, branch).await;
                    done.fetch_add(1, Ordering::Relaxed);
                    tried.map(|branch| (node, branch))
                }
            })
            .buffered(self.plan.at_once);
        let mut branches = Vec::new();
        while let Some(tried) = tried.next().await {
            let (node, branch) = tried?;
            if branch.have_failed() {
                wrong.push(format!("{name} {}", node.at));
            }
            branches.push(branch);
        }
        drop(tried);
        for branch in branches {
            steps.join(branch);
        }
        steps.leave();
        Ok((steps, wrong))
    }

    async fn as_a_whole(&self, steps: &mut Steps) -> Found {
        let mut found = Found {
            refused: false,
            inventory: None,
        };
        let logged_in = self.whole.log_in().await;
        if let Err(error) = steps.result(&format!("log in as {}", self.config.username), logged_in) {
            found.refused = matches!(
                error,
                EcsError::BadCredentials { .. } | EcsError::TokenLimit { .. }
            );
            return found;
        }
        let permitted = match self.whole.account().await {
            Ok(account) => tell_account(&account, self.plan, steps),
            Err(EcsError::Unsupported { .. }) => {
                steps.warn("role", "this release does not tell it");
                true
            }
            Err(error) => {
                steps.failed("role", &error);
                true
            }
        };
        if permitted {
            let read = self.whole.read_inventory().await;
            if let Ok(inventory) = steps.result("inventory", read) {
                self.tell_inventory(&inventory, steps);
                found.inventory = Some(inventory);
            }
        }
        self.whole.logout().await;
        found
    }

    fn tell_inventory(&self, inventory: &Inventory, steps: &mut Steps) {
        steps.fact(
            "vdc",
            &format_args!("{} ({})", inventory.vdc_name, inventory.vdc_id),
        );
        let mut releases: BTreeMap<&str, usize> = BTreeMap::new();
        for node in &inventory.nodes {
            *releases.entry(&node.version).or_default() += 1;
        }
        let counts: Vec<String> = releases
            .iter()
            .map(|(release, count)| format!("{release} ({})", counted(*count, "node")))
            .collect();
        match counts.as_slice() {
            [_] => steps.fact("release", &counts[0]),
            _ => steps.warn("release", &format!("nodes differ: {}", counts.join(", "))),
        }
        let is_configured = |node: &ecs::Node| self.config.nodes.iter().any(|at| is_at(node, at));
        let missing: Vec<String> = inventory
            .nodes
            .iter()
            .filter(|node| !is_configured(node))
            .map(|node| node.ip.clone())
            .collect();
        // Behind a load balancer nodes are not configured by their own addresses.
        if !missing.is_empty() && missing.len() + self.config.nodes.len() == inventory.nodes.len() {
            steps.fact("not configured", &listed(&missing));
        }
    }

    async fn node(&self, node: &Node, found: &Found, mut steps: Steps) -> anyhow::Result<Steps> {
        steps.enter(&format!("node: {}", node.at));
        let way = Way::through(self.customer.proxy_url.as_ref());
        let time = self.customer.request_timeout.min(CONNECT_TIMEOUT);
        let ssl = &self.customer.ssl;
        let reached = way.try_to(&node.at, true, ssl, Instant::now() + time, &mut steps);
        if reached.await? {
            if found.refused {
                steps.warn("log in", "not tried, so that the account is not locked");
            } else {
                self.talk(node, found, &mut steps).await;
            }
            if self.plan.diagnostics {
                self.look_for_ports(node, &way, &mut steps).await?;
            }
        }
        steps.leave();
        Ok(steps)
    }

    async fn talk(&self, node: &Node, found: &Found, steps: &mut Steps) {
        let client = &node.client;
        if steps.result("log in", client.log_in().await).is_err() {
            return;
        }
        // Whoever cannot tell our roles has looked at the token all the same.
        let answered = match client.account().await {
            Ok(_) | Err(EcsError::Unsupported { .. }) => Ok(()),
            Err(error) => Err(error),
        };
        let _ = steps.result("talk to server", answered);
        if let Some(theirs) = client.source_time() {
            tell_skew(theirs.duration_since(Clock::system().now()), steps);
        }
        let known = found.inventory.as_ref();
        let known = known.and_then(|inventory| inventory.nodes.iter().find(|known| is_at(known, &node.at)));
        if let Some(known) = known {
            steps.fact("name", &known.name);
            steps.fact("version", &known.version);
        }
        client.logout().await;
    }

    async fn look_for_ports(&self, node: &Node, way: &Way, steps: &mut Steps) -> anyhow::Result<()> {
        let query = Query {
            endpoint: Endpoint::Diagnostics,
            method: Method::Get,
            path: INIT_STAT.to_owned(),
            body: None,
            headers: Vec::new(),
            node: Some(node.at.clone()),
        };
        let port = self.config.diagnostics_port;
        let asked = node.client.fetch(&query, &mut Unread).await;
        if let Err(error) = asked {
            let text =
                format!("{error}; dtinfo cannot be polled here: open the port, or switch the command off");
            steps.failed(&format!("diagnostics, port {port}"), &text);
        } else {
            steps.ok(&format!("diagnostics, port {port}"));
        }
        let step = format!("S3, port {}", self.config.s3_port);
        let socks = match way {
            Way::Direct => None,
            Way::Socks(socks) => Some(socks),
            Way::Proxy(_) => {
                steps.fact(&step, &"not looked for through a proxy");
                return Ok(());
            }
        };
        let at = HostPort {
            host: node.at.host.clone(),
            port: self.config.s3_port,
        };
        let dialer = Dialer::new(&self.customer.ssl, false, socks)?;
        let time = self.customer.request_timeout.min(CONNECT_TIMEOUT);
        match dialer.knock(&at, Instant::now() + time).await {
            Ok(()) => steps.ok(&step),
            Err(error) => steps.warn(&step, &format!("{error}; nothing that is polled needs it")),
        }
        Ok(())
    }
}

/// An answer of which the head is enough.
struct Unread;

impl ecs::Read for Unread {
    type Output = ();

    async fn read(&mut self, _: &mut Answer) -> Result<(), EcsError> {
        Ok(())
    }
}

/// Gives whether it is of use to ask on.
fn tell_account(account: &Account, plan: Plan, steps: &mut Steps) -> bool {
    let roles = account.roles.join(", ");
    let has = |role: &str| account.roles.iter().any(|own| own == role);
    let permitted = has("SYSTEM_MONITOR") || has("SYSTEM_ADMIN");
    if permitted || (plan.billing_only && has("NAMESPACE_ADMIN")) {
        steps.done("role", &roles);
    } else {
        let own = if roles.is_empty() {
            "the user has none".to_owned()
        } else {
            format!("the user has {roles}")
        };
        let text = format!("{own}: it needs SYSTEM_MONITOR or SYSTEM_ADMIN");
        steps.failed("role", &text);
    }
    if account.must_change_password {
        steps.warn("password", "must be changed before it is good for more");
    } else if account.has_expired_password {
        steps.warn("password", "has expired: change it before ECS refuses it");
    }
    permitted
}

fn tell_skew(ahead: SignedDuration, steps: &mut Steps) {
    if ahead.abs() <= SKEW {
        steps.ok("clock");
        return;
    }
    let side = if ahead.is_negative() { "behind" } else { "ahead of" };
    let by = SignedDuration::from_secs(ahead.as_secs()).abs();
    steps.warn("clock", &format!("{by:#} {side} ours: check NTP there and here"));
}

fn is_at(node: &ecs::Node, at: &HostPort) -> bool {
    at.host == node.ip || at.host.eq_ignore_ascii_case(&node.name)
}

fn counted(number: usize, what: &str) -> String {
    let ending = if number == 1 { "" } else { "s" };
    format!("{number} {what}{ending}")
}

fn listed(names: &[String]) -> String {
    match names.split_at_checked(LISTED) {
        Some((first, more)) if !more.is_empty() => {
            format!("{} and {} more", first.join(", "), more.len())
        }
        _ => names.join(", "),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::steps::tests::Told;

    fn told(tell: impl FnOnce(&mut Steps)) -> String {
        let told = Told::default();
        tell(&mut Steps::told(told.clone(), false));
        told.text()
    }

    fn account(roles: &[&str]) -> Account {
        Account {
            roles: roles.iter().map(|role| (*role).to_owned()).collect(),
            ..Account::default()
        }
    }

    #[test]
    fn roles_are_enough_for_what_is_polled() {
        let plan = |billing_only| Plan {
            diagnostics: false,
            billing_only,
            at_once: 1,
        };
        for (roles, billing_only, want) in [
            (&["SYSTEM_MONITOR"][..], false, "role... OK SYSTEM_MONITOR\n"),
            (
                &["NAMESPACE_ADMIN", "SYSTEM_ADMIN"],
                false,
                "role... OK NAMESPACE_ADMIN, SYSTEM_ADMIN\n",
            ),
            (&["NAMESPACE_ADMIN"], true, "role... OK NAMESPACE_ADMIN\n"),
            (
                &["NAMESPACE_ADMIN"],
                false,
                "role... ERROR the user has NAMESPACE_ADMIN: it needs SYSTEM_MONITOR or SYSTEM_ADMIN\n",
            ),
            (
                &[],
                true,
                "role... ERROR the user has none: it needs SYSTEM_MONITOR or SYSTEM_ADMIN\n",
            ),
        ] {
            let text = told(|steps| {
                tell_account(&account(roles), plan(billing_only), steps);
            });
            assert_eq!(text, want);
        }
        let expired = Account {
            must_change_password: true,
            ..account(&["SYSTEM_ADMIN"])
        };
        let text = told(|steps| {
            tell_account(&expired, plan(false), steps);
        });
        assert!(text.ends_with("password... WARN must be changed before it is good for more\n"));
        let outdated = Account {
            has_expired_password: true,
            ..account(&["SYSTEM_ADMIN"])
        };
        let text = told(|steps| {
            tell_account(&outdated, plan(false), steps);
        });
        assert!(text.ends_with("password... WARN has expired: change it before ECS refuses it\n"));
    }

    #[test]
    fn clocks_that_differ_are_told_with_the_side() {
        let skew = |seconds| told(|steps| tell_skew(SignedDuration::from_secs(seconds), steps));
        assert_eq!(skew(60), "clock... OK\n");
        assert_eq!(skew(-60), "clock... OK\n");
        assert_eq!(
            skew(3600),
            "clock... WARN 1h ahead of ours: check NTP there and here\n"
        );
        assert_eq!(
            skew(-90),
            "clock... WARN 1m 30s behind ours: check NTP there and here\n"
        );
    }

    #[test]
    fn long_lists_are_cut() {
        let names: Vec<String> = (0..12).map(|number| number.to_string()).collect();
        assert_eq!(listed(&names[..2]), "0, 1");
        assert_eq!(listed(&names), "0, 1, 2, 3, 4, 5, 6, 7, 8, 9 and 2 more");
        assert_eq!(
            (counted(1, "node"), counted(2, "node")),
            ("1 node".to_owned(), "2 nodes".to_owned())
        );
    }
}
