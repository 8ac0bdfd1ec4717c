//! A kind of server that is tried: where one comes from, and its tests one after the other.
//!
//! Owns the choice between a server that a variable names, a container and a stand-in. Who names a server or an image
//! wants it tried: then that it cannot be had is a failure. Knows no protocol.

use std::any::Any;
use std::future::Future;
use std::sync::Arc;
use std::time::Instant;

use futures_util::future::BoxFuture;
use tokio::task::JoinSet;

use crate::engine::Engine;
use crate::image::{Image, Images};
use crate::verdict::{Outcome, Verdict};

/// What a test does; it fails by panicking, and gives why it could not be done.
pub(crate) type Body<S> = fn(Arc<S>) -> BoxFuture<'static, Option<String>>;

/// A test.
#[derive(Debug)]
pub(crate) struct Test<S> {
    pub(crate) name: &'static str,
    pub(crate) body: Body<S>,
}

/// A kind of server.
pub(crate) trait Service {
    /// Its name, as in the names of tests and, in capitals, of variables.
    const NAME: &'static str;
    /// Its official image.
    const IMAGE: &'static str;
    /// What is tried on it.
    const TESTS: &'static [Test<Self::Server>];
    /// One that runs.
    type Server: Send + Sync + 'static;

    /// The one of this repository.
    fn stand_in() -> impl Future<Output = anyhow::Result<Self::Server>>;

    /// The one that its variable names.
    fn at(url: &str) -> impl Future<Output = anyhow::Result<Self::Server>>;

    /// One in a container; the image is there.
    fn contained(engine: &Engine, image: &Image) -> impl Future<Output = anyhow::Result<Self::Server>>;

    /// Removes what the tests have left on a server that stays.
    fn clean(server: &Self::Server) -> impl Future<Output = ()>;
}

/// A server, and whether it stays when the tests are over.
pub(crate) struct Found<S> {
    server: S,
    stays: bool,
}

/// What keeps a server running.
pub(crate) type Held = Box<dyn Any + Send + Sync>;

/// The value of a variable of a service.
pub(crate) fn variable(service: &str, what: &str) -> (String, Option<String>) {
    let name = format!("ECSBEAT_TEST_{}_{what}", service.to_uppercase());
    let value = std::env::var(&name).ok().filter(|value| !value.is_empty());
    (name, value)
}

/// The stand-in; what hinders it is a failure.
pub(crate) async fn stand_in<S: Service>() -> Result<Found<S::Server>, Outcome> {
    match S::stand_in().await {
        Ok(server) => Ok(Found { server, stays: false }),
        Err(error) => Err(Outcome::Failed(format!("{error:#}"))),
    }
}

/// A real one, or why there is none.
pub(crate) async fn real<S: Service>(images: &mut Images) -> Result<Found<S::Server>, Outcome> {
    let (named, url) = variable(S::NAME, "URL");
    if let Some(url) = url {
        return match S::at(&url).await {
            Ok(server) => Ok(Found { server, stays: true }),
            // The value may hold a password.
            Err(error) => Err(Outcome::Failed(format!(
                "the server that {named} names: {error:#}"
            ))),
        };
    }
    let (wanted, chosen) = variable(S::NAME, "IMAGE");
    let image = Image::parse(chosen.as_deref().unwrap_or(S::IMAGE));
    let engine = match images.obtain(&image).await {
        Ok(engine) => engine,
        Err(why) if chosen.is_some() => return Err(Outcome::Failed(format!("{wanted}: {why}"))),
        Err(why) => return Err(Outcome::Skipped(format!("{why}, and no {named}"))),
    };
    match S::contained(engine, &image).await {
        Ok(server) => Ok(Found { server, stays: false }),
        Err(error) => Err(Outcome::Failed(format!("{image}: {error:#}"))),
    }
}

/// Does the tests, or tells of each why not.
pub(crate) async fn play<S: Service>(
    found: Result<Found<S::Server>, Outcome>,
    tests: Vec<(String, Body<S::Server>)>,
    verdict: &mut Verdict,
) {
    let Found { server, stays } = match found {
        Ok(found) => found,
        Err(outcome) => {
            for (name, _) in &tests {
                verdict.note(name, outcome.clone());
            }
            return;
        }
    };
    let server = Arc::new(server);
    for (name, body) in tests {
        let begin = Instant::now();
        let mut task = JoinSet::new();
        task.spawn(body(Arc::clone(&server)));
        let outcome = match task.join_next().await {
            Some(Ok(None)) => Outcome::Passed(begin.elapsed()),
            Some(Ok(Some(why))) => Outcome::Skipped(why),
            // The panic itself has told on standard error.
            Some(Err(error)) => Outcome::Failed(error.to_string()),
            None => Outcome::Failed("it was not begun".to_owned()),
        };
        verdict.note(&name, outcome);
    }
    if stays {
        S::clean(&server).await;
    }
}
