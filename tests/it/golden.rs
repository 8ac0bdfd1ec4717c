//! Golden pairs: for every type, answers in the shapes that ECS is known to give, and the events they must become.
//!
//! `tests/data/<type>/<case>.json` is an answer (for `dtinfo` the pair `<case>.txt` and `<case>.xml`);
//! `<case>.expected.json` has its records after decoding and transformation, in the order of the answer, and the
//! marker of the next page, or the kind of error. A case `single_…` is the answer about one name by itself. An
//! integer is not equal to a float of its size, so that a number that went through a float is seen.
//! `ECSBEAT_BLESS=1` rewrites what is expected; read the difference before it is committed.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

use ecsbeat::config::{Command, Level, Sources, load};
use ecsbeat::decode::{DecodeError, Decoder, diagnostics};
use ecsbeat::document::{Facts, Frame, Identity, Origin};
use ecsbeat::event::EventId;
use ecsbeat::transform::{Rules, transform};
use serde_json::Value;

/// The records of an answer, each the text of one object, and the marker of the next page.
type Decoded = Result<(Vec<String>, Option<String>), DecodeError>;

fn data() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/data")
}

/// The commands that are polled when none is configured.
fn builtin() -> Vec<Command> {
    let sources = Sources {
        files: vec![data().join("config/minimal.yml")],
        strict_perms: false,
        ..Sources::default()
    };
    let config = load(&sources, &|_| Some("x".to_owned())).unwrap_or_else(|errors| panic!("{errors}"));
    config.ecsbeat.commands
}

/// Decodes and transforms an answer that arrives in pieces of `size` bytes.
fn decode(command: &Command, records: Option<&str>, answer: &[u8], size: usize) -> Decoded {
    let rules = Rules {
        metrics: command.uri.contains("/dashboard/"),
        ..Rules::default()
    };
    let object = |record: &[u8]| {
        let mut out = b"{".to_vec();
        transform(record, &rules, &mut out)?;
        out.push(b'}');
        Ok::<_, DecodeError>(String::from_utf8(out).unwrap())
    };
    let mut decoder = Decoder::new(records);
    let mut found = Vec::new();
    for piece in answer.chunks(size) {
        decoder.feed(piece)?;
        while let Some(record) = decoder.record()? {
            found.push(object(record)?);
        }
    }
    let envelope = decoder.finish()?;
    for record in envelope.rest() {
        found.push(object(record)?);
    }
    let marker = command
        .paginate
        .as_ref()
        .and_then(|paginate| envelope.text(&paginate.marker));
    Ok((found, marker.map(std::borrow::Cow::into_owned)))
}

fn decode_tables(stem: &Path) -> Decoded {
    let ownership = fs::read(stem.with_extension("txt")).unwrap();
    let states = fs::read(stem.with_extension("xml")).unwrap();
    let tables = diagnostics::tables(&ownership, &states)?;
    let texts = tables.iter().map(|table| serde_json::to_string(table).unwrap());
    Ok((texts.collect(), None))
}

/// The content of the expected file.
fn shown(decoded: &Decoded) -> String {
    match decoded {
        Ok((records, marker)) => {
            let marker = serde_json::to_string(marker).unwrap();
            format!(
                "{{\"records\": [\n{}\n], \"next\": {marker}}}\n",
                records.join(",\n")
            )
        }
        Err(error) => {
            let kind = match error {
                DecodeError::Empty => "empty",
                DecodeError::NotJson { .. } => "not_json",
                DecodeError::Truncated { .. } => "truncated",
                DecodeError::Syntax { .. } => "syntax",
                DecodeError::Shape(_) => "shape",
            };
            format!("{{\"error\": \"{kind}\"}}\n")
        }
    }
}

/// The finished event is one line, one object, no member twice, and has its own fields beside the record's.
fn check_document(case: &str, command: &Command, record: &str) {
    let identity = Identity {
        agent_id: "a".into(),
        ephemeral_id: "e".into(),
        name: "host1".into(),
        instance: "host1".into(),
        cluster: None,
        tags: vec!["prod".into()],
        fields: std::collections::BTreeMap::new(),
        fields_under_root: false,
    };
    let tick = "2026-03-02T10:40:00Z".parse().unwrap();
    let frame = Frame::new(
        &identity,
        &Origin::default(),
        &command.kind,
        "metric",
        0,
        tick,
        tick,
    );
    let facts = Facts {
        id: EventId::of([&b"x"[..]]),
        timestamp: tick,
        took: std::time::Duration::ZERO,
        node: None,
        error: None,
    };
    let body = frame.document(&facts, &record.as_bytes()[1..record.len() - 1]);
    assert!(!body.contains(&b'\n'), "{case}: the event is not one line");
    let names = members(&body);
    let distinct: BTreeSet<&String> = names.iter().collect();
    assert_eq!(
        distinct.len(),
        names.len(),
        "{case}: a member comes twice: {names:?}"
    );
    let event: Value = serde_json::from_slice(&body).unwrap();
    assert_eq!(event["type"], "ecsbeat", "{case}");
    assert_eq!(event["ecs-event-type"], command.kind.as_str(), "{case}");
    assert_eq!(event["event"]["module"], "ecsbeat", "{case}");
    assert_eq!(event["@timestamp"], "2026-03-02T10:40:00.000Z", "{case}");
}

/// The names of the root's members as they come, doubles and all.
fn members(json: &[u8]) -> Vec<String> {
    struct Names;
    impl<'de> serde::de::Visitor<'de> for Names {
        type Value = Vec<String>;
        fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
            f.write_str("an object")
        }
        fn visit_map<A: serde::de::MapAccess<'de>>(self, mut map: A) -> Result<Vec<String>, A::Error> {
            let mut names = Vec::new();
            while let Some((name, _)) = map.next_entry::<String, serde::de::IgnoredAny>()? {
                names.push(name);
            }
            Ok(names)
        }
    }
    let mut reader = serde_json::Deserializer::from_slice(json);
    serde::Deserializer::deserialize_map(&mut reader, Names).unwrap()
}

/// Checks every case of a type; `least` is how many there are at the least.
#[track_caller]
fn check(kind: &str, least: usize) {
    let commands = builtin();
    let command = commands.iter().find(|command| command.kind == kind).unwrap();
    let mut cases: Vec<PathBuf> = fs::read_dir(data().join(kind))
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .filter(|path| {
            let name = path.file_name().unwrap().to_string_lossy().into_owned();
            let extension = if command.level == Level::Dtinfo {
                ".txt"
            } else {
                ".json"
            };
            name.ends_with(extension) && !name.ends_with(".expected.json")
        })
        .collect();
    cases.sort();
    assert!(cases.len() >= least, "{} cases of {kind}", cases.len());
    let mut wrong = Vec::new();
    for path in cases {
        let name = path.file_stem().unwrap().to_string_lossy().into_owned();
        let case = format!("{kind}/{name}");
        let decoded = if command.level == Level::Dtinfo {
            decode_tables(&path)
        } else {
            let answer = fs::read(&path).unwrap();
            // One name's answer is its one record.
            let records = command
                .records
                .as_deref()
                .filter(|_| !name.starts_with("single_"));
            let whole = decode(command, records, &answer, answer.len());
            for size in [1, 7] {
                let pieces = decode(command, records, &answer, size);
                assert_eq!(shown(&pieces), shown(&whole), "{case} in pieces of {size}");
            }
            whole
        };
        for record in decoded.iter().flat_map(|(records, _)| records) {
            assert!(!record.contains("CANARY"), "{case}: a secret came through");
            check_document(&case, command, record);
        }
        let expected = path.with_extension("expected.json");
        let found = shown(&decoded);
        if std::env::var_os("ECSBEAT_BLESS").is_some() {
            fs::write(&expected, &found).unwrap();
            continue;
        }
        let text = fs::read_to_string(&expected).unwrap_or_default();
        let want: Value = serde_json::from_str(&text).unwrap_or_default();
        let found: Value = serde_json::from_str(&found).unwrap();
        if want != found {
            wrong.push(format!("{case}\nexpected: {want}\nfound:    {found}"));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n\n"));
}

#[test]
fn localzone() {
    check("localzone", 4);
}

#[test]
fn nodes() {
    check("nodes", 5);
}

#[test]
fn disks() {
    check("disks", 3);
}

#[test]
fn processes() {
    check("processes", 3);
}

#[test]
fn replicationgroups() {
    check("replicationgroups", 3);
}

#[test]
fn storagepools() {
    check("storagepools", 3);
}

#[test]
fn capacity() {
    check("capacity", 3);
}

#[test]
fn auditevent() {
    check("auditevent", 12);
}

#[test]
fn alert() {
    check("alert", 5);
}

#[test]
fn latestalert() {
    check("latestalert", 3);
}

#[test]
fn nsbilling() {
    check("nsbilling", 8);
}

#[test]
fn nsbillingsample() {
    check("nsbillingsample", 3);
}

#[test]
fn dtinfo() {
    check("dtinfo", 4);
}

#[test]
fn every_built_in_type_has_its_pairs() {
    let kinds: BTreeSet<String> = builtin().into_iter().map(|command| command.kind).collect();
    assert_eq!(kinds.len(), 13);
    for kind in kinds {
        assert!(data().join(&kind).is_dir(), "no golden pairs of {kind}");
    }
}
