//! Tests of [`super`]: what is edited, and that nothing else is.

use proptest::prelude::*;
use serde_json::Value as Json;

use super::*;

fn written(object: &Object<'_>) -> String {
    let mut out = Vec::new();
    object.write(&mut out);
    String::from_utf8(out).unwrap()
}

fn read(json: &str) -> Object<'_> {
    Object::read(json.as_bytes()).unwrap()
}

#[test]
fn a_large_value_is_the_piece_it_was_read_from_until_it_is_written() {
    let giant = format!(r#"{{"a":{{"text":"{}"}},"b":1}}"#, "x".repeat(1 << 20));
    let mut object = read(&giant);
    object.put("a.c", Value::json("2")).unwrap();
    let copy = object.clone();
    let taken = object.remove("a.text").unwrap();
    object.put("d.e", taken).unwrap();
    let place = |object: &Object<'_>, path: &str| match object.find(path) {
        Some(Found::Json(json)) => json.as_ptr(),
        other => panic!("{other:?}"),
    };
    let text = giant[giant.find("xxx").unwrap() - 1..].as_ptr();
    assert_eq!(place(&object, "d.e"), text);
    assert_eq!(place(&copy, "a.text"), text);
    assert_eq!(written(&copy), giant.replacen("\"}", "\",\"c\":2}", 1));
}

#[test]
fn names_with_escapes_are_found_and_keep_their_bytes() {
    let json = r#"{"\u00fc":1,"a\"b":{"c\\":2},"":3,"\ud83d\ude00":4}"#;
    let mut object = read(json);
    assert_eq!(written(&object), json);
    for (path, want) in [("ü", "1"), ("a\"b.c\\", "2"), ("", "3"), ("😀", "4")] {
        assert!(
            matches!(object.find(path), Some(Found::Json(found)) if found == want),
            "{path}"
        );
    }
    object.put("a\"b.ü", Value::text("\n".to_owned())).unwrap();
    object.put("ü", Value::json("5")).unwrap();
    assert_eq!(
        written(&object),
        r#"{"\u00fc":5,"a\"b":{"c\\":2,"ü":"\n"},"":3,"\ud83d\ude00":4}"#
    );
}

#[test]
fn a_field_below_something_else_cannot_be_set() {
    for json in [
        r#"{"a":1}"#,
        r#"{"a":[{"b":1}]}"#,
        r#"{"a":"{}"}"#,
        r#"{"a":null}"#,
    ] {
        let mut object = read(json);
        assert_eq!(object.put("a.b", Value::json("1")), Err(NoObject), "{json}");
        assert_eq!(object.put("a.b.c", Value::json("1")), Err(NoObject), "{json}");
        assert!(object.remove("a.b").is_none());
        assert_eq!(written(&object), json);
    }
    // What is not there is not taken apart either.
    let json = r#"{"a":{ "b" : 1 }}"#;
    let mut object = read(json);
    assert!(object.remove("a.c").is_none() && object.remove("a.b.c").is_none());
    assert_eq!(written(&object), json);
    let mut made = Object::default();
    made.put("t", Value::text("{}".to_owned())).unwrap();
    made.put("l", Value::json("[1]")).unwrap();
    assert_eq!(made.put("t.x", Value::json("1")), Err(NoObject));
    assert_eq!(made.put("l.x", Value::json("1")), Err(NoObject));
    assert_eq!(written(&made), r#"{"t":"{}","l":[1]}"#);
}

/// Any JSON object, as text: with escapes, numbers beyond 2^53, names with dots, and space.
fn object_text() -> impl Strategy<Value = String> {
    let name = prop_oneof![
        "[a-c]".prop_map(|name| name.clone()),
        Just("a.b".to_owned()),
        Just(r"\u00fc".to_owned()),
        "[a-c]{1,2}",
    ];
    let leaf = prop_oneof![
        Just("9007199254740993".to_owned()),
        Just("1.50".to_owned()),
        Just("-0.0e+1".to_owned()),
        Just("null".to_owned()),
        Just("[1, {\"a\": 2}]".to_owned()),
        Just(r#""\u00fc\\ x""#.to_owned()),
        any::<String>().prop_map(|text| Json::from(text).to_string()),
    ];
    let value = leaf.prop_recursive(3, 20, 4, move |inner| {
        let members = prop::collection::vec((name.clone(), inner), 0..4);
        (members, prop::bool::ANY).prop_map(|(members, spaced)| {
            let (comma, colon) = if spaced { (" ,\n ", " : ") } else { (",", ":") };
            let members: Vec<String> = members
                .into_iter()
                .map(|(name, value)| format!("\"{name}\"{colon}{value}"))
                .collect();
            format!("{{{}}}", members.join(comma))
        })
    });
    value.prop_filter("an object", |text| text.starts_with('{'))
}

/// Without space between members; nothing else is taken away.
fn compact(text: &str) -> String {
    text.replace(" ,\n ", ",").replace("\" : ", "\":")
}

/// Paths of everything, in order, with the JSON of what is no object.
fn fields(object: &Object<'_>, prefix: &str, found: &mut Vec<(String, String)>) {
    for member in &object.0 {
        let path = format!("{prefix}/{}", member.name.text());
        let mut value = member.value.clone();
        match value.open() {
            Some(inner) => {
                found.push((path.clone(), "{}".to_owned()));
                fields(inner, &path, found);
            }
            None => found.push((path, value.to_json())),
        }
    }
}

fn all_of(object: &Object<'_>) -> Vec<(String, String)> {
    let mut found = Vec::new();
    fields(object, "", &mut found);
    found
}

proptest! {
    #[test]
    fn what_is_read_is_what_is_written(text in object_text()) {
        let mut object = read(&text);
        prop_assert_eq!(compact(&written(&object)), compact(&text));
        // Also where every object is taken apart.
        object.sift("", &mut |_| Sifted::Inside);
        prop_assert_eq!(compact(&written(&object)), compact(&text));
    }

    #[test]
    fn a_field_is_found_where_json_finds_it(text in object_text(), path in "[a-c](\\.[a-c]){0,2}") {
        let mut object = read(&text);
        let want = json::at(text.as_bytes(), &path).map(compact);
        let found = |object: &Object<'_>| object.get(&path).map(|value| compact(&value.to_json()));
        prop_assert_eq!(found(&object), want.clone());
        object.sift("", &mut |_| Sifted::Inside);
        prop_assert_eq!(found(&object), want.clone());
        prop_assert_eq!(object.find(&path).is_some(), want.is_some());
    }

    #[test]
    fn setting_a_field_touches_nothing_else(text in object_text(), path in "[a-c](\\.[a-c]){0,2}") {
        let before = read(&text);
        let mut after = before.clone();
        let there = before.find(&path).is_some();
        if after.put(&path, Value::json("7777")).is_err() {
            prop_assert_eq!(compact(&written(&after)), compact(&text));
            return Ok(());
        }
        prop_assert!(matches!(after.find(&path), Some(Found::Json("7777"))));
        let (before, after) = (all_of(&before), all_of(&after));
        let new = after.iter().position(|(_, value)| value == "7777").unwrap();
        if there {
            // What was below it is gone; what is before and behind it is the same.
            prop_assert_eq!(&before[..new], &after[..new]);
            let below = format!("{}/", after[new].0);
            let rest: Vec<_> = before[new + 1..]
                .iter()
                .skip_while(|(path, _)| path.starts_with(&below))
                .cloned()
                .collect();
            prop_assert_eq!(&rest, &after[new + 1..]);
        } else {
            // Only it, and objects on the way to it, are new.
            let mut rest = after.clone();
            rest.remove(new);
            for (path, value) in &before {
                let at = rest.iter().position(|field| field == &(path.clone(), value.clone()));
                rest.remove(at.unwrap());
            }
            let name = after[new].0.clone();
            let on_the_way = rest
                .iter()
                .all(|(path, value)| value == "{}" && name.starts_with(path.as_str()));
            prop_assert!(on_the_way);
        }
    }

    #[test]
    fn taking_a_field_out_touches_nothing_else(text in object_text(), path in "[a-c](\\.[a-c]){0,2}") {
        let before = read(&text);
        let mut after = before.clone();
        let Some(value) = after.remove(&path) else {
            prop_assert!(before.find(&path).is_none());
            prop_assert_eq!(compact(&written(&after)), compact(&text));
            return Ok(());
        };
        prop_assert_eq!(value.to_json(), before.get(&path).unwrap().to_json());
        let (before, mut after) = (all_of(&before), all_of(&after));
        after.reverse();
        let mut gone = Vec::new();
        for field in before {
            if after.last() == Some(&field) {
                after.pop();
            } else {
                gone.push(field);
            }
        }
        prop_assert!(after.is_empty(), "the rest is the same, in its order: {:?}", after);
        let tail = |path: &str| path.trim_start_matches('/').replace('/', ".");
        let below = format!("{path}.");
        let all_below = gone
            .iter()
            .all(|(name, _)| tail(name) == path || tail(name).starts_with(&below));
        prop_assert!(all_below);
    }
}
