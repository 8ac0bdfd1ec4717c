//! The control API does what the library does.

use ecs_sim::{Config, Sim};
use serde_json::{Value, json};

use crate::client::{Session, parse};

struct Control {
    http: reqwest::Client,
    base: String,
}

impl Control {
    async fn ask(&self, method: &str, path: &str, body: Value) -> (u16, Value) {
        let request = self
            .http
            .request(method.parse().unwrap(), format!("{}{path}", self.base));
        let answer = request.body(body.to_string()).send().await.unwrap();
        (answer.status().as_u16(), parse(answer).await)
    }
}

#[tokio::test]
async fn everything_can_be_controlled_over_http() {
    let config = Config {
        control: Some("127.0.0.1:0".parse().unwrap()),
        ..Config::for_tests()
    };
    let sim = Sim::start(config).await.unwrap();
    let session = Session::open(&sim).await;
    let control = Control {
        http: session.http.clone(),
        base: format!("http://{}", sim.control_address().unwrap()),
    };
    let (_, state) = control.ask("GET", "/state", json!({})).await;
    assert_eq!(state["vdcs"][0]["nodes"][0]["mgmt"], session.host.as_str());
    assert_eq!(state["vdcs"][0]["tokens"]["live"], 1);

    let rule =
        json!({"match": {"path": "/vdc/nodes"}, "fault": {"kind": "status", "codes": [503]}, "times": 1});
    assert_eq!(control.ask("POST", "/faults", rule.clone()).await.0, 200);
    assert_eq!(session.status("/vdc/nodes").await, 503);
    assert_eq!(
        control.ask("GET", "/faults", json!({})).await.1["faults"][0]["struck"],
        1
    );
    let (_, ids) = control.ask("POST", "/faults", json!([rule])).await;
    let one = format!("/faults?id={}", ids["ids"][0]);
    assert_eq!(control.ask("DELETE", &one, json!({})).await.0, 200);
    assert_eq!(control.ask("DELETE", &one, json!({})).await.0, 404);
    control.ask("DELETE", "/faults", json!({})).await;
    assert!(sim.faults().list().is_empty());
    assert_eq!(
        control
            .ask("POST", "/faults", json!({"fault": {"kind": "nonsense"}}))
            .await
            .0,
        400
    );

    let changes = json!([{"op": "node_upgrade", "vdc": 0, "node": 1, "profile": "4.1"}, {"op": "node_down", "vdc": 0, "node": 2}]);
    assert_eq!(control.ask("POST", "/topology", changes).await.0, 200);
    let (_, state) = control.ask("GET", "/state", json!({})).await;
    assert_eq!(state["vdcs"][0]["nodes"][1]["profile"], "4.1");
    assert_eq!(state["vdcs"][0]["nodes"][2]["state"], "down");
    assert_eq!(
        control
            .ask("POST", "/topology", json!({"op": "vdc_down", "vdc": 9}))
            .await
            .0,
        400
    );

    let (_, clock) = control
        .ask("POST", "/clock", json!({"set": 1_772_448_030, "freeze": true}))
        .await;
    assert_eq!(clock["now"], 1_772_448_030);
    let (_, clock) = control.ask("POST", "/clock", json!({"advance_secs": 60})).await;
    assert_eq!(
        (clock["now"].as_i64(), sim.now()),
        (Some(1_772_448_090), 1_772_448_090)
    );
    control.ask("POST", "/clock", json!({"freeze": false})).await;

    let (_, truth) = control.ask("GET", "/truth", json!({})).await;
    assert_eq!(truth["vdcs"].as_array().unwrap().len(), 2);
    let (_, requests) = control.ask("GET", "/requests?path=/vdc", json!({})).await;
    assert_eq!(requests["requests"].as_array().unwrap().len(), 1);
    assert_eq!(requests["requests"][0]["status"], 503);
    control.ask("DELETE", "/requests", json!({})).await;
    assert!(sim.requests().is_empty());
    assert_eq!(
        control.ask("POST", "/tokens/revoke", json!({"vdc": 0})).await.0,
        200
    );
    assert_eq!(sim.live_tokens("monitor", 0), 0);
    let (_, canaries) = control.ask("GET", "/canaries", json!({})).await;
    assert_eq!(canaries["canaries"], json!(sim.canaries()));
    assert_eq!(control.ask("DELETE", "/peaks", json!({})).await.0, 200);
    assert_eq!(control.ask("GET", "/nonsense", json!({})).await.0, 404);
    sim.shutdown().await;
}
