//! The Docker engine, over its API.
//!
//! Owns the connection and the removal of what was made: everything carries a label with the id of this process, so
//! that what a killed run has left behind is known as such and removed by the next one. The connection is that of
//! testcontainers, so that `DOCKER_HOST` and its like mean the same to every test; what testcontainers has no verb for
//! (networks with ranges, containers with addresses, cutting off, killing) is asked through its client, bollard.
//!
//! Any engine serves: bollard 0.21 names no version of the API in its requests (<https://github.com/fussybeaver/bollard/issues/736>),
//! and each engine then speaks its own. A later release may name its newest, which an engine of some years refuses
//! ("client version 1.53 is too new. Maximum supported API version is 1.41"): that is why a version is agreed on here.

use std::collections::HashMap;
use std::future::Future;
use std::path::Path;

use anyhow::{Context as _, bail};
use testcontainers::bollard::Docker;
use testcontainers::bollard::models::ContainerState;
use testcontainers::bollard::query_parameters::{
    ListContainersOptionsBuilder, ListNetworksOptionsBuilder, RemoveContainerOptionsBuilder,
};
use testcontainers::core::client::docker_client_instance;
use tokio::runtime::Handle;

/// A connection, and what was made over it; dropping it removes all of that.
#[derive(Debug)]
pub(crate) struct Engine {
    api: Docker,
    version: String,
    label: &'static str,
    run: String,
}

/// Waits for an answer of the engine where nothing else can run meanwhile, as when something is dropped. On a runtime
/// of several threads only.
pub(crate) fn wait<T>(answer: impl Future<Output = T>) -> T {
    tokio::task::block_in_place(|| Handle::current().block_on(answer))
}

impl Engine {
    /// Connects, and removes what runs with this label have left behind that are no more. An error tells why there is
    /// no engine to be had.
    pub(crate) async fn connect(label: &'static str) -> anyhow::Result<Self> {
        let api = docker_client_instance().await?;
        let api = api.negotiate_version().await.context("ask the Docker engine")?;
        let version = api.version().await.context("ask the Docker engine")?.version;
        let engine = Self {
            api,
            version: version.unwrap_or_else(|| "of an unknown version".to_owned()),
            label,
            run: std::process::id().to_string(),
        };
        engine.remove_left_behind().await?;
        Ok(engine)
    }

    /// What the engine is asked through.
    pub(crate) fn api(&self) -> &Docker {
        &self.api
    }

    /// Its version.
    pub(crate) fn version(&self) -> &str {
        &self.version
    }

    /// The label that everything has to carry, and its value.
    pub(crate) fn label(&self) -> (&'static str, &str) {
        (self.label, &self.run)
    }

    /// The label, as the API takes it.
    pub(crate) fn labels(&self) -> HashMap<String, String> {
        HashMap::from([(self.label.to_owned(), self.run.clone())])
    }

    /// A name that nothing of another process has.
    pub(crate) fn name(&self, of: &str) -> String {
        format!("{}-{}-{of}", self.label, self.run)
    }

    /// How a container is.
    pub(crate) async fn state(&self, container: &str) -> anyhow::Result<ContainerState> {
        let seen = self.api.inspect_container(container, None).await;
        let seen = seen.with_context(|| format!("look at container {container}"))?;
        seen.state
            .with_context(|| format!("container {container} has no state"))
    }

    /// Removes all containers and networks whose label has this value.
    async fn remove(&self, run: &str) -> anyhow::Result<()> {
        let filters = self.filters(Some(run));
        let options = ListContainersOptionsBuilder::new().all(true).filters(&filters);
        let mut problems = Vec::new();
        for container in self.api.list_containers(Some(options.build())).await? {
            let options = RemoveContainerOptionsBuilder::new().force(true).v(true);
            let id = container.id.unwrap_or_default();
            let removed = self.api.remove_container(&id, Some(options.build())).await;
            problems.extend(removed.err());
        }
        let options = ListNetworksOptionsBuilder::new().filters(&filters);
        for network in self.api.list_networks(Some(options.build())).await? {
            let removed = self.api.remove_network(&network.id.unwrap_or_default()).await;
            problems.extend(removed.err());
        }
        match problems.first() {
            None => Ok(()),
            Some(first) => bail!(
                "{} things of {}={run} are still there: {first}",
                problems.len(),
                self.label
            ),
        }
    }

    /// Removes what processes have left behind that are no more.
    async fn remove_left_behind(&self) -> anyhow::Result<()> {
        let filters = self.filters(None);
        let options = ListContainersOptionsBuilder::new().all(true).filters(&filters);
        let containers = self.api.list_containers(Some(options.build())).await?;
        let options = ListNetworksOptionsBuilder::new().filters(&filters);
        let networks = self.api.list_networks(Some(options.build())).await?;
        let labels = (containers.into_iter().filter_map(|container| container.labels))
            .chain(networks.into_iter().filter_map(|network| network.labels));
        let runs: Vec<String> = labels
            .filter_map(|mut labels| labels.remove(self.label))
            .collect();
        for run in runs {
            if !Path::new("/proc").join(&run).exists() {
                // Another process may be at it as well.
                let _ = self.remove(&run).await;
            }
        }
        Ok(())
    }

    fn filters(&self, run: Option<&str>) -> HashMap<&str, Vec<String>> {
        let label = run.map_or_else(|| self.label.to_owned(), |run| format!("{}={run}", self.label));
        HashMap::from([("label", vec![label])])
    }
}

impl Drop for Engine {
    #[expect(clippy::print_stderr, reason = "nobody else is left to tell it")]
    fn drop(&mut self) {
        if let Err(error) = wait(self.remove(&self.run)) {
            eprintln!("Docker: {error:#}");
        }
    }
}
