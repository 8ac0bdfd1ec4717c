//! Item 13: pages of namespaces and how they end.

use ecs_sim::{Change, Config, Fault, FaultRule, Oddity, Sim};

use crate::client::Session;

async fn start(namespaces: usize, page_size: usize) -> (Sim, Session) {
    let config = Config {
        namespaces,
        page_size,
        unicode_names: true,
        ..Config::for_tests()
    };
    let sim = Sim::start(config).await.unwrap();
    let session = Session::open(&sim).await;
    (sim, session)
}

/// Follows the markers, ten pages at most; the names, and the pages it took.
async fn all(session: &Session) -> (Vec<String>, usize) {
    let mut names = Vec::new();
    let mut marker = String::new();
    for page in 1..=10 {
        let request = session.request("GET", "/object/namespaces.json");
        let mut url = request.build().unwrap().url().clone();
        url.query_pairs_mut().append_pair("marker", &marker);
        let path = format!("{}?{}", url.path(), url.query().unwrap());
        let answer = session.json(&path).await;
        names.extend(
            answer["namespace"]
                .as_array()
                .unwrap()
                .iter()
                .map(|entry| entry["name"].as_str().unwrap().to_owned()),
        );
        match answer["NextMarker"].as_str() {
            Some(next) if !next.is_empty() => next.clone_into(&mut marker),
            _ => return (names, page),
        }
    }
    (names, 10)
}

#[tokio::test]
async fn pages_end_where_they_should() {
    for (count, pages) in [(0, 1), (1, 1), (5, 1), (6, 2), (12, 3)] {
        let (sim, session) = start(count, 5).await;
        let (names, taken) = all(&session).await;
        assert_eq!((names.len(), taken), (count, pages));
        assert_eq!(names, sim.truth().namespaces);
        sim.shutdown().await;
    }
}

#[tokio::test]
async fn the_last_marker_takes_all_forms() {
    for (oddity, is_present) in [
        (Oddity::MarkerNull, true),
        (Oddity::MarkerAbsent, false),
        (Oddity::MarkerEmpty, true),
    ] {
        let (sim, session) = start(6, 5).await;
        sim.faults().set(FaultRule::everywhere(Fault::Odd { oddity }));
        assert_eq!(all(&session).await.0.len(), 6);
        let last = session.json("/object/namespaces.json?limit=100").await;
        assert_eq!(last.get("NextMarker").is_some(), is_present);
        sim.shutdown().await;
    }
    let (sim, session) = start(6, 5).await;
    sim.faults().set(FaultRule::everywhere(Fault::Odd {
        oddity: Oddity::MarkerLoop,
    }));
    assert_eq!(all(&session).await.1, 10);
    sim.shutdown().await;
}

#[tokio::test]
async fn namespaces_come_and_go() {
    let (sim, session) = start(6, 5).await;
    sim.faults().set(FaultRule::everywhere(Fault::Odd {
        oddity: Oddity::NamespacesChange,
    }));
    let (names, _) = all(&session).await;
    assert!(names.contains(&"zz-made-between-pages".to_owned()));
    sim.faults().clear();
    sim.apply(&Change::NamespaceRemove {
        name: "ns1".to_owned(),
    })
    .unwrap();
    assert_eq!(
        session.status("/object/namespaces/namespace/ns1/quota").await,
        404
    );
    sim.apply(&Change::NamespaceAdd {
        name: "new".to_owned(),
    })
    .unwrap();
    let quota = session.json("/object/namespaces/namespace/new/quota").await;
    assert!(quota["blockSize"].is_number());
    assert_eq!(
        session.json("/object/namespaces/namespace/new").await["is_encryption_enabled"],
        "false"
    );
    sim.shutdown().await;
}

#[tokio::test]
async fn buckets_need_a_namespace() {
    let (sim, session) = start(3, 100).await;
    assert_eq!(session.status("/object/bucket").await, 400);
    let buckets = session.json("/object/bucket?namespace=ns1&limit=3").await;
    assert_eq!(buckets["object_bucket"].as_array().unwrap().len(), 3);
    assert_eq!(buckets["NextMarker"], "bucket3");
    assert_eq!(
        session.json("/object/bucket/bucket1/quota?namespace=ns1").await["blockSize"],
        2
    );
    assert!(session.json("/object/capacity").await["totalProvisioned_gb"].is_u64());
    assert_eq!(
        session.json("/license").await["license_feature"][0]["expired_ind"],
        false
    );
    sim.shutdown().await;
}
