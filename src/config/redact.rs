//! Settings for people to look at: secrets replaced by `xxxxx`, references left as they are.
//!
//! Owns the list of what is secret. Works on the merged tree before anything is filled in, so that the
//! environment and the keystore never come near it.

use serde_yaml::Value;

use super::node::{Data, Node, Style};
use super::reference::{self, Otherwise, Piece};

const HIDDEN: &str = "xxxxx";
/// Keys whose value is a secret wherever they are.
const SECRET_KEYS: [&str; 6] = ["password", "api_key", "token", "key_passphrase", "secret", "auth"];
/// Parts of header names whose values are credentials.
const SECRET_HEADERS: [&str; 6] = ["auth", "token", "key", "secret", "cookie", "password"];

/// The settings as YAML.
pub(super) fn to_yaml(settings: &Node) -> String {
    serde_yaml::to_string(&value(settings, &[], false)).unwrap_or_default()
}

fn value(node: &Node, path: &[&str], hide: bool) -> Value {
    match &node.data {
        Data::Null => Value::Null,
        Data::Scalar(scalar) if hide => Value::String(hidden(&scalar.text)),
        Data::Scalar(scalar) if scalar.style == Style::Plain && !scalar.text.contains("${") => {
            // Numbers and bools keep their look; what is more than that is text.
            match serde_yaml::from_str::<Value>(&scalar.text) {
                Ok(value @ (Value::Bool(_) | Value::Number(_)))
                    if serde_yaml::to_string(&value).is_ok_and(|shown| shown.trim() == scalar.text) =>
                {
                    value
                }
                _ => Value::String(url_user(&scalar.text)),
            }
        }
        Data::Scalar(scalar) => Value::String(url_user(&scalar.text)),
        Data::List(items) => Value::Sequence(items.iter().map(|item| value(item, path, hide)).collect()),
        Data::Map(map) => {
            let entries = map.entries.iter().map(|(key, node)| {
                let mut path = path.to_vec();
                path.push(key);
                let hide = hide || is_secret(&path, node);
                (Value::String(key.clone()), value(node, &path, hide))
            });
            Value::Mapping(entries.collect())
        }
    }
}

fn is_secret(path: &[&str], node: &Node) -> bool {
    let Some((key, above)) = path.split_last() else {
        return false;
    };
    if above.contains(&"headers") {
        return is_secret_header(key);
    }
    let name = key.to_ascii_lowercase();
    match name.as_str() {
        // A section of that name is looked into: `http.auth.token`.
        "auth" => matches!(node.data, Data::Scalar(_)),
        // The key of a certificate; `key` of a command is a list of field names.
        "key" => above.last() == Some(&"ssl"),
        name => SECRET_KEYS.contains(&name),
    }
}

/// Whether the value of an HTTP header is, or may be, a credential.
pub fn is_secret_header(name: &str) -> bool {
    let name = name.to_ascii_lowercase();
    SECRET_HEADERS.iter().any(|part| name.contains(part))
}

/// A secret's text: references stay, what was written out goes.
fn hidden(text: &str) -> String {
    match reference::parse(text) {
        Ok(pieces)
            if pieces
                .iter()
                .any(|piece| matches!(piece, Piece::Reference { .. })) =>
        {
            written(&pieces, true)
        }
        _ if text.is_empty() => String::new(),
        _ => HIDDEN.to_owned(),
    }
}

fn written(pieces: &[Piece], hide_literals: bool) -> String {
    let mut text = String::new();
    for piece in pieces {
        match piece {
            Piece::Literal(_) if hide_literals => text.push_str(HIDDEN),
            Piece::Literal(literal) => text.push_str(literal),
            Piece::Reference { name, otherwise } => {
                text.push_str("${");
                text.push_str(&written(name, false));
                let (sign, rest) = match otherwise {
                    Otherwise::Fail => ("", None),
                    Otherwise::Default(rest) => (":", Some((rest, true))),
                    Otherwise::Message(rest) => (":?", Some((rest, false))),
                    Otherwise::Instead(rest) => (":+", Some((rest, true))),
                };
                text.push_str(sign);
                if let Some((rest, hide)) = rest {
                    text.push_str(&written(rest, hide));
                }
                text.push('}');
            }
        }
    }
    text
}

/// Takes `user:password@` out of a URL or a list of them, and the value of `password=` wherever it stands. Rather too
/// much than too little: a password may hold any character, so everything from the scheme to the last `@` goes, and
/// everything behind `password=`.
pub(super) fn url_user(text: &str) -> String {
    const NAMED: &str = "password=";
    // Lower-casing ASCII moves nothing.
    match text.to_ascii_lowercase().find(NAMED) {
        Some(at) => format!("{}{HIDDEN}", user(&text[..at + NAMED.len()])),
        None => user(text),
    }
}

fn user(text: &str) -> String {
    let Some((before, host)) = text.rsplit_once('@') else {
        return text.to_owned();
    };
    if let Some((scheme, _)) = before.split_once("://") {
        return format!("{scheme}://{HIDDEN}@{host}");
    }
    let pair = before.contains(':') && !before.contains([' ', '\n', '"', '{']);
    if pair {
        format!("{HIDDEN}@{host}")
    } else {
        text.to_owned()
    }
}

#[cfg(test)]
mod tests {
    use super::super::{dotted, source};
    use super::*;

    #[test]
    fn hides_users_of_urls() {
        for (text, shown) in [
            ("http://u:p@h:1/x", "http://xxxxx@h:1/x"),
            ("http://u:p/w@h", "http://xxxxx@h"),
            ("http://u:p@h,v:q@i", "http://xxxxx@i"),
            ("u:p@h", "xxxxx@h"),
            ("http://h:1/x", "http://h:1/x"),
            ("redis://:p@h:6379/2", "redis://xxxxx@h:6379/2"),
            ("rediss://u:p@h, rediss://u:q@i", "rediss://xxxxx@i"),
            ("redis://h?password=p", "redis://h?password=xxxxx"),
            ("h:6380,Password=p@q,ssl=True", "h:6380,Password=xxxxx"),
            ("redis://u:p@h?password=p", "redis://xxxxx@h?password=xxxxx"),
            ("me@example.com", "me@example.com"),
            (r#"{"a": "me@example.com"}"#, r#"{"a": "me@example.com"}"#),
        ] {
            assert_eq!(url_user(text), shown);
        }
    }

    #[test]
    fn hides_what_is_secret_and_nothing_else() {
        let text = "\
ecsbeat:
  period: 300s
  customers:
    - {username: root, password: ChangeMe, ssl.key: /k.pem}
    - {password: '${ECS_PASSWORD}'}
    - {password: [ChangeMe, {a: ChangeMe}]}
    - {password: '${P:ChangeMe}-ChangeMe', proxy_url: 'http://u:ChangeMe@p:1/x'}
  commands: [{type: a, key: [id], headers: {X-Auth-Token: ChangeMe, Accept: json}}]
http.auth.token: ChangeMe
http.port: 5066
fields.zip: 0123
output.elasticsearch: {api_key: 'id:ChangeMe', hosts: ['https://u:Change/Me@h:1']}
output.redis: {password: ChangeMe, hosts: ['redis://:ChangeMe@r1:6379/2', 'rediss://beat:Change/Me@r2', 'r3:6379']}
";
        let node = dotted::expand(source::parse("x.yml", text).unwrap(), &mut Vec::new());
        let yaml = to_yaml(&node);
        assert!(
            !yaml.contains("ChangeMe") && !yaml.contains("Change/Me"),
            "{yaml}"
        );
        for kept in [
            "username: root",
            "${ECS_PASSWORD}",
            "${P:xxxxx}xxxxx",
            "- id",
            "Accept: json",
            "http://xxxxx@p:1/x",
            "redis://xxxxx@r1:6379/2",
            "rediss://xxxxx@r2",
            "- r3:6379",
            "period: 300s",
            "port: 5066",
        ] {
            assert!(yaml.contains(kept), "{kept} in {yaml}");
        }
        assert!(source::parse("y.yml", &yaml).is_ok());
    }
}
