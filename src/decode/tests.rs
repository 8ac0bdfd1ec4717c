//! Tests of [`super`]: every shape, in every cut.

use std::borrow::Cow;

use proptest::prelude::*;

use super::*;

/// Records and page marker of `body`, fed in pieces of `piece` bytes.
fn decode(
    body: &[u8],
    records: Option<&str>,
    piece: usize,
) -> Result<(Vec<String>, Option<String>), DecodeError> {
    let mut decoder = Decoder::new(records);
    let mut found = Vec::new();
    for chunk in body.chunks(piece.max(1)) {
        decoder.feed(chunk)?;
        while let Some(record) = decoder.record()? {
            found.push(String::from_utf8(record.to_vec()).unwrap());
        }
    }
    let envelope = decoder.finish()?;
    found.extend(
        envelope
            .rest()
            .iter()
            .map(|record| String::from_utf8(record.clone()).unwrap()),
    );
    Ok((found, envelope.text("NextMarker").map(Cow::into_owned)))
}

#[track_caller]
fn check(body: &str, records: Option<&str>, want: &[&str], marker: Option<&str>) {
    for piece in 1..=body.len().max(1) {
        let (found, next) =
            decode(body.as_bytes(), records, piece).unwrap_or_else(|e| panic!("{piece}: {e}"));
        assert_eq!(found, want, "in pieces of {piece}");
        assert_eq!(next.as_deref(), marker, "in pieces of {piece}");
    }
}

#[test]
fn hal_lists_with_either_key_and_wrapped() {
    let records = [r#"{"id":"a","x":[{"t":"1"}]}"#, r#"{"id":"b\"}"}"#];
    for body in [
        r#"{"title":"t","_links":{"self":{"href":"/x"}},"_embedded":{"_instances":[{"id":"a","x":[{"t":"1"}]}, {"id":"b\"}"}]}}"#,
        r#"{"_embedded":{"instances":[{"id":"a","x":[{"t":"1"}]},{"id":"b\"}"}]},"title":"t"}"#,
        r#"{"list":{"_embedded":{"_instances":[{"id":"a","x":[{"t":"1"}]},{"id":"b\"}"}]}}}"#,
    ] {
        check(body, None, &records, None);
    }
    check(r#"{"_embedded":{"_instances":[]}}"#, None, &[], None);
}

#[test]
fn lists_at_a_pointer_wrapped_single_and_with_a_marker() {
    check(
        r#"{"auditevent":[{"id":1},{"id":2}],"MaxEvents":2,"NextMarker":"m"}"#,
        Some("/auditevent"),
        &[r#"{"id":1}"#, r#"{"id":2}"#],
        Some("m"),
    );
    check(
        r#"{"alerts":{"alert":[{"id":1}],"NextMarker":"n"}}"#,
        Some("/alert"),
        &[r#"{"id":1}"#],
        Some("n"),
    );
    check(
        r#"{"alert":{"id":1},"NextMarker":""}"#,
        Some("/alert"),
        &[r#"{"id":1}"#],
        None,
    );
    check(r#"{"alert":null,"NextMarker":null}"#, Some("/alert"), &[], None);
    check("{}", Some("/alert"), &[], None);
    check(r#"{"alert":[]}"#, Some("/alert"), &[], None);
}

#[test]
fn without_a_pointer_a_lone_list_is_the_records_and_anything_else_is_one_record() {
    check(
        r#"{"auditevent":[{"id":1},{"id":2}],"NextMarker":"m"}"#,
        None,
        &[r#"{"id":1}"#, r#"{"id":2}"#],
        Some("m"),
    );
    check(
        r#"[{"id":1},{"id":2}]"#,
        None,
        &[r#"{"id":1}"#, r#"{"id":2}"#],
        None,
    );
    check(
        r#"{"cluster_capacity":{"totalFree_gb":"740"}}"#,
        None,
        &[r#"{"totalFree_gb":"740"}"#],
        None,
    );
    check(
        r#"{"name":"v","x":[{"t":"1"}],"y":[]}"#,
        None,
        &[r#"{"name":"v","x":[{"t":"1"}],"y":[]}"#],
        None,
    );
    check("{}", None, &[], None);
}

#[test]
fn large_integers_of_a_lone_record_stay_exact() {
    check(
        r#"{"a":9007199254740993,"b":18446744073709551615}"#,
        None,
        &[r#"{"a":9007199254740993,"b":18446744073709551615}"#],
        None,
    );
}

#[test]
fn a_list_of_another_name_is_an_error_and_not_no_records() {
    let error = decode(br#"{"audit":[{"id":1}]}"#, Some("/auditevent"), 99).unwrap_err();
    assert_eq!(
        error.to_string(),
        "no records at /auditevent; the answer has audit"
    );
    assert!(!error.may_pass());
    assert!(decode(br#"{"_embedded":{"items":[{"id":1}]}}"#, None, 99).is_err());
}

#[test]
fn every_cut_of_an_answer_is_truncated() {
    let body = br#"{"_embedded":{"_instances":[{"id":"a"},{"id":"b"}]}}"#;
    for length in 1..body.len() {
        let error = decode(&body[..length], None, 7).unwrap_err();
        assert!(
            matches!(error, DecodeError::Truncated { .. }),
            "{length}: {error}"
        );
        assert!(error.may_pass());
    }
}

#[test]
fn what_is_no_json_is_quoted() {
    assert_eq!(decode(b" \n", None, 1), Err(DecodeError::Empty));
    let error = decode(b"<html>\n <body>502 Bad Gateway</body></html>", None, 9999).unwrap_err();
    assert_eq!(
        error.to_string(),
        r#"expected JSON, found HTML: "<html> <body>502 Bad Gateway</body></html>""#
    );
    let error = decode(b"<?xml version=\"1.0\"?><error/>", None, 9999).unwrap_err();
    assert!(error.to_string().starts_with("expected JSON, found XML"));
    assert!(decode(b"hello", None, 2).is_err());
    assert!(decode(b"{} x", None, 2).is_err());
    assert!(decode(b"{\"a\":[1,2}", None, 2).is_err());
    assert!(decode(b"{\"_embedded\":{\"_instances\":[1]}}", None, 2).is_err());
}

proptest! {
    #[test]
    fn never_panics_and_never_depends_on_the_cut(body in "[\\[\\]{}\",:\\\\a_ 1]{0,40}", piece in 1usize..8) {
        let whole = decode(body.as_bytes(), Some("/a"), usize::MAX);
        let cut = decode(body.as_bytes(), Some("/a"), piece);
        prop_assert_eq!(whole.is_ok(), cut.is_ok());
        if let (Ok(whole), Ok(cut)) = (whole, cut) {
            prop_assert_eq!(whole, cut);
        }
    }

    #[test]
    fn any_bytes_are_survived(body in proptest::collection::vec(any::<u8>(), 0..60), piece in 1usize..9) {
        let _ = decode(&body, None, piece);
    }
}

#[test]
fn blanks_that_keep_a_connection_alive_are_no_empty_answer() {
    check(
        &format!("{}{{\"a\":1}}", " \n".repeat(200)),
        None,
        &[r#"{"a":1}"#],
        None,
    );
}

#[test]
fn a_page_marker_may_be_a_number_and_notes_about_paging_are_no_surprise() {
    check(
        r#"{"alert":[{"id":1}],"NextMarker":17}"#,
        Some("/alert"),
        &[r#"{"id":1}"#],
        Some("17"),
    );
    check(
        r#"{"link":{"rel":"self","href":"/vdc/alerts"},"MaxAlerts":100}"#,
        Some("/alert"),
        &[],
        None,
    );
}

#[test]
fn a_byte_order_mark_is_skipped() {
    check("\u{feff}{\"a\":1}", None, &[r#"{"a":1}"#], None);
}

#[test]
fn a_giant_text_beside_the_records_is_left_out_and_not_held() {
    for text in [
        "x".repeat(3_000_000),
        "\\\\\\\"".repeat(700_000),
        "\\\\".repeat(1_500_000),
    ] {
        for body in [
            format!(r#"{{"padding":"{text}","_embedded":{{"_instances":[{{"id":"a"}}]}}}}"#),
            format!(r#"{{"_embedded":{{"_instances":[{{"id":"a"}}]}},"padding":"{text}"}}"#),
        ] {
            let mut decoder = Decoder::new(None);
            let mut records = 0;
            for piece in body.as_bytes().chunks(16_383) {
                decoder.feed(piece).unwrap();
                while decoder.record().unwrap().is_some() {
                    records += 1;
                }
                assert!(decoder.held() < 1_200_000, "{} bytes held", decoder.held());
            }
            decoder.finish().unwrap();
            assert_eq!(records, 1);
        }
    }
}

#[test]
fn a_giant_record_is_an_error_that_says_what_to_do() {
    let list = format!(
        r#"{{"list":[{}{{"id":1}}],"other":1}}"#,
        r#"{"id":"aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa"},"#.repeat(300_000)
    );
    let error = decode(list.as_bytes(), None, 16_384).unwrap_err();
    assert!(error.to_string().contains("`records`"), "{error}");
    assert_eq!(
        decode(list.as_bytes(), Some("/list"), 16_384).unwrap().0.len(),
        300_001
    );
    let record = format!(r#"{{"list":[{{"id":[{}1]}}]}}"#, "1,".repeat(5_000_000));
    assert!(decode(record.as_bytes(), Some("/list"), 16_384).is_err());
}
