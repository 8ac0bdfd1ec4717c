//! What an expression of Prometheus asks for.
//!
//! Owns [`asked`], which finds the series, their labels and the labels of groupings in an expression. It knows the
//! words of the language and where names can stand, not what an expression means: whether it is one at all is for
//! `promtool` to say.

use std::collections::{BTreeMap, BTreeSet};

/// What is asked for.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Asked {
    pub(super) series: Vec<Selector>,
    /// Labels in `by (…)`, `on (…)` and the like.
    pub(super) grouping: BTreeSet<String>,
}

/// A series and the labels that are looked at.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Selector {
    pub(super) name: String,
    pub(super) labels: BTreeSet<String>,
}

/// Labels that Prometheus gives every target, whatever it exposes.
const OF_TARGETS: [&str; 3] = ["cluster", "instance", "job"];
/// Words before a list of labels.
const LISTS: [&str; 6] = ["by", "without", "on", "ignoring", "group_left", "group_right"];
/// Words that are neither series nor functions.
const WORDS: [&str; 8] = ["and", "or", "unless", "bool", "offset", "inf", "nan", "atan2"];

#[derive(Debug, PartialEq, Eq)]
enum Token<'t> {
    Word(&'t str),
    Sign(char),
    /// A number, a span of time, or a text in quotes.
    Literal,
}

/// What an expression asks for. Panics at what cannot be one.
pub(super) fn asked(expression: &str) -> Asked {
    let tokens = tokens(expression);
    let mut asked = Asked::default();
    let mut at = 0;
    while let Some(token) = tokens.get(at) {
        let next = tokens.get(at + 1);
        at += 1;
        match token {
            // The span of a range.
            Token::Sign('[') => at = past(&tokens, at, ']'),
            Token::Sign('{') => panic!("a selector without a name: {expression}"),
            Token::Word(word) if has_labels(word) && next == Some(&Token::Sign('(')) => {
                let end = past(&tokens, at + 1, ')');
                asked.grouping.extend(words(&tokens[at..end]));
                at = end;
            }
            Token::Word(word) if has_labels(word) || WORDS.contains(&word.to_ascii_lowercase().as_str()) => {}
            // A function, or an aggregation with its labels before or after.
            Token::Word(_) if next == Some(&Token::Sign('(')) || is_list(next) => {}
            Token::Word(name) => {
                let mut labels = BTreeSet::new();
                if next == Some(&Token::Sign('{')) {
                    let end = past(&tokens, at + 1, '}');
                    labels.extend(words(&tokens[at..end]));
                    at = end;
                }
                asked.series.push(Selector {
                    name: (*name).to_owned(),
                    labels,
                });
            }
            _ => {}
        }
    }
    asked
}

/// What of it there is not: a series, or a label of it. `samples` are the names that exist, with their labels.
pub(super) fn missing(expression: &str, samples: &BTreeMap<String, BTreeSet<String>>) -> Vec<String> {
    let asked = asked(expression);
    let mut missing = Vec::new();
    // Prometheus makes it.
    let of_up = BTreeSet::new();
    let mut known: BTreeSet<&str> = OF_TARGETS.into();
    if asked.series.is_empty() {
        missing.push(format!("no series in {expression}"));
    }
    for selector in &asked.series {
        let labels = match samples.get(&selector.name) {
            Some(labels) => labels,
            None if selector.name == "up" => &of_up,
            None => {
                missing.push(format!("series {} in {expression}", selector.name));
                continue;
            }
        };
        known.extend(labels.iter().map(String::as_str));
        for label in &selector.labels {
            if !labels.contains(label) && !OF_TARGETS.contains(&label.as_str()) {
                missing.push(format!("label {label} of {} in {expression}", selector.name));
            }
        }
    }
    for label in &asked.grouping {
        if !known.contains(label.as_str()) {
            missing.push(format!("label {label} to group by in {expression}"));
        }
    }
    missing
}

/// Whether labels in brackets follow the word.
fn has_labels(word: &str) -> bool {
    LISTS.contains(&word.to_ascii_lowercase().as_str())
}

fn is_list(token: Option<&Token<'_>>) -> bool {
    matches!(token, Some(Token::Word(word)) if ["by", "without"].contains(&word.to_ascii_lowercase().as_str()))
}

fn words<'t>(tokens: &'t [Token<'t>]) -> impl Iterator<Item = String> {
    tokens.iter().filter_map(|token| match token {
        Token::Word(word) => Some((*word).to_owned()),
        _ => None,
    })
}

/// The place after the next `sign`.
fn past(tokens: &[Token<'_>], from: usize, sign: char) -> usize {
    let rest = &tokens[from..];
    let found = rest.iter().position(|token| *token == Token::Sign(sign));
    from + found.unwrap_or_else(|| panic!("no {sign} after {:?}", &tokens[..from])) + 1
}

fn tokens(text: &str) -> Vec<Token<'_>> {
    let mut tokens = Vec::new();
    let mut rest = text.trim_start();
    while let Some(first) = rest.chars().next() {
        let is_inside = |c: char| c.is_ascii_alphanumeric() || c == '_' || c == ':';
        let length = match first {
            '#' => rest.find('\n').unwrap_or(rest.len()),
            '"' | '\'' | '`' => {
                tokens.push(Token::Literal);
                quoted(rest, first)
            }
            'a'..='z' | 'A'..='Z' | '_' | ':' => {
                let end = rest.find(|c: char| !is_inside(c)).unwrap_or(rest.len());
                tokens.push(Token::Word(&rest[..end]));
                end
            }
            '0'..='9' => {
                tokens.push(Token::Literal);
                rest.find(|c: char| !c.is_ascii_alphanumeric() && c != '.')
                    .unwrap_or(rest.len())
            }
            sign => {
                tokens.push(Token::Sign(sign));
                sign.len_utf8()
            }
        };
        rest = rest[length..].trim_start();
    }
    tokens
}

/// The length of a text in quotes, both of them included.
fn quoted(text: &str, quote: char) -> usize {
    let mut escaped = false;
    for (at, c) in text.char_indices().skip(1) {
        if c == quote && !escaped {
            return at + 1;
        }
        escaped = c == '\\' && !escaped && quote != '`';
    }
    panic!("{text} has no end")
}

#[test]
fn series_labels_and_groupings_are_found_wherever_they_stand() {
    let found = asked(
        "sum by (cluster, le) (rate(a_bucket{job=\"x{y}\", vdc=~'b\\'c'}[$__rate_interval])) > 1.5e3 # d_total\n\
         unless on(vdc) (time() - max(e:f_seconds offset 5m) without (g)) AND bool h",
    );
    let names: Vec<&str> = found
        .series
        .iter()
        .map(|selector| selector.name.as_str())
        .collect();
    assert_eq!(names, ["a_bucket", "e:f_seconds", "h"]);
    assert_eq!(found.series[0].labels, ["job", "vdc"].map(str::to_owned).into());
    assert_eq!(
        found.grouping,
        ["cluster", "g", "le", "vdc"].map(str::to_owned).into()
    );
}

#[test]
fn what_there_is_not_is_told() {
    let samples = BTreeMap::from([("a_total".to_owned(), BTreeSet::from(["vdc".to_owned()]))]);
    assert!(
        missing(
            "sum by (vdc, cluster) (a_total{vdc=\"x\",job=\"y\"}) unless up",
            &samples
        )
        .is_empty()
    );
    for (wrong, told) in [
        ("rate(b_total[5m])", "series b_total"),
        ("a_total{node=\"x\"}", "label node of a_total"),
        ("sum by (node) (a_total)", "label node to group by"),
        ("1 + 1", "no series"),
    ] {
        let missing = missing(wrong, &samples);
        assert!(missing.len() == 1 && missing[0].starts_with(told), "{missing:?}");
    }
}
