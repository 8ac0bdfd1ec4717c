//! What each member says of itself, asked there: etcd knows who is a member, but not how it fares.
//!
//! Owns what is added to the rows of `/cluster` for people: `health` of each member, and `lag_s` of the leader, which
//! alone knows it. Never fails: who does not answer is shown as such, and nobody is waited for longer than a moment.

use serde_json::{Value, json};
use tokio::task::JoinSet;

use super::client::Client;
use super::elsewhere;

/// Adds to each row `health`: `{"status": 200, "reasons": []}` as `/health` answers there, null where nobody does.
/// A row without an address keeps none. `client` asks the member that has told of the others.
pub(super) async fn ask(client: &Client, cluster: &mut Value) {
    let Some(members) = cluster.get_mut("members").and_then(Value::as_array_mut) else {
        return;
    };
    let mut asked = JoinSet::new();
    for (at, member) in members.iter().enumerate() {
        let there = if member["is_self"] == true {
            Some(client.clone())
        } else {
            elsewhere(member).and_then(|address| client.at(address).ok())
        };
        let Some(there) = there else { continue };
        let has_lag = member["role"] == "leader" && member["lag_s"].is_null();
        asked.spawn(async move {
            let lag = if has_lag { lag(&there).await } else { None };
            (at, health(&there).await, lag)
        });
    }
    // A task that panics tells nothing.
    while let Some(told) = asked.join_next().await {
        let Ok((at, health, lag)) = told else { continue };
        let Some(row) = members.get_mut(at).and_then(Value::as_object_mut) else {
            continue;
        };
        row.insert("health".to_owned(), health);
        if let Some(lag) = lag {
            row.insert("lag_s".to_owned(), lag);
        }
    }
}

async fn health(client: &Client) -> Value {
    match client.glance("/health").await {
        Ok(said) => json!({"status": said.status, "reasons": said.body["reasons"]}),
        Err(_) => Value::Null,
    }
}

/// Its own row has it.
async fn lag(client: &Client) -> Option<Value> {
    let mut body = client.glance("/cluster").await.ok()?.body;
    let rows = body.get_mut("members")?.as_array_mut()?;
    let own = rows.iter_mut().find(|row| row["is_self"] == true)?;
    own.get_mut("lag_s").map(Value::take)
}

#[cfg(test)]
mod tests {
    use axum::routing::get;
    use axum::{Json, Router, http::StatusCode};
    use tokio::net::TcpListener;

    use super::*;
    use crate::config::Http;

    /// An instance that says this of its health, and has this lag.
    async fn instance(
        running: &mut JoinSet<()>,
        status: u16,
        reasons: &'static [&'static str],
        lag: u64,
    ) -> String {
        let health = move || async move {
            let status = StatusCode::from_u16(status).unwrap();
            (status, Json(json!({"reasons": reasons})))
        };
        let cluster = move || async move {
            Json(json!({"members": [{"is_self": false, "lag_s": 1}, {"is_self": true, "lag_s": lag}]}))
        };
        let router = Router::new()
            .route("/health", get(health))
            .route("/cluster", get(cluster));
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = format!("http://{}", listener.local_addr().unwrap());
        running.spawn(async move { axum::serve(listener, router).await.unwrap() });
        address
    }

    #[tokio::test]
    async fn each_member_is_asked_and_the_leader_for_its_lag() {
        let mut running = JoinSet::new();
        let asked = instance(&mut running, 200, &[], 9).await;
        let leader = instance(&mut running, 503, &["lost"], 7).await;
        // Nobody listens where somebody just did.
        let gone = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let gone = format!("http://{}", gone.local_addr().unwrap());
        let mut cluster = json!({"members": [
            {"instance": "a", "is_self": true, "role": "replica", "lag_s": null, "address": "http://elsewhere.invalid"},
            {"instance": "b", "is_self": false, "role": "leader", "lag_s": null, "address": leader},
            {"instance": "c", "is_self": false, "role": "replica", "lag_s": null, "address": gone},
            {"instance": "d", "is_self": false, "role": "replica", "lag_s": null, "address": ""},
            {"instance": "e", "is_self": false, "role": "replica", "lag_s": null, "address": "no address"},
            "nonsense",
        ]});
        let http = Http {
            enabled: true,
            host: "localhost".to_owned(),
            port: 1,
            ssl: None,
            token: None,
            timeout: std::time::Duration::from_secs(5),
        };
        let client = Client::new(Some(&asked), &http).unwrap();
        ask(&client, &mut cluster).await;
        let told = |at: usize| {
            (
                cluster["members"][at].get("health").cloned(),
                &cluster["members"][at]["lag_s"],
            )
        };
        assert_eq!(
            told(0),
            (Some(json!({"status": 200, "reasons": []})), &Value::Null)
        );
        assert_eq!(
            told(1),
            (Some(json!({"status": 503, "reasons": ["lost"]})), &json!(7))
        );
        assert_eq!(told(2), (Some(Value::Null), &Value::Null));
        assert_eq!(told(3), (None, &Value::Null));
        assert_eq!(told(4), (None, &Value::Null));
        let mut none = json!({});
        ask(&client, &mut none).await;
        assert_eq!(none, json!({}));
    }
}
