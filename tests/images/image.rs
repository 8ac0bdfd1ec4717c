//! Official images: whether they can be had, and containers of them.
//!
//! Owns the one question to each registry a run, with a limit, and the pull. What cannot be had is told and takes no
//! time. Containers carry the label of this process, so that the next run removes what a killed one has left.

use std::collections::HashMap;
use std::fmt;
use std::time::{Duration, Instant};

use anyhow::{Context as _, bail};
use testcontainers::core::{ContainerPort, IntoContainerPort as _};
use testcontainers::runners::AsyncRunner as _;
use testcontainers::{ContainerAsync, ContainerRequest, GenericImage, ImageExt as _};
use tokio::time::timeout;

use crate::engine::Engine;
use crate::verdict::say;

/// The label of all that is made.
const LABEL: &str = "ecsbeat-images";
/// A registry that has not answered by then is taken for none.
const ANSWER: Duration = Duration::from_secs(20);
/// A pull that has not ended by then never will.
const PULL: Duration = Duration::from_secs(15 * 60);
/// A server that has not come up by then never will.
const START: Duration = Duration::from_secs(180);
/// How often it is looked whether it has.
const LOOK: Duration = Duration::from_millis(200);

/// A container of an official image.
pub(crate) type Container = ContainerAsync<GenericImage>;

/// An image by its name.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Image {
    name: String,
    tag: String,
}

/// What is known of images and registries in this run.
#[derive(Debug, Default)]
pub(crate) struct Images {
    engine: Option<Result<Engine, String>>,
    /// Why a registry gives nothing.
    closed: HashMap<String, String>,
}

impl Image {
    /// `registry/name:tag`; the tag is `latest` where there is none.
    pub(crate) fn parse(text: &str) -> Self {
        let (name, tag) = match text.rsplit_once(':') {
            // What follows a port is no tag.
            Some((name, tag)) if !tag.contains('/') => (name, tag),
            _ => (text, "latest"),
        };
        Self {
            name: name.to_owned(),
            tag: tag.to_owned(),
        }
    }

    /// By the rule of Docker's command line.
    fn registry(&self) -> &str {
        match self.name.split_once('/') {
            Some((first, _)) if first.contains(['.', ':']) || first == "localhost" => first,
            _ => "docker.io",
        }
    }

    /// A container of it that is to be.
    pub(crate) fn request(&self, engine: &Engine, ports: &[u16]) -> ContainerRequest<GenericImage> {
        let (label, run) = engine.label();
        let mut image = GenericImage::new(&self.name, &self.tag);
        for port in ports {
            image = image.with_exposed_port(port.tcp());
        }
        image.with_label(label, run)
    }
}

impl fmt::Display for Image {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.name, self.tag)
    }
}

impl Images {
    /// Sees to it that an image is there; gives the engine, or tells why it cannot be had.
    pub(crate) async fn obtain(&mut self, image: &Image) -> Result<&Engine, String> {
        if self.engine.is_none() {
            let engine = Engine::connect(LABEL).await;
            self.engine = Some(engine.map_err(|error| format!("no Docker ({error:#})")));
        }
        let engine = match &self.engine {
            Some(Ok(engine)) => engine,
            Some(Err(why)) => return Err(why.clone()),
            None => return Err("no Docker".to_owned()),
        };
        let registry = image.registry();
        if engine.api().inspect_image(&image.to_string()).await.is_ok() {
            return Ok(engine);
        }
        if std::env::var("ECSBEAT_TEST_PULL").is_ok_and(|value| value == "0") {
            return Err(format!("no image {image}, and ECSBEAT_TEST_PULL=0"));
        }
        if !self.closed.contains_key(registry)
            && let Err(why) = ask(engine, image).await
        {
            self.closed.insert(registry.to_owned(), why);
        }
        if let Some(why) = self.closed.get(registry) {
            return Err(format!("no Docker registry {registry} ({why})"));
        }
        say(&format!("images: pulling {image}"));
        match timeout(PULL, image.request(engine, &[]).pull_image()).await {
            Ok(Ok(_)) => Ok(engine),
            Ok(Err(error)) => Err(format!("no image {image} ({error})")),
            Err(_) => Err(format!("no image {image} (it was not pulled within {PULL:?})")),
        }
    }
}

/// Whether the registry of an image answers, in whatever way.
async fn ask(engine: &Engine, image: &Image) -> Result<(), String> {
    use testcontainers::bollard::errors::Error;

    match timeout(
        ANSWER,
        engine.api().inspect_registry_image(&image.to_string(), None),
    )
    .await
    {
        Ok(Ok(_)) => Ok(()),
        // The registry knows no such image, or wants an account first: that is the pull's affair.
        Ok(Err(Error::DockerResponseServerError { status_code, .. }))
            if (400..500).contains(&status_code) =>
        {
            Ok(())
        }
        Ok(Err(error)) => Err(error.to_string()),
        Err(_) => Err(format!("no answer within {ANSWER:?}")),
    }
}

/// Starts a container.
pub(crate) async fn start(request: ContainerRequest<GenericImage>) -> anyhow::Result<Container> {
    request.start().await.context("start a container")
}

/// Where a port of a container is reached.
pub(crate) async fn address(container: &Container, port: ContainerPort) -> anyhow::Result<String> {
    let host = container.get_host().await?.to_string();
    // The other address that the name may have is not always published.
    let host = if host == "localhost" { "127.0.0.1" } else { &host };
    let port = container.get_host_port_ipv4(port).await?;
    Ok(format!("{host}:{port}"))
}

/// Waits until a server in a container gives what is looked for.
pub(crate) async fn ready<T>(
    container: &Container,
    mut look: impl AsyncFnMut() -> anyhow::Result<T>,
) -> anyhow::Result<T> {
    let begin = Instant::now();
    loop {
        let why = match look().await {
            Ok(found) => return Ok(found),
            Err(why) => why,
        };
        let runs = container.is_running().await?;
        if !runs || begin.elapsed() > START {
            let what = if runs { "is not ready" } else { "has ended" };
            let words = [container.stdout_to_vec().await?, container.stderr_to_vec().await?].concat();
            let words = String::from_utf8_lossy(&words);
            let lines: Vec<&str> = words.lines().collect();
            let last = lines[lines.len().saturating_sub(20)..].join("\n");
            bail!(
                "it {what} after {:.0} s: {why:#}\n{last}",
                begin.elapsed().as_secs_f64()
            );
        }
        tokio::time::sleep(LOOK).await;
    }
}
