//! A single node, with everything that can go wrong with its passwords going wrong, while it tells all that it can.

use std::fs;
use std::path::Path;
use std::process::Command;

use ecs_sim::bulk::{self, Bulk, BulkFault, BulkRule};
use ecs_sim::{Fault, FaultRule, Sim, User};
use rustix::process::Signal;

use super::canary::Canaries;
use crate::support::authority::Authority;
use crate::support::every;
use crate::support::process::{Home, Process, SOON, ask, eventually, get};

const NAMES: [&str; 14] = [
    "customer",
    "site",
    "away",
    "proxy",
    "header",
    "elastic",
    "elasticheader",
    "kafka",
    "redis",
    "socks",
    "operator",
    "guess",
    "apikey",
    "broken",
];

/// APIs whose answers hold secrets among them.
const KINDS: [&str; 6] = ["auditevent", "alert", "localzone", "nodes", "disks", "capacity"];
const INVENTORY: &str = "  - {type: vdcs, level: vdc, interval: 1s, uri: /object/vdcs/vdc/list.json}
  - {type: vdc, level: vdc, interval: 1s, uri: /object/vdcs/vdc/local.json}
";

struct World {
    sim: Sim,
    bulk: Bulk,
    home: Home,
    canaries: Canaries,
}

impl World {
    async fn new() -> Self {
        let canaries = Canaries::new(&NAMES);
        let config = ecs_sim::Config {
            nodes_per_vdc: 2,
            disks_per_node: 2,
            namespaces: 3,
            users: vec![
                User::new("monitor", &canaries.of("customer"), &["SYSTEM_MONITOR"]),
                User::new("site", &canaries.of("site"), &["SYSTEM_MONITOR"]),
            ],
            ..ecs_sim::Config::for_tests()
        };
        let sim = Sim::start(config).await.unwrap();
        let bulk = Bulk::start(bulk::Config::for_tests()).await.unwrap();
        let (home, pair) = (Home::new(), Authority::new("clients").issue("ecsbeat", &[]));
        // Some line of the key.
        let key = pair.key.lines().nth(1).unwrap()[..24].to_owned();
        let others: Vec<String> = sim
            .canaries()
            .into_iter()
            .filter(|text| !text.contains("YRANAC"))
            .collect();
        assert!(others.len() >= 4, "{others:?}");
        let canaries = canaries.and(others).and([key]);
        let world = Self {
            sim,
            bulk,
            home,
            canaries,
        };
        world
            .home
            .write("customer.password", &world.canaries.of("customer"));
        world.home.write("ca.pem", world.sim.ca_pem());
        world.home.configure(&world.yaml(&pair.certificate, &pair.key));
        world
    }

    fn hosts(&self, vdc: usize) -> String {
        let nodes = self.sim.vdc(vdc).nodes();
        let hosts = nodes
            .iter()
            .map(|node| format!("{{host: '{}'}}", node.mgmt_host()));
        hosts.collect::<Vec<_>>().join(", ")
    }

    fn yaml(&self, certificate: &str, key: &str) -> String {
        let (of, in_url) = (|name| self.canaries.of(name), |name| self.canaries.in_url(name));
        let home = self.home.path().display();
        let block = |pem: &str| pem.trim().replace('\n', "\n      ");
        format!(
            "ecsbeat:
  start_jitter: 0s
  trace: {{path: {home}/trace, max_size: 1MB}}
  customers:
  - customername: sim
    username: monitor
    password: ${{file:{home}/customer.password}}
    tokenexpiry: 1s
    ssl.certificate_authorities: [{home}/ca.pem]
    vdcs:
    - vdcname: VDC0
      nodes: [{nodes0}]
    - vdcname: VDC1
      username: site
      password: '{site}'
      nodes: [{nodes1}]
  - customername: away
    username: away
    password: '{away}'
    proxy_url: 'http://user:{proxy}@127.0.0.1:1'
    vdcs: [{{vdcname: A, nodes: [{{host: 127.0.0.1}}]}}]
  commands:
{commands}{INVENTORY}  - {{type: headed, level: vdc, interval: 1s, uri: /vdc/nodes.json, headers: {{X-Secret: '{header}'}}}}
queue.mem: {{events: 100000, flush.timeout: 50ms}}
shutdown_timeout: 1s
http: {{enabled: true, port: 0, auth.token: '{operator}'}}
logging: {{level: debug, event_data: {{enabled: true, files.path: {home}/refused}}}}
output:
  elasticsearch:
    hosts: ['{bulk}']
    username: beat
    password: ${{ES_PASSWORD}}
    headers: {{X-Api-Key: '{elasticheader}'}}
    backoff: {{init: 100ms, max: 500ms}}
  file: {{path: {home}/out}}
  logstash: {{hosts: ['127.0.0.1:1'], proxy_url: 'socks5://user:{socks}@127.0.0.1:1'}}
  redis: {{hosts: ['redis://user:{redis}@127.0.0.1:1']}}
  kafka:
    hosts: ['127.0.0.1:1']
    topic: ecs
    username: beat
    password: '{kafka}'
    ssl.certificate: |
      {certificate}
    ssl.key: |
      {key}
",
            nodes0 = self.hosts(0),
            nodes1 = self.hosts(1),
            site = of("site"),
            away = of("away"),
            proxy = in_url("proxy"),
            commands = every(KINDS),
            header = of("header"),
            operator = of("operator"),
            bulk = self.bulk.url(),
            elasticheader = of("elasticheader"),
            socks = in_url("socks"),
            redis = in_url("redis"),
            kafka = of("kafka"),
            certificate = block(certificate),
            key = block(key),
        )
    }

    fn command(&self, arguments: &[&str]) -> Command {
        let mut command = self.home.command(arguments);
        command.env("ES_PASSWORD", self.canaries.of("elastic"));
        command
    }

    /// All files below a folder of the home.
    fn files(&self, folder: &str) -> String {
        fn read(path: &Path, text: &mut String) {
            for entry in fs::read_dir(path).unwrap() {
                let path = entry.unwrap().path();
                if path.is_dir() {
                    read(&path, text);
                } else {
                    text.push_str(&String::from_utf8_lossy(&fs::read(path).unwrap()));
                }
            }
        }
        let mut text = String::new();
        read(&self.home.path().join(folder), &mut text);
        text
    }

    /// Everything that makes it talk: refused logins and tokens, broken answers, refused events.
    async fn trouble(&self, process: &Process) {
        let refused = BulkFault::MappingError {
            marker: "\"ecs-event-type\":\"vdc\"".to_owned(),
        };
        self.bulk.set(BulkRule::always(refused).times(3));
        eventually("events are refused", SOON, || {
            process.stderr().contains("event dropped").then_some(())
        })
        .await;
        for fault in [
            Fault::TokenGarbled,
            Fault::Forbidden,
            Fault::HtmlPage,
            Fault::ResetMidBody,
            Fault::LoginWithoutToken,
        ] {
            let number = self.sim.faults().set(FaultRule::everywhere(fault).on_vdc(1));
            self.fails(process).await;
            self.sim.faults().remove(number);
        }
        let login = FaultRule::everywhere(Fault::TokenLimit)
            .on_path("/login")
            .on_vdc(1);
        let number = self.sim.faults().set(login);
        self.fails(process).await;
        self.sim.faults().remove(number);
        self.bulk.set(BulkRule::always(BulkFault::Status {
            status: 401,
            retry_after: None,
        }));
        eventually("the output fails", SOON, || {
            let log = process.stderr();
            log.lines()
                .any(|line| line.contains("401") && line.contains("elasticsearch"))
                .then_some(())
        })
        .await;
    }

    async fn fails(&self, process: &Process) {
        let count = || process.stderr().matches("poll failed").count();
        let before = count();
        eventually("polls fail", SOON, || (count() >= before + 3).then_some(())).await;
    }
}

async fn tells_no_secret(format: &str) {
    let world = World::new().await;
    let setting = format!("logging.format={format}");
    let mut process = Process::spawn(world.command(&["-d", "*", "-E", &setting]));
    let address = if format == "json" {
        process.http().await
    } else {
        let line = process.logged("HTTP endpoints answer").await;
        line.rsplit_once("address=").unwrap().1.parse().unwrap()
    };
    process.logged("logged in").await;
    world.trouble(&process).await;
    let mut told = Vec::new();
    for path in [
        "/",
        "/stats",
        "/state",
        "/metrics",
        "/health",
        "/leader",
        "/cluster",
        "/commands",
        "/history",
        "/liveness",
        "/readiness",
    ] {
        let answer = get(address, path).await;
        told.push((path, format!("{}\n{}", answer.head, answer.body)));
    }
    // For a browser, with the troubles on it.
    let page = ask(address, "GET", "/", "Accept: text/html\r\n").await.unwrap();
    assert!(
        page.body.contains("<h1") && page.body.contains("elasticsearch"),
        "{}",
        page.body
    );
    told.push(("the status page", format!("{}\n{}", page.head, page.body)));
    let guess = format!("Authorization: Bearer {}\r\n", world.canaries.of("guess"));
    for path in ["/pause", "/resume", "/switchover"] {
        let answer = ask(address, "POST", path, &guess).await.unwrap();
        told.push((path, format!("{}\n{}", answer.head, answer.body)));
    }
    process.signal(Signal::TERM);
    let ended = process.ended(SOON).await;
    for wanted in [
        "configuration",
        "config_hash",
        "Beat ID",
        "ecsbeat.trace is on",
        "ecsbeat stopped.",
    ] {
        assert!(ended.stderr.contains(wanted), "{wanted}: {}", ended.stderr);
    }
    told.push(("the log", ended.stderr));
    let events = world.files("out");
    assert!(
        events.contains("\"auditevent\"") && events.contains("vdcName"),
        "{events}"
    );
    told.push(("the events", events));
    let trace = world.files("trace");
    assert!(
        trace.contains(r#"\"secretKeys\":\"xxxxx\""#) && trace.contains("\"x-sds-auth-token\":\"xxxxx\""),
        "{trace}"
    );
    assert!(
        trace.contains("/login") && trace.contains("\"authorization\":\"xxxxx\""),
        "{trace}"
    );
    told.push(("the trace", trace));
    let refused = world.files("refused");
    assert!(
        refused.contains("event.original") && refused.contains("vdcName"),
        "{refused}"
    );
    told.push(("the refused events", refused));
    told.push(("path.data", world.files("data")));
    for (place, text) in &told {
        world.canaries.absent(place, text);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_log_in_json_and_all_that_is_told_beside_it() {
    tells_no_secret("json").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_log_in_text_and_all_that_is_told_beside_it() {
    tells_no_secret("text").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn commands_that_look_at_the_configuration() {
    let world = World::new().await;
    let key = format!("output.elasticsearch.api_key=id:{}", world.canaries.of("apikey"));
    let no_user = [
        "-E",
        "output.elasticsearch.username=",
        "-E",
        "output.elasticsearch.password=",
    ];
    for words in [
        ["export", "config"],
        ["test", "config"],
        ["test", "output"],
        ["test", "ecs"],
    ] {
        let mut arguments = words.to_vec();
        arguments.extend(["-d", "*", "-E", &key]);
        arguments.extend(no_user);
        let ended = Process::spawn(world.command(&arguments)).ended(SOON).await;
        world
            .canaries
            .absent(&words.join(" "), &(ended.stdout + &ended.stderr));
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn messages_about_a_configuration_that_is_wrong() {
    let world = World::new().await;
    let secret = world.canaries.of("broken");
    for wrong in [
        format!("password: ['{secret}']"),
        format!("proxy_url: 'nonsense://user:{secret}@h:1'"),
        format!(
            "proxy_url: 'http://user:{}@h:port'",
            world.canaries.in_url("broken")
        ),
        "password: '${file:/nowhere/at/all}'".to_owned(),
    ] {
        let mut yaml = fs::read_to_string(world.home.path().join("ecsbeat.yml")).unwrap();
        let (before, after) = yaml.split_once("    proxy_url").unwrap();
        let after = after.split_once('\n').unwrap().1;
        let before = if wrong.starts_with("password") {
            before.rsplit_once("    password").unwrap().0
        } else {
            before
        };
        yaml = format!("{before}    {wrong}\n{after}");
        let path = world.home.write("wrong.yml", &yaml);
        let path = path.display().to_string();
        for command in [&["test", "config"][..], &["run"][..]] {
            let arguments = [&["-c", &path][..], command].concat();
            let ended = Process::spawn(world.command(&arguments)).ended(SOON).await;
            assert_ne!(ended.code(), 0, "{wrong}");
            world.canaries.absent(&wrong, &(ended.stdout + &ended.stderr));
        }
    }
}
