//! The image of ecsbeat: names are resolved and authorities known in it, though nothing else is.
//!
//! Owns the containers for it: something like Elasticsearch with TLS and without, and ecsbeat that talks to it once, by
//! a name of Docker's DNS, by a name of `/etc/hosts`, over TLS with the authorities of the image, and without any right.

use std::fs::Permissions;
use std::os::unix::fs::PermissionsExt as _;
use std::time::{Duration, Instant};

use anyhow::{Context as _, bail};
use testcontainers::core::wait::ExitWaitStrategy;
use testcontainers::core::{Host, Mount, WaitFor};
use testcontainers::runners::AsyncRunner as _;
use testcontainers::{ContainerAsync, ContainerRequest, CopyTargetOptions, GenericImage, ImageExt as _};

use crate::docker::Docker;
use crate::ground::Net;
use crate::report::say;

/// By then a container has written its first file.
const START: Duration = Duration::from_secs(30);
/// Where programs look for the authorities of a system of Debian's kind.
const AUTHORITIES: &str = "/etc/ssl/certs/ca-certificates.crt";
/// Where the simulator leaves its own.
const AUTHORITY: &str = "/data/ca.pem";
/// Most bytes of the image, of a release.
const SIZE: i64 = 20_000_000;
/// Whom it runs as.
const USER: &str = "65532:65532";
const CONFIGURATION: &str = "
ecsbeat.customers: [{customername: c, username: u, password: p, vdcs: [{vdcname: v, nodes: [{host: 192.0.2.1}]}]}]
output.elasticsearch.hosts: ['${OUTPUT}']
";

type Container = ContainerAsync<GenericImage>;

/// Tries all of it; of a release also the size.
pub(crate) async fn play(ground: &Docker, release: bool) -> anyhow::Result<()> {
    looks_right(ground, release).await?;
    let plain = bulk(ground, "plain", &[]).await?;
    let site = ground.net(Net::Site);
    let name = ground.engine().name("plain");
    let on_site = |request: ContainerRequest<GenericImage>| request.with_network(&site);
    test_output(ground, &format!("http://{name}:9200"), on_site)
        .await
        .context("a name of Docker's DNS")?;

    confined(ground, &format!("http://{name}:9200"), &site)
        .await
        .context("with a root that is read-only, and no right")?;

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

/// User and size.
async fn looks_right(ground: &Docker, release: bool) -> anyhow::Result<()> {
    let image = ground
        .engine()
        .api()
        .inspect_image(ground.image("ECSBEAT_IMAGE")?)
        .await;
    let image = image.context("look at the image")?;
    let user = image.config.and_then(|config| config.user);
    if user.as_deref() != Some(USER) {
        bail!("the image runs as {user:?} and not as {USER}");
    }
    let size = image.size.context("the image has no size")?;
    say(&format!("image: {:.1} MB", size as f64 / 1e6));
    if release && size > SIZE {
        bail!("the image is larger than {SIZE} bytes: {size}");
    }
    Ok(())
}

/// Runs it as `docker run --read-only --cap-drop ALL` does. Nothing can be copied into such a container, so that the
/// configuration is mounted.
async fn confined(ground: &Docker, url: &str, site: &str) -> anyhow::Result<()> {
    let configuration = tempfile::Builder::new()
        .permissions(Permissions::from_mode(0o644))
        .tempfile();
    let configuration = configuration.context("a configuration")?;
    std::fs::write(configuration.path(), CONFIGURATION).context("a configuration")?;
    let path = configuration.path().to_str().context("a path that is no text")?;
    let ended = WaitFor::Exit(ExitWaitStrategy::new());
    let container = request(ground, "ECSBEAT_IMAGE", ended)?
        .with_network(site)
        .with_mount(Mount::bind_mount(path, "/ecsbeat.yml"))
        .with_readonly_rootfs(true)
        .with_cap_drop("ALL")
        .with_security_opt("no-new-privileges")
        .with_env_var("OUTPUT", url)
        // The file belongs to whoever runs the tests.
        .with_cmd(["test", "output", "--strict.perms=false"])
        .start()
        .await?;
    let told = [container.stdout_to_vec().await?, container.stderr_to_vec().await?].concat();
    match container.exit_code().await? {
        Some(0) => Ok(()),
        code => bail!("exit code {code:?}: {}", String::from_utf8_lossy(&told)),
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
