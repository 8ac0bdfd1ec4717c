//! What happens on connecting, before the first event.
//!
//! Owns the check of the server's version and the loading of the index template. There is no product check:
//! OpenSearch is as welcome as Elasticsearch. Indices and data streams are not created on connecting; the first event
//! does that, through the template. `ecsbeat setup` asks for a data stream before that.

use serde::Deserialize;
use serde_json::Value;

use super::super::SinkError;
use super::Deadline;
use super::client::{Body, Client, Method, Request};
use super::template::index_template;
use crate::config::Template;

/// Oldest Elasticsearch with composable index templates.
const OLDEST: (u32, u32) = (7, 8);

/// An index template ready to be loaded.
pub(super) struct Loadable {
    pub(super) name: String,
    pub(super) body: Value,
}

impl Loadable {
    /// The template of the configuration.
    pub(super) fn of(template: &Template) -> Self {
        Self {
            name: template.name.clone(),
            body: index_template(template),
        }
    }
}

#[derive(Deserialize)]
struct Greeting {
    version: Version,
}

#[derive(Deserialize)]
struct Version {
    number: String,
    distribution: Option<String>,
}

/// Asks the server what it is, and refuses one that cannot take our events. Gives its version, where it tells.
pub(super) async fn greet(
    client: &Client,
    host: usize,
    deadline: &Deadline,
) -> Result<Option<String>, SinkError> {
    let request = Request {
        method: Method::GET,
        path: &[],
        query: &[],
        body: None,
    };
    let answer = client.send(host, request, deadline).await?;
    match answer.status {
        200..=299 => {}
        // A user who may only write events may not ask for the version: then it shows when we write.
        403 => return Ok(None),
        _ => return Err(client.refusal(host, "connecting", &answer)),
    }
    let Ok(Greeting { version }) = serde_json::from_slice(&answer.body) else {
        return Err(SinkError::Protocol(format!(
            "{}: it answers, but not as Elasticsearch or OpenSearch do: check host, port and path in \
             output.elasticsearch.hosts",
            client.name(host)
        )));
    };
    let is_opensearch = version.distribution.as_deref() == Some("opensearch");
    if !is_opensearch && numbers(&version.number).is_some_and(|numbers| numbers < OLDEST) {
        return Err(SinkError::Protocol(format!(
            "{}: Elasticsearch {} is too old: {}.{} or later is needed",
            client.name(host),
            version.number,
            OLDEST.0,
            OLDEST.1
        )));
    }
    Ok(Some(match version.distribution {
        Some(distribution) => format!("{} ({distribution})", version.number),
        None => version.number,
    }))
}

/// Makes the data stream `name`, unless it is there. Tells whether it did.
pub(super) async fn make_data_stream(
    client: &Client,
    host: usize,
    name: &str,
    deadline: &Deadline,
) -> Result<bool, SinkError> {
    let path = ["_data_stream", name];
    let ask = |method| Request {
        method,
        path: &path,
        query: &[],
        body: None,
    };
    let doing = "making the data stream";
    let answer = client.send(host, ask(Method::GET), deadline).await?;
    match answer.status {
        200..=299 => return Ok(false),
        404 => {}
        _ => return Err(client.refusal(host, doing, &answer)),
    }
    let answer = client.send(host, ask(Method::PUT), deadline).await?;
    match answer.status {
        200..=299 => Ok(true),
        _ => Err(client.refusal(host, doing, &answer)),
    }
}

/// Loads the template where there is none of its name, or where `overwrite` says so. Tells whether it did.
pub(super) async fn load_template(
    client: &Client,
    host: usize,
    template: &Loadable,
    overwrite: bool,
    deadline: &Deadline,
) -> Result<bool, SinkError> {
    let path = ["_index_template", &template.name];
    if !overwrite {
        let request = Request {
            method: Method::HEAD,
            path: &path,
            query: &[],
            body: None,
        };
        let answer = client.send(host, request, deadline).await?;
        match answer.status {
            200..=299 => return Ok(false),
            404 => {}
            403 => return Err(no_right(client, host)),
            _ => return Err(client.refusal(host, "looking for the index template", &answer)),
        }
    }
    let request = Request {
        method: Method::PUT,
        path: &path,
        query: &[],
        body: Some(Body {
            bytes: template.body.to_string().into_bytes(),
            kind: "application/json",
            gzip: false,
        }),
    };
    let answer = client.send(host, request, deadline).await?;
    match answer.status {
        200..=299 => Ok(true),
        403 => Err(no_right(client, host)),
        _ => Err(client.refusal(host, "loading the index template", &answer)),
    }
}

fn no_right(client: &Client, host: usize) -> SinkError {
    SinkError::Denied(format!(
        "{}: its user or API key may not manage index templates: grant manage_index_templates, or load the \
         template once with `ecsbeat setup --index-management` and set setup.template.enabled: false",
        client.name(host)
    ))
}

fn numbers(version: &str) -> Option<(u32, u32)> {
    let mut parts = version.split('.');
    Some((parts.next()?.parse().ok()?, parts.next()?.parse().ok()?))
}
