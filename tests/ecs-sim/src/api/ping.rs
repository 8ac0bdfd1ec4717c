//! Port 9021: the S3 ping. No token; the answer says load and maintenance.

use super::{Answer, Ask};
use crate::fault::Oddity;
use crate::topology::NodeState;

pub(super) fn answer(ask: &Ask<'_>) -> Answer {
    if !ask.request.query.has("ping") {
        return Answer::raw(403, "application/xml", "<Error><Code>AccessDenied</Code></Error>");
    }
    let load = ask
        .federation
        .gauges(false)
        .draw(ask.node.serial ^ 0x10ad, ask.now, 40);
    let (status, text) = match ask.node.state {
        _ if ask.has(Oddity::PingUnknown) => ("UNKNOWN", "Data Node state is unknown"),
        NodeState::Maintenance => ("ON", "Data Node is in maintenance mode"),
        _ => ("OFF", "Data Node is Available"),
    };
    let load_item = format!("<PingItem><Name>LOAD_FACTOR</Name><Value>{load}</Value></PingItem>");
    let mode_item = format!(
        "<PingItem><Name>MAINTENANCE_MODE</Name><Status>{status}</Status><Text>{text}</Text></PingItem>"
    );
    let items = match ask.request.query.get("item") {
        Some("load-factor") => load_item,
        Some("maintenance-mode") => mode_item,
        _ if ask.has(Oddity::PingReordered) => format!("{mode_item}{load_item}"),
        _ => format!("{load_item}{mode_item}"),
    };
    let body = format!(
        "<?xml version=\"1.0\" encoding=\"UTF-8\"?><PingList xmlns=\"http://s3.amazonaws.com/doc/2006-03-01/\">\
         {items}</PingList>"
    );
    Answer::raw(200, "application/xml", &body)
}
