//! Billing of namespaces and buckets: snapshots and windows, alone and in batches. Owns the rules of bodies and
//! windows; the figures come from metering.

use serde_json::Value;

use super::{Answer, Ask, buckets};
use crate::clock;
use crate::fault::Oddity;
use crate::json::{self, Obj};
use crate::metering::{self, Held, Share};
use crate::profile::Profile;

/// Snapshot or window.
#[derive(Clone, Copy)]
enum What {
    Info,
    Sample { start: i64, end: i64 },
}

/// A parsed question.
struct Question<'a> {
    ask: &'a Ask<'a>,
    what: What,
    unit: &'a str,
    detail: bool,
    uptodate_till: i64,
    /// One namespace or bucket was asked for with GET.
    single: bool,
}

pub(super) fn answer(ask: &Ask<'_>) -> Answer {
    let path: Vec<&str> = ask.segments.iter().map(String::as_str).collect();
    let method = ask.request.method.as_str();
    if ask.has(Oddity::EmptyBilling) {
        return Answer::raw(200, "application/json", "");
    }
    let question = |what: &str, single| Question::parse(ask, what, single);
    match (method, &path[2..]) {
        ("POST", ["namespace", what @ ("info" | "sample")]) => ids(ask)
            .and_then(|ids| Ok(question(what, false)?.namespaces(&ids)))
            .unwrap_or_else(|refusal| refusal),
        ("POST", ["buckets", namespace, what @ ("info" | "sample")]) => ids(ask)
            .and_then(|ids| Ok(question(what, false)?.buckets(namespace, &ids)))
            .unwrap_or_else(|refusal| refusal),
        ("GET", ["namespace", name, what @ ("info" | "sample")]) => {
            if !ask.topology.namespaces.contains(*name) {
                return Answer::not_found();
            }
            question(what, true).map_or_else(|refusal| refusal, |question| question.one(name, None))
        }
        ("GET", ["buckets", namespace, bucket, what @ ("info" | "sample")]) => {
            if !ask.topology.namespaces.contains(*namespace)
                || !buckets::names(ask).iter().any(|name| name == bucket)
            {
                return Answer::not_found();
            }
            question(what, true).map_or_else(
                |refusal| refusal,
                |question| question.one(namespace, Some(bucket)),
            )
        }
        ("POST" | "GET", _) => Answer::not_found(),
        _ => Answer::error(405, 1001, "Method not allowed"),
    }
}

/// The ids of a batch, by the rules of the body.
fn ids(ask: &Ask<'_>) -> Result<Vec<String>, Answer> {
    let body = &ask.request.body;
    if body.is_empty() || ask.request.header("content-type").is_none() {
        return Err(Answer::error(415, 1003, "Unsupported media type"));
    }
    let bad = |details: &str| Answer::error(400, 1013, details);
    let value: Value = serde_json::from_slice(body).map_err(|_| bad("Request body cannot be read"))?;
    match value {
        Value::Null => Err(Answer::error_with(500, 999, "null", Some(false))),
        Value::Object(members) => {
            if let Some(unknown) = members.keys().find(|key| *key != "id") {
                return Err(bad(&format!("{unknown} is not a valid property")));
            }
            match members.get("id") {
                None => Ok(Vec::new()),
                Some(Value::String(one)) => Ok(vec![one.clone()]),
                Some(Value::Array(list)) => {
                    let texts: Option<Vec<_>> =
                        list.iter().map(|id| id.as_str().map(str::to_owned)).collect();
                    texts.ok_or_else(|| bad("id is not a list of texts"))
                }
                Some(_) => Err(bad("id is not a list")),
            }
        }
        _ => Err(bad("Bad request body")),
    }
}

// === impl Question ===

impl<'a> Question<'a> {
    fn parse(ask: &'a Ask<'a>, what: &str, single: bool) -> Result<Self, Answer> {
        let query = &ask.request.query;
        let unit = query.get("sizeunit").unwrap_or("GB");
        let is_known = matches!(unit, "KB" | "MB" | "GB")
            || (ask.node.profile.is_objectscale() && metering::sized(0, unit, false).is_some());
        if !is_known {
            return Err(Answer::error(400, 1008, "sizeunit is not valid"));
        }
        let what = if what == "info" { What::Info } else { window(ask)? };
        let billing = &ask.federation.config.billing;
        let uptodate_till = metering::floor(ask.now - billing.lag_secs, billing.grid_secs);
        let detail = query.is_true("include_bucket_detail");
        Ok(Self {
            ask,
            what,
            unit,
            detail,
            uptodate_till,
            single,
        })
    }

    fn namespaces(&self, ids: &[String]) -> Answer {
        let mut rows: Vec<&String> = ids
            .iter()
            .filter(|id| self.ask.topology.namespaces.contains(*id))
            .collect();
        if self.ask.has(Oddity::ReorderedRows) {
            rows.reverse();
        }
        if self.ask.has(Oddity::MissingRows) {
            let mut number = 0;
            rows.retain(|_| {
                number += 1;
                number % 3 != 0
            });
        }
        let key = match self.what {
            What::Info => "namespace_billing_infos",
            What::Sample { .. } => "namespace_billing_sample_infos",
        };
        let text = json::object(|o| {
            o.array(key, |l| {
                for (number, name) in rows.iter().enumerate() {
                    l.object(|o| self.write_namespace(o, name, number));
                }
            });
        });
        Answer::either(key, text)
    }

    fn buckets(&self, namespace: &str, ids: &[String]) -> Answer {
        let known = buckets::names(self.ask);
        let key = match self.what {
            What::Info => "bucket_billing_infos",
            What::Sample { .. } => "bucket_billing_sample_infos",
        };
        let text = json::object(|o| {
            o.array(key, |l| {
                for name in ids.iter().filter(|id| known.contains(id)) {
                    l.object(|o| self.write_bucket(o, namespace, name));
                }
            });
        });
        Answer::either(key, text)
    }

    fn one(&self, namespace: &str, bucket: Option<&str>) -> Answer {
        let root = match (bucket, self.what) {
            (None, What::Info) => "namespace_billing_info",
            (None, What::Sample { .. }) => "namespace_billing_sample_info",
            (Some(_), What::Info) => "bucket_billing_info",
            (Some(_), What::Sample { .. }) => "bucket_billing_sample_info",
        };
        let text = json::object(|o| match bucket {
            None => self.write_namespace(o, namespace, 0),
            Some(bucket) => self.write_bucket(o, namespace, bucket),
        });
        Answer::either(root, text)
    }

    fn write_namespace(&self, o: &mut Obj<'_>, name: &str, number: usize) {
        let profile = self.ask.node.profile;
        o.text("namespace", name);
        if profile.has_long_billing() {
            let valid = if self.ask.has(Oddity::InvalidNamespaces) && number % 3 == 2 {
                "false"
            } else if self.ask.has(Oddity::ValidNamespaceName) || (self.single && !profile.is_objectscale()) {
                name
            } else {
                "true"
            };
            o.text("valid_namespace", valid);
        }
        self.write_figures(o, name, None);
        if !self.has_completeness() && !self.detail {
            return;
        }
        let key = match self.what {
            What::Info => "bucket_billing_info",
            What::Sample { .. } => "bucket_billing_sample",
        };
        o.array(key, |l| {
            if self.detail {
                for bucket in buckets::names(self.ask) {
                    l.object(|o| self.write_bucket(o, name, &bucket));
                }
            }
        });
        o.text("next_marker", "");
    }

    fn write_bucket(&self, o: &mut Obj<'_>, namespace: &str, bucket: &str) {
        o.text("name", bucket);
        o.text("namespace", namespace);
        o.text("vpool_id", &self.ask.topology.replication_group);
        self.write_figures(o, namespace, self.share_of(bucket));
        if self.ask.node.profile.has_long_billing() {
            o.array("TagSet", |_| {});
        }
    }

    fn share_of(&self, bucket: &str) -> Option<Share> {
        let names = buckets::names(self.ask);
        let number = names.iter().position(|name| name == bucket)?;
        Some(Share {
            number: i64::try_from(number).ok()?,
            count: i64::try_from(names.len()).ok()?,
        })
    }

    /// The total of a namespace: with bucket detail the sum of what its buckets show, each rounded.
    fn size(&self, held: Held, share: Option<Share>) -> String {
        let whole = self.ask.node.profile.has_whole_sizes();
        let shown = |bytes| metering::sized(bytes, self.unit, whole).unwrap_or_default();
        let count = i64::try_from(self.ask.federation.config.buckets_per_namespace).unwrap_or(0);
        if !self.detail || share.is_some() || count == 0 {
            return shown(held.bytes);
        }
        let parts = (0..count).map(|number| shown(held.share(Share { number, count }).bytes));
        parts
            .filter_map(|text| text.parse::<f64>().ok())
            .sum::<f64>()
            .to_string()
    }

    /// Snapshots of 3.8.0 do not say up to when they are complete.
    fn has_completeness(&self) -> bool {
        self.ask.node.profile != Profile::V3_8_0 || matches!(self.what, What::Sample { .. })
    }

    fn write_figures(&self, o: &mut Obj<'_>, name: &str, share: Option<Share>) {
        let seed = self.ask.federation.config.seed;
        let till = self.uptodate_till;
        let mark = match self.what {
            What::Info => till,
            What::Sample { start, end } => {
                // What is not booked yet is missing: who asks too early gets too little.
                let delta = metering::window(seed, name, start, end.min(till));
                let delta = share.map_or(delta, |share| delta.share(share));
                o.text("sample_start_time", &clock::zulu_stamp(start));
                o.text("sample_end_time", &clock::zulu_stamp(end));
                o.raw("objects_created", delta.objects_created);
                o.raw("objects_deleted", delta.objects_deleted);
                o.raw("bytes_delta", delta.bytes);
                o.raw("ingress", delta.ingress);
                o.raw("egress", delta.egress);
                end.min(till)
            }
        };
        let profile = self.ask.node.profile;
        let held = metering::held(seed, name, mark);
        let held = share.map_or(held, |share| held.share(share));
        let size = self.size(held, share);
        if profile.has_sizes_in_gb() {
            o.raw(
                "total_size_in_gb",
                metering::sized(held.bytes, "GB", true).unwrap_or_default(),
            );
        } else {
            if self.is_number() {
                o.raw("total_size", size);
            } else {
                o.text("total_size", &size);
            }
            o.text("total_size_unit", self.unit);
        }
        o.raw("total_objects", held.objects);
        if matches!(self.what, What::Info) {
            o.text(
                "sample_time",
                &clock::zulu_stamp(metering::floor(self.ask.now, metering::STEP)),
            );
            if profile.has_long_billing() {
                o.text("total_mpu_size", "0");
                o.raw("total_mpu_parts", 0);
                o.text("total_objects_deleted", "0");
                o.text("total_size_deleted", "0");
            }
        }
        if self.has_completeness() {
            o.text("uptodate_till", &clock::zulu_stamp(till));
        }
    }

    fn is_number(&self) -> bool {
        if self.ask.has(Oddity::SizeNumbers) {
            return true;
        }
        let profile = self.ask.node.profile;
        let is_number = profile.has_whole_sizes() || (self.single && profile.has_number_sizes());
        is_number && !self.ask.has(Oddity::SizeStrings)
    }
}

/// The window of a sample: both ends on the grid, the start before the end.
fn window(ask: &Ask<'_>) -> Result<What, Answer> {
    let grid = ask.federation.config.billing.grid_secs;
    let time = |key: &str| {
        let text = ask
            .request
            .query
            .get(key)
            .ok_or_else(|| Answer::error(400, 1008, &format!("{key} is missing")))?;
        let at =
            clock::parse(text).ok_or_else(|| Answer::error(400, 1008, &format!("{key} is not a time")))?;
        if metering::floor(at, grid) == at {
            Ok(at)
        } else {
            Err(Answer::error(
                400,
                1029,
                &format!("{key} is not a multiple of {} minutes", grid as f64 / 60.0),
            ))
        }
    };
    let (start, end) = (time("start_time")?, time("end_time")?);
    if start >= end {
        return Err(Answer::error(400, 1008, "start_time is not before end_time"));
    }
    Ok(What::Sample { start, end })
}
