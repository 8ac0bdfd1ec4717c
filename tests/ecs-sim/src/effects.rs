//! What the faults that strike one request come to: a delay, an answer in place of the real one, a way to send
//! it. Must never look at the world.

use std::io::Write as _;
use std::time::Duration;

use bytes::Bytes;
use flate2::Compression;
use flate2::write::GzEncoder;

use crate::api::Answer;
use crate::fault::{Fault, Hit, Oddities};
use crate::http::{Body, BreakOff, Dribble, Framing, HeaderCase, Manner, Reply, Silence};

const HTML: &str = "<!DOCTYPE html><html><head><title>ECS Portal</title></head><body><h1>Please wait</h1>\
                    <p>The portal is starting.</p></body></html>";

/// The faults of one request, put together.
#[derive(Default)]
pub(crate) struct Effects {
    pub(crate) delay_ms: u64,
    /// What is answered instead of what the API would.
    pub(crate) replaced: Option<Answer>,
    /// Faults that the API itself acts out.
    pub(crate) forced: Vec<Fault>,
    pub(crate) oddities: Oddities,
    pub(crate) date_skew: i64,
    manner: Manner,
    /// Another `Content-Type`; none at all when empty.
    content_type: Option<String>,
    gzip: bool,
    big: u64,
}

/// `ms`, or `p99_ms` for one number in a hundred.
pub(crate) fn one_of_hundred(number: u64, ms: u64, p99_ms: u64) -> u64 {
    if number.is_multiple_of(100) {
        ms.max(p99_ms)
    } else {
        ms
    }
}

// === impl Effects ===

impl Effects {
    pub(crate) fn new(hits: &[Hit], number: u64, in_flight: usize, nth_on_connection: u32) -> Self {
        let mut effects = Self::default();
        for hit in hits {
            effects.add(hit, number, in_flight, nth_on_connection);
        }
        effects
    }

    fn add(&mut self, hit: &Hit, number: u64, in_flight: usize, nth_on_connection: u32) {
        let manner = &mut self.manner;
        match &hit.fault {
            Fault::Latency { ms, p99_ms } => self.delay_ms += one_of_hundred(number, *ms, *p99_ms),
            Fault::SlowHeaders { ms } => manner.slow_headers = Some(Duration::from_millis(*ms)),
            Fault::Hang => manner.silence = Some(Silence::Hang),
            Fault::Reset => manner.silence = Some(Silence::Reset),
            Fault::ResetMidBody => {
                manner.break_off = Some(BreakOff {
                    percent: 50,
                    reset: true,
                });
            }
            Fault::Truncate { chunked, percent } => {
                manner.break_off = Some(BreakOff {
                    percent: *percent,
                    reset: false,
                });
                if *chunked {
                    manner.framing = Framing::Chunked;
                }
            }
            Fault::Dribble { bytes, pause_ms } => {
                manner.dribble = Some(Dribble {
                    bytes: *bytes,
                    pause: Duration::from_millis(*pause_ms),
                });
            }
            Fault::Chunked => manner.framing = Framing::Chunked,
            Fault::UntilClose => {
                manner.framing = Framing::UntilClose;
                manner.close = true;
            }
            Fault::CloseAfter { requests, announce } if nth_on_connection >= *requests => {
                manner.close = true;
                manner.announce_close = *announce;
            }
            Fault::LowerCaseHeaders => manner.header_case = HeaderCase::Lower,
            Fault::UpperCaseHeaders => manner.header_case = HeaderCase::Upper,
            Fault::ContentType { value } => self.content_type = Some(value.clone().unwrap_or_default()),
            Fault::Gzip => self.gzip = true,
            Fault::Big { bytes } => self.big += bytes,
            Fault::DateSkew { secs } => self.date_skew += secs,
            Fault::HtmlPage => self.replace(Answer::raw(200, "text/html", HTML)),
            Fault::EmptyBody => self.replace(Answer::raw(200, "application/json", "")),
            Fault::Answer {
                status,
                content_type,
                body,
            } => {
                self.replace(Answer::raw(
                    *status,
                    content_type.as_deref().unwrap_or_default(),
                    body,
                ));
            }
            Fault::Redirect { location, status } => {
                let mut answer = Answer::empty(*status);
                answer.headers.push(("Location", location.clone()));
                self.replace(answer);
            }
            Fault::Status { .. } => self.replace_by_script(hit),
            Fault::Governor { max, delay_ms } if in_flight > *max => match delay_ms {
                Some(ms) => self.delay_ms += ms,
                None => self.replace(Answer::error(503, 6000, "too many requests at once")),
            },
            Fault::Odd { oddity } => self.oddities.add(*oddity),
            Fault::LoginWithoutToken
            | Fault::LoginError
            | Fault::TokenLimit
            | Fault::TokenExpired
            | Fault::TokenGarbled
            | Fault::Forbidden
            | Fault::HostRejected => self.forced.push(hit.fault.clone()),
            _ => {}
        }
    }

    /// The first rule that replaces the answer wins.
    fn replace(&mut self, answer: Answer) {
        self.replaced.get_or_insert(answer);
    }

    fn replace_by_script(&mut self, hit: &Hit) {
        let Fault::Status {
            codes,
            retry_after,
            retryable,
            code,
            details,
        } = &hit.fault
        else {
            return;
        };
        let at = usize::try_from(hit.before)
            .unwrap_or(usize::MAX)
            .min(codes.len().saturating_sub(1));
        let status = codes.get(at).copied().unwrap_or(200);
        if status == 200 {
            return;
        }
        let mut answer = Answer::error_with(
            status,
            code.unwrap_or_else(|| usual_code(status)),
            details.as_deref().unwrap_or("switched on in the simulator"),
            *retryable,
        );
        if let Some(seconds) = retry_after {
            answer.headers.push(("Retry-After", seconds.to_string()));
        }
        self.replace(answer);
    }

    /// Nothing of the answer goes out.
    pub(crate) fn is_unanswered(&self) -> bool {
        self.manner.silence.is_some()
    }

    /// Applies what concerns the answer's bytes.
    pub(crate) fn finish(self, reply: &mut Reply) {
        reply.manner = self.manner;
        if self.big > 0 {
            inflate(&mut reply.body, self.big);
        }
        if self.gzip {
            compress(reply);
        }
        if let Some(value) = self.content_type {
            reply.set_header("Content-Type", Some(value).filter(|value| !value.is_empty()));
        }
    }
}

fn usual_code(status: u16) -> u32 {
    match status {
        400 => 1013,
        401 => 4000,
        403 => 1026,
        404 => 1019,
        415 => 1003,
        500 => 7000,
        _ => 6000,
    }
}

/// Puts a long member at the head of a JSON object.
fn inflate(body: &mut Body, filling: u64) {
    if let Body::Whole(bytes) = body
        && let Some(rest) = bytes.strip_prefix(b"{")
    {
        let mut tail = Vec::with_capacity(rest.len() + 2);
        tail.extend_from_slice(if rest == b"}" { b"\"" } else { b"\"," });
        tail.extend_from_slice(rest);
        *body = Body::Inflated {
            head: Bytes::from_static(b"{\"_padding\":\""),
            filling,
            tail: Bytes::from(tail),
        };
    }
}

fn compress(reply: &mut Reply) {
    if let Body::Whole(bytes) = &reply.body {
        let mut encoder = GzEncoder::new(Vec::new(), Compression::fast());
        if encoder.write_all(bytes).is_ok()
            && let Ok(packed) = encoder.finish()
        {
            reply.body = Body::Whole(Bytes::from(packed));
            reply.set_header("Content-Encoding", Some("gzip".to_owned()));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn hit(fault: Fault, before: u32) -> Hit {
        Hit { fault, before }
    }

    #[test]
    fn a_script_of_statuses_runs_and_its_last_one_stays() {
        let fault = Fault::Status {
            codes: vec![503, 200, 429],
            retry_after: Some(1),
            retryable: Some(false),
            code: None,
            details: None,
        };
        let status = |before| {
            let effects = Effects::new(&[hit(fault.clone(), before)], 1, 1, 1);
            effects.replaced.map_or(200, |answer| answer.status)
        };
        assert_eq!([status(0), status(1), status(2), status(9)], [503, 200, 429, 429]);
    }

    #[test]
    fn delays_add_up_and_the_governor_counts() {
        let hits = [
            hit(Fault::Latency { ms: 5, p99_ms: 50 }, 0),
            hit(
                Fault::Governor {
                    max: 2,
                    delay_ms: Some(7),
                },
                0,
            ),
        ];
        assert_eq!(Effects::new(&hits, 1, 2, 1).delay_ms, 5);
        assert_eq!(Effects::new(&hits, 100, 3, 1).delay_ms, 57);
        let refusing = [hit(
            Fault::Governor {
                max: 2,
                delay_ms: None,
            },
            0,
        )];
        assert!(Effects::new(&refusing, 1, 3, 1).replaced.is_some());
    }

    #[test]
    fn an_inflated_answer_stays_json() {
        for (text, rest) in [("{}", 0), (r#"{"a":1}"#, 1)] {
            let mut body = Body::Whole(Bytes::from_static(text.as_bytes()));
            inflate(&mut body, 3);
            let Body::Inflated { head, tail, .. } = body else {
                panic!("not inflated")
            };
            let whole = [&head[..], b"xxx", &tail[..]].concat();
            let value: serde_json::Value = serde_json::from_slice(&whole).unwrap();
            assert_eq!(value.as_object().unwrap().len(), 1 + rest);
        }
    }
}
