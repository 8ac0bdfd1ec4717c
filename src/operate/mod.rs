//! `ecsbeat status`, `switchover`, `step-down`, `pause`, `resume`: what an operator asks of a running instance.
//!
//! Owns who is asked, in which order, and the words that come of it. Everything goes through the endpoints that
//! everybody else uses; nothing is read from etcd, and nothing is decided here.

mod client;
mod survey;
mod table;

use serde_json::{Value, json};

use client::{Client, Said};

use crate::app::Outcome;
use crate::config::Http;

/// What is asked for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Request {
    /// The cluster as a table, or as JSON.
    Status {
        /// JSON, as `/cluster` has it.
        json: bool,
    },
    /// Another one is to lead.
    Switchover {
        /// Who leads now; `None` = whoever `/cluster` names.
        leader: Option<String>,
        /// Who is to lead; `None` = any that is ready.
        candidate: Option<String>,
    },
    /// The leader is to give up leading.
    StepDown,
    /// Nobody is to take over.
    Pause,
    /// The end of that.
    Resume,
}

/// Whom to ask, as the user gave it.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Target {
    /// `--url`, in place of the address in the configuration.
    pub url: Option<String>,
}

/// It could not be asked.
#[derive(Debug, thiserror::Error)]
pub enum OperateError {
    /// Whom to ask is not told, or makes no sense.
    #[error("{0}")]
    Target(String),
    /// No answer, or half of one. An order may have been carried out all the same.
    #[error("{at} does not answer: {}; does an ecsbeat with http.enabled run there?", causes(.error))]
    Unanswered {
        /// The address and path.
        at: String,
        /// Why.
        error: reqwest::Error,
    },
    /// Somebody else answers there.
    #[error("{at} answered {status}: is that an ecsbeat? Check http.host and http.port, or --url")]
    NotOurs {
        /// The address and path.
        at: String,
        /// Of the answer.
        status: u16,
    },
    /// There is no leader to be asked.
    #[error("nobody leads at the moment: see `ecsbeat status`")]
    NobodyLeads,
}

/// An error with its causes: the outermost says nothing but that it did not work.
fn causes(error: &reqwest::Error) -> String {
    let mut text = error.to_string();
    let mut cause = std::error::Error::source(error);
    while let Some(error) = cause {
        text = format!("{text}: {error}");
        cause = error.source();
    }
    text
}

/// Asks, and gives the text for the user. [`Outcome::Incomplete`]: it was refused, or is not known to have been done.
pub async fn ask(request: &Request, target: &Target, http: &Http) -> Result<(String, Outcome), OperateError> {
    let client = Client::new(target.url.as_deref(), http)?;
    match request {
        Request::Status { json } => {
            let mut cluster = client.get("/cluster").await?;
            let text = if *json {
                format!("{cluster:#}\n")
            } else {
                survey::ask(&client, &mut cluster).await;
                table::of(&cluster)
            };
            Ok((text, Outcome::Well))
        }
        Request::Switchover { leader, candidate } => {
            let leader = match leader {
                Some(leader) => leader.clone(),
                None => name_of_leader(&client.get("/cluster").await?)?,
            };
            let order = match candidate {
                Some(candidate) => json!({"leader": leader, "candidate": candidate}),
                None => json!({"leader": leader}),
            };
            Ok(told(&client.post("/switchover", &order).await?))
        }
        Request::StepDown => {
            // Only the leader itself takes it.
            let cluster = client.get("/cluster").await?;
            let name = name_of_leader(&cluster)?;
            let at_leader = match address_of(&cluster, &name) {
                Some(address) => client.at(address)?,
                None => client,
            };
            Ok(told(&at_leader.post("/step-down", &json!({})).await?))
        }
        Request::Pause => Ok(told(&client.post("/pause", &json!({})).await?)),
        Request::Resume => Ok(told(&client.post("/resume", &json!({})).await?)),
    }
}

fn name_of_leader(cluster: &Value) -> Result<String, OperateError> {
    let name = cluster["leader"]["name"].as_str();
    name.map(str::to_owned).ok_or(OperateError::NobodyLeads)
}

/// Where the leader answers; `None` where that is the one that was asked.
fn address_of<'c>(cluster: &'c Value, leader: &str) -> Option<&'c str> {
    let members = cluster["members"].as_array()?;
    elsewhere(members.iter().find(|row| row["instance"] == leader)?)
}

/// Where a member answers that is not the one that was asked.
fn elsewhere(row: &Value) -> Option<&str> {
    let is_other = row["is_self"] == false;
    row["address"]
        .as_str()
        .filter(|address| is_other && !address.is_empty())
}

/// What came of an order, in words.
fn told(said: &Said) -> (String, Outcome) {
    let body = &said.body;
    let text = |member: &str| body[member].as_str().unwrap_or("?").to_owned();
    if said.status == 200 {
        let done = match body["status"].as_str() {
            Some("switched") => {
                let gap = body["gap_ms"].as_u64();
                let gap = gap.map_or_else(String::new, |gap| format!("; nobody led for {gap} ms"));
                format!("{} leads now, in place of {}{gap}", text("to"), text("from"))
            }
            Some("paused") => "paused: nobody takes over until `ecsbeat resume`".to_owned(),
            Some("resumed") => "resumed".to_owned(),
            _ => body.to_string(),
        };
        return (format!("{done}\n"), Outcome::Well);
    }
    let why = match body["error"].as_str() {
        Some(error) => error.to_owned(),
        None => format!("it answered {}", said.status),
    };
    (format!("not done: {why}\n"), Outcome::Incomplete)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn outcomes_are_told_in_words() {
        for (status, body, text, outcome) in [
            (
                200,
                json!({"status": "switched", "from": "a", "to": "b", "gap_ms": 31}),
                "b leads now, in place of a; nobody led for 31 ms\n",
                Outcome::Well,
            ),
            (
                200,
                json!({"status": "switched", "from": "a", "to": "b", "gap_ms": null}),
                "b leads now, in place of a\n",
                Outcome::Well,
            ),
            (
                200,
                json!({"status": "paused"}),
                "paused: nobody takes over until `ecsbeat resume`\n",
                Outcome::Well,
            ),
            (
                412,
                json!({"error": "c is no member", "reasons": ["unknown"]}),
                "not done: c is no member\n",
                Outcome::Incomplete,
            ),
            (
                502,
                Value::Null,
                "not done: it answered 502\n",
                Outcome::Incomplete,
            ),
        ] {
            assert_eq!(told(&Said { status, body }), (text.to_owned(), outcome));
        }
    }

    #[test]
    fn errors_say_what_to_do() {
        let at = "http://node-b:5066/cluster".to_owned();
        for (error, text) in [
            (
                OperateError::NotOurs { at, status: 404 },
                "http://node-b:5066/cluster answered 404: is that an ecsbeat? Check http.host and http.port, or --url",
            ),
            (
                OperateError::NobodyLeads,
                "nobody leads at the moment: see `ecsbeat status`",
            ),
        ] {
            assert_eq!(error.to_string(), text);
        }
    }

    #[test]
    fn the_leader_is_asked_where_it_answers() {
        let cluster = json!({
            "leader": {"name": "b"},
            "members": [
                {"instance": "a", "is_self": true, "address": "http://a:5066"},
                {"instance": "b", "is_self": false, "address": "http://b:5066"},
            ],
        });
        assert_eq!(name_of_leader(&cluster).unwrap(), "b");
        assert_eq!(address_of(&cluster, "b"), Some("http://b:5066"));
        assert_eq!(address_of(&cluster, "a"), None, "it is asked already");
        let nobody = name_of_leader(&json!({"leader": null})).unwrap_err();
        assert!(nobody.to_string().starts_with("nobody leads"), "{nobody}");
    }
}
