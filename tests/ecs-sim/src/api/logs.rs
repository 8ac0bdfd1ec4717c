//! Audit events and alerts, by window and page. The rows come from the journal; this file only shows them.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

use super::{Answer, Ask};
use crate::clock;
use crate::fault::Oddity;
use crate::journal::{Kind, Place, Row};
use crate::json::{self, Obj};

const LATEST_MAX: usize = 20;
/// Characters that a query must escape: a client that does not will not get the next page.
const MARKER_HEAD: &str = "m+/";

const AUDIT: [(&str, &str, &str); 6] = [
    ("Created", "Bucket", "Bucket Created"),
    ("Deleted", "Bucket", "Bucket \"{}\" deleted\tfor good"),
    ("Updated", "Namespace", "Namespace größe geändert"),
    ("Login", "Authentication", "Benutzer 東京 logged in ✓"),
    ("Failed", "Authentication", "Login failed for user \\root"),
    ("Created", "ObjectUser", "Secret key created 🔑"),
];

const ALERTS: [(&str, &str, u32); 5] = [
    (
        "RPO",
        "RPO for replication group rg1 is above the threshold",
        1012,
    ),
    ("DISK", "Disk is ready to replace: Größe 8 TB", 2002),
    ("CAPACITY", "Capacity of storage pool sp1 is above 70 %", 1002),
    ("NODE", "Node 節点 is not accessible", 2011),
    ("LICENSE", "License expires soon – renew", 3001),
];

pub(super) fn events(ask: &Ask<'_>) -> Answer {
    let wanted = ask.request.query.get("namespace");
    let pick = |row: &Row| wanted.is_none_or(|name| namespace(ask, row) == name);
    let write = |o: &mut Obj<'_>, row: &Row| write_event(ask, o, row);
    window(ask, Kind::Audit, pick, write)
}

pub(super) fn alerts(ask: &Ask<'_>) -> Answer {
    let query = &ask.request.query;
    let pick = |row: &Row| {
        query
            .get("severity")
            .is_none_or(|wanted| wanted.eq_ignore_ascii_case(row.severity()))
            && query.get("type").is_none_or(|wanted| wanted == alert(row).0)
            && query
                .get("acknowledged")
                .is_none_or(|wanted| wanted == row.is_acknowledged().to_string())
            && query.get("namespace").is_none_or(str::is_empty)
    };
    window(ask, Kind::Alert, pick, |o, row| write_alert(ask, o, row))
}

pub(super) fn latest(ask: &Ask<'_>) -> Answer {
    let limit = ask
        .request
        .query
        .number("limit")
        .unwrap_or(LATEST_MAX)
        .clamp(1, LATEST_MAX);
    let log = ask.federation.journal(ask.vdc.index, Kind::Alert);
    let rows = log.latest(ask.now, limit, |row| !row.is_acknowledged());
    finish(ask, Kind::Alert, &rows, None, None, |o, row| {
        write_alert(ask, o, row);
    })
}

fn window(
    ask: &Ask<'_>,
    kind: Kind,
    pick: impl Fn(&Row) -> bool,
    write: impl Fn(&mut Obj<'_>, &Row),
) -> Answer {
    let query = &ask.request.query;
    let time = |key, default| match query.get(key).filter(|text| !text.is_empty()) {
        Some(text) => {
            clock::parse(text).ok_or_else(|| Answer::error(400, 1008, &format!("{key} is not a time")))
        }
        None => Ok(default),
    };
    let (start, end) = match (
        time("start_time", ask.federation.begin()),
        time("end_time", ask.now + 60),
    ) {
        (Ok(start), Ok(end)) => (start, end),
        (Err(refusal), _) | (_, Err(refusal)) => return refusal,
    };
    if end < start {
        return Answer::error(400, 1008, "end_time is before start_time");
    }
    let rules = &ask.federation.config.journal;
    let limit = query
        .number("limit")
        .unwrap_or(rules.page_size)
        .clamp(1, rules.max_page_size);
    let mut from = match query.get("marker").filter(|marker| !marker.is_empty()) {
        Some(marker) => match read_marker(marker) {
            Some(place) => Some(place),
            None => return Answer::error(400, 1004, "marker is invalid"),
        },
        None => None,
    };
    if let Some(place) = from.as_mut().filter(|_| ask.has(Oddity::RepeatedRows)) {
        place.number = place.number.saturating_sub(1);
    }
    let log = ask.federation.journal(ask.vdc.index, kind);
    let (rows, next) = log.page((start, end), ask.now, from, limit, pick);
    finish(ask, kind, &rows, Some(limit), next, write)
}

fn write_marker(place: Place) -> String {
    format!(
        "{MARKER_HEAD}{}",
        STANDARD.encode(format!("{}:{}", place.minute, place.number))
    )
}

fn read_marker(marker: &str) -> Option<Place> {
    let text = String::from_utf8(STANDARD.decode(marker.strip_prefix(MARKER_HEAD)?).ok()?).ok()?;
    let (minute, number) = text.split_once(':')?;
    Some(Place {
        minute: minute.parse().ok()?,
        number: number.parse().ok()?,
    })
}

fn finish(
    ask: &Ask<'_>,
    kind: Kind,
    rows: &[Row],
    limit: Option<usize>,
    next: Option<Place>,
    write: impl Fn(&mut Obj<'_>, &Row),
) -> Answer {
    let (key, root, max) = match kind {
        Kind::Audit => ("auditevent", "auditevents", "MaxEvents"),
        Kind::Alert => ("alert", "alerts", "MaxAlerts"),
    };
    let fill = |o: &mut Obj<'_>| {
        match rows {
            [] if ask.has(Oddity::EmptyObject) => return,
            [] if ask.has(Oddity::NullList) => o.null(key),
            [only] if ask.has(Oddity::SingleObject) => o.object(key, |o| write(o, only)),
            _ => o.array(key, |l| rows.iter().for_each(|row| l.object(|o| write(o, row)))),
        }
        if let Some(limit) = limit {
            o.raw(max, limit);
        }
        if let Some(place) = next {
            o.text("NextMarker", &write_marker(place));
        }
    };
    let wrapped = kind == Kind::Alert && ask.has(Oddity::WrappedAlerts);
    let text = json::object(|o| {
        if wrapped {
            o.object("alerts", fill);
        } else {
            fill(o);
        }
    });
    Answer::either(root, text)
}

fn namespace(ask: &Ask<'_>, row: &Row) -> String {
    format!(
        "ns{}",
        row.draw % ask.federation.config.namespaces.max(1) as u64 + 1
    )
}

fn write_event(ask: &Ask<'_>, o: &mut Obj<'_>, row: &Row) {
    let (kind, service, description) = AUDIT[(row.draw >> 16) as usize % AUDIT.len()];
    let namespace = namespace(ask, row);
    let bucket = row.draw % 97;
    o.text("id", &row.id);
    o.text("eventType", kind);
    o.text("userId", "root");
    o.text("serviceType", service);
    o.text("resourceId", &format!("{namespace}.bucket{bucket}"));
    let stamp = if ask.has(Oddity::SecondStamps) {
        clock::second_stamp(row.at)
    } else {
        row.stamp(Kind::Audit)
    };
    o.text("timestamp", &stamp);
    o.text("namespace", &namespace);
    o.text("description", description);
}

fn alert(row: &Row) -> (&'static str, &'static str, u32) {
    ALERTS[(row.draw >> 16) as usize % ALERTS.len()]
}

fn write_alert(ask: &Ask<'_>, o: &mut Obj<'_>, row: &Row) {
    let (kind, description, code) = alert(row);
    o.text("id", &row.id);
    o.text("type", kind);
    o.text("severity", row.severity());
    o.text("timestamp", &row.stamp(Kind::Alert));
    o.text("namespace", "");
    o.text("description", description);
    if ask.has(Oddity::SymptomNumber) {
        o.raw("symptomCode", code);
    } else {
        o.text("symptomCode", &code.to_string());
    }
    o.raw("acknowledged", row.is_acknowledged());
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn markers_read_back() {
        let place = Place {
            minute: 29_540_801,
            number: 7,
        };
        assert_eq!(read_marker(&write_marker(place)), Some(place));
        assert_eq!(read_marker("m /abc"), None);
    }
}
