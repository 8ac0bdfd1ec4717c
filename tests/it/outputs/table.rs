//! The table of faults.
//!
//! Owns which faults there are for an output with a network, how long each lasts, and what may come of it. It knows no
//! protocol.

use chaos::{Chaos, Fault, Rule};

use super::receiver::{Own, Receiver};
use super::world::{Setup, World};

/// How long a fault lasts: no time, but until it has shown.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Until {
    /// So many errors of the output have been counted.
    Errors(u32),
    /// So many more events have been accepted in spite of it.
    Accepted(u32),
}

/// A line of the table.
pub(crate) struct Line {
    pub(crate) name: String,
    pub(crate) kind: Kind,
    pub(crate) until: Until,
    /// Whether an event may be stored twice because of it: an answer was lost, so nobody can know.
    pub(crate) repeats: bool,
}

/// What is done, and undone.
pub(crate) enum Kind {
    /// Between the output and its server.
    Between(Rule),
    /// As `Between`, with new connections.
    BetweenAnew(Rule),
    /// Every connection is closed whenever it is idle.
    CloseIdle,
    /// The proxy shows another certificate to new connections.
    Show(Face),
    /// The name leads to another address; the old one is a black hole.
    Move,
    /// What only this server does.
    Own(&'static str),
}

/// What TLS clients are shown.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Face {
    /// A new certificate of the same authority.
    Renewed,
    /// One of an authority that nobody trusts.
    Stranger,
    /// The usual one, and clients must show one of their own.
    AsksForOne,
    /// No TLS at all.
    Plain,
}

fn line(name: &str, kind: Kind, until: Until, repeats: bool) -> Line {
    Line {
        name: name.to_owned(),
        kind,
        until,
        repeats,
    }
}

fn between(name: &str, fault: Fault, until: Until, repeats: bool) -> Line {
    line(name, Kind::Between(fault.into()), until, repeats)
}

/// What every output with a network must stand.
fn lines<R: Receiver>() -> Vec<Line> {
    let failing = Until::Errors(3);
    vec![
        between("port closed", Fault::Refuse, failing, true),
        line(
            "connections reset and hung up on",
            Kind::BetweenAnew(Fault::Hangup.into()),
            failing,
            true,
        ),
        between(
            "reset amid a request",
            Fault::ResetAfter { bytes: 150 },
            failing,
            true,
        ),
        between(
            "answer lost",
            Fault::lose_answer(R::CARRIES_EVENTS),
            Until::Errors(1),
            true,
        ),
        between(
            "answer replaced by garbage",
            Fault::garbage(R::CARRIES_EVENTS, &b"\0\xff2X garbage\r\n\r\n"[..]),
            Until::Errors(1),
            true,
        ),
        between(
            "pieces of 5 bytes",
            Fault::Pieces { bytes: 5 },
            Until::Accepted(40),
            false,
        ),
        between("half-open", Fault::HalfOpen, failing, true),
        line("closed while idle", Kind::CloseIdle, Until::Accepted(60), true),
    ]
}

fn own<R: Receiver>() -> impl Iterator<Item = Line> {
    R::OWN
        .iter()
        .map(|own: &Own| line(own.name, Kind::Own(own.name), own.until, own.repeats))
}

/// Runs through everything that happens between an output and its server, and through what only that one does.
pub(crate) async fn network<R: Receiver>() {
    let Some(mut world) = World::<R>::start(Setup::default()).await else {
        return;
    };
    for line in lines::<R>().into_iter().chain(own::<R>()) {
        world.measure(line).await;
    }
    world.finish().await;
}

/// Runs through what only this server does.
pub(crate) async fn local<R: Receiver>() {
    let Some(mut world) = World::<R>::start(Setup::default()).await else {
        return;
    };
    for line in own::<R>() {
        world.measure(line).await;
    }
    world.finish().await;
}

/// Runs through what happens to TLS.
pub(crate) async fn tls<R: Receiver>() {
    let setup = Setup {
        tls: true,
        ..Setup::default()
    };
    let Some(mut world) = World::<R>::start(setup).await else {
        return;
    };
    let failing = Until::Errors(3);
    for (name, face, until) in [
        ("certificate renewed", Face::Renewed, Until::Accepted(60)),
        ("certificate of a stranger", Face::Stranger, failing),
        ("client certificate asked for", Face::AsksForOne, failing),
        ("no TLS any more", Face::Plain, failing),
    ] {
        // The connections that there were are reset, and answers with them.
        world.measure(line(name, Kind::Show(face), until, true)).await;
    }
    let cut = Fault::ResetAfter { bytes: 150 };
    world
        .measure(between("TLS, reset amid a request", cut, failing, true))
        .await;
    world
        .measure(between("TLS, half-open", Fault::HalfOpen, failing, true))
        .await;
    world.finish().await;
}

/// The name of the server moves to another address.
pub(crate) async fn moved<R: Receiver>() {
    let setup = Setup {
        named: true,
        ..Setup::default()
    };
    let Some(mut world) = World::<R>::start(setup).await else {
        return;
    };
    world
        .measure(line(
            "address of the name changed",
            Kind::Move,
            Until::Accepted(20),
            true,
        ))
        .await;
    world.finish().await;
}

/// Makes a rule stand between, and gives the proxy for more.
pub(crate) fn set<'c>(chaos: &'c Chaos, rule: &Rule) -> &'c Chaos {
    chaos.set(rule.clone());
    chaos
}
