//! The image of ecsbeat: names are resolved and authorities known in it, though nothing else is.
//!
//! Owns the containers for it: something like Elasticsearch with TLS and without, and ecsbeat that talks to it once, by
//! a name of Docker's DNS, by a name of `/etc/hosts`, and over TLS with the authorities of the image.

use std::time::{Duration, Instant};

use anyhow::{Context as _, bail};
use testcontainers::core::wait::ExitWaitStrategy;
use testcontainers::core::{Host, WaitFor};
use testcontainers::runners::AsyncRunner as _;
use testcontainers::{ContainerAsync, ContainerRequest, CopyTargetOptions, GenericImage, ImageExt as _};

use crate::docker::Docker;
use crate::ground::Net;

/// By then a container has written its first file.
const START: Duration = Duration::from_secs(30);
/// Where programs look for the authorities of a system of Debian's kind.
const AUTHORITIES: &str = "/etc/ssl/certs/ca-certificates.crt";
/// Where the simulator leaves its own.
const AUTHORITY: &str = "/data/ca.pem";
const CONFIGURATION: &str = "
ecsbeat.customers: [{customername: c, username: u, password: p, vdcs: [{vdcname: v, nodes: [{host: 192.0.2.1}]}]}]
output.elasticsearch.hosts: ['${OUTPUT}']
";

type Container = ContainerAsync<GenericImage>;

/// Tries all of it.
pub(crate) async fn play(ground: &Docker) -> anyhow::Result<()> {
    let plain = bulk(ground, "plain", &[]).await?;
    let site = ground.net(Net::Site);
    let name = ground.engine().name("plain");
    let on_site = |request: ContainerRequest<GenericImage>| request.with_network(&site);
    test_output(ground, &format!("http://{name}:9200"), on_site)
        .await
        .context("a name of Docker's DNS")?;

    let address = plain.get_bridge_ip_address().await?;
    let known = |request| on_site(request).with_host("elsewhere.example", Host::Addr(address));
    test_output(ground, "http://elsewhere.example:9200", known)
        .await
        .context("a name of /etc/hosts")?;
    if let Ok(told) = test_output(ground, "http://nowhere.example:9200", on_site).await {
        bail!("a name that nobody has was resolved: {told}");
    }

    let secure = bulk(ground, "secure", &["--tls", &format!("--ca-file={AUTHORITY}")]).await?;
    let begin = Instant::now();
    let authority = loop {
        let read = secure.copy_file_from(AUTHORITY, Vec::new()).await;
        match read {
            Ok(pem) if pem.ends_with(b"-----END CERTIFICATE-----\n") => break pem,
            read if begin.elapsed() > START => {
                read.with_context(|| format!("no certificate after {} s", START.as_secs()))?;
                bail!("no whole certificate after {} s", START.as_secs());
            }
            _ => {}
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    };
    // The certificate is good for this name.
    let url = "https://localhost:9200";
    let beside =
        |request: ContainerRequest<GenericImage>| request.with_network(format!("container:{}", secure.id()));
    let trusting = |request| {
        let target = CopyTargetOptions::new(AUTHORITIES).with_mode(0o644);
        beside(request).with_copy_to(target, authority.clone())
    };
    test_output(ground, url, trusting)
        .await
        .context("an authority that the image knows")?;
    match test_output(ground, url, beside).await {
        Ok(told) => bail!("an authority that the image does not know was trusted: {told}"),
        Err(_) => Ok(()),
    }
}

/// A container's image, and the label that lets it be removed.
fn request(ground: &Docker, variable: &str, wait: WaitFor) -> anyhow::Result<ContainerRequest<GenericImage>> {
    let image = ground.image(variable)?;
    let (name, tag) = (image.rsplit_once(':')).with_context(|| format!("{image} has no tag"))?;
    let (label, run) = ground.engine().label();
    Ok(GenericImage::new(name, tag)
        .with_wait_for(wait)
        .with_label(label, run))
}

/// Something like Elasticsearch, on the site.
async fn bulk(ground: &Docker, name: &str, arguments: &[&str]) -> anyhow::Result<Container> {
    let arguments = ["bulk", "--listen=0.0.0.0:9200"].iter().chain(arguments);
    request(ground, "SIM_IMAGE", WaitFor::Nothing)?
        .with_container_name(ground.engine().name(name))
        .with_network(ground.net(Net::Site))
        .with_cmd(arguments.copied())
        .start()
        .await
        .context("start a bulk API")
}

/// Runs `ecsbeat test output` to its end in a container; gives what it wrote.
async fn test_output(
    ground: &Docker,
    url: &str,
    place: impl Fn(ContainerRequest<GenericImage>) -> ContainerRequest<GenericImage>,
) -> anyhow::Result<String> {
    let ended = WaitFor::Exit(ExitWaitStrategy::new());
    let target = CopyTargetOptions::new("/ecsbeat.yml").with_mode(0o644);
    let request = request(ground, "ECSBEAT_IMAGE", ended)?
        .with_env_var("OUTPUT", url)
        .with_copy_to(target, CONFIGURATION.as_bytes().to_vec())
        .with_cmd(["test", "output"]);
    let container = (place(request).start().await).with_context(|| format!("test output of {url}"))?;
    let told = [container.stdout_to_vec().await?, container.stderr_to_vec().await?].concat();
    let told = String::from_utf8_lossy(&told).into_owned();
    match container.exit_code().await? {
        Some(0) => Ok(told),
        code => bail!("test output of {url}: exit code {code:?}: {told}"),
    }
}
