//! Tests of [`super`].

use proptest::prelude::*;
use serde_json::{Value, json};

use super::*;

#[track_caller]
fn event(record: &Value, metrics: bool) -> Value {
    let rules = Rules {
        metrics,
        ..Rules::default()
    };
    let mut out = b"{".to_vec();
    transform(record.to_string().as_bytes(), &rules, &mut out).unwrap();
    out.push(b'}');
    assert!(!out.contains(&b'\n'));
    serde_json::from_slice(&out).unwrap_or_else(|e| panic!("{e}: {}", String::from_utf8_lossy(&out)))
}

#[test]
fn the_newest_point_is_flattened_with_its_time() {
    let record = json!({
        "_links": {"self": {"href": "/x"}},
        "diskSpaceTotalCurrent": [{"t": "1780000000", "Space": "100"}, {"t": "1780000300", "Space": "235"}, {"t": "1780000100", "Space": "9"}],
        "diskSpaceFreeCurrentL1": [{"t": "1", "Space": "7"}],
        "xCurrentL2": [{"t": 5, " count ": 3}],
        "emptyCurrent": [], "nullCurrent": null,
        "chunksEcCompleteRatioCurrent": "97.25",
    });
    assert_eq!(
        event(&record, true),
        json!({
            "diskSpaceTotalCurrent_Space": 235, "diskSpaceTotalCurrent_t": 1_780_000_300,
            "diskSpaceFreeCurrentL1_Space": 7, "diskSpaceFreeCurrentL1_t": 1,
            "xCurrentL2_count": 3, "xCurrentL2_t": 5,
            "chunksEcCompleteRatioCurrent": 97.25,
        })
    );
}

#[test]
fn maps_of_points_get_the_tag_in_their_name() {
    let record =
        json!({"transactionErrorsCurrent": {"all": [{"t": "1", "Rate": "0.1"}], "S3": [], "n": "3"}});
    assert_eq!(
        event(&record, true),
        json!({"transactionErrorsCurrent_all_Rate": 0.1, "transactionErrorsCurrent_all_t": 1, "transactionErrorsCurrent_n": 3})
    );
}

#[test]
fn numbers_are_exact_and_absent_values_absent() {
    let record = json!({
        "big": "9007199254740993", "exp": "1.2450503E8", "na": "N/A", "empty": "", "null": null,
        "id": "17", "gcUserDataIsEnabled": "true", "real": 18_446_744_073_709_551_615u64,
        "list": [{"t": "1", "Count": "5", "name": "7"}, null, {"x": null}], "none": [],
    });
    let mut out = Vec::new();
    transform(
        record.to_string().as_bytes(),
        &Rules {
            metrics: true,
            ..Rules::default()
        },
        &mut out,
    )
    .unwrap();
    let text = String::from_utf8(out).unwrap();
    for part in [
        r#""big":9007199254740993"#,
        r#""exp":1.2450503E8"#,
        r#""real":18446744073709551615"#,
    ] {
        assert!(text.contains(part), "{part} in {text}");
    }
    assert_eq!(
        event(&record, true),
        json!({
            "big": 9_007_199_254_740_993u64, "exp": 1.245_050_3e8, "id": "17", "gcUserDataIsEnabled": "true",
            "real": 18_446_744_073_709_551_615u64, "list": [{"t": 1, "Count": 5, "name": "7"}, {}], "none": [],
        })
    );
}

#[test]
fn other_records_keep_their_strings_but_for_totals() {
    let record = json!({"total_size": "107.25", "total_size_unit": "GB", "namespace": "2024", "symptomCode": "1012", "n": ""});
    assert_eq!(
        event(&record, false),
        json!({"total_size": 107.25, "total_size_unit": "GB", "namespace": "2024", "symptomCode": "1012", "n": ""})
    );
}

#[test]
fn own_names_are_kept_under_another_and_users_fields_win() {
    let rules = Rules {
        shadowed: BTreeSet::from(["env".to_owned()]),
        wanted: vec!["id".into(), "n".into(), "x".into()],
        ..Rules::default()
    };
    let mut out = Vec::new();
    let found = transform(
        br#"{"type":"RPO","env":"x","id":"a\"b","n":5,"x":{}}"#,
        &rules,
        &mut out,
    )
    .unwrap();
    assert_eq!(
        String::from_utf8(out).unwrap(),
        r#""ecs-type":"RPO","id":"a\"b","n":5,"x":{}"#
    );
    assert_eq!(found, [Some("a\"b".to_owned()), Some("5".to_owned()), None]);
}

#[test]
fn secrets_are_left_out_at_every_depth() {
    let record = json!({
        "name": "vdc", "secretKeys": "CANARY", "vdc": {"secretKeys": "CANARY", "x": [{"root_user_password": "CANARY"}]},
        "user_must_reset_password": false, "xCurrent": [{"t": 1, "y": {"password": "CANARY"}}],
    });
    let event = event(&record, true);
    assert!(!event.to_string().contains("CANARY"), "{event}");
    assert_eq!(event["name"], "vdc");
}

#[test]
fn a_broken_record_leaves_nothing_behind() {
    let mut out = b"x".to_vec();
    for broken in [
        &b"{\"a\":1"[..],
        b"{\"a\":}",
        b"[]",
        b"{} {}",
        b"{\"a\":\"\xff\"}",
    ] {
        assert!(transform(broken, &Rules::default(), &mut out).is_err());
        assert_eq!(out, b"x");
    }
}

fn any_json() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        any::<f64>().prop_map(Value::from),
        "[0-9.eE-]{0,6}|\\PC{0,6}".prop_map(Value::from),
    ];
    leaf.prop_recursive(4, 32, 5, |inner| {
        let key = "t|xCurrent|[a-z]{0,3}Current(L1)?|\\PC{0,3}";
        prop_oneof![
            proptest::collection::vec(inner.clone(), 0..4).prop_map(Value::from),
            proptest::collection::btree_map(key, inner, 0..4)
                .prop_map(|m| Value::Object(m.into_iter().collect())),
        ]
    })
}

proptest! {
    #[test]
    fn any_object_gives_valid_members(record in any_json(), metrics: bool) {
        prop_assume!(record.is_object());
        let mut out = b"{".to_vec();
        transform(record.to_string().as_bytes(), &Rules { metrics, ..Rules::default() }, &mut out).unwrap();
        out.push(b'}');
        let parsed: Result<Value, _> = serde_json::from_slice(&out);
        prop_assert!(parsed.is_ok(), "{}", String::from_utf8_lossy(&out));
    }
}
