//! The image of ecsbeat: names are resolved and authorities known in it, though nothing else is.
//!
//! Owns the containers for it: something like Elasticsearch with TLS and without, and ecsbeat that talks to it once, by
//! a name of Docker's DNS, by a name of `/etc/hosts`, and over TLS with the authorities of the image.

use std::path::Path;
use std::time::{Duration, Instant};

use anyhow::{Context as _, bail};

use crate::docker::{Docker, docker};
use crate::ground::Net;

/// By then a container has written its first file.
const START: Duration = Duration::from_secs(30);
/// Where programs look for the authorities of a system of Debian's kind.
const AUTHORITIES: &str = "/etc/ssl/certs/ca-certificates.crt";
const CONFIGURATION: &str = "
ecsbeat.customers: [{customername: c, username: u, password: p, vdcs: [{vdcname: v, nodes: [{host: 192.0.2.1}]}]}]
output.elasticsearch.hosts: ['${OUTPUT}']
";

/// Tries all of it.
pub(crate) async fn play(ground: &Docker, directory: &Path) -> anyhow::Result<()> {
    let label = format!("--label={}", ground.label());
    let network = format!("--network={}", ground.net(Net::Site));
    let simulator = ground.image("SIM_IMAGE")?;
    let bulk = |arguments: &[&str]| {
        let begin = ["run", "--detach", &label, &network];
        let end = [simulator, "bulk", "--listen=0.0.0.0:9200"];
        docker(&[&begin, &["--network-alias=output"][..], &end, arguments].concat())
    };
    let plain = bulk(&[])?;
    let format = "--format={{range .NetworkSettings.Networks}}{{.IPAddress}}{{end}}";
    let address = docker(&["inspect", format, &plain])?;
    let configuration = directory.join("image.yml");
    std::fs::write(&configuration, CONFIGURATION).context("write a configuration")?;

    let try_output = |url: &str, options: &[&str], authorities: Option<&Path>| {
        let variable = format!("--env=OUTPUT={url}");
        let begin = ["create", &label, &variable];
        let end = [ground.image("ECSBEAT_IMAGE")?, "test", "output"];
        let container = docker(&[&begin, options, &end].concat())?;
        let copy = |from: &Path, to: &str| {
            docker(&["cp", &from.display().to_string(), &format!("{container}:{to}")])
        };
        copy(&configuration, "/ecsbeat.yml")?;
        if let Some(path) = authorities {
            copy(path, AUTHORITIES)?;
        }
        docker(&["start", "--attach", &container]).with_context(|| format!("test output of {url}"))
    };

    try_output("http://output:9200", &[&network], None).context("a name of Docker's DNS")?;
    let known = format!("--add-host=elsewhere.example:{address}");
    try_output("http://elsewhere.example:9200", &[&network, &known], None).context("a name of /etc/hosts")?;
    if let Ok(told) = try_output("http://nowhere.example:9200", &[&network], None) {
        bail!("a name that nobody has was resolved: {told}");
    }

    let secure = bulk(&["--tls", "--ca-file=/data/ca.pem"])?;
    let authority = directory.join("ca.pem");
    let begin = Instant::now();
    while docker(&[
        "cp",
        &format!("{secure}:/data/ca.pem"),
        &authority.display().to_string(),
    ])
    .is_err()
    {
        if begin.elapsed() > START {
            bail!("no certificate after {} s", START.as_secs());
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    // The certificate is good for this name.
    let beside = format!("--network=container:{secure}");
    try_output("https://localhost:9200", &[&beside], Some(&authority))
        .context("an authority that the image knows")?;
    match try_output("https://localhost:9200", &[&beside], None) {
        Ok(told) => bail!("an authority that the image does not know was trusted: {told}"),
        Err(_) => Ok(()),
    }
}
