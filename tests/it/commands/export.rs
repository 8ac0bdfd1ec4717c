//! `export config` and `export template` of the real binary.

use serde_json::Value;

use crate::support::process::Home;

const SETTINGS: &str = "\
ecsbeat.customers:
  - {customername: one, username: '${ECS_USERNAME}', password: '${ECS_PASSWORD}', vdcs: [{vdcname: v, nodes: [10.1.83.51]}]}
  - {customername: two, username: u, password: CANARY-clear, vdcs: [{vdcname: v, nodes: ['${NODE:10.1.83.52}']}]}
output.elasticsearch:
  hosts: ['https://me:CANARY-url@es:9200']
  api_key: '${ID:CANARY-default}:${KEY}'
  headers: {Authorization: CANARY-header, X-Kind: plain}
http.auth.token: ${file:/run/secrets/token}
";

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn references_stay_and_secrets_go() {
    let home = Home::new();
    home.configure(SETTINGS);
    let override_ = [
        "export",
        "config",
        "-E",
        "output.elasticsearch.username=${ES_USER}",
    ];
    let ended = home.run(&override_).await;
    // Nothing that is referred to is there.
    let yaml = &ended.expect(0).stdout;
    assert!(!yaml.contains("CANARY"), "{yaml}");
    for part in [
        "password: ${ECS_PASSWORD}",
        "username: ${ECS_USERNAME}",
        "- ${NODE:10.1.83.52}",
        "password: xxxxx",
        "- https://xxxxx@es:9200",
        "api_key: ${ID:xxxxx}xxxxx${KEY}",
        "Authorization: xxxxx",
        "X-Kind: plain",
        "token: ${file:/run/secrets/token}",
        "username: ${ES_USER}",
    ] {
        assert!(yaml.contains(part), "{part:?} is missing in\n{yaml}");
    }
    // It can be read again, and is the same then.
    home.configure(yaml);
    let again = home.run(&["export", "config"]).await;
    assert_eq!(&again.expect(0).stdout, yaml);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_file_that_cannot_be_read_is_told() {
    let home = Home::new();
    let ended = home.run(&["export", "config"]).await;
    assert!(
        ended
            .expect(78)
            .stderr
            .starts_with("Exiting: ecsbeat.yml: cannot read"),
        "{}",
        ended.stderr
    );
    home.configure("a: [1\n");
    let ended = home.run(&["export", "config"]).await;
    assert!(
        ended.expect(78).stderr.starts_with("Exiting: ecsbeat.yml:"),
        "{}",
        ended.stderr
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_template_is_what_setup_would_load() {
    let bulk = ecs_sim::bulk::Bulk::start(ecs_sim::bulk::Config::for_tests())
        .await
        .unwrap();
    let home = Home::new();
    home.configure(&format!(
        "ecsbeat.customers: [{{customername: one, username: u, password: p, vdcs: [{{vdcname: v, nodes: [n]}}]}}]\n\
         output.elasticsearch: {{hosts: ['{}'], index: 'dell-%{{+yyyy}}'}}\nsetup.template.settings: {{number_of_shards: 3}}\n",
        bulk.url()
    ));
    let ended = home.run(&["export", "template"]).await;
    let exported: Value = serde_json::from_str(&ended.expect(0).stdout).unwrap();
    assert_eq!(exported["index_patterns"][0], "dell-*");
    assert_eq!(exported["template"]["settings"]["index"]["number_of_shards"], 3);
    home.run(&["setup"]).await.expect(0);
    let loaded = bulk.resources();
    assert_eq!(loaded[0].path, "/_index_template/ecsbeat");
    assert_eq!(loaded[0].body, exported);
}
