//! `ecsbeat.customers`: customers, their VDCs and nodes, each a list or a mapping by name.

use std::collections::BTreeMap;
use std::time::Duration;

use super::address;
use super::field::Field;
use super::section::Section;
use super::{HostPort, Secret, Ssl, ssl, url_option};

/// Port of the management API.
const MANAGEMENT_PORT: u16 = 4443;

/// One customer: a set of VDCs that share credentials and are usually one federation.
#[derive(Clone)]
pub struct Customer {
    /// `customername`, unique.
    pub name: String,
    /// How long a token is used before it is renewed (`tokenexpiry`, default 3500 s).
    pub token_expiry: Duration,
    /// Budget of one request, from sending to the last byte (`reqtimeout`, default 30 s).
    pub request_timeout: Duration,
    /// How long a node is left alone after a failure (`blockduration`); zero = a node is never blocked.
    pub block_duration: Duration,
    /// How often VDC and node names are read anew (`cfgrefreshinterval`, default 3600 s); zero = only at start.
    pub refresh_interval: Duration,
    /// TLS towards ECS.
    pub ssl: Ssl,
    /// `http://`, `https://` or `socks5://` proxy towards ECS.
    pub proxy_url: Option<url::Url>,
    /// In the order of the file; the first is preferred by `system` commands. Never empty.
    pub vdcs: Vec<Vdc>,
}

/// One VDC (site) of a customer.
#[derive(Debug, Clone)]
pub struct Vdc {
    /// `vdcname`: the name in this configuration (`ecs-vdc-cfgname`), unique within the customer.
    pub name: String,
    /// The VDC's own, or the customer's.
    pub username: String,
    /// The VDC's own, or the customer's.
    pub password: Secret,
    /// Nodes or load balancers that answer for this VDC. Never empty, no doubles.
    pub nodes: Vec<HostPort>,
    /// Port of the diagnostics service that `dtinfo` asks (default 9101).
    pub diagnostics_port: u16,
    /// Port of the S3 service, which `test ecs` looks for (default 9021).
    pub s3_port: u16,
}

/// What tells a customer from a part of its name, where customers are a mapping by name.
const CUSTOMER_KEYS: [&str; 12] = [
    "customername",
    "username",
    "password",
    "tokenexpiry",
    "reqtimeout",
    "blockduration",
    "cfgrefreshinterval",
    "vdcs",
    "ssl",
    "proxy_url",
    "diagnostics_port",
    "s3_port",
];
const VDC_KEYS: [&str; 6] = [
    "vdcname",
    "nodes",
    "username",
    "password",
    "diagnostics_port",
    "s3_port",
];

/// Port of the diagnostics service.
const DIAGNOSTICS_PORT: u16 = 9101;
/// Port of S3 over TLS.
const S3_PORT: u16 = 9021;

/// Reads `customers` of the section `ecsbeat`.
pub(super) fn read(section: &Section<'_>) -> Vec<Customer> {
    let mut customers = Vec::new();
    let mut names = Names::default();
    match section.field("customers") {
        None => section.missing("customers", "at least one customer with its VDCs"),
        Some(field) => {
            let items = field.named_items(&CUSTOMER_KEYS).unwrap_or_default();
            if items.is_empty() {
                field.problem("at least one customer is needed");
            }
            for (name, item) in items {
                let customer = item.section(|section| customer(section, name));
                names.add("two customers have the name", &customer.name, &item);
                customers.push(customer);
            }
        }
    }
    customers
}

fn customer(section: &Section<'_>, name: Option<String>) -> Customer {
    let name = section.some_text("customername").or(name).unwrap_or_else(|| {
        section.missing(
            "customername",
            "a name for this customer, it is ecs-customer in every event",
        );
        String::new()
    });
    let second = Duration::from_secs(1);
    let login = Login {
        username: section.some_text("username"),
        password: section.some_secret("password"),
        diagnostics_port: section.number("diagnostics_port", 1..=65535),
        s3_port: section.number("s3_port", 1..=65535),
    };
    Customer {
        name,
        token_expiry: section.positive_duration("tokenexpiry", 3500 * second),
        request_timeout: section.positive_duration("reqtimeout", 30 * second),
        block_duration: section.duration("blockduration", Duration::ZERO),
        refresh_interval: section.duration("cfgrefreshinterval", 3600 * second),
        ssl: section.section("ssl", ssl::read),
        proxy_url: url_option::proxy(section, "proxy_url"),
        vdcs: vdcs(section, &login),
    }
}

/// What VDCs take from their customer unless they have their own.
struct Login {
    username: Option<String>,
    password: Option<Secret>,
    diagnostics_port: Option<u16>,
    s3_port: Option<u16>,
}

fn vdcs(section: &Section<'_>, login: &Login) -> Vec<Vdc> {
    let Some(field) = section.field("vdcs") else {
        section.missing("vdcs", "at least one VDC with its nodes");
        return Vec::new();
    };
    let items = field.named_items(&VDC_KEYS).unwrap_or_default();
    if items.is_empty() {
        field.problem("at least one VDC is needed");
    }
    let mut vdcs = Vec::new();
    let mut names = Names::default();
    let mut addresses = Names::default();
    let (mut no_username, mut no_password) = (false, false);
    for (name, item) in items {
        let vdc = item.section(|section| {
            let name = section.some_text("vdcname").or(name).unwrap_or_else(|| {
                section.missing(
                    "vdcname",
                    "a name for this VDC, it is ecs-vdc-cfgname in every event",
                );
                String::new()
            });
            let username = section.some_text("username").or_else(|| login.username.clone());
            let password = section.some_secret("password").or_else(|| login.password.clone());
            no_username |= username.is_none();
            no_password |= password.is_none();
            Vdc {
                name,
                username: username.unwrap_or_default(),
                password: password.unwrap_or_default(),
                nodes: nodes(section, &mut addresses),
                diagnostics_port: section
                    .number("diagnostics_port", 1..=65535)
                    .or(login.diagnostics_port)
                    .unwrap_or(DIAGNOSTICS_PORT),
                s3_port: section
                    .number("s3_port", 1..=65535)
                    .or(login.s3_port)
                    .unwrap_or(S3_PORT),
            }
        });
        names.add("two VDCs of this customer have the name", &vdc.name, &item);
        vdcs.push(vdc);
    }
    if no_username {
        section.missing("username", "the management user, here or in each VDC");
    }
    if no_password {
        section.missing("password", "the management user's password, here or in each VDC");
    }
    vdcs
}

fn nodes(section: &Section<'_>, addresses: &mut Names) -> Vec<HostPort> {
    let Some(field) = section.field("nodes") else {
        section.missing("nodes", "at least one node, such as `- host: 10.1.83.51`");
        return Vec::new();
    };
    let items = field.items().unwrap_or_default();
    if items.is_empty() {
        field.problem("at least one node is needed");
    }
    let mut nodes = Vec::new();
    for item in items {
        let address = if matches!(item.node.data, super::node::Data::Map(_)) {
            item.section(|section| {
                let host = section.field("host");
                if host.is_none() {
                    section.missing("host", "name or address of the node");
                }
                host.and_then(|host| node_address(&host))
            })
        } else {
            node_address(&item)
        };
        let Some(address) = address else { continue };
        if addresses.add(
            "two nodes of this customer have the address",
            &address.to_string(),
            &item,
        ) {
            nodes.push(address);
        }
    }
    nodes
}

fn node_address(field: &Field<'_>) -> Option<HostPort> {
    field.parsed("host or host:port", |text| {
        address::parse(text, MANAGEMENT_PORT).map_err(|error| error.to_string())
    })
}

/// Names that may be used once.
#[derive(Default)]
struct Names(BTreeMap<String, (String, usize)>);

impl Names {
    /// Remembers the name, or tells who has it already. `false`: it is a double.
    fn add(&mut self, message: &str, name: &str, field: &Field<'_>) -> bool {
        if name.is_empty() {
            return true;
        }
        if let Some((path, line)) = self.0.get(name) {
            let line = if *line > 0 {
                format!(" on line {line}")
            } else {
                String::new()
            };
            field.problem(format!("{message} {name:?}, the other is {path}{line}"));
            return false;
        }
        self.0
            .insert(name.to_owned(), (field.path.clone(), field.node.mark.line));
        true
    }
}
