//! What a node does with a request: count it, let the faults that strike and the API answer, log it. Must never
//! know what an answer contains.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use tokio::time::sleep;

use crate::api::{self, Answer, Ask};
use crate::clock;
use crate::effects::{Effects, one_of_hundred};
use crate::fault::{Port, Target};
use crate::federation::{Federation, Traffic};
use crate::http::{Reply, Request, Service};
use crate::request_log::{LoggedRequest, kept, redacted};

/// A node as one of its connections sees it.
pub(crate) struct NodeService {
    federation: Arc<Federation>,
    vdc: usize,
    serial: u64,
    number: usize,
    port: Port,
    connection: u64,
}

/// A request on its way; logged and counted out when dropped.
struct InFlight {
    federation: Arc<Federation>,
    begun: Instant,
    entry: Option<LoggedRequest>,
}

// === impl InFlight ===

impl Drop for InFlight {
    fn drop(&mut self) {
        if let Some(mut entry) = self.entry.take() {
            entry.took_ms = u64::try_from(self.begun.elapsed().as_millis()).unwrap_or(u64::MAX);
            if entry.port == Port::Mgmt
                && let Some(traffic) = self.federation.traffic.get(entry.vdc)
            {
                traffic.leave();
            }
            self.federation.log.push(entry);
        }
    }
}

// === impl NodeService ===

impl NodeService {
    pub(crate) fn new(
        federation: Arc<Federation>,
        vdc: usize,
        serial: u64,
        number: usize,
        port: Port,
        connection: u64,
    ) -> Self {
        Self {
            federation,
            vdc,
            serial,
            number,
            port,
            connection,
        }
    }

    fn begin(&self, request: &Request) -> InFlight {
        let since_start = self.federation.started.elapsed().as_millis();
        let entry = LoggedRequest {
            number: self.federation.requests.fetch_add(1, Ordering::Relaxed) + 1,
            at_ms: self.federation.clock.now_ms(),
            since_start_ms: u64::try_from(since_start).unwrap_or(u64::MAX),
            took_ms: 0,
            vdc: self.vdc,
            node: self.number,
            port: self.port,
            method: request.method.clone(),
            path: request.path.clone(),
            query: request.raw_query.clone(),
            headers: redacted(&request.headers),
            body_length: request.body.len(),
            body: kept(&request.body),
            status: 0,
            user: None,
            connection: self.connection,
            nth_on_connection: request.nth_on_connection,
        };
        InFlight {
            federation: Arc::clone(&self.federation),
            begun: Instant::now(),
            entry: Some(entry),
        }
    }

    /// What the node itself adds to every answer: latency of the configuration, and slowness of its own.
    fn own_delay_ms(&self, number: u64) -> u64 {
        let latency = self.federation.config.latency;
        let configured = if self.port == Port::Mgmt {
            one_of_hundred(number, latency.ms, latency.p99_ms)
        } else {
            0
        };
        let topology = self.federation.topology.read();
        let node = topology
            .vdcs
            .get(self.vdc)
            .and_then(|vdc| vdc.by_serial(self.serial));
        configured + node.map_or(0, |(_, node)| node.slow_ms)
    }

    fn answer(&self, request: &Request, effects: &Effects) -> Answer {
        if let Some(answer) = &effects.replaced {
            return answer.clone();
        }
        let federation = &*self.federation;
        let topology = federation.topology.read();
        let Some(vdc) = topology.vdcs.get(self.vdc) else {
            return Answer::empty(503);
        };
        let Some((_, node)) = vdc.by_serial(self.serial) else {
            return Answer::empty(503);
        };
        api::answer(&Ask {
            federation,
            topology: &topology,
            vdc,
            node,
            port: self.port,
            request,
            segments: api::segments(&request.path),
            now: federation.clock.now(),
            oddities: effects.oddities,
            forced: &effects.forced,
        })
    }
}

impl Service for NodeService {
    async fn call(&self, request: Request) -> Reply {
        let traffic = self
            .federation
            .traffic
            .get(self.vdc)
            .filter(|_| self.port == Port::Mgmt);
        let in_flight = traffic.map_or(0, Traffic::enter);
        let mut guard = self.begin(&request);
        let number = guard.entry.as_ref().map_or(0, |entry| entry.number);
        let target = Target {
            vdc: self.vdc,
            node: Some(self.number),
            port: self.port,
            request: Some((&request.path, &request.method)),
        };
        let hits = self.federation.faults.of_request(&target);
        let effects = Effects::new(&hits, number, in_flight, request.nth_on_connection);
        let delay = effects.delay_ms + self.own_delay_ms(number);
        if delay > 0 {
            sleep(Duration::from_millis(delay)).await;
        }
        let answer = self.answer(&request, &effects);
        if let Some(entry) = guard.entry.as_mut() {
            entry.status = if effects.is_unanswered() { 0 } else { answer.status };
            entry.user.clone_from(&answer.user);
        }
        let mut reply = answer.into_reply(api::wants_json(&request));
        reply.set_header(
            "Date",
            Some(clock::http_date(self.federation.clock.now() + effects.date_skew)),
        );
        effects.finish(&mut reply);
        reply.held = Some(Box::new(guard));
        reply
    }
}
