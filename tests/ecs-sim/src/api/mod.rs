//! The management API: which path leads to which answer. Answers are made from the topology, the clock and the
//! seed; must never wait, and never touch a connection.

mod billing;
mod buckets;
mod dashboard;
mod diagnostics;
mod flux;
mod inventory;
mod logs;
mod namespaces;
mod ping;
mod session;

use bytes::Bytes;
pub(crate) use namespaces::root_password;
use percent_encoding::percent_decode_str;

use crate::config::User;
use crate::fault::{Fault, Oddities, Oddity, Port};
use crate::federation::Federation;
use crate::http::{Reply, Request};
use crate::json;
use crate::topology::{Node, Topology, Vdc};
use crate::xml;

/// A question to a node.
pub(crate) struct Ask<'a> {
    pub(crate) federation: &'a Federation,
    pub(crate) topology: &'a Topology,
    pub(crate) vdc: &'a Vdc,
    /// The node that answers.
    pub(crate) node: &'a Node,
    pub(crate) port: Port,
    pub(crate) request: &'a Request,
    /// The path, decoded, without `.json`.
    pub(crate) segments: Vec<String>,
    /// Epoch seconds.
    pub(crate) now: i64,
    pub(crate) oddities: Oddities,
    pub(crate) forced: &'a [Fault],
}

/// An answer, not yet in the form that the client wants.
#[derive(Debug, Clone)]
pub(crate) struct Answer {
    pub(crate) status: u16,
    pub(crate) headers: Vec<(&'static str, String)>,
    /// The account, for the log.
    pub(crate) user: Option<String>,
    form: Form,
}

#[derive(Debug, Clone)]
enum Form {
    /// JSON, or XML with this root element.
    Either { root: &'static str, json: String },
    /// As it is, under this type.
    Raw { content_type: String, body: Bytes },
}

/// The decoded segments of a path, without the suffix `.json`.
pub(crate) fn segments(path: &str) -> Vec<String> {
    let path = path.strip_suffix(".json").unwrap_or(path);
    let parts = path.split('/').filter(|part| !part.is_empty());
    parts
        .map(|part| percent_decode_str(part).decode_utf8_lossy().into_owned())
        .collect()
}

/// Whether the client gets JSON where there is a choice.
pub(crate) fn wants_json(request: &Request) -> bool {
    request.path.strip_suffix(".json").is_some()
        || request
            .header("accept")
            .is_some_and(|accept| accept.contains("json"))
}

/// Answers the question.
pub(crate) fn answer(ask: &Ask<'_>) -> Answer {
    match ask.port {
        Port::Mgmt => management(ask),
        Port::Diag => diagnostics::answer(ask),
        Port::Ping => ping::answer(ask),
    }
}

fn management(ask: &Ask<'_>) -> Answer {
    if !session::accepts_host(ask) {
        return Answer::raw(403, "text/html", "<html><body>Host is not accepted</body></html>");
    }
    if ask.path()[..] == ["login"] {
        return session::login(ask);
    }
    let (user, token) = match session::check(ask) {
        Ok(found) => found,
        Err(refusal) => return refusal,
    };
    let mut answer = route(ask, user, &token);
    answer.user = Some(user.name.clone());
    answer
}

fn route(ask: &Ask<'_>, user: &User, token: &str) -> Answer {
    let path = ask.path();
    match path[..] {
        ["logout"] => return session::logout(ask, user, token),
        ["user", "whoami"] => return session::whoami(ask, user),
        ["vdc", "alerts"] => return logs::alerts(ask),
        ["vdc", "alerts", "latest"] => return logs::latest(ask),
        ["flux", ..] => return flux::answer(ask, user),
        _ => {}
    }
    let in_billing = path.starts_with(&["object", "billing"]);
    if !session::may_read(user, in_billing) || ask.is_forced(&Fault::Forbidden) {
        return Answer::error(403, 1026, "Insufficient permissions");
    }
    match (ask.request.method.as_str(), &path[..]) {
        (_, ["object", "billing", ..]) => billing::answer(ask),
        ("GET", ["dashboard", rest @ ..]) => dashboard::answer(ask, rest),
        ("GET", ["object", "vdcs", "vdc", "list"]) => inventory::vdcs(ask),
        ("GET", ["object", "vdcs", "vdc" | "vdcid", which]) => inventory::vdc(ask, which),
        ("GET", ["vdc", "nodes"]) => inventory::nodes(ask),
        ("GET", ["vdc", "data-services", "varrays"]) => inventory::storage_pools(ask),
        ("GET", ["vdc", "data-service", "vpools"]) => inventory::replication_groups(ask),
        ("GET", ["vdc", "events"]) => logs::events(ask),
        ("GET", ["vdc", "users", name, "tokenCount"]) => session::token_count(ask, name),
        ("GET", ["license"]) => inventory::license(ask),
        ("GET", ["object", "capacity", ..]) => namespaces::capacity(ask),
        ("GET", ["object", "namespaces"]) => namespaces::list(ask),
        ("GET", ["object", "namespaces", "namespace", name]) => namespaces::details(ask, name),
        ("GET", ["object", "namespaces", "namespace", name, "quota"]) => namespaces::quota(ask, name),
        ("GET", ["object", "bucket"]) => buckets::list(ask),
        ("GET", ["object", "bucket", name, "quota"]) => buckets::quota(ask, name),
        ("GET", _) => Answer::not_found(),
        _ => Answer::error(405, 1001, "Method not allowed"),
    }
}

// === impl Ask ===

impl Ask<'_> {
    fn path(&self) -> Vec<&str> {
        self.segments.iter().map(String::as_str).collect()
    }

    pub(crate) fn has(&self, oddity: Oddity) -> bool {
        self.oddities.has(oddity)
    }

    pub(crate) fn is_forced(&self, fault: &Fault) -> bool {
        self.forced.contains(fault)
    }
}

// === impl Answer ===

impl Answer {
    /// JSON or XML, as the client wants.
    pub(crate) fn either(root: &'static str, json: String) -> Self {
        Self {
            status: 200,
            headers: Vec::new(),
            user: None,
            form: Form::Either { root, json },
        }
    }

    /// JSON whatever the client wants.
    pub(crate) fn json(json: String) -> Self {
        let form = Form::Raw {
            content_type: "application/json".to_owned(),
            body: Bytes::from(json),
        };
        Self {
            status: 200,
            headers: Vec::new(),
            user: None,
            form,
        }
    }

    /// Any bytes; no `Content-Type` when that is empty.
    pub(crate) fn raw(status: u16, content_type: &str, body: &str) -> Self {
        let form = Form::Raw {
            content_type: content_type.to_owned(),
            body: Bytes::copy_from_slice(body.as_bytes()),
        };
        Self {
            status,
            headers: Vec::new(),
            user: None,
            form,
        }
    }

    pub(crate) fn empty(status: u16) -> Self {
        Self::raw(status, "", "")
    }

    /// A service error.
    pub(crate) fn error(status: u16, code: u32, details: &str) -> Self {
        Self::error_with(status, code, details, Some(status == 503))
    }

    /// A service error that says, or does not say, whether trying again helps.
    pub(crate) fn error_with(status: u16, code: u32, details: &str, retryable: Option<bool>) -> Self {
        let text = json::object(|o| {
            o.raw("code", code);
            o.text("description", description(code));
            o.text("details", details);
            if let Some(retryable) = retryable {
                o.raw("retryable", retryable);
            }
        });
        let mut answer = Self::either("error", text);
        answer.status = status;
        answer
    }

    pub(crate) fn not_found() -> Self {
        Self::error(404, 1019, "Requested resource not found")
    }

    pub(crate) fn into_reply(self, wants_json: bool) -> Reply {
        let mut reply = match self.form {
            Form::Either { json, .. } if wants_json => Reply::new(self.status, "application/json", json),
            Form::Either { root, json } => {
                Reply::new(self.status, "application/xml", xml::document(root, &json))
            }
            Form::Raw { content_type, body } => Reply::new(self.status, &content_type, body),
        };
        reply.headers.extend(self.headers);
        reply
    }
}

fn description(code: u32) -> &'static str {
    match code {
        999 => "Internal error",
        1002 | 1004 | 1005 | 1008 => "Invalid parameter",
        1029 => "Time bucket is invalid",
        1003 => "Unsupported media type",
        1013 => "Bad request body",
        1019 => "Resource not found",
        1026 => "Insufficient permissions for the operation",
        4000 => "Invalid user credentials or token",
        6000 => "Service is unavailable",
        6401 => "Insufficient permissions",
        7000 => "Error in the API service",
        10001 => "Unable to encode or decode the token",
        _ => "Error",
    }
}
