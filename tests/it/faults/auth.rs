//! Items 1 to 5: logging in, tokens, limits, roles.

use crate::support::{Rig, eventually};

#[tokio::test]
async fn item_01_login_by_basic_gives_the_token_of_every_request() {
    let mut rig = Rig::build().start().await;
    rig.fresh("localzone", &[0, 1]).await;
    eventually("nodes of both", || {
        rig.values("nodes", "ecs-vdc-cfgname").len() == 2
    })
    .await;
    rig.stop().await;
    for vdc in 0..2 {
        let counts = rig.sim.token_counts(vdc);
        assert_eq!((counts.issued, counts.live, counts.bad_logins), (1, 0, 0));
    }
    let others = rig
        .sim
        .requests()
        .into_iter()
        .filter(|request| request.path != "/login");
    assert!(others.clone().count() > 10);
    for request in others {
        assert_eq!(
            (request.user.as_deref(), request.status),
            (Some("monitor"), 200),
            "{request:?}"
        );
    }
}
