//! Two processes of one name.

use std::time::Duration;

use crate::support::cluster::{Cluster, TTL};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_second_process_of_a_name_in_use_ends_and_the_first_is_not_disturbed() {
    let cluster = Cluster::new().await;
    let (a, term) = cluster.leader("a").await;
    let data = cluster.home.path().join("elsewhere");
    let mut second = cluster.spawn("a", &data, &[]);
    // It may be the first one's successor, until the lease would have ended.
    let ended = second.ended(TTL + Duration::from_secs(2 + 3)).await;
    ended.expect(1);
    println!("it gave up after {:?}", ended.took);
    assert!(ended.took > TTL, "{:?}", ended.took);
    let said = ended
        .stderr
        .lines()
        .find(|line| line.contains("Exiting: "))
        .unwrap();
    for words in ["instance name already in use", "ha.instance", &a.http.to_string()] {
        assert!(said.contains(words), "{words}: {said}");
    }
    assert_eq!(a.leads().await, Some(term));
    assert!(a.lines("lost leadership").is_empty());
    assert_eq!(cluster.keys("members/").await.len(), 1);
}
