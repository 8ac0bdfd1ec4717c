//! The two answers of the diagnostics port, joined: who owns each directory table (DT), and whether it is ready.
//!
//! Owns the text format of `DumpOwnershipInfo` and the XML of `DTInitStat` (both undocumented; shapes after the
//! 2017 beat and field reports). Pure. Healthy tables are not listed in `DTInitStat`, so what is not listed there
//! is ready; a table that is listed there and missing in the dump is kept.

use std::collections::HashMap;

use quick_xml::events::Event as Xml;
use serde::Serialize;

use super::{DecodeError, Quote};

/// One directory table, with the names under which it is shipped.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct DirectoryTable {
    /// The whole urn.
    #[serde(rename = "dt-id")]
    pub id: String,
    /// `creationCompleted`, as text.
    #[serde(rename = "dt-created", skip_serializing_if = "Option::is_none")]
    pub created: Option<String>,
    /// The owning node without its port; absent while nobody owns it.
    #[serde(rename = "dt-owner-ip", skip_serializing_if = "Option::is_none")]
    pub owner_ip: Option<String>,
    /// OB, CT, SS, PR, MA, …
    #[serde(rename = "dt-type", skip_serializing_if = "Option::is_none")]
    pub kind: Option<String>,
    /// Number of the partition, as text.
    #[serde(rename = "dt-partition", skip_serializing_if = "Option::is_none")]
    pub partition: Option<String>,
    /// Level, as text.
    #[serde(rename = "dt-level", skip_serializing_if = "Option::is_none")]
    pub level: Option<String>,
    /// `type_level`.
    #[serde(rename = "dt-type-level", skip_serializing_if = "Option::is_none")]
    pub type_level: Option<String>,
    /// `ready`, `unready` or `unknown`.
    #[serde(rename = "dt-status")]
    pub status: &'static str,
    /// 1 when ready.
    #[serde(rename = "dt-ready")]
    pub ready: u8,
    /// 1 when unready or unknown.
    #[serde(rename = "dt-down")]
    pub down: u8,
    /// The name under which the table is reported.
    #[serde(rename = "dt-error", skip_serializing_if = "Option::is_none")]
    pub error: Option<String>,
}

impl DirectoryTable {
    fn new(id: &str) -> Self {
        // `…:<varray>_<rg>_<type>_<partition>_<count>_<level>`; the replication group may be empty.
        let part = |index| {
            id.split('_')
                .nth(index)
                .filter(|text| !text.is_empty())
                .map(str::to_owned)
        };
        let (kind, level) = (part(2), part(5));
        Self {
            id: id.to_owned(),
            created: None,
            owner_ip: None,
            type_level: kind
                .as_ref()
                .zip(level.as_ref())
                .map(|(kind, level)| format!("{kind}_{level}")),
            kind,
            partition: part(3),
            level,
            status: "ready",
            ready: 1,
            down: 0,
            error: None,
        }
    }

    fn fail(&mut self, error: &str) {
        self.status = if error.ends_with("NO_RESPONSE") {
            "unknown"
        } else {
            "unready"
        };
        self.ready = 0;
        self.down = 1;
        self.error = Some(error.to_owned());
    }
}

/// The tables of both answers, in the order of the dump, those that only `init_stat` knows at the end.
pub fn tables(ownership: &[u8], init_stat: &[u8]) -> Result<Vec<DirectoryTable>, DecodeError> {
    let mut errors = failing(init_stat)?;
    let mut tables = Vec::new();
    let text = String::from_utf8_lossy(ownership);
    for line in text.lines() {
        if let Some(mut table) = owned(line) {
            if let Some(error) = errors.remove(&table.id) {
                table.fail(&error);
            }
            tables.push(table);
        }
    }
    if tables.is_empty() && !text.trim().is_empty() && text.trim_start().starts_with('<') {
        return Err(DecodeError::NotJson {
            what: "HTML or XML",
            quote: Quote::of(ownership),
        });
    }
    let mut missing: Vec<(String, String)> = errors.into_iter().collect();
    missing.sort();
    for (id, error) in missing {
        let mut table = DirectoryTable::new(&id);
        table.fail(&error);
        tables.push(table);
    }
    Ok(tables)
}

/// One line of the dump: `OwnershipInfo: [id: urn:…:], [owner: 10.0.0.2:9069], …`; other lines are noise.
fn owned(line: &str) -> Option<DirectoryTable> {
    let start = line.find("[id:")?;
    let mut fields = line[start..].split(']').filter_map(|part| {
        let (key, value) = part.split_once('[')?.1.split_once(':')?;
        Some((key.trim(), value.trim()))
    });
    let (_, id) = fields.next()?;
    let id = id.trim_end_matches(':').trim();
    if id.is_empty() {
        return None;
    }
    let mut table = DirectoryTable::new(id);
    for (key, value) in fields {
        match key {
            "owner" if !value.is_empty() => {
                // The bracket behind an IPv6 address has ended the part, and the port is not in it.
                let host = value
                    .strip_prefix('[')
                    .or_else(|| Some(value.rsplit_once(':')?.0))
                    .unwrap_or(value);
                table.owner_ip = Some(host.to_owned());
            }
            "creationCompleted" => table.created = Some(value.to_owned()),
            _ => {}
        }
    }
    Some(table)
}

/// Urn → error name, of every table that `DTInitStat` lists.
fn failing(xml: &[u8]) -> Result<HashMap<String, String>, DecodeError> {
    let mut reader = quick_xml::Reader::from_reader(xml);
    reader.config_mut().trim_text(true);
    let mut errors = HashMap::new();
    let mut path: Vec<String> = Vec::new();
    let mut roots = 0;
    loop {
        let at = reader.buffer_position();
        let event = reader.read_event().map_err(|error| DecodeError::Syntax {
            at,
            message: error.to_string(),
        })?;
        match event {
            Xml::Start(start) => {
                roots += usize::from(path.is_empty());
                path.push(start.local_name().as_ref().to_owned());
            }
            Xml::Empty(_) => roots += usize::from(path.is_empty()),
            Xml::End(_) => {
                path.pop();
            }
            Xml::Text(text) => {
                let listed: &str = &text;
                if let [.., entry, name] = path.as_slice()
                    && entry == "entry"
                    && listed.contains("urn:")
                {
                    for urn in listed
                        .trim()
                        .trim_start_matches('[')
                        .trim_end_matches(']')
                        .split(',')
                    {
                        let urn = urn.trim().trim_end_matches(':').trim();
                        if !urn.is_empty() {
                            errors.insert(urn.to_owned(), name.clone());
                        }
                    }
                }
            }
            Xml::Eof if roots == 0 && xml.trim_ascii().is_empty() => return Err(DecodeError::Empty),
            Xml::Eof if !path.is_empty() || roots == 0 => {
                return Err(DecodeError::Truncated {
                    bytes: xml.len() as u64,
                    quote: Quote::of(xml),
                });
            }
            Xml::Eof => return Ok(errors),
            _ => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const OWNERSHIP: &str = "junk\n\
        OwnershipInfo: [id: urn:storageos:OwnershipInfo:v1_r1_OB_17_128_0:], [owner: 10.0.0.2:9069], [creationCompleted: true]\n\
        OwnershipInfo: [id: urn:storageos:OwnershipInfo:v1__SS_3_128_1:], [owner: ], [creationCompleted: false]\n\
        [id: ]\n\
        OwnershipInfo: [id: urn:storageos:OwnershipInfo:v1_r1_CT_5_128_0: ], [owner: node2.example.net]";

    const INIT: &str = "<x><entry><total_dt_num>3</total_dt_num><unready_dt_num>1</unready_dt_num></entry>\
        <entry><type>OB</type><level>0</level>\
        <ERROR_RPC_CLIENT_NO_RESPONSE>[urn:storageos:OwnershipInfo:v1_r1_OB_17_128_0:]</ERROR_RPC_CLIENT_NO_RESPONSE>\
        <ERROR_INIT>[urn:storageos:OwnershipInfo:v1_r1_CT_5_128_0: , urn:storageos:OwnershipInfo:v1_r1_CT_9_128_0:]</ERROR_INIT>\
        </entry></x>";

    #[test]
    fn joins_ownership_and_state() {
        let tables = tables(OWNERSHIP.as_bytes(), INIT.as_bytes()).unwrap();
        let short: Vec<_> = tables
            .iter()
            .map(|t| {
                (
                    t.type_level.as_deref().unwrap(),
                    t.status,
                    t.owner_ip.as_deref(),
                    t.error.as_deref(),
                )
            })
            .collect();
        assert_eq!(
            short,
            [
                (
                    "OB_0",
                    "unknown",
                    Some("10.0.0.2"),
                    Some("ERROR_RPC_CLIENT_NO_RESPONSE")
                ),
                ("SS_1", "ready", None, None),
                ("CT_0", "unready", Some("node2.example.net"), Some("ERROR_INIT")),
                ("CT_0", "unready", None, Some("ERROR_INIT")),
            ]
        );
        assert_eq!(tables[0].id, "urn:storageos:OwnershipInfo:v1_r1_OB_17_128_0");
        assert_eq!(
            (tables[3].partition.as_deref(), tables[3].down, tables[3].ready),
            (Some("9"), 1, 0)
        );
    }

    #[test]
    fn the_last_line_needs_no_line_break_and_answers_are_checked() {
        assert_eq!(tables(OWNERSHIP.as_bytes(), b"<x/>").unwrap().len(), 3);
        assert_eq!(tables(b"", b"<x></x>").unwrap(), []);
        assert_eq!(tables(b"", b" "), Err(DecodeError::Empty));
        assert!(matches!(
            tables(b"", b"<x><entry>"),
            Err(DecodeError::Truncated { .. })
        ));
        assert!(tables(b"<html>502</html>", b"<x></x>").is_err());
        assert!(tables(b"", b"<x></y>").is_err());
    }
}
