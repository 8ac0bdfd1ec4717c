//! The manifests: valid by the published schemas, of one piece, and in line with the product.

use std::collections::BTreeSet;
use std::fs;
use std::process::Command;

use serde_json::Value;

use super::{documents, file, program, run, text};
use crate::support::process::{Home, Process, SOON, get};

const FOLDER: &str = "deploy/kubernetes";
/// Where the pods find their secrets.
const SECRETS: &str = "/run/secrets/ecsbeat/";
/// The oldest and the newest Kubernetes whose schemas the manifests must be valid by.
const VERSIONS: [&str; 2] = ["1.27", "1.37"];

fn at(name: &str) -> String {
    format!("{FOLDER}/{name}")
}

fn only(name: &str) -> Value {
    let mut found = documents(&at(name));
    assert_eq!(found.len(), 1, "{name}");
    found.remove(0)
}

/// The files that `kubectl apply -k` applies, those that are commented out included.
fn resources() -> Vec<String> {
    let text = text(&at("kustomization.yml"));
    let (_, list) = text.split_once("\nresources:\n").unwrap();
    let lines = list.lines().take_while(|line| line.starts_with([' ', '#']));
    lines
        .filter_map(|line| line.trim_start_matches('#').trim().strip_prefix("- "))
        .map(str::to_owned)
        .collect()
}

fn container(set: &Value) -> &Value {
    &set["spec"]["template"]["spec"]["containers"][0]
}

/// The names of the files of the Secret that a text reads.
fn secrets(text: &str) -> BTreeSet<&str> {
    let uncommented = text.lines().filter(|line| !line.trim_start().starts_with('#'));
    uncommented
        .flat_map(|line| line.split(SECRETS).skip(1))
        .map(|rest| rest.split(['}', ']', ',', ' ']).next().unwrap())
        .collect()
}

#[test]
fn they_are_valid_by_the_published_schemas() {
    let Some(validate) = program(
        "kubernetes-validate",
        "python/bin/kubernetes-validate",
        "deploy/kubernetes by the published schemas",
    ) else {
        return;
    };
    // Of what is not Kubernetes' own there is no schema.
    let own = resources()
        .into_iter()
        .filter(|name| name != "servicemonitor.yml");
    let paths: Vec<_> = own.map(|name| file(&at(&name))).collect();
    for version in VERSIONS {
        let mut command = Command::new(&validate);
        let said = run(command.args(["--strict", "-k", version]).args(&paths)).well();
        assert_eq!(
            said.all.matches(" passed for resource ").count(),
            paths.len() + 1,
            "{}",
            said.all
        );
    }
}

#[test]
fn every_file_is_used_and_all_is_in_one_namespace() {
    let kustomization = only("kustomization.yml");
    let mut known = resources();
    known.extend(["kustomization.yml", "ecsbeat.yml"].map(str::to_owned));
    known.sort();
    let mut there: Vec<String> = (fs::read_dir(file(FOLDER)).unwrap())
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .collect();
    there.sort();
    assert_eq!(there, known);
    let configuration = &kustomization["configMapGenerator"][0];
    assert_eq!(configuration["files"][0], "ecsbeat.yml");
    let set = only("statefulset.yml");
    let volumes = &set["spec"]["template"]["spec"]["volumes"];
    assert_eq!(volumes[0]["configMap"]["name"], configuration["name"]);
    assert_eq!(kustomization["images"][0]["name"], container(&set)["image"]);
    assert_eq!(kustomization["images"][0]["newTag"], env!("CARGO_PKG_VERSION"));
    assert_eq!(
        only("namespace.yml")["metadata"]["name"],
        kustomization["namespace"]
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_configuration_is_valid_and_needs_the_secrets_that_are_told() {
    let configuration = text(&at("ecsbeat.yml"));
    let needed = secrets(&configuration);
    let head = text(&at("kustomization.yml"));
    let told: BTreeSet<&str> = (head.split("--from-file=").skip(1))
        .map(|rest| rest.split_whitespace().next().unwrap())
        .collect();
    assert_eq!(needed, told);

    let home = Home::new();
    for name in needed {
        let secret = match name {
            "ecs-ca.pem" => rcgen::generate_simple_self_signed(["any".to_owned()])
                .unwrap()
                .cert
                .pem(),
            _ => "id:CANARY-secret\n".to_owned(),
        };
        home.write(name, &secret);
    }
    let here = format!("{}/", home.path().display());
    home.configure(&configuration.replace(SECRETS, &here));
    let mut command = home.command(&["test", "config"]);
    command.env("HOSTNAME", "ecsbeat-0");
    let ended = Process::spawn(command).ended(SOON).await;
    ended.expect(0);
}

#[test]
fn they_are_in_line_with_each_other_and_with_the_configuration() {
    let set = only("statefulset.yml");
    let pod = &set["spec"]["template"];
    let labels = &pod["metadata"]["labels"];
    assert_eq!(&set["spec"]["selector"]["matchLabels"], labels);
    let services = documents(&at("service.yml"));
    for service in &services {
        assert_eq!(&service["spec"]["selector"], labels);
        assert_eq!(
            service["spec"]["ports"][0]["targetPort"],
            container(&set)["ports"][0]["name"]
        );
    }
    assert_eq!(services[1]["metadata"]["name"], set["spec"]["serviceName"]);
    let budget = only("poddisruptionbudget.yml");
    assert_eq!(&budget["spec"]["selector"]["matchLabels"], labels);
    // One to work and one to take over are left.
    let left = set["spec"]["replicas"].as_u64().unwrap() - budget["spec"]["maxUnavailable"].as_u64().unwrap();
    assert!(left >= 2);
    // Where there is the operator, each replica is scraped once.
    let monitored = only("servicemonitor.yml")["spec"]["selector"]["matchLabels"].clone();
    let matched = services.iter().filter(|service| {
        let labels = &service["metadata"]["labels"];
        (monitored.as_object().unwrap())
            .iter()
            .all(|(name, value)| labels[name] == *value)
    });
    assert_eq!(matched.count(), 1);

    let configuration = only("ecsbeat.yml");
    let port = &configuration["http"]["port"];
    assert_eq!(&container(&set)["ports"][0]["containerPort"], port);
    assert_eq!(
        pod["metadata"]["annotations"]["prometheus.io/port"],
        port.to_string()
    );
    let advertised = configuration["ha"]["advertise"].as_str().unwrap();
    let replicas = services[1]["metadata"]["name"].as_str().unwrap();
    let namespace = only("namespace.yml")["metadata"]["name"]
        .as_str()
        .unwrap()
        .to_owned();
    assert_eq!(
        advertised,
        format!("http://${{HOSTNAME}}.{replicas}.{namespace}.svc:{port}")
    );
    let mounts = container(&set)["volumeMounts"].as_array().unwrap();
    for path in [
        configuration["path.data"].as_str().unwrap(),
        SECRETS.trim_end_matches('/'),
        "/etc/ecsbeat",
    ] {
        assert!(mounts.iter().any(|mount| mount["mountPath"] == path), "{path}");
    }

    // Each place that the configuration names may be reached: ECS and its diagnostics, Elasticsearch, etcd.
    let policy = only("networkpolicy.yml");
    let ports: Vec<u64> = (policy["spec"]["egress"].as_array().unwrap().iter())
        .flat_map(|rule| rule["ports"].as_array().unwrap())
        .map(|port| port["port"].as_u64().unwrap())
        .collect();
    for wanted in [53, 2379, 4443, 5066, 9101, 9200] {
        assert!(ports.contains(&wanted), "{wanted}: {ports:?}");
    }
}

#[test]
fn the_pod_has_time_to_stop_and_no_rights() {
    let set = only("statefulset.yml");
    let pod = &set["spec"]["template"]["spec"];
    let sample = text("ecsbeat.yml");
    let (_, ha) = sample.split_once("\n#ha:\n").unwrap();
    let default = |key: &str| -> u64 {
        // `ttl` is also a key of Logstash's.
        let lines = if key == "ttl: " {
            ha.lines()
        } else {
            sample.lines()
        };
        let line = lines.map(|line| line.trim_start().trim_start_matches('#'));
        let value = line.filter_map(|line| line.strip_prefix(key)).next().unwrap();
        value.trim_end_matches('s').parse().unwrap()
    };
    let grace = pod["terminationGracePeriodSeconds"].as_u64().unwrap();
    assert!(grace >= default("shutdown_timeout: ") + default("drain_timeout: ") + 5);
    // A lease may be lost and taken again before a probe makes anything of it.
    let liveness = &container(&set)["livenessProbe"];
    let patience =
        liveness["periodSeconds"].as_u64().unwrap() * liveness["failureThreshold"].as_u64().unwrap();
    assert!(patience > default("ttl: "));
    assert_eq!(pod["securityContext"]["runAsNonRoot"], true);
    assert_eq!(pod["automountServiceAccountToken"], false);
    let rights = &container(&set)["securityContext"];
    assert_eq!(rights["readOnlyRootFilesystem"], true);
    assert_eq!(rights["allowPrivilegeEscalation"], false);
    assert_eq!(rights["capabilities"]["drop"][0], "ALL");
    // As the image has it.
    let user = pod["securityContext"]["runAsUser"].to_string();
    assert!(text("Dockerfile").contains(&format!("\nUSER {user}:{user}\n")));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_paths_that_are_asked_are_there() {
    let home = Home::new();
    home.configure(
        "ecsbeat.error_events: false\n\
         ecsbeat.customers: [{customername: c, username: u, password: p, vdcs: [{vdcname: v, nodes: [{host: '127.0.0.1:1'}]}]}]\n\
         output.console: {}\n\
         http: {enabled: true, host: 127.0.0.1, port: 0}\n",
    );
    let mut process = home.start(&[]);
    let address = process.http().await;
    process.logged("ecsbeat start running.").await;
    let set = only("statefulset.yml");
    let asked = [
        &container(&set)["livenessProbe"]["httpGet"]["path"],
        &container(&set)["readinessProbe"]["httpGet"]["path"],
        &set["spec"]["template"]["metadata"]["annotations"]["prometheus.io/path"],
        &only("servicemonitor.yml")["spec"]["endpoints"][0]["path"].clone(),
    ];
    let balancer = text("deploy/haproxy/haproxy.cfg");
    let checks = balancer
        .lines()
        .filter_map(|line| line.trim().strip_prefix("option httpchk GET "));
    let checks: Vec<&str> = checks.collect();
    assert_eq!(checks, ["/leader", "/health"]);
    for path in asked.map(|path| path.as_str().unwrap()).into_iter().chain(checks) {
        assert_eq!(get(address, path).await.status, 200, "{path}");
    }
    process.stopped().await.expect(0);
}
